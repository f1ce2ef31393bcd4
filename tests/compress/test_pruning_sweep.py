"""The shipped sweep: checked as it is, and run shrunk: tiny model, tiny task, two shares, one epoch; its chart has
every point."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny import write_model, write_task

from palmtop.eval.compare import compare
from palmtop.eval.measuring.ledger import Ledger
from palmtop.eval.measuring.plan import plans
from palmtop.eval.measuring.quality import Quality
from palmtop.eval.reports.chart import charts, write
from palmtop.recipe.recipe import SHIPPED, Recipe
from palmtop.yaml_file import read_mapping

SHARES = [0.5, 0.1]


def test_the_shipped_sweep_passes_its_own_check() -> None:
    steps = Recipe.read("pruning-sweep").steps
    pruned = [step for step in steps if step.use in ("magnitude", "movement")]
    assert len(pruned) == 18
    assert {step.source for step in pruned} == {"pretrained"}
    budgets = {
        tuple(
            step.stage.model_dump(
                include={
                    "epochs",
                    "learning_rate",
                    "batch_size",
                    "seed",
                    "max_length",
                    "soft_weight",
                    "label_weight",
                    "mask_warmup",
                    "mask_cooldown",
                }
            ).items()
        )
        for step in pruned
    }
    assert len(budgets) == 1


@pytest.mark.slow
def test_the_sweep_trains_all_and_draws_a_line_for_each_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(_shrunk(tmp_path)))
    recipe = Recipe.read(str(tmp_path / "sweep.yaml"))
    run = tmp_path / "run"
    bundles = recipe.run(run, print)
    (plan,) = plans(bundles, recipe.measure, print)
    quality = Quality(plan, run, 1, Ledger(run, plan.task_id, "test", print), print)
    for subject in plan.subjects:
        quality.take(subject)  # the rest of measuring, time and memory, is no part of the chart
    assert recipe.measure.chart is not None
    (chart,) = charts(compare([run]), bundles, recipe.measure.chart)
    for name, points in chart.lines.items():
        assert [point.asked for point in points] == sorted(SHARES), name
        assert [point.kept for point in points] == pytest.approx(
            sorted(SHARES), rel=0.25 if name == "soft movement" else 0.01
        )
        assert all(point.low < point.value < point.high for point in points)
    assert list(chart.lines) == ["magnitude", "movement", "soft movement"]
    assert set(chart.levels) == {"teacher", "floor"}
    write(chart, run)
    assert (run / "chart.png").stat().st_size > 10_000


def _shrunk(folder: Path) -> dict[str, Any]:
    recipe: dict[str, Any] = read_mapping(SHIPPED / "pruning-sweep.yaml")
    recipe["task"] = write_task(folder / "data")
    for step in recipe["steps"]:
        step["settings"] |= (
            {"epochs": 1, "learning_rate": 2e-3, "batch_size": 16}
            if step["use"] != "adopt"
            else {"model": str(write_model(folder / "model", "bert"))}
        )
        if step["use"] == "movement":
            step["settings"]["score_rate"] = 0.3
        if "each" in step:
            step["each"]["keep"] = list(SHARES)
    return recipe
