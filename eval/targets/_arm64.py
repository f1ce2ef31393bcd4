"""All that a 64-bit Arm machine needs to answer: a Python, numpy and LiteRT of its own, packed once into the user's
cache, and the emulator with which it runs on this machine."""

import functools
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from shlex import quote

from palmtop.bundle import sha256_of
from palmtop.errors import UserError
from palmtop.eval.targets._debian import RELEASE, architecture, unpack
from palmtop.eval.targets._elsewhere import bring
from palmtop.eval.targets._wire import There
from palmtop.folders import cache, fill_once, is_whole

LITERT = "ai-edge-litert==2.3.0"
WHEELS = (LITERT, "numpy==2.4.6")
PYTHON = "python3.11"
"""The one of that release of Debian."""
PACKAGES = (
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "zlib1g",
    "libexpat1",
    "libffi8",
    "libssl3",
    "libbz2-1.0",
    "liblzma5",
    "libuuid1",
    "libsqlite3-0",
)
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
NOT_NEEDED = ("usr/share", "etc", "usr/lib/valgrind", "site/numpy/tests")
TAR, EMULATOR, CONTENTS = "arm64.tar.gz", "qemu-aarch64", "contents.json"
SETUP = "`palmtop setup arm64`"


def payload() -> Path | None:
    """The packed Arm system; None where `palmtop setup arm64` hasn't made it yet."""
    return _home() / TAR if _is_whole(_home()) else None


def emulator() -> Path | None:
    """qemu for programs of 64-bit Arm; None where `palmtop setup arm64` hasn't brought it yet."""
    return _home() / EMULATOR if _is_whole(_home()) else None


def install(say: Callable[[str], None]) -> Path:
    """Make both, unless they are there; returns their folder.

    Raises:
        UserError: this is no Debian, or what is needed can't be fetched.
    """
    fill_once(_home(), _fill, say)
    _is_whole.cache_clear()
    return _home()


def python_in(root: str) -> str:
    """The shell's words for the Python of a system unpacked at `root` on a 64-bit Arm machine: with its own loader and
    libraries, whatever that machine has."""
    at = quote(root)
    libraries = ":".join(f"{at}/{folder}/aarch64-linux-gnu" for folder in ("lib", "usr/lib"))
    said = " ".join(f"{name}={value}" for name, value in environment(at).items())
    return f"env {said} {at}/lib/ld-linux-aarch64.so.1 --library-path {libraries} {at}/usr/bin/{PYTHON}"


def environment(root: str) -> dict[str, str]:
    """What the Python in a system needs to know."""
    return {
        "PYTHONHOME": f"{root}/usr",
        "PYTHONPATH": f"{root}/site",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def unpacked(there: There, packed: Path, folder: str, where: str) -> str:
    """Bring the packed system to a machine, once, and unpack it there; the words for its Python.

    Raises:
        UserError: it can't be written or unpacked there.
    """
    root = f"{folder}/arm64-{sha256_of(packed)[:32]}"
    if there.run(f"test -d {quote(root)}").status:
        tar, partial = bring(there, packed, f"{folder}/files", where), f"{root}.partial"
        done = there.run(
            f"rm -rf {quote(partial)} && mkdir -p {quote(partial)} && tar -xzf {quote(tar)} -C {quote(partial)} && "
            f"mv {quote(partial)} {quote(root)} && rm {quote(tar)}"
        )
        if done.status:
            there.run(f"rm -rf {quote(partial)}")
            raise UserError(f"{where}: the Arm system can't be unpacked there ({done.last_line()}): free some space")
    return python_in(root)


def root_here() -> Path:
    """The system unpacked on this machine, for the emulator.

    Raises:
        UserError: it hasn't been made yet.
    """
    packed = payload()
    if packed is None:
        raise UserError(f"there is no Arm system yet: {SETUP} makes it")
    root = cache("arm64-unpacked") / f"{_key()}-{packed.stat().st_size}"
    if not root.is_dir():
        with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-", ignore_cleanup_errors=True) as made:
            with tarfile.open(packed) as tar:
                tar.extractall(made, filter="tar")
            _move(Path(made), root)
    return root


def _home() -> Path:
    return cache("arm64") / _key()


def _key() -> str:
    """What it is made of, so that another palmtop's isn't taken for it."""
    return hashlib.sha256(json.dumps([RELEASE, PACKAGES, WHEELS, NOT_NEEDED]).encode()).hexdigest()[:16]


@functools.cache
def _is_whole(home: Path) -> bool:
    return is_whole(home)


def _fill(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".arm64-", ignore_cleanup_errors=True) as shop:
        system, tools, wheels = (Path(shop) / name for name in ("system", "tools", "wheels"))
        contents = unpack([f"{package}:arm64" for package in PACKAGES], system)
        contents |= unpack([f"qemu-user-static:{architecture()}"], tools)
        contents |= _unpack_wheels(wheels, system / "site")
        for name in NOT_NEEDED:
            shutil.rmtree(system / name, ignore_errors=True)
        _pack(system, folder / TAR)
        shutil.copy2(tools / "usr" / "bin" / "qemu-aarch64-static", folder / EMULATOR)
    (folder / CONTENTS).write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")


def _unpack_wheels(fetched: Path, site: Path) -> dict[str, str]:
    version = PYTHON.removeprefix("python")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        + ["--implementation", "cp", "--python-version", version, "--abi", f"cp{version.replace('.', '')}"]
        + [word for platform in PLATFORMS for word in ("--platform", platform)]
        + ["--dest", str(fetched), *WHEELS],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise UserError(f"pip couldn't fetch {', '.join(WHEELS)} for Arm: {done.stderr.strip()[-500:]}")
    found = sorted(fetched.glob("*.whl"))
    for wheel in found:
        shutil.unpack_archive(wheel, site, "zip")
    return {wheel.name: sha256_of(wheel) for wheel in found}


def _pack(system: Path, tar: Path) -> None:
    """The same bytes for the same files, whenever and by whomever it is made."""

    def nameless(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    with tar.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as written:
            for path in sorted(system.iterdir()):
                written.add(path, path.name, filter=nameless)


def _move(made: Path, root: Path) -> None:
    try:
        made.rename(root)
    except OSError:
        if not root.is_dir():  # otherwise another process was faster, with the same content
            raise
