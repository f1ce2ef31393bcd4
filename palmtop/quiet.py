"""What keeps libraries from telling what no user can act on, and their threads from spinning; set before they are
imported, in every process that works."""

import logging
import os

QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "ABSL_MIN_LOG_LEVEL": "2",
    "GLOG_minloglevel": "2",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Set unless the user has set them; warnings of Python stay."""

PATIENT = {"OMP_WAIT_POLICY": "passive"}
"""Threads of torch that wait sleep instead of spinning: on a machine that does anything else besides, spinning made a
training step ten times slower. Set unless the user has set it."""


def quieten() -> None:
    """Set them for this process, and those that it starts."""
    for name, value in (QUIET | PATIENT).items():
        os.environ.setdefault(name, value)
    for name in ("torchao", "torch.utils._pytree"):  # they report what they lack on machines without a GPU
        logging.getLogger(name).setLevel(logging.ERROR)
