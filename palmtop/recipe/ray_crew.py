"""A crew on a Ray cluster: Ray places each step where its cores, memory and GPU are free, and tries it again elsewhere
when its worker, or its whole machine, dies."""

import os
import signal
import socket
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from palmtop.errors import UserError
from palmtop.needs import Needs, threads
from palmtop.recipe.attempt import Failed
from palmtop.recipe.crew import TRIES, Crew, Made, lost
from palmtop.recipe.worker import Order, work

SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Of Ray: it tells nobody that it runs, and leaves out no line of ours. Set unless the user has set them."""

LOOK_SECONDS = 10.0
"""So long the cluster's head may take to answer at all."""


class RayCrew(Crew):
    """Workers on all machines of a cluster. The run's folder, its data and models have to be seen there under the names
    that they have here."""

    def __init__(self, address: str) -> None:
        """
        Args:
            address: of the cluster's head, HOST:PORT; or auto, where this machine is in it.

        Raises:
            UserError: Ray isn't installed, or there is no cluster.
        """
        if find_spec("ray") is None:
            raise UserError("--ray needs Ray: pip install 'palmtop[cluster]', on all machines of the cluster")
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        self._ray = _connected(address)
        self._largest = _largest(self._ray.nodes())
        self.size = max(1, int(self._ray.cluster_resources().get("CPU", 1)) // min(threads(), self._largest["CPU"]))
        self._sent: dict[Made, Order] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ray.shutdown()  # which ends what this run has under way anywhere

    def has_room(self, needs: Needs) -> bool:
        """Always: what has no room yet waits in Ray."""
        return True

    def send(self, order: Order, needs: Needs) -> Made:
        """To the cluster. What no machine of it has isn't asked for: a step with as many threads as here can do with
        fewer cores, and one that may take more memory than there is can try."""
        asked = {
            "num_cpus": min(needs.cpus, self._largest["CPU"]),
            "memory": min(int(needs.memory_gb * 1e9), self._largest["memory"]),
            "num_gpus": int(needs.gpu and self._largest["GPU"] > 0),
        }
        task = self._ray.remote(work).options(name=order.step.name, max_retries=TRIES - 1, **asked)
        ended: Made = task.remote(order).future()
        self._sent[ended] = order
        return ended

    def outcome(self, ended: Made) -> str | Failed | None:
        """Ray has tried it again before it says that a worker died."""
        order, error = self._sent.pop(ended), ended.exception()
        if not isinstance(error, self._ray.exceptions.RayError) or isinstance(error, self._ray.exceptions.RayTaskError):
            return ended.result()
        failed = lost(TRIES)
        order.say(f"{order.step.name}: failed: {failed.why}")
        return failed


def _connected(address: str) -> Any:
    """Ray, in the cluster; what this process does on SIGTERM stays what it was."""
    heard = signal.getsignal(signal.SIGTERM)
    try:
        _look_for(address)
        import ray

        ray.init(address, log_to_driver=True, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        line = str(error).strip().split("\n")[0]
        raise UserError(
            f"--ray {address}: no cluster there ({line}): start one with 'ray start --head --port 6379', and on the "
            "other machines 'ray start --address HOST:6379'"
        ) from None
    finally:
        signal.signal(signal.SIGTERM, heard)
    return ray


def _look_for(address: str) -> None:
    """Whether anybody listens there: Ray itself would wait for minutes. Raises: OSError, ValueError: nobody, or it is
    no address."""
    if address != "auto":
        host, colon, port = address.rpartition("://")[2].rpartition(":")
        if not (colon and host and port.isdecimal()):
            raise ValueError("an address is HOST:PORT, or auto")
        socket.create_connection((host, int(port)), LOOK_SECONDS).close()


def _largest(nodes: Any) -> dict[str, int]:
    """The most of each that one machine of the cluster has."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    return {name: int(max((have.get(name, 0) for have in alive), default=0)) for name in ("CPU", "memory", "GPU")}
