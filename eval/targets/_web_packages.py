"""TensorFlow.js and the JavaScript tokenizer, installed once into the user's cache from the lock file."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from palmtop.errors import UserError

WEB = Path(__file__).parent / "web"
LOCK = WEB / "package-lock.json"


def packages() -> Path | None:
    """The node_modules folder of exactly the locked versions, or None when it isn't installed yet."""
    folder = _home() / "node_modules"
    return folder if folder.is_dir() else None


def install_packages() -> Path:
    """Install what the lock file names, unless it is there; returns the node_modules folder.

    npm works in a temporary sibling that is renamed into place, so a half-written install is never used.

    Raises:
        UserError: npm isn't installed, or it failed.
    """
    installed = packages()
    if installed is not None:
        return installed
    home = _home()
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{home.name}-", dir=home.parent, ignore_cleanup_errors=True) as working:
        _run_npm(Path(working))
        _move(Path(working), home)
    return home / "node_modules"


def locked_version(package: str) -> str:
    """The version of a package in the lock file."""
    lock = json.loads(LOCK.read_text(encoding="utf-8"))
    return str(lock["packages"][f"node_modules/{package}"]["version"])


def _home() -> Path:
    cache = (
        os.environ.get("PALMTOP_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palmtop"
    )
    return Path(cache) / "web" / hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]


def _run_npm(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise UserError("npm is needed once to fetch TensorFlow.js: apt-get install npm; `palmtop setup` does it")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(WEB / name, folder / name)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(
            f"npm couldn't fetch TensorFlow.js: {done.stderr.strip()[-500:]}; check the network and npm's settings"
        )


def _move(working: Path, home: Path) -> None:
    try:
        working.rename(home)
    except OSError:
        if not home.is_dir():  # otherwise another process was faster, with the same content
            raise
