"""palmtop setup: what pip can't install. The browser target's Chromium, and its npm packages; in a clone with pytest,
what compiles android_demo and the React Native code."""

import os
import shutil
import subprocess

from palmtop.cli import apk_tools, kotlin_tools, react_native_tools
from palmtop.errors import UserError, raise_all


def setup() -> None:
    """Install what pip can't: Chromium, npm and the npm packages of the browser target; say what is there."""
    from palmtop.eval.targets._chromium import chromium_version, find_chromium
    from palmtop.eval.targets._web_packages import install_packages

    kotlin = kotlin_tools.wanted()
    if lacking := list(_lacking()) + list(kotlin_tools.lacking() | apk_tools.lacking() if kotlin else ()):
        _install(lacking)
    raise_all(list(_lacking().values()))
    browser = find_chromium() or ""
    print(f"Chromium {chromium_version(browser)}: {browser}")
    print(f"npm packages: {install_packages()}")
    if kotlin:
        _say_kotlin()
        _say_apk()
    if react_native_tools.wanted():
        typescript = react_native_tools.TYPESCRIPT
        print(f"TypeScript {typescript.locked_version('typescript')}: {typescript.install()}")


def _say_kotlin() -> None:
    """Without it nothing but the tests of android_demo is left out, so a lack is told and is no error."""
    if absent := kotlin_tools.lacking():
        print("\n".join(absent.values()))
    else:
        print(f"Kotlin {kotlin_tools.KOTLIN.locked_version('kotlin-compiler')}: {kotlin_tools.KOTLIN.install()}")


def _say_apk() -> None:
    """As with Kotlin: without it the APK's compile check is left out, and nothing else."""
    absent = apk_tools.lacking()
    print("\n".join(absent.values()) if absent else f"D8 and R8: {apk_tools.install()}")


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
