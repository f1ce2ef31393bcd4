"""What holds for all tests: threads that wait sleep, as under the command line, and no hub is asked."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
