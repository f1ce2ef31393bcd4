"""npm packages of a lock file, installed once into the user's cache."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from palmtop.errors import UserError


@dataclass(frozen=True)
class NpmPackages:
    """The packages that a folder's package.json and package-lock.json name."""

    folder: Path
    name: str
    """Of their place in the cache."""
    what: str
    """What they are, as messages say it."""

    @property
    def lock(self) -> Path:
        """Their lock file, with a hash of each."""
        return self.folder / "package-lock.json"

    def installed(self) -> Path | None:
        """The node_modules folder of exactly the locked versions, or None when it isn't there yet."""
        folder = self._home() / "node_modules"
        return folder if folder.is_dir() else None

    def install(self) -> Path:
        """Install what the lock file names, unless it is there; returns the node_modules folder.

        npm works in a temporary sibling that is renamed into place, so a half-written install is never used.

        Raises:
            UserError: npm isn't installed, or it failed.
        """
        installed = self.installed()
        if installed is not None:
            return installed
        home = self._home()
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{home.name}-", dir=home.parent, ignore_cleanup_errors=True
        ) as working:
            self._run_npm(Path(working))
            _move(Path(working), home)
        return home / "node_modules"

    def locked_version(self, package: str) -> str:
        """The version of a package in the lock file."""
        lock = json.loads(self.lock.read_text(encoding="utf-8"))
        return str(lock["packages"][f"node_modules/{package}"]["version"])

    def _home(self) -> Path:
        own = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palmtop"
        cache = Path(os.environ.get("PALMTOP_CACHE") or own)
        return cache / self.name / hashlib.sha256(self.lock.read_bytes()).hexdigest()[:16]

    def _run_npm(self, working: Path) -> None:
        npm = shutil.which("npm")
        if npm is None:
            raise UserError(f"npm is needed once to fetch {self.what}: apt-get install npm; `palmtop setup` does it")
        for name in ("package.json", "package-lock.json"):
            shutil.copy(self.folder / name, working / name)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=working, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(
                f"npm couldn't fetch {self.what}: {done.stderr.strip()[-500:]}; check the network and npm's settings"
            )


def _move(working: Path, home: Path) -> None:
    try:
        working.rename(home)
    except OSError:
        if not home.is_dir():  # otherwise another process was faster, with the same content
            raise
