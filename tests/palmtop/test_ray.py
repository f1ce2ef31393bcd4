"""A run on a Ray cluster: what comes of it is what comes of it on one machine, though one of its machines dies."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from slow_stages import Fails, Follows
from tiny_stages import Made

from palmtop.cli.say import say
from palmtop.errors import UserError
from palmtop.recipe.attempt import attempt
from palmtop.recipe.side_by_side import attempt_with
from palmtop.recipe.steps import Step

pytest.importorskip("ray", reason="Ray is an extra of its own: pip install 'palmtop[cluster]'")
pytestmark = pytest.mark.slow  # a cluster takes some 20 s to start


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two machines, as Ray has it, of one core each."""
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    helpers = str(Path(__file__).parents[1] / "helpers")
    monkeypatch.setenv("PYTHONPATH", f"{helpers}:{Path(__file__).parents[2]}")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80_000_000})
    try:
        yield made
    finally:
        made.shutdown()


def test_a_machine_that_dies_in_the_middle_of_a_step_changes_nothing(cluster: Any, tmp_path: Path) -> None:
    from palmtop.recipe.ray_crew import RayCrew

    second = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    meets = tmp_path / "meets"
    meets.mkdir()

    def graph(meets: Path | None) -> list[Step]:
        seconds = 4.0 if meets is not None else 0.0
        return [
            Step("base", "made", None, Made()),
            Step("one", "follows", "base", Follows(meets=meets, seconds=seconds)),
            Step("two", "follows", "base", Follows(meets=meets, seconds=seconds)),
            Step("fails", "fails", "two", Fails()),
            Step("after", "follows", "fails", Follows()),
            Step("taught", "follows", "one", Follows(), {"teacher": "two"}),
        ]

    def pull_the_plug() -> None:
        wait_for(lambda: len(list(meets.iterdir())) == 2)  # a step is at work on each machine
        cluster.remove_node(second, allow_graceful=False)

    killer = threading.Thread(target=pull_the_plug)
    with RayCrew(cluster.address) as crew:
        killer.start()
        made = attempt_with(crew, graph(meets), tmp_path / "run", say)
    killer.join()
    before = attempt(graph(None), tmp_path / "other", say)
    assert not killer.is_alive() and list(made.bundles) == list(before.bundles) == ["base", "one", "two", "taught"]
    assert {name: bundle.digest for name, bundle in made.bundles.items()} == {
        name: bundle.digest for name, bundle in before.bundles.items()
    }
    assert (made.failed, made.left_out) == (before.failed, before.left_out)
    left = {path.name for path in (tmp_path / "run").glob(".*.partial")}
    assert left == {".fails.partial"}, "what was left half-done was taken up and ended"


def test_where_there_is_no_cluster_it_is_said() -> None:
    from palmtop.recipe.ray_crew import RayCrew

    with pytest.raises(UserError, match=r"--ray 127\.0\.0\.1:1: no cluster there"):
        RayCrew("127.0.0.1:1")


def wait_for(there: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < until
        time.sleep(0.05)
