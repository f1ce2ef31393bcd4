"""What compiles and runs android_demo on this machine, for its tests: Kotlin from npm, the JVM and two libraries from
Debian."""

import shutil
from pathlib import Path

from palmtop.npm_packages import NpmPackages

TESTS = Path(__file__).parents[2] / "tests" / "android"
"""In a clone; an installed package has none."""
KOTLIN = NpmPackages(TESTS, "kotlin", "the Kotlin compiler")
JARS = {
    "libjna-java": Path("/usr/share/java/jna.jar"),
    "libandroid-json-java": Path("/usr/share/java/com.android.json.jar"),
}
"""Debian's packages, and what is used of each: JNA calls LiteRT's C functions; org.json is Android's own, from its
source."""
JVM = "default-jre-headless"


def lacking() -> dict[str, str]:
    """Packages of Debian that aren't there, each with what is said when it can't be had."""
    absent = [package for package, jar in JARS.items() if not jar.is_file()]
    if shutil.which("java") is None:
        absent.append(JVM)
    return {
        package: f"{package} isn't installed and couldn't be from here, so the tests of android_demo are left out: "
        f"apt-get install {package}, and run this again"
        for package in absent
    }


def missing() -> str | None:
    """What has to be installed before Kotlin can be compiled and run, or None."""
    if absent := list(lacking()):
        return f"{', '.join(absent)}: `palmtop setup tests` installs it"
    return None if KOTLIN.installed() else f"{KOTLIN.what}: `palmtop setup tests` installs it"
