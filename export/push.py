"""Uploading a bundle to the hub: a copy that names no folder of this machine, with a model card of what was
measured."""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from palmtop.app_manifest import MANIFEST, README, Manifest
from palmtop.bundle import CARD, Bundle, FileEntry, hand_out, sha256_of
from palmtop.errors import UserError, raise_all
from palmtop.export.model_card import model_card
from palmtop.measurement import Measurement
from palmtop.paths import without_paths, without_places

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
TASK, TOKENIZER_CONFIG = "task.json", "tokenizer_config.json"
TEXTS = (".json", ".jsonl", ".md", ".txt", ".yaml")
"""Endings of files that are read through for this machine's folders."""
DENIED, ABSENT = (401, 403), 404


@dataclass(frozen=True)
class To:
    """Where a bundle goes."""

    name: str
    """OWNER/NAME."""
    private: bool = False
    """Of a repository that isn't there yet."""
    revision: str | None = None
    """The branch; made where it isn't there."""


def push(bundle: Bundle, to: To, licence: str | None, taken: Iterable[Measurement], say: Callable[[str], None]) -> str:
    """Upload what is sealed, with a model card; returns the address of the commit.

    Args:
        taken: what was measured of it, and of others.

    Raises:
        UserError: the name is none, the bundle is damaged or names a folder of this machine, or what the hub lacks or
            refuses.
    """
    if not NAME.fullmatch(to.name):
        raise UserError(f"'{to.name}' is no name on the hub: write OWNER/NAME")
    _check_files(bundle)
    _check_hub()
    with TemporaryDirectory() as passing:
        copy = Path(passing)
        hand_over(bundle, model_card(bundle, to.name, licence, list(taken)), copy)
        size = sum(path.stat().st_size for path in copy.rglob("*") if path.is_file())
        say(f"{to.name}: uploading {size / 1e6:.2f} MB of {bundle.path}")
        return _upload(copy, to)


def hand_over(bundle: Bundle, card: str, out: Path) -> None:
    """Write the copy that is uploaded: the sealed files, of paths only the last parts, with the card as README.md; it
    is sealed anew, and says of which bundle it is a copy.

    Raises:
        UserError: a file names a folder of this machine all the same.
    """
    for name in bundle.card.files:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.path / name, out / name)
    _clean(out)
    own = (bundle.path / README).read_text(encoding="utf-8") if README in bundle.card.files else ""
    (out / README).write_text(f"{card}\n{own}" if own else card, encoding="utf-8")
    if (out / MANIFEST).is_file():
        _restate(out)
    hand_out(bundle.card, out)
    raise_all(_left_places(bundle, out))


def _check_files(bundle: Bundle) -> None:
    """What is sealed is whole, and lies in the bundle."""
    root = bundle.path.resolve()
    raise_all(
        [
            f"{bundle.path / name} lies outside of the bundle ({(root / name).resolve()}) and isn't uploaded: make the "
            "bundle again, with the file itself"
            for name in bundle.card.files
            if not (root / name).resolve().is_relative_to(root)
        ]
    )
    bundle.verify()


def _clean(out: Path) -> None:
    if (out / TASK).is_file():
        task = without_paths(json.loads((out / TASK).read_text(encoding="utf-8")))
        (out / TASK).write_text(json.dumps(task, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if (out / TOKENIZER_CONFIG).is_file():
        told = without_places((out / TOKENIZER_CONFIG).read_text(encoding="utf-8"))
        (out / TOKENIZER_CONFIG).write_text(told, encoding="utf-8")


def _restate(app: Path) -> None:
    """The manifest of an app's folder, of the files as they are now."""
    manifest = Manifest.read(app)
    files = {
        name: FileEntry(size_bytes=(app / name).stat().st_size, sha256=sha256_of(app / name))
        for name in sorted({*manifest.files, README})
    }
    manifest.model_copy(update={"files": files}).write(app)


def _left_places(bundle: Bundle, out: Path) -> list[str]:
    places = {f"{place}/" for place in (bundle.path.resolve().parent, Path.home(), Path.cwd()) if place != Path("/")}
    found = []
    for path in sorted(out.rglob("*")):
        if path.suffix in TEXTS:
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [
                f"{path.relative_to(out)} names a folder of this machine ({place}), and isn't uploaded so: make the "
                "bundle again with another name for it"
                for place in sorted(places)
                if place in text
            ]
    return found


def _check_hub() -> None:
    """Raises: UserError: nothing can be uploaded from here: no package, no network wanted, no token."""
    try:
        from huggingface_hub import constants, get_token
    except ImportError:
        raise UserError("push needs huggingface_hub: pip install 'palmtop[train]'") from None
    if constants.HF_HUB_OFFLINE:
        raise UserError("HF_HUB_OFFLINE is set, so nothing is uploaded: unset it and push again")
    if get_token() is None:
        raise UserError(
            "there is no token for the hub: make one that may write at huggingface.co/settings/tokens, and give it "
            "with 'hf auth login', or in HF_TOKEN"
        )


def _upload(folder: Path, to: To) -> str:
    from huggingface_hub import CommitOperationAdd, HfApi

    files = sorted(path for path in folder.rglob("*") if path.is_file())
    operations = [CommitOperationAdd(path.relative_to(folder).as_posix(), path) for path in files]
    api = HfApi()
    with _told(to):
        api.create_repo(to.name, private=to.private or None, exist_ok=True)
        if to.revision is not None:
            api.create_branch(to.name, branch=to.revision, exist_ok=True)
        message = f"Bundle {json.loads((folder / CARD).read_text(encoding='utf-8'))['digest'][:16]}, by palmtop"
        made = api.create_commit(to.name, operations, commit_message=message, revision=to.revision)
    return str(made.commit_url)


@contextmanager
def _told(to: To) -> Iterator[None]:
    """What the hub or the way to it refuses, in words that say what to do."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.errors import HTTPError as AnyHTTP  # type: ignore[attr-defined]  # by whichever library it asks

    try:
        yield
    except HfHubHTTPError as error:
        raise UserError(_refusal(to, error)) from None
    except HFValidationError as error:
        raise UserError(f"'{to.name}' is no name on the hub ({_first_line(error)}): write OWNER/NAME") from None
    except (AnyHTTP, ConnectionError) as error:
        raise UserError(
            f"the hub can't be reached ({_first_line(error)}): check the network (and HF_ENDPOINT, where it is set), "
            "and push again"
        ) from None


def _refusal(to: To, error: Any) -> str:
    status = error.response.status_code if error.response is not None else None
    if status in DENIED:
        return (
            f"the hub doesn't let this token write to {to.name} (status {status}): check the owner's name, and that "
            "the token may write"
        )
    if status == ABSENT:
        return f"the hub has no {to.name} that this token sees, or no revision '{to.revision or 'main'}': check both"
    return f"the hub refuses {to.name} ({_first_line(error)}): mend that, and push again"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
