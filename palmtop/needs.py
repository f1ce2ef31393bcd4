"""What a stage asks of a machine while it runs: cores, memory, a GPU."""

import math
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Needs:
    """What has to be free before a step is begun beside others."""

    cpus: int = 1
    memory_gb: float = 0.0
    """10^9 bytes when it takes most."""
    gpu: bool = False
    """One, where there is any."""


def threads() -> int:
    """How many threads a library of this process computes with: OMP_NUM_THREADS, or one for each core."""
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(said) if said.isdecimal() and int(said) else cores()


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_gb() -> float:
    """10^9 bytes that this machine has; without end where it doesn't say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):
        return math.inf
