"""The result file of every input: what makes a batch exact when it runs again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from headstream.batch.job import NOT_WRITTEN, OWN_FOLDER, WORDS_OF, BatchJob, Item, Outcome
from headstream.batch.piecework import why_whole
from headstream.batch.places import Storage, own_name
from headstream.errors import UsageError
from headstream.segment.registry import find_model, is_shipped
from headstream.shared.digest import file_sha256

_FIELDS = {field.name for field in fields(Outcome)} - NOT_WRITTEN
_BLANK = Outcome("", "video", "", "done")  # what is in results is of these kinds
_MADE: dict[str, object] = {"name": "", "files": 0, "bytes": 0}  # and in their outputs
_NEW_FIELDS = {"length_s", "former"}  # which results of before do not have
_NEW_WORDS = {"matte", "stages", "hq", "trim"}  # of wishes: those of before, which have none, wanted none


def result_name(place: str) -> str:
    """Name of an input's result file below the output folder: like its output."""
    return own_name("results", place) + ".json"


def made_before(out: str) -> set[str]:
    """What earlier runs made in a local output folder: names there of files, and of folders of frames."""
    found: set[str] = set()
    for result in Path(out, OWN_FOLDER, "results").rglob("*.json"):
        if result.is_file() and (outcome := _parsed(result.read_bytes())) is not None:  # folders may be called so, too
            found.update(_all_made(outcome))
    return found


def _all_made(outcome: Outcome) -> dict[str, int]:
    """Names of what a result, or the one before it that failed, has left in the output folder, and how many files each is."""
    return outcome.former | {made["name"]: made["files"] for made in outcome.outputs}


def not_made(item: Item, outcome: Outcome) -> dict[str, int]:
    """Of an earlier result, and of one that failed to be put in its place, what the new one does not have."""
    made = {out["name"] for out in outcome.outputs}
    return {name: files for name, files in (item.former | outcome.former).items() if name not in made}


def with_identity(items: Sequence[Item], job: BatchJob) -> list[Item]:
    """The items with all that their results depend on: the input's size and time, the wishes, the weights."""
    weights = {kind: model_identity(job.model, fast=kind == "video") for kind in {item.kind for item in items}}
    backgrounds = {item.wish.background: _file_identity(item.wish.background) for item in items}
    whole = {wish: why_whole(wish) for wish in {item.wish for item in items if job.split_s and item.kind == "video"}}
    done = []
    for item in items:
        others = {word for kind, words in WORDS_OF.items() if kind != item.kind for word in words}
        wish: dict[str, Any] = {word: value for word, value in asdict(item.wish).items() if word not in others}
        for word in _NEW_WORDS & set(wish):
            if not wish[word]:
                del wish[word]
        if item.kind == "photo" and wish["background"] == "transparent":  # photos of before had no other
            del wish["background"]
        if backgrounds[item.wish.background]:
            wish["background_file"] = backgrounds[item.wish.background]
        split_s = job.split_s if item.kind == "video" else 0.0
        name = item.input.replace("\\", "/").rpartition("/")[2]
        identity = {"name": name, "size": item.size, "mark": item.mark, "wish": wish, "model": weights[item.kind]}
        if split_s and not whole[item.wish]:
            identity["split_s"] = split_s
        done.append(replace(item, identity=identity, split_s=split_s))
    return done


def model_identity(model: str, *, fast: bool) -> str:
    """What other weights have another of: the sha256 of a file; of folders, their files' sizes and times. Raises UsageError."""
    path = Path(model)
    if path.is_dir() and not is_shipped(model):
        parts = sorted((str(f.relative_to(path)), f.stat().st_size, f.stat().st_mtime_ns) for f in path.rglob("*"))
        return hashlib.sha256(repr(parts).encode()).hexdigest()
    if path.suffix not in {".onnx", ".json"} and path.is_file():
        return file_sha256(path)
    try:
        card = find_model(model, fast=fast)
    except UsageError:
        if "/" in model and path.suffix not in {".onnx", ".json"}:
            return model  # on the hub: with its commit
        raise
    return card.mark(file_sha256)


def _file_identity(background: str) -> list[int] | None:
    path = Path(background)
    if background.startswith("#") or not path.is_file():
        return None
    return [path.stat().st_size, path.stat().st_mtime_ns]


def write_result(storage: Storage, outcome: Outcome) -> None:
    """Write an input's result file, at once and whole. Raises SinkError."""
    outcome.finished = datetime.now(timezone.utc).isoformat(timespec="seconds")
    text = json.dumps(outcome.as_dict(), ensure_ascii=False, indent=1)
    written = text.encode(errors="backslashreplace")  # names that are not UTF-8, as JSON writes them, too
    storage.write(result_name(outcome.place), written)


def split(items: Sequence[Item], storage: Storage, *, resume: bool = True) -> tuple[list[Item], list[Outcome]]:
    """What is to be done, and what earlier runs did that is unchanged in every respect and still there; without
    ``resume``, everything is to be done."""
    names = {item.number: result_name(item.place) for item in items if not item.problem}
    raw = storage.read(list(names.values()))
    owners = {place.casefold(): item.number for item in items if item.number in names for place in item.places}
    todo: list[Item] = []
    finished: list[Outcome] = []
    for item in items:
        outcome = _parsed(raw.pop(names[item.number], None)) if item.number in names else None
        if outcome is None:
            todo.append(item)
        elif not resume or not _unchanged(outcome, item) or not _whole(outcome, storage):
            made = _all_made(outcome)  # a name that another input has now is its own to fill
            mine = {name: made[name] for name in made if owners.get(name.casefold(), item.number) == item.number}
            todo.append(replace(item, former=mine))
        else:
            finished.append(replace(outcome, input=item.input))
    return todo, finished


def _unchanged(outcome: Outcome, item: Item) -> bool:
    """Whether a result is of the same as is asked for now. Where films are split is of no account to shorter ones."""
    was, now = dict(outcome.identity), dict(item.identity)
    splits = [s if s and outcome.length_s >= 2 * s else 0 for s in (was.pop("split_s", 0), now.pop("split_s", 0))]
    return was == now and splits[0] == splits[1]


def _parsed(raw: bytes | None) -> Outcome | None:
    try:
        values = json.loads(raw or b"null")
        if isinstance(values.get("former"), list):  # so it was once, without numbers
            values["former"] = dict.fromkeys(values["former"], 1)
        outcome = Outcome(**{key: values[key] for key in _FIELDS if key in values or key not in _NEW_FIELDS})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None  # cut off, or another version's: done again
    return outcome if _is_sound(outcome) else None


def _is_sound(outcome: Outcome) -> bool:
    """Whether all that a result file tells is of its kind: one that somebody edited must not end the batch."""
    told, known = vars(outcome), vars(_BLANK)
    return (
        all(_is_like(told[key], known[key]) for key in _FIELDS)
        and _is_like(outcome.identity.get("split_s", 0.0), 0.0)
        and all(isinstance(name, str) for name in (*outcome.former, *outcome.notes))
        and all(isinstance(files, int) for files in outcome.former.values())
        and all(isinstance(made, dict) for made in outcome.outputs)
        and all(_is_like(made.get(key), _MADE[key]) for made in outcome.outputs for key in _MADE)
    )


def _is_like(value: object, known: object) -> bool:
    return isinstance(value, (int, float) if isinstance(known, float) else type(known))


def _whole(outcome: Outcome, storage: Storage) -> bool:
    """Whether a result is a finished one and its outputs are there in full."""
    if outcome.state not in ("done", "no_head"):
        return False
    return all(storage.measure(out["name"], out["files"]) == (out["files"], out["bytes"]) for out in outcome.outputs)
