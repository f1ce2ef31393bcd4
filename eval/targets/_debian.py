"""Debian packages for another machine, or of no concern to this system: fetched by apt with a state of its own, and
unpacked into a folder; nothing is installed."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from palmtop.bundle import sha256_of
from palmtop.errors import UserError
from palmtop.folders import cache

RELEASE = "bookworm"
"""Debian 12: packages of one release fit each other."""
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR = "PALMTOP_DEBIAN_MIRROR"
"""The environment variable with an archive of Debian, where this system isn't a Debian that knows one."""
ARCHIVE = re.compile(r"https?://[^\s\]]+/debian/?(?=\s|$)")


def unpack(packages: Sequence[str], into: Path, release: str = RELEASE) -> dict[str, str]:
    """Fetch packages (name:architecture) and unpack them into a folder; the sha256 of each package's file, by its name.

    apt checks Debian's signatures.

    Raises:
        UserError: this system has no apt, knows no archive, or the archive can't be reached.
    """
    shop = into.with_name(f"{into.name}.apt")
    try:
        _prepare(shop, sorted({package.partition(":")[2] for package in packages}), release)
        _apt(shop, "update", "-q")
        _apt(shop, "download", *packages)
        found = sorted((shop / "fetched").glob("*.deb"))
        for package in found:
            subprocess.run(["dpkg-deb", "--extract", package, into], check=True)
        return {package.name: sha256_of(package) for package in found}
    finally:
        shutil.rmtree(shop, ignore_errors=True)


def unpacked_once(name: str, packages: Sequence[str], release: str = RELEASE) -> Path:
    """A folder of the user's cache with packages of this machine's architecture in it, made where it isn't there."""
    place = unpacked_at(name)
    if not place.is_dir():
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{name}-", ignore_cleanup_errors=True) as made:
            unpack([f"{package}:{architecture()}" for package in packages], Path(made) / name, release)
            (Path(made) / name).rename(place)
    return place


def unpacked_at(name: str) -> Path:
    """Where `unpacked_once` keeps a folder, whether or not it is there."""
    return cache("debian") / name


def architecture() -> str:
    """This machine's, as Debian calls it.

    Raises:
        UserError: this is no Debian.
    """
    if shutil.which("dpkg") is None or shutil.which("apt-get") is None:
        raise UserError("apt-get and dpkg are needed, which Debian and Ubuntu have: run this on one of them")
    return subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()


def _prepare(shop: Path, architectures: Sequence[str], release: str) -> None:
    for folder in ("state/lists/partial", "cache/archives/partial", "fetched"):
        (shop / folder).mkdir(parents=True, exist_ok=True)
    (shop / "state" / "status").touch()
    source = f"deb [arch={','.join(architectures)} signed-by={KEYS}] {_archive()} {release} main\n"
    (shop / "sources.list").write_text(source, encoding="utf-8")
    named = "; ".join(f'"{one}"' for one in {architecture(), *architectures})
    settings = {
        "Dir::State": shop / "state",
        "Dir::State::status": shop / "state" / "status",
        "Dir::Cache": shop / "cache",
        "Dir::Etc::sourcelist": shop / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
    }
    lines = [f'{name} "{value}";' for name, value in settings.items()]
    (shop / "apt.conf").write_text("\n".join([*lines, f"APT::Architectures {{{named};}};", ""]), encoding="utf-8")


def _apt(shop: Path, *words: str) -> None:
    done = subprocess.run(
        ["apt-get", *words],
        cwd=shop / "fetched",
        env=os.environ | {"APT_CONFIG": str(shop / "apt.conf")},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        told = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise UserError(
            f"apt-get {words[0]} failed ({told[-1] if told else f'status {done.returncode}'}): check the network, or "
            f"name another archive of Debian with {MIRROR}"
        )


def _archive() -> str:
    if named := os.environ.get(MIRROR):
        return named
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file()]
    found = next((match[0] for text in texts for match in ARCHIVE.finditer(text)), None)
    if found is None or not KEYS.is_file():
        raise UserError(
            f"this system knows no archive of Debian, or lacks its keys ({KEYS}): install debian-archive-keyring, and "
            f"name an archive with {MIRROR}"
        )
    return found
