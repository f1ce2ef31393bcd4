"""The Android project with an app's folder in its assets: `palmtop to_app BUNDLE --android DIR`."""

import re
import shutil
from pathlib import Path

from palmtop.app_manifest import README, Manifest
from palmtop.bundle import Bundle
from palmtop.errors import raise_all
from palmtop.export.app.page import is_of_a_page
from palmtop.export.app.phone_tokenizer import why_not
from palmtop.export.app.whole_folder import place_faults, whole_folder
from palmtop.stage import HandOver

PROJECT = Path(__file__).parents[2] / "android_demo"
MODELS = Path("app", "src", "main", "assets", "models")
"""Where the app looks for models, a folder each."""
LEFT_OUT = ("build", "*.py", ".*", "local.properties", "*.iml", "gradlew", "gradlew.bat", "gradle-wrapper.*")
"""What Android Studio writes into a project that it has opened, which is of one machine; and what makes a source file
here."""
FORMAT = "tflite"
OPTION = "--android"


def check(source: Bundle, folder: Path) -> None:
    """Whether the app can answer with a bundle, and a project can be written to `folder`.

    Raises:
        UserError: every reason why not, with what to do.
    """
    raise_all([*place_faults(OPTION, folder), *_model_faults(source)])


def write(source: Bundle, app: Bundle, folder: Path) -> None:
    """Write the project with the app's folder as its only model, whole or not at all.

    Args:
        source: what the app's folder was made of, by whose name the model goes.
    """
    with whole_folder(OPTION, folder) as partial:
        _copy_project(partial)
        _copy_model(app.path, partial / MODELS / _asset_name(source.path.resolve().name))


ANDROID = HandOver(
    "Also write a project for Android Studio with this model in it, into this folder, which must be new or empty; "
    "without --out nothing else is kept.",
    check,
    write,
)


def _model_faults(source: Bundle) -> list[str]:
    if source.is_cascade:
        return [
            f"the Android app asks one model, {source.path} is two: hand over the larger, or put the folder that "
            "to_app makes (--out) into an app of your own, where CascadeModel of android_demo/engine asks both"
        ]
    if source.format != FORMAT:
        return [
            f"the Android app runs .tflite, {source.path} is {source.format}: make one with 'palmtop to_tflite', and "
            "hand that over"
        ]
    return [*_task_faults(source), *_tokenizer_faults(source)]


def _task_faults(source: Bundle) -> list[str]:
    task = source.task
    if task is not None and source.signature.stride is not None:
        return [
            f"{source.path} reads a context in several windows, and the Android app reads one: train it without "
            "the option stride, or put it into a web page (to_app)"
        ]
    if task is None or task.of_kind.phone:  # to_app itself refuses a bundle without a task
        return []
    kind = task.kind.replace("_", " ")
    return [
        f"the Android app doesn't know {kind}: put the folder that to_app makes (--out) into an app of your own, or "
        "add it in android_demo/core"
    ]


def _tokenizer_faults(source: Bundle) -> list[str]:
    reason = why_not(source.path)
    if reason is None:
        return []
    return [
        f"the Android app can't read the tokenizer of {source.path}: {reason}; put the folder that to_app makes "
        "(--out) into an app with a tokenizer of your own, or add it in android_demo/core"
    ]


def _copy_project(to: Path) -> None:
    """All of the demo but its own model."""
    own = PROJECT / MODELS

    def left_out(folder: str, names: list[str]) -> set[str]:
        return _matching(folder, names) | (set(names) if Path(folder) == own else set())

    shutil.copytree(PROJECT, to, ignore=left_out, dirs_exist_ok=True)


_matching = shutil.ignore_patterns(*LEFT_OUT)


def _copy_model(app: Path, to: Path) -> None:
    """What the manifest states but a page's files, which would be megabytes in the APK, and the folder's README, which
    speaks of them; and a manifest without these. Not the card, which is of the machine that made it."""
    manifest = Manifest.read(app)
    files = {name: entry for name, entry in manifest.files.items() if not is_of_a_page(name) and name != README}
    for name in files:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(app / name, to / name)
    manifest.model_copy(update={"files": files}).write(to)


def _asset_name(name: str) -> str:
    """A bundle's name as a folder that Android packs: it leaves out those that begin with '_' or '.', or end with
    '~'."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.") or "model"
