"""palmtop setup: what pip can't install. The browser target's Chromium and npm packages; what Arm targets need; what
palmtop's own tests start besides."""

import os
import shutil
import subprocess
from typing import Annotated

import typer

from palmtop.errors import UserError, did_you_mean, raise_all

WEB, ARM64, TESTS = "web", "arm64", "tests"
SERVERS = {
    "sshd": ("bookworm", ("openssh-server", "libwrap0")),
    "adbd": (
        "trixie",
        (
            *("adbd", "android-libbase", "android-libboringssl", "android-libcutils", "android-liblog"),
            *("libbrotli1", "libbsd0", "libc6", "libcap2", "libgcc-s1", "liblz4-1", "libmd0", "libprotobuf32t64"),
            *("libstdc++6", "libsystemd0", "libxxhash0", "libzstd1", "zlib1g"),
        ),
    ),
}
"""What plays another machine in palmtop's tests, by release of Debian: with all its libraries where that is a later one
than most systems are."""


def setup(
    what: Annotated[
        str,
        typer.Argument(
            help="web: for the browser targets; arm64: for arm64_emulated, ssh and android; tests: for palmtop's own."
        ),
    ] = WEB,
) -> None:
    """Install what pip can't: Chromium, npm and npm packages for the browser targets; or, unpacked into the user's
    cache, a Python for 64-bit Arm with LiteRT and qemu; or all of it with what tests start: ssh and adb servers, and
    what compiles android_demo and the React Native code. Say what is there."""
    parts = {WEB: _set_up_web, ARM64: _set_up_arm64, TESTS: _set_up_tests}
    if what not in parts:
        raise UserError(f"there is nothing called '{what}' to set up; {did_you_mean(what, tuple(parts))}")
    parts[what]()


def _set_up_tests() -> None:
    """Beyond the browser's part a lack is told and is no error: tests that need it are left out, and say so."""
    from palmtop.cli import kotlin_tools

    if not kotlin_tools.TESTS.is_dir():
        raise UserError("palmtop's tests aren't here: they are in a clone of its repository")
    _set_up_web()
    for part in (
        _set_up_arm64,
        _set_up_servers,
        _set_up_kotlin,
        _set_up_apk,
        _set_up_typescript,
        _set_up_transformers_js,
    ):
        try:
            part()
        except UserError as error:
            print(f"left out, with the tests that need it: {error}")


def _set_up_arm64() -> None:
    from palmtop.eval.targets._arm64 import install

    print(f"Arm system and qemu: {install(print)}")


def _set_up_servers() -> None:
    from palmtop.eval.targets._debian import unpacked_once

    for name, (release, packages) in SERVERS.items():
        print(f"{name}: {unpacked_once(name, packages, release)}")


def _set_up_kotlin() -> None:
    from palmtop.cli import kotlin_tools

    if lacking := kotlin_tools.lacking():
        _install(list(lacking))
    raise_all(list(kotlin_tools.lacking().values()))
    print(f"Kotlin {kotlin_tools.KOTLIN.locked_version('kotlin-compiler')}: {kotlin_tools.KOTLIN.install()}")


def _set_up_apk() -> None:
    from palmtop.cli import apk_tools

    if lacking := apk_tools.lacking():
        _install(list(lacking))
    raise_all(list(apk_tools.lacking().values()))
    print(f"D8 and R8: {apk_tools.install()}")


def _set_up_typescript() -> None:
    from palmtop.cli.react_native_tools import TYPESCRIPT

    print(f"TypeScript {TYPESCRIPT.locked_version('typescript')}: {TYPESCRIPT.install()}")


def _set_up_transformers_js() -> None:
    from palmtop.cli.transformers_js_tools import TRANSFORMERS_JS

    version = TRANSFORMERS_JS.locked_version("@huggingface/transformers")
    print(f"transformers.js {version}: {TRANSFORMERS_JS.install()}")


def _set_up_web() -> None:
    from palmtop.eval.targets._chromium import chromium_version, find_chromium
    from palmtop.eval.targets._web_packages import install_packages

    if lacking := _lacking():
        _install(list(lacking))
    raise_all(list(_lacking().values()))
    browser = find_chromium() or ""
    print(f"Chromium {chromium_version(browser)}: {browser}")
    print(f"npm packages: {install_packages()}")


def _lacking() -> dict[str, str]:
    """Packages of Debian and Ubuntu that are wanted, each with what is said when it can't be had."""
    from palmtop.eval.targets._chromium import find_chromium, missing_chromium
    from palmtop.eval.targets._web_packages import packages

    found = {}
    if find_chromium() is None:
        found["chromium"] = missing_chromium().removesuffix("; `palmtop setup` does it")
    if packages() is None and shutil.which("npm") is None:
        found["npm"] = (
            "npm isn't installed and couldn't be from here: install Node.js with npm (apt-get install npm), and run "
            "this again"
        )
    return found


def _install(packages: list[str]) -> None:
    """With apt-get, where this user may; what is still missing afterwards is told by the caller."""
    rights = _rights()
    if rights is None:
        return
    print(f"installing {', '.join(packages)} with apt-get", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(
            [*rights, "apt-get", *words], env=environment, check=False, capture_output=True, text=True
        )
        if done.returncode:
            told = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise UserError(
                f"apt-get {words[0]} failed ({told[-1] if told else f'status {done.returncode}'}): mend that, or "
                f"install {', '.join(packages)} by other means and run this again"
            )


def _rights() -> list[str] | None:
    """What stands before apt-get: nothing for root, sudo where it asks no password; None when there is no way."""
    if not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return []
    free = (
        shutil.which("sudo")
        and subprocess.run(["sudo", "-n", "true"], check=False, capture_output=True).returncode == 0
    )
    return ["sudo", "-n"] if free else None
