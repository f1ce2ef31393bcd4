"""A stage takes a kind of task, or a family, or refuses it by name before work; a README shows the grids."""

from pathlib import Path

import pytest

from palmtop import stage, stage_files, task_kinds
from palmtop.cli.grids import as_markdown, families_grid, kinds_grid
from palmtop.cli.main import main
from palmtop.errors import UserError
from palmtop.models.family import EVERY_FAMILY
from palmtop.stage import Outline, check_fit, check_task

README = (Path(__file__).parents[2] / "compress" / "README.md").read_text(encoding="utf-8")
NO_KINDS = [(name, kind) for name in task_kinds.names() for kind in stage_files.names()]
NO_FAMILIES = [(family, name) for family, facts in EVERY_FAMILY.items() for name in facts.refuses]


@pytest.mark.parametrize(("kind", "name"), NO_KINDS)
def test_a_stage_takes_a_kind_of_task_or_refuses_it_with_a_reason(kind: str, name: str) -> None:
    family = "gpt2" if task_kinds.find(kind).writes else "bert"
    made, source = stage.find(name).model_construct(), Outline("torch", family, 2, ("a", "b"), task=kind)
    if task_kinds.find(kind).works(name):
        check_task(name, made, source)
        return
    with pytest.raises(UserError, match=f"^{name} isn't for {kind.replace('_', ' ')}(: | yet; what is: )"):
        check_task(name, made, source)


@pytest.mark.parametrize(("family", "name"), NO_FAMILIES)
def test_a_stage_that_a_family_refuses_says_so_with_the_reason(family: str, name: str) -> None:
    reason = EVERY_FAMILY[family].refuses[name]
    source = Outline("torch", family, 2, ("a", "b"), task="classification")
    with pytest.raises(UserError) as refused:
        check_fit(name, stage.find(name).model_construct(), source)
    assert refused.value.faults == (f"{name} isn't for the family '{family}': {reason}",)
    assert name in stage_files.names()


def test_readme_shows_the_grids_that_the_commands_print() -> None:
    assert as_markdown(*kinds_grid()) in README
    assert as_markdown(*families_grid()) in README


def test_the_commands_print_the_grids_and_the_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    main_of("kinds", "--markdown")
    assert capsys.readouterr().out.strip() == as_markdown(*kinds_grid())
    main_of("families", "--markdown")
    assert capsys.readouterr().out.strip() == as_markdown(*families_grid())
    main_of("kinds", "token_classification", "--markdown")
    assert "| tfidf | the linear floor gives one label a text |" in capsys.readouterr().out
    main_of("families", "squeezebert", "--markdown")
    assert "| magnitude | its layers are grouped convolutions" in capsys.readouterr().out


def main_of(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code
