"""TensorFlow.js and the JavaScript tokenizer, installed once into the user's cache from the lock file."""

from pathlib import Path

from palmtop.npm_packages import NpmPackages

WEB = Path(__file__).parent / "web"
_PACKAGES = NpmPackages(WEB, "web", "TensorFlow.js")
LOCK = _PACKAGES.lock


def packages() -> Path | None:
    """The node_modules folder of exactly the locked versions, or None when it isn't installed yet."""
    return _PACKAGES.installed()


def install_packages() -> Path:
    """Install what the lock file names, unless it is there; returns the node_modules folder.

    Raises:
        UserError: npm isn't installed, or it failed.
    """
    return _PACKAGES.install()


def locked_version(package: str) -> str:
    """The version of a package in the lock file."""
    return _PACKAGES.locked_version(package)
