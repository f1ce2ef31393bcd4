"""What converters say is kept aside, and the user's own streams come back whatever happens meanwhile."""

import os
import subprocess
import sys
from pathlib import Path

SAYS_MORE_THAN_THE_DISK_TAKES = """
import resource, sys
from pathlib import Path
from palmtop.converter_log import captured

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with captured(Path(sys.argv[1]) / "logs" / "convert.txt"):
        print("much " * 300)
        raise ValueError("broken")
except ValueError as error:
    print("told:", error, file=sys.stderr)
"""


def test_an_error_is_still_told_where_the_log_has_no_room(tmp_path: Path) -> None:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", SAYS_MORE_THAN_THE_DISK_TAKES, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=buffered)
    assert done.stderr.endswith("told: broken\n"), done.stderr
