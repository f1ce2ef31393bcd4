"""The house rules that a machine can hold: who imports whom, what is documented, what the wheel brings."""

import ast
import importlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import get_args

import pytest

from palmtop import effect, stage_files, target, task_kinds
from palmtop.measurement import Kind
from palmtop.models.family import EVERY_FAMILY
from palmtop.recipe import recipe
from palmtop.stage import Stage, find

ROOT = Path(__file__).parents[2]
ROOMS = ("compress", "export", "eval")
FRONT_DOOR = (Path("palmtop/__init__.py"), Path("palmtop/__main__.py"))
"""With palmtop/cli what may open rooms, and only when they are asked for: the doors of Python and of `python -m`."""
MODULES = sorted(
    {
        path.relative_to(ROOT)
        for room in ("palmtop", *ROOMS)
        for path in (ROOT / room).rglob("*.py")
        if not any((ROOT / "palmtop" / linked) in path.parents for linked in ROOMS)
    }
)


OUTSIDE_THE_STAGES = [
    path
    for path in MODULES
    if path.parts[0] not in stage_files.ROOMS
    and path.parts[:2] not in (("palmtop", "families"), ("palmtop", "task_kinds"))
]
"""Without those files either in which stages are refused by name, with the reason."""


def dotted(path: Path) -> str:
    """A file's name as a module."""
    inside = path if path.parts[0] == "palmtop" else Path("palmtop") / path
    return ".".join(inside.with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, known: Container[str] = ()) -> Iterator[tuple[str, bool]]:
    """Every module of palmtop that a file imports, and whether it does so inside a function or for types alone.

    Args:
        known: modules; a name imported from a package is a module where it is one of these.
    """
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    late = {node for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for node in ast.walk(function)}
    late |= {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in late) for alias in node.names if alias.name.split(".")[0] == "palmtop")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "palmtop":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = inner in known or (not known and node.module == "palmtop")
                yield (inner if is_module else node.module or ""), node in late


def room_of(module: str) -> str | None:
    return next((room for room in ROOMS if f"{module}.".startswith(f"palmtop.{room}.")), None)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_who_may_import_whom(path: Path) -> None:
    own = path.parts[0] if path.parts[0] in ROOMS else None
    front_door = own is None and (path.parts[:2] == ("palmtop", "cli") or path in FRONT_DOOR)
    for module, late in imports(path):
        room = room_of(module)
        assert room is None or room == own or (front_door and late), f"{path} imports {module}"
        assert front_door or not f"{module}.".startswith("palmtop.cli."), f"{path} imports {module}"


def test_no_file_asks_for_a_kind_of_task_but_the_kinds_own() -> None:
    """A comparison with a kind's name is a branch that every new kind has to find."""
    asked = [
        f"{path}:{node.lineno}"
        for path in MODULES
        if path.parts[:2] != ("palmtop", "task_kinds")
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare)
        for side in ast.walk(node)
        if isinstance(side, ast.Constant) and side.value in task_kinds.names()
    ]
    assert not asked


def test_no_file_imports_in_a_circle_however_late() -> None:
    """A circle, even one of imports inside functions or for types alone, is two files that can only be read
    together."""
    known = {dotted(path): path for path in MODULES}
    arrows = {name: {module for module, _ in imports(path, known) if module != name} for name, path in known.items()}
    while leaves := [name for name, to in arrows.items() if not to & arrows.keys()]:
        for name in leaves:
            del arrows[name]
    assert not arrows, f"in a circle, or leading to one: {sorted(arrows)}"


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[:2] != ("palmtop", "families")], ids=str)
def test_a_family_is_known_by_its_facts_alone(path: Path) -> None:
    """Outside palmtop/families nothing asks which family a model is of, and no table goes by families' names."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    asked = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if (isinstance(node, ast.Compare) and names_a_family(node))
        or (isinstance(node, ast.Dict) and len(named := families_in(node.keys)) > 1 and len(named) == len(node.keys))
    ]
    assert not asked, f"{path}: say it as a fact in palmtop/families/family.py"


def names_a_family(node: ast.Compare) -> bool:
    """Whether one side, or something listed on one side, is a model_type, written out or as a family's own."""
    sides = [node.left, *node.comparators]
    listed = [inner for side in sides if isinstance(side, ast.Tuple | ast.List | ast.Set) for inner in side.elts]
    of_a_family = [side for side in sides if ast.unparse(side).endswith("STATIC.model_type")]
    return bool(families_in([*sides, *listed]) or of_a_family)


def families_in(nodes: Sequence[ast.expr | None]) -> list[str]:
    """The model_types that are written out."""
    return [str(node.value) for node in nodes if isinstance(node, ast.Constant) and node.value in EVERY_FAMILY]


def test_a_family_is_found_by_its_file() -> None:
    files = {path.stem for path in (ROOT / "palmtop" / "families").glob("*.py")} - {"__init__", "family"}
    assert files == {name.replace("-", "_") for name in EVERY_FAMILY}
    stages = stage_files.names()
    for family in EVERY_FAMILY.values():
        assert not family.refuses.keys() - stages.keys(), f"{family.model_type} refuses stages that there aren't"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_file_says_what_it_is_and_takes_nothing_wholesale(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path} has no first line"
    assert not [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]


@pytest.mark.parametrize("path", [path for path in MODULES if path != Path("palmtop/bundle.py")], ids=str)
def test_what_a_bundle_has_read_nobody_reads_anew(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    called = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [
        call for call in called if call.startswith(("Signature.read(", "Task.of(")) and call.endswith(".path)")
    ], f"{path}: take the bundle's own signature and task"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_under_its_bare_name_says_what_to_write(room: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {room}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert f"ImportError: this folder is the package palmtop.{room}: write 'import palmtop.{room}'" in done.stderr
    importlib.import_module(f"palmtop.{room}")


@pytest.mark.parametrize("name", sorted(stage_files.names()))
def test_a_stage_is_documented_and_keeps_the_command_lines_words_free(name: str) -> None:
    kind = find(name)
    assert issubclass(kind, Stage)
    assert kind.__doc__
    for key, field in kind.model_fields.items():
        assert field.description or key == "seed", f"{name}.{key} has no docstring"
        assert key not in ("out", "source", "help", "say"), f"{name}.{key} is a word of the command line, or of Python"


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[0] in stage_files.ROOMS], ids=str)
def test_a_stage_tells_the_user_something_by_its_work_alone(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    printed = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "print"]
    assert not [f"line {node.lineno}" for node in printed], f"{path}: say it with work.say"


def test_the_list_of_stages_read_from_files_is_that_of_the_classes() -> None:
    for known in stage_files.descriptions():
        kind = find(known.name)
        assert (known.accepts, known.produces) == (kind.accepts, kind.produces), known.name
        assert known.summary


@pytest.mark.parametrize("name", sorted(stage_files.names()))
def test_a_stage_says_what_it_does_to_the_model(name: str) -> None:
    assert find(name).effect in get_args(effect.Effect)
    assert effect.of_stage(name) == find(name).effect


@pytest.mark.parametrize(
    "path",
    OUTSIDE_THE_STAGES,
    ids=str,
)
def test_what_a_stage_did_is_asked_by_its_effect(path: Path) -> None:
    """Nothing outside the stages' rooms compares with a stage's name or lists some, but for what is refused by name,
    and a recipe's text, which says which stages to run."""
    known = stage_files.names()
    asked = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare | ast.Tuple | ast.List | ast.Set)
        and (sides := [node.left, *node.comparators] if isinstance(node, ast.Compare) else node.elts)
        and (named := [isinstance(side, ast.Constant) and side.value in known for side in sides])
        and (any(named) if isinstance(node, ast.Compare) else all(named))
        and ".use " not in ast.unparse(node)
    ]
    assert not asked, f"{path}: say it by palmtop.effect"


def test_every_target_is_named_like_its_file() -> None:
    for name in target.names():
        assert target.class_of(name).name == name


def test_every_target_says_how_it_is_asked_for_and_what_its_numbers_are() -> None:
    """Itself: one that forgot to would be taken for a clock."""
    for kind in map(target.class_of, target.names()):
        address = kind.default_address or "there"
        made = target.find(kind.name if kind.address_is is None else f"{kind.name}:{address}")
        assert made.label.partition(":")[0] == kind.name and made.place
        assert made.kind in get_args(Kind)


def test_the_wheel_brings_every_module_and_file(tmp_path: Path) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            tmp_path,
            copy_of_the_tree(tmp_path / "tree"),
        ],
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    brought = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {(path if path.parts[0] == "palmtop" else Path("palmtop", path)).as_posix() for path in MODULES}
    data = {
        path.relative_to(ROOT).as_posix()
        for folder in ("recipes", "spaces", "tasks")
        for path in (ROOT / "palmtop" / folder).rglob("*")
        if path.is_file()
    }
    web = {
        Path("palmtop", path.relative_to(ROOT)).as_posix()
        for folder in ("eval/report_page/template", "eval/targets/web", "export/page")
        for path in (ROOT / folder).iterdir()
        if path.is_file()
    }
    demo = {f"palmtop/{path}" for path in tracked("android_demo")}
    react_native = {f"palmtop/{path}" for path in tracked("export/react_native")}
    assert modules | data | web | demo | react_native == brought


def tracked(folder: str) -> list[str]:
    """The files of a folder that a checkout has."""
    listed = subprocess.run(["git", "ls-files", folder], cwd=ROOT, check=True, capture_output=True, text=True)
    return listed.stdout.splitlines()


def copy_of_the_tree(to: Path) -> Path:
    """What a checkout has; building in the real one would leave folders there."""
    import shutil

    skip = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "node_modules", ".*")
    to.mkdir()
    for name in ("palmtop", "android_demo", *ROOMS):
        shutil.copytree(ROOT / name, to / name, ignore=skip, symlinks=True)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, to / name)
    return to


@pytest.mark.parametrize("words", [["--help"], ["stages"], ["--version"], ["no-such-command"]])
def test_the_list_of_commands_needs_no_heavy_library(words: list[str]) -> None:
    script = (
        "import json, sys\nfrom palmtop.cli.main import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit:\n    "
        "pass\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert not loaded & {
        "torch",
        "tensorflow",
        "transformers",
        "datasets",
        "sklearn",
        "scipy",
        "pandas",
        "numpy",
        "yaml",
        "palmtop.compress",
        "palmtop.export",
        "palmtop.eval",
    }
    assert words != ["--help"] or not loaded & {"pydantic", "rich", "jinja2"}


def test_comparing_needs_only_the_base_dependencies() -> None:
    script = (
        "import sys\n"
        "from palmtop.eval import check, compare\n"
        "from palmtop.eval.reports import against_table, check_report, draw_table\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {
        "torch",
        "tensorflow",
        "transformers",
        "datasets",
        "sklearn",
        "scipy",
        "pandas",
        "tokenizers",
        "safetensors",
    }


@pytest.mark.parametrize("name", sorted(recipe.shipped()))
def test_a_shipped_recipe_names_only_what_there_is(name: str) -> None:
    from palmtop.recipe.step_bundles import stand_ins
    from palmtop.recipe.steps import expanded
    from palmtop.settings import build
    from palmtop.yaml_file import read_mapping

    text = build(recipe.RecipeText, read_mapping(recipe.shipped()[name]), name)
    for step in (written.text for written in expanded(text.steps, [])):
        given = {key: "clinc150" for key in ("task",) if key in find(step.use).model_fields}
        given |= stand_ins(find(step.use), step) | step.settings
        build(find(step.use), given, step.name)
