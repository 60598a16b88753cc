"""What is done of a long cut, and of which: a small file that is either the old or the new one, never half of each."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import headstream
from headstream.capture.numbered import numbered_pictures
from headstream.shared.disk import rename, sync
from headstream.shared.state import Packed, load

_VERSION = 1
_ENDS_BYTES = 2**20  # of a file are read at its beginning and at its end to know it again
# Whose other versions may draw other pixels or make other packets.
_LIBRARIES = ("av", "numpy", "onnxruntime", "mediapipe", "opencv-contrib-python", "torch")


@dataclass(frozen=True)
class Segment:
    """A finished part. name: of its files.  frames; last_pts: seconds, as text.  sizes: bytes in each output."""

    name: str
    frames: int
    last_pts: str
    sizes: list[int]


@dataclass
class Journal:
    """The journal of a folder. identity: what was asked for, of what, with what; segments: in order.

    state: name of the file with all that the next segment has to know.  complete: no more segments come.
    joined: how many outputs, in order, are whole under their final names.
    """

    folder: Path
    identity: dict[str, Any]
    segments: list[Segment] = field(default_factory=list)
    state: str = ""
    complete: bool = False
    joined: int = 0

    @property
    def frames(self) -> int:
        """How many frames are done."""
        return sum(segment.frames for segment in self.segments)

    def add(self, segment: Segment, state: Packed, *, complete: bool = False) -> None:
        """One more segment is done; its files are on the disk already. Raises OSError; then nothing has changed."""
        segments = [*self.segments, segment]
        after = dataclasses.replace(self, segments=segments, state=f"state-{len(segments):06d}.npz", complete=complete)
        _write_whole(self.folder / after.state, state.save)
        after._write()
        if self.state:
            (self.folder / self.state).unlink(missing_ok=True)
        self.segments, self.state, self.complete = segments, after.state, complete

    def add_joined(self) -> None:
        """One more output is whole. Raises OSError."""
        self.joined += 1
        self._write()

    def _write(self) -> None:
        segments = [dataclasses.asdict(segment) for segment in self.segments]
        told = {"journal": _VERSION, "of": self.identity, "segments": segments, "state": self.state}
        text = json.dumps(told | {"complete": self.complete, "joined": self.joined}, indent=1)
        _write_whole(self.folder / "journal.json", lambda path: path.write_text(text, encoding="utf-8"))

    def saved_state(self) -> Packed:
        """What the next segment has to know. Raises ValueError, OSError."""
        return load(self.folder / self.state)


def read_journal(folder: Path) -> Journal | None:
    """The journal in a folder, or None if there is none. Raises ValueError if it cannot be read."""
    place = folder / "journal.json"
    try:
        told = json.loads(place.read_text(encoding="utf-8"))
        if told["journal"] != _VERSION:
            raise ValueError("its journal is of another version of headstream")
        segments = [_segment(segment) for segment in told["segments"]]
        if not isinstance(told["of"], dict):
            raise TypeError("it does not say of what it is")
        return Journal(folder, told["of"], segments, str(told["state"]), bool(told["complete"]), int(told["joined"]))
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, OverflowError, RecursionError, OSError, json.JSONDecodeError) as error:
        raise ValueError(f"its journal cannot be read ({error})") from error


def _segment(told: Any) -> Segment:
    segment = Segment(**told)
    numbers = [segment.frames, *segment.sizes]
    if not isinstance(segment.name, str) or any(type(number) is not int or number < 0 for number in numbers):
        raise TypeError(f"{segment} is none")
    return segment


def _write_whole(place: Path, write: Any) -> None:
    """Write a file beside ``place``, then put it there: it is the old or the new one at any moment, power cuts included."""
    part = place.with_name(f"{place.name}.part")
    write(part)
    sync(part)
    rename(part, place)
    sync(place.parent)


def identity_of(
    source: Path, options: Mapping[str, Any], model: Mapping[str, Any], files: list[Path]
) -> dict[str, Any]:
    """All that decides what comes out, in plain JSON. files: others that have a part in it."""
    pictures = numbered_pictures(source)
    identity = {
        "the version of headstream": headstream.__version__,
        "a library": _libraries(),
        "the source": pictures.fingerprint() if pictures else fingerprint(source),
        "the model": dict(model),
        "an option": dict(options),
        "a file beside the source": [fingerprint(path) for path in files],
    }
    plain: dict[str, Any] = json.loads(json.dumps(identity, default=str))
    return plain


def fingerprint(path: Path) -> dict[str, Any]:
    """How to know a file again: size, time of change, and a hash of its beginning and end; of a folder, of all in it."""
    if path.is_dir():
        return {str(part.relative_to(path)): fingerprint(part) for part in sorted(path.rglob("*")) if part.is_file()}
    about = path.stat()
    with path.open("rb") as file:
        ends = file.read(_ENDS_BYTES)
        file.seek(max(0, about.st_size - _ENDS_BYTES))
        ends += file.read(_ENDS_BYTES)
    return {"bytes": about.st_size, "changed_ns": about.st_mtime_ns, "ends": hashlib.sha256(ends).hexdigest()}


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two identities, in words; "" for nothing."""
    for what in now:
        if before.get(what) == now[what]:
            continue
        old, new = before.get(what), now[what]
        if what in {"an option", "a library"} and isinstance(old, dict):
            names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
            return f"{what} is another ({', '.join(names)})"
        return f"{what} is another"
    return ""


def versions() -> dict[str, str]:
    """Of headstream and of all that may draw other pixels or make other packets."""
    return {"headstream": headstream.__version__} | _libraries()


def _libraries() -> dict[str, str]:
    return {name: _version(name) for name in _LIBRARIES}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
