"""The processes of a distributed run, as torchrun starts them."""

import os


def rank() -> int:
    """This process' number in a distributed run; 0 when there is only one."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """How many processes the distributed run has; 1 when it isn't distributed."""
    return int(os.environ.get("WORLD_SIZE", "1"))
