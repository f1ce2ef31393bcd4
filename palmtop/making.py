"""Making one bundle: skip it if an equal one is there, continue one that was cut short, seal it, put it in place."""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from palmtop import stage as stages
from palmtop.bundle import Bundle, Origin, is_sealed, seal
from palmtop.durably import write_durably
from palmtop.errors import UserError, from_os, full_disk
from palmtop.processes import processes, rank
from palmtop.settings import build
from palmtop.stage import Stage, Work
from palmtop.task import Task

Say = Callable[[str], None]


class Busy(UserError):
    """Another process works on the folder."""


ENDED = "ended"
"""Where the other processes of a distributed run leave a file each when they are through with a stage."""


def origin_of(name: str, stage: Stage, source: Bundle | None) -> Origin:
    """The origin that a bundle made now would have.

    Raises:
        UserError: a source that learnt nothing, for a stage that learns.
    """
    if source is not None and source.card.origin.untrained and stage.learns:
        raise UserError(f"{source.path} has learnt nothing: it was made for a price alone, so make the model itself")
    inputs = stage.inputs() | ({"source": source.digest} if source else {})
    versions = stages.versions(type(stage), source.format if source else None)
    return Origin(
        stage=name,
        settings=stage.model_dump(mode="json"),
        inputs=inputs,
        versions=versions,
        untrained=not stage.learns,
    )


def make_by_name(
    name: str, settings: Mapping[str, Any], source: Bundle | Path | str | None, out: Path, say: Say
) -> Bundle:
    """The bundle that the stage called `name` makes: settings and source are checked as a recipe's are, before work.

    Of the processes of a distributed run the first one says what there is to say.

    Raises:
        UserError: every fault of the settings, a source that doesn't fit, or what `make` raises.
    """
    stage = build(stages.find(name), {key: _plain(value) for key, value in settings.items()}, name)
    bundle = _opened(source) if isinstance(source, Path | str) else source
    _check(name, stage, bundle)
    return make(name, stage, bundle, out, say if rank() == 0 else _say_nothing)


def make(name: str, stage: Stage, source: Bundle | None, out: Path, say: Say) -> Bundle:
    """The bundle that `stage` makes of `source`, in the folder `out`.

    An equal bundle that is already there is kept. Another bundle there is replaced once the new one is whole.
    In a distributed run every process calls this; the first one seals, the others wait for it.

    Raises:
        UserError: `out` holds something that is no bundle, another process works on it, or the stage's own faults.
    """
    origin = origin_of(name, stage, source)
    if _is_made(out, origin):
        say(f"{out.name}: made before with the same settings and inputs, kept")
        _clear_up(out, origin)
        return _kept(out)
    _refuse_place(out)
    if out.exists() and not is_sealed(out) and (out.is_file() or any(out.iterdir())):
        raise UserError(f"{out} exists and isn't a bundle: choose another folder with --out, or empty it")
    if rank() > 0:
        return _work_along(stage, source, out, origin, say)
    with lock_on(out):
        try:
            if _is_made(out, origin):  # by one that has ended since
                return _kept(out)
            return _make(name, stage, source, out, origin, say)
        except UserError:
            raise
        except Exception as error:  # libraries tell a full disk in exceptions of their own
            told = from_os(error, out) if isinstance(error, OSError) else None
            told = told or full_disk(out.parent, str(error))
            if told is None:
                raise
            raise told from error


def made(name: str, stage: Stage, source: Bundle | None, out: Path) -> Bundle | None:
    """The bundle in `out`, where it is the one that `make` would keep; else None, also where that can't be told: `make`
    says why."""
    try:
        return Bundle.open(out) if _is_made(out, origin_of(name, stage, source)) else None
    except UserError:
        return None


def _plain(value: Any) -> Any:
    """A setting as a recipe has it: bundles and paths by their names, a task written out."""
    if isinstance(value, Bundle):
        return str(value.path)
    if isinstance(value, Task):
        return value.model_dump(mode="json")
    return str(value) if isinstance(value, Path) else value


def _opened(source: Path | str) -> Bundle:
    folder = Path(source)
    if (folder / "config.json").is_file() and not is_sealed(folder):
        raise UserError(
            f"{folder} is a model folder, but no bundle yet: take it in first with 'palmtop adopt --model {folder} "
            "--out NEW', and start from NEW"
        )
    return Bundle.open(folder)


def _check(name: str, stage: Stage, bundle: Bundle | None) -> None:
    """The checks that a recipe makes of a whole: the format, the layers, and the outline."""
    wanted = f"{name} needs a {' or '.join(sorted(stage.accepts))} bundle"
    if bundle is None and stage.accepts:
        raise UserError(f"{wanted} to start from, and none was given")
    if bundle is not None and not stage.accepts:
        raise UserError(f"{name} starts from no bundle, but {bundle.path} was given")
    if bundle is not None and bundle.format not in stage.accepts:
        raise UserError(f"{wanted}, but {bundle.path} is {bundle.format}")
    stages.versions(type(stage), bundle.format if bundle else None)
    source = stages.outline_of(bundle) if bundle else None
    stages.check_fit(name, stage, source)
    stage.outline(source)


def _refuse_place(out: Path) -> None:
    """Raises: UserError: a bundle can't take the place of `out`: a link into nowhere, or a folder one stands in."""
    if out.is_symlink() and not out.exists():
        raise UserError(
            f"{out} is a link to {out.readlink()}, which isn't there: remove the link, or choose another folder with "
            "--out"
        )
    here = Path.cwd()
    if out.resolve() in (here, *here.parents):
        raise UserError(
            f"{out} is the folder you stand in, or one above it, and a bundle takes the place of its whole folder: "
            "choose a new one in or beside it with --out"
        )


def _say_nothing(_: str) -> None:
    """What the other processes of a distributed run say."""


def _kept(out: Path) -> Bundle:
    bundle = Bundle.open(out)
    if rank() == 0:
        bundle.verify()
    return bundle


def _make(name: str, stage: Stage, source: Bundle | None, out: Path, origin: Origin, say: Say) -> Bundle:
    shop = _workshop(out, origin)
    if not is_sealed(shop / "bundle"):
        say(f"{out.name}: {name}" + ("" if _is_empty(shop / "scratch") else ", continuing what was cut short"))
        started = time.monotonic()
        facts = _fill(stage, source, shop, say)
        _await_others(stage, shop)
        facts["seconds"] = round(time.monotonic() - started, 1)
        made_in = stage.format_of(source.format if source else None)
        made_by = origin.model_copy(update={"became": stage.became(facts)})
        seal(shop / "bundle", made_in, made_by, source, facts, stage.effect)
    _put_in_place(shop / "bundle", out)
    shutil.rmtree(shop)
    return Bundle.open(out)


def _fill(stage: Stage, source: Bundle | None, shop: Path, say: Say) -> dict[str, Any]:
    shutil.rmtree(shop / "bundle", ignore_errors=True)
    (shop / "bundle").mkdir()
    if source is not None:
        source.verify()
    return stage.run(source, _work_in(shop, say))


def _await_others(stage: Stage, shop: Path) -> None:
    """The other processes may still use the workshop after the last thing they did together."""
    others = processes() - 1 if stage.distributed else 0
    while len(list((shop / ENDED).iterdir())) < others:
        time.sleep(0.05)


def _workshop(out: Path, origin: Origin) -> Path:
    """The hidden sibling where the bundle is made; emptied if it was left by something other than an equal run."""
    shop = _workshop_path(out)
    wanted = origin.model_dump_json()
    if shop.exists() and _text(shop / "origin.json") != wanted:
        shutil.rmtree(shop)
    shutil.rmtree(shop / ENDED, ignore_errors=True)
    for folder in ("scratch", ENDED):
        (shop / folder).mkdir(parents=True, exist_ok=True)
    write_durably(shop / "origin.json", wanted)
    return shop


def _put_in_place(made: Path, out: Path) -> None:
    old = _replaced_path(out)
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    made.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _clear_up(out: Path, origin: Origin) -> None:
    """Remove what a process left that was killed when its bundle was in place already; a workshop of other settings
    stays, to be continued, and so does all where another process is at work."""
    shop = _workshop_path(out)
    ended = _text(shop / "origin.json") == origin.model_dump_json() and not (shop / "bundle").exists()
    left = [path for path in (_replaced_path(out), *([shop] if ended else [])) if path.exists()]
    if left and rank() == 0:
        with suppress(UserError, OSError), lock_on(out):
            for path in left:
                shutil.rmtree(path)


def _work_along(stage: Stage, source: Bundle | None, out: Path, origin: Origin, say: Say) -> Bundle:
    """What the other processes of a distributed run do: train along where the stage is distributed, then wait."""
    shop = _workshop_path(out)
    if stage.distributed:
        while _text(shop / "origin.json") != origin.model_dump_json() and not _is_made(out, origin):
            time.sleep(0.05)
        if not is_sealed(shop / "bundle") and not _is_made(
            out, origin
        ):  # in this order: the first process moves it from here to there
            stage.run(source, _work_in(shop, say))
            (shop / ENDED / str(rank())).touch()
    while not _is_made(out, origin):
        time.sleep(0.2)
    return Bundle.open(out)


def _is_made(out: Path, origin: Origin) -> bool:
    return is_sealed(out) and Bundle.open(out).card.origin.asked == origin


def _work_in(shop: Path, say: Say) -> Work:
    return Work(shop / "bundle", shop / "scratch", say)


def _workshop_path(out: Path) -> Path:
    return out.with_name(f".{out.name}.partial")


def _replaced_path(out: Path) -> Path:
    """Where what was there before waits until the new bundle is in its place."""
    return out.with_name(f".{out.name}.old")


@contextmanager
def lock_on(out: Path) -> Iterator[None]:
    """Only one process works on `out` at a time, whoever's it is: the lock lies beside it. It goes with the process,
    however that ends.

    Raises:
        Busy: another process holds it.
        UserError: there is no room for it, or no right to write it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    file = _lock_file(out)
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise Busy(f"another palmtop is working on {out}: wait for it, or choose another folder with --out") from None
    except OSError as error:
        raise from_os(error, out) or error from error
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        lock.release()


def _lock_file(out: Path) -> Path:
    """Beside `out`; in it where the folder above can't be written, as of a run whose folder alone is lent."""
    place = out.resolve()
    if place.is_dir() and not os.access(place.parent, os.W_OK):
        return place / ".lock"
    return place.with_name(f".{place.name}.lock")


def _is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
