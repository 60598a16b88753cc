"""From what a user names to a list of inputs, and the place of each one's result.

A result keeps its input's path below the deepest folder that all that was named shares, so no sub-folder's file overwrites
another's. Inputs that differ in their suffix alone get it into the name (talk-mp4.mov, talk-avi.mov). What would still
land in one place is refused.
"""

from __future__ import annotations

import glob
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from headstream.batch import manifest
from headstream.batch.job import FORMATS, LIST, OWN_FOLDER, WORDS_OF, Item, Kind, Wish
from headstream.batch.ledger import made_before
from headstream.batch.places import is_numbered, is_remote, local_path, mark_of
from headstream.capture.named import PHOTOS, VIDEOS, below, files_below, inside, unread_folder
from headstream.errors import SourceError, UsageError
from headstream.sinks.photo import portable


@dataclass(frozen=True)
class Found:
    """One input before it has a place. base: folder of its argument.  out: the place a manifest gives it, no suffix.
    at: where it was named, for messages."""

    input: str
    base: str
    wish: Wish
    out: str | None = None
    size: int = 0
    mark: str = ""
    problem: str = ""
    at: str = ""


def find_items(inputs: Sequence[str], wish: Wish, out: str, *, recursive: bool = True) -> list[Item]:
    """Everything ``inputs`` name, each once with the same wish, sorted within each. What a manifest says of a
    file goes before the folder or pattern it is found by. What cannot be tried has a ``problem``.

    A folder stands for the photos and videos in it, and below it if ``recursive``; hidden files and what lies in the
    output folder are left out; of a folder that is it, or is in it, what earlier runs made. Files and manifests are taken at
    their word, and patterns that name it.
    Raises UsageError for two inputs with one place, and for manifests that make no sense.
    """
    own = out if is_remote(out) else local_path(out)
    found: dict[tuple[str, str | None, Wish], Found] = {}
    for text in inputs:
        for one in _expanded(text, wish, own, recursive):
            found.setdefault((one.input, one.out, one.wish), one)
    named = {one.input for one in found.values() if one.at}  # what a manifest says of a file goes before its folder
    return _placed([one for one in found.values() if one.at or one.input not in named])


def _expanded(text: str, wish: Wish, own: str, recursive: bool) -> Iterator[Found]:
    if text.lower().endswith(manifest.SUFFIXES):
        for line in manifest.read_manifest(text, wish):
            kind = kind_of(line.input)
            for other in (other for other in WORDS_OF if other != kind):
                given = [word for word in WORDS_OF[other] if getattr(line.wish, word) != getattr(wish, word)]
                if given:
                    raise UsageError(f"{line.at}: {line.input} is a {kind}; {given[0]} is for {other}s")
            yield replace(_file(line.input, line.wish), out=line.out, at=line.at)
    elif is_remote(text):
        yield from _remote(text, wish, own, recursive)
    else:
        yield from _local(text, wish, own, recursive)


def _local(text: str, wish: Wish, own: str, recursive: bool) -> Iterator[Found]:
    path = local_path(text)
    if os.path.isdir(path):
        yield from _folder(path, path, wish, own, recursive)
    elif os.path.lexists(path) or not glob.has_magic(text):
        yield _file(path, wish)
    else:
        base = _fixed_part(path)
        meant = bool(own) and _inside(base, own)
        matches = [m for m in sorted(glob.glob(path, recursive=True)) if meant or not own or not _inside(m, own)]
        if not matches:
            yield Found(path, base, wish, problem=f"{text}: no file matches this pattern")
        for match in matches:
            if not os.path.isdir(match):
                yield replace(_file(match, wish), base=base)
            elif "**" not in text:
                yield from _folder(match, base, wish, own, recursive)


def _folder(folder: str, base: str, wish: Wish, own: str, recursive: bool) -> Iterator[Found]:
    unread: list[OSError] = []
    at = below(folder, own) if own and not is_remote(own) else None
    made = made_before(own) if at is not None else set()
    empty = at != "." and not any(name.startswith(f"{at}/") for name in made)  # a * may name it, though
    for path in files_below(folder, PHOTOS | VIDEOS, unread, leave_out=own, recursive=recursive):
        name = (below(path, own) or "") if made else ""
        if name in made or (is_numbered(os.path.basename(path)) and posixpath.dirname(name) in made):
            continue
        empty = False
        yield replace(_file(path, wish), base=base)
    for error in unread:
        yield Found(error.filename, base, wish, problem=unread_folder(error))
    if empty and not unread:
        yield Found(folder, base, wish, problem=f"{folder}: no photos or videos in this folder")


def _file(path: str, wish: Wish) -> Found:
    """A single file, here or elsewhere."""
    if is_remote(path):
        return next(_remote(path, wish, "", False, literal=True))
    path = local_path(path)
    base = os.path.dirname(path)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return Found(path, base, wish, problem=f"{path}: no such file")
    except OSError as error:
        return Found(path, base, wish, problem=f"{path}: cannot be read: {error.strerror}")
    except ValueError:  # half a character, which only JSON can write
        return Found(path, base, wish, problem=f"{path!r}: no file can have such a name")
    if os.path.isdir(path):
        return Found(path, base, wish, problem=f"{path}: is a folder; a manifest names files")
    return Found(path, base, wish, size=status.st_size, mark=str(status.st_mtime_ns))


def _remote(url: str, wish: Wish, own: str, recursive: bool, literal: bool = False) -> Iterator[Found]:
    from headstream.batch.remote import found_at

    url = url if url.endswith("://") else url.rstrip("/")
    magic = not literal and glob.has_magic(url)
    above = url.rpartition("/")[0] if url.count("/") > 2 else url
    try:
        files = found_at(url, literal=literal, recursive=recursive)
    except SourceError as error:
        yield Found(url, above, wish, problem=str(error))
        return
    itself = any(_path(name).strip("/") == _path(url).strip("/") for name in files)
    base = _fixed_part(url) if magic else above if itself else url
    if not magic and not itself:
        files = {name: info for name, info in files.items() if _is_media(posixpath.basename(name))}
    files = {name: info for name, info in files.items() if not own or not _inside(name, own)}
    if not files:
        what = "no file matches this pattern" if magic else "no such file, and no photos or videos below it"
        what = "lies in the output folder; on a store, name another" if own and _inside(url, own) else what
        yield Found(url, above, wish, problem=f"{url}: {what}")
    for name, info in files.items():
        yield Found(name, base, wish, size=int(info.get("size") or 0), mark=mark_of(info))


def _fixed_part(pattern: str) -> str:
    """The folders before the first wildcard."""
    before = pattern[: re.search(r"[*?\[]", pattern).start()]  # type: ignore[union-attr]
    return re.split(r"[/\\][^/\\]*$", before)[0] or os.sep


def _inside(path: str, folder: str) -> bool:
    if is_remote(path) != is_remote(folder):
        return False
    if is_remote(path):
        return f"{_path(path).strip('/')}/".startswith(f"{_path(folder).strip('/')}/")
    return inside(path, folder)


def _is_media(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in PHOTOS | VIDEOS


def kind_of(name: str) -> Kind:
    """Photos are known by their suffix; everything else is tried as a video."""
    return "photo" if os.path.splitext(name)[1].lower() in PHOTOS else "video"


def _placed(found: list[Found]) -> list[Item]:
    below = _below_common(found)
    stems = [
        one.out or name[: len(name) - len(PurePosixPath(name).suffix)] for one, name in zip(found, below, strict=True)
    ]
    for k in {k for group in _sharing(_items(found, stems)) for k in group if found[k].out is None}:
        stems[k] += "-" + PurePosixPath(below[k]).suffix[1:].lower()
    items = _items(found, stems)
    for (first, second, *_), place in _sharing(items).items():
        if items[first].input == items[second].input:
            raise UsageError(
                f"{items[second].at}: {items[second].input} is named twice with different wishes (before: "
                f"{items[first].at}); give each an out of its own"
            )
        raise UsageError(
            f"{items[first].input} and {items[second].input} would both be written to "
            f"{place}; name the folder above them, or give them an out of their own in a manifest"
        )
    for item in items:
        if PurePosixPath(item.place).parts[:1] == (OWN_FOLDER,):
            raise UsageError(f"{item.input}: the folder {OWN_FOLDER} is headstream's own")
        if PurePosixPath(item.place).parts[:1] == ("..",):
            raise UsageError(
                f"{item.input}: has no place below --out; name it without a path around it (::), or unpack that"
            )
        if PurePosixPath(item.place).parts[:1] == (LIST,):
            raise UsageError(
                f"{item.input}: its result would lie in a folder {LIST}, as the list of results is called; rename it"
            )
    return items


def _items(found: list[Found], stems: list[str]) -> list[Item]:
    items = []
    for number, (one, stem) in enumerate(zip(found, stems, strict=True)):
        kind = kind_of(one.input)
        place = stem if kind == "photo" else stem + FORMATS.get(one.wish.format, "")
        place = "" if one.problem else portable(place) or place
        items.append(Item(number, one.input, kind, place, one.wish, one.size, one.mark, problem=one.problem, at=one.at))
    return items


def _sharing(items: list[Item]) -> dict[tuple[int, ...], str]:
    """Those that would have one place, as a file system that ignores case sees it, and that place."""
    groups: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for item in (item for item in items if not item.problem):
        for place in (*item.places, *item.broken_off):
            groups[place.casefold()].append((item.number, place))
    found: dict[tuple[int, ...], str] = {}
    for group in (group for group in groups.values() if len(group) > 1):
        found.setdefault(tuple(number for number, _ in group), group[0][1])
    return found


def _below_common(found: list[Found]) -> list[str]:
    """Each input's path below the deepest folder shared by all bases of its file system, with forward slashes."""
    bases: dict[str, set[str]] = defaultdict(set)
    for one in found:
        bases[_root(one.base)].add(_path(one.base))
    common = {root: _flavour(root).commonpath(sorted(paths)) for root, paths in bases.items()}
    names = []
    for one in found:
        root = _root(one.base)
        names.append(_flavour(root).relpath(_path(one.input), common[root]).replace(os.sep, "/"))
    return names


def _root(base: str) -> str:
    """What paths must share to have a folder in common: scheme and bucket, or on Windows the drive."""
    return "/".join(base.split("/")[:3]) if is_remote(base) else os.path.splitdrive(base)[0]


def _flavour(root: str) -> Any:
    return posixpath if is_remote(root) else os.path


def _path(text: str) -> str:
    return "/" + text.partition("://")[2] if is_remote(text) else text
