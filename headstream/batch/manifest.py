"""Lists of inputs: CSV with a heading, or JSONL with one object a line; each line may have wishes of its own."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

from headstream.batch.job import FORMATS, OWN_FOLDER, Wish
from headstream.batch.places import file_system, is_remote, local_path
from headstream.errors import SourceError, UsageError

SUFFIXES = (".csv", ".jsonl")
_WISHES = tuple(field.name for field in fields(Wish))
COLUMNS = ("input", "out", *_WISHES)
_SAID = {"yes": True, "true": True, "no": False, "false": False}


@dataclass(frozen=True)
class Line:
    """One input of a manifest. out: its result's name below the output folder, or None.  at: "file:line", for messages."""

    input: str
    out: str | None
    wish: Wish
    at: str


def read_manifest(text: str, wish: Wish) -> list[Line]:
    """The lines of a manifest; what one leaves open is as in ``wish``. Raises SourceError, UsageError naming the line.

    Relative inputs are looked for beside the manifest.
    """
    rows = _csv(text) if text.lower().endswith(".csv") else _jsonl(text)
    lines = [_line(row, f"{text}:{number}", text, wish) for number, row in rows]
    if not lines:
        raise SourceError(f"{text}: no input is listed in it")
    return lines


def _csv(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(_content(text)), strict=True)
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        if twice := sorted({name for name in names if name in COLUMNS and names.count(name) > 1}):
            raise UsageError(f"{text}:1: column {twice[0]!r} is there twice; name it once")
        for row in reader:
            if None in row:
                raise UsageError(f"{text}:{reader.line_num}: more fields than the heading has columns")
            yield reader.line_num, row
    except csv.Error as error:
        raise UsageError(f"{text}:{reader.line_num}: not CSV: {error}") from error


def _jsonl(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_content(text).split("\n"), 1):  # splitlines would at characters that names may have
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{text}:{number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise UsageError(f'{text}:{number}: expected an object like {{"input": "talk.mp4"}}')
        yield number, row


def _content(text: str) -> str:
    try:
        if is_remote(text):
            system, path = file_system(text)
            raw = bytes(system.cat_file(path))
        else:
            raw = Path(local_path(text)).read_bytes()
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{text}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise SourceError(f"{text}: cannot be read: {error.strerror or error}") from error


def _line(row: dict[str, Any], at: str, manifest: str, wish: Wish) -> Line:
    values: dict[str, Any] = {}
    for key, value in row.items():
        name = str(key).strip()
        if name.startswith("_") or value is None:
            continue
        if name not in COLUMNS:
            raise UsageError(
                f"{at}: column {name!r} is not known; known: {', '.join(COLUMNS)}; a name with _ before it is left alone"
                + ("; columns are set apart by commas" if ";" in name or "\t" in name else "")
            )
        if name in ("stages", "hq", "trim") and str(value).strip():
            if (said := _SAID.get(str(value).strip().lower())) is None:
                raise UsageError(f"{at}: {name} is {value!r}; expected yes or no")
            values[name] = said
            continue
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            raise UsageError(f"{at}: {name} is {value!r}; expected text")
        if "\0" in str(value) or (name != "input" and not _is_text(str(value))):  # such an input is a failed one
            raise UsageError(f"{at}: {name} is {value!r}; a name cannot hold such a character")
        if str(value).strip():
            values[name] = str(value).strip()
    if "input" not in values:
        raise UsageError(f"{at}: no input")
    out = _checked_out(values["out"], at) if "out" in values else None
    behind = values.get("background", "transparent")
    if behind not in ("transparent", "blur") and not behind.startswith("#"):
        values["background"] = _beside(behind, manifest)
    own = {name: values[name] for name in _WISHES if name in values}
    if out is not None and (suffix := PurePosixPath(out).suffix.lower()) in FORMATS.values() and suffix:
        named = next(name for name, known in FORMATS.items() if known == suffix)
        if own.setdefault("format", named) != named:
            raise UsageError(f"{at}: out is {out} but format is {own['format']}")
        out = out[: -len(suffix)]
    return Line(_beside(values["input"], manifest), out, replace(wish, **own), at)


def _is_text(value: str) -> bool:
    """Whether a file can be called so: JSON can also write half a character."""
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def _checked_out(out: str, at: str) -> str:
    """A result's name, which must stay below the output folder."""
    path = PurePosixPath(out.replace("\\", "/"))
    if path.is_absolute() or not path.name or ".." in path.parts or ":" in path.parts[0] or path.parts[0] == OWN_FOLDER:
        raise UsageError(f"{at}: out is {out!r}; expected a name below the output folder, like shoot1/talk")
    return str(path)


def _beside(name: str, manifest: str) -> str:
    """An input as the manifest means it: relative names are looked for beside it."""
    if is_remote(name):
        return name
    if is_remote(manifest):
        return f"{manifest.rpartition('/')[0]}/{name.lstrip('/')}"
    return os.path.join(os.path.dirname(local_path(manifest)), os.path.expanduser(name))
