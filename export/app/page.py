"""The web page of an app's folder: our files, and the runtime and the tokenizer that they call, so that nothing is
fetched from elsewhere."""

import shutil
from pathlib import Path

from palmtop import format as file_format
from palmtop import target
from palmtop.errors import UserError
from palmtop.task import Task

FILES = Path(__file__).parents[1] / "page"
RUNTIME = "runtime"
"""The folder of what it calls, inside an app's."""
OPENERS = {"tflite": "litert.js", "tfjs": "tfjs.js"}
"""Of our files, that which opens a format; it goes to apps of that format alone."""
ONLY_FOR = {"tflite": ("any_length.js",)}
"""Others that are for one format."""
OF_TWO = "cascade.js"
"""What asks two models; it goes to apps of two alone."""
BARE = ('"@litertjs/wasm-utils"', '"./litert_wasm_utils.js"')
"""How LiteRT.js names the module beside it, which no browser finds in a worker, and how ours is told to."""


def why_none(made_of: str, task: Task) -> str | None:
    """Why an app of a format has no page; None where it has one."""
    made = file_format.find(made_of)
    if made.in_app is None or made.in_app.page is None:
        return f"no page runs {made_of}"
    if not task.of_kind.page:
        return f"the page can't show the answers of {task.kind}"
    if made.in_app.page == made.target:
        return None  # such a model is made for the page: without it there is no app
    try:
        target.find(made.in_app.page).client_files()
    except UserError as error:
        return str(error)
    return None


def write_page(made_of: str, out: Path) -> None:
    """Put the page into an app's folder; only where `why_none` finds nothing."""
    found = file_format.find(made_of).in_app
    assert found is not None and found.page is not None  # why_none has looked
    runtime = target.find(found.page).client_files()
    for name, path in (_own(made_of) | runtime).items():
        (out / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(path, out / name)
    if f"{RUNTIME}/litert.js" in runtime:
        _name_the_neighbour(out / RUNTIME / "litert.js")


def is_of_a_page(name: str) -> bool:
    """Whether a file of an app's folder is there for its page alone, which an app on a phone doesn't open."""
    return name.partition("/")[0] == RUNTIME or (FILES / name).is_file()


def _own(made_of: str) -> dict[str, Path]:
    parts = file_format.find(made_of).parts
    runs = parts or made_of
    others = {name for key, name in OPENERS.items() if key != runs} | (set() if parts else {OF_TWO})
    others |= {name for key, names in ONLY_FOR.items() if key != runs for name in names}
    return {path.name: path for path in sorted(FILES.iterdir()) if path.is_file() and path.name not in others}


def _name_the_neighbour(file: Path) -> None:
    content = file.read_text(encoding="utf-8")
    if content.count(BARE[0]) != 1:
        raise RuntimeError(f"{file.name} of this LiteRT.js names {BARE[0]} {content.count(BARE[0])} times, not once")
    file.write_text(content.replace(*BARE), encoding="utf-8")
