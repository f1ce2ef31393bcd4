"""What type-checks export/react_native on this machine, for its tests: TypeScript from npm."""

import shutil
from pathlib import Path

from palmtop.npm_packages import NpmPackages

TESTS = Path(__file__).parents[2] / "tests" / "react_native"
"""In a clone; an installed package has none."""
TYPESCRIPT = NpmPackages(TESTS, "react_native", "TypeScript")


def missing() -> str | None:
    """What has to be installed before the code can be type-checked and run, or None."""
    if shutil.which("node") is None:
        return "node: `palmtop setup` installs it, with npm"
    return None if TYPESCRIPT.installed() else f"{TYPESCRIPT.what}: `palmtop setup tests` installs it"
