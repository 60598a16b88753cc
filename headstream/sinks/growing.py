"""A recording while it grows: a file that is never worse for what fails, and a name of its own that is seen."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from headstream.errors import SinkError
from headstream.shared.disk import rename, sync
from headstream.sinks.formats import frames_from, is_sequence, sequence_place
from headstream.sinks.partial import PartialFile, PartialFolder, followed, neighbour, unnamed


def growing_name(path: Path) -> Path:
    """What a recording is called until it ends."""
    if is_sequence(path):
        folder = followed(sequence_place(path)[0])
        return neighbour(folder, f"{folder.name}.recording")
    path = followed(path)
    return path.with_name(f"{path.stem}.recording{path.suffix}")


def is_there(path: Path) -> bool:
    """Whether a recording of that name would take another one's place."""
    return bool(_frames_of(path)) if is_sequence(path) else path.is_file()


def _frames_of(path: Path) -> list[Path]:
    """The frames that a folder holds already, under names that a recording would give."""
    folder, pattern = sequence_place(path)
    digits = re.sub(r"%(?:0(\d+))?d", lambda found: rf"\d{{{found[1] or 1},}}", re.escape(pattern))
    named = re.compile(digits, re.IGNORECASE)
    return [file for file in folder.iterdir() if named.fullmatch(file.name)] if folder.is_dir() else []


class GrowingFile:
    """A file FFmpeg writes through, that is never worse for what fails. Lets OSError out of the first write that does.

    What is written over what is there, as muxers do at the end, waits for ``finish``: the index it needs may find no room.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)
        self._at = self.end = 0
        self._over: list[tuple[int, bytes]] = []
        self._broken = False

    def write(self, data: Any) -> int:
        """Append, or remember what goes over what is there."""
        data = bytes(data)
        over = data[: max(0, self.end - self._at)]
        if self._broken:
            return len(data)
        if over:
            self._over.append((self._at, over))
        self._put(self._at + len(over), data[len(over) :])
        self._at += len(data)
        self.end = max(self.end, self._at)
        return len(data)

    def _put(self, at: int, data: bytes) -> None:
        try:
            self._file.seek(at)
            while data:
                data = data[self._file.write(data) :]
        except OSError:
            self._broken = True
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        """As of files."""
        self._at = offset + (0, self._at, self.end)[whence]
        return self._at

    def tell(self) -> int:
        """As of files."""
        return self._at

    def finish(self) -> None:
        """All is there: write what goes over the rest, and close. Safe to call again."""
        for at, data in self._over:
            self._put(at, data)
        self._over.clear()
        self._file.close()

    def give_up(self, whole_bytes: int) -> None:
        """Leave the first bytes alone, unless it was finished. A disk that lets nothing be changed any more leaves what is there,
        which plays as any beginning does."""
        if not self._file.closed:
            with suppress(OSError):
                self._file.truncate(whole_bytes)
            with suppress(OSError):
                self._file.close()


class TakePlace(PartialFile):
    """A recording on its way to its name; nothing is put over another unless ``overwrite``."""

    def __init__(self, final: Path, *, overwrite: bool) -> None:
        super().__init__(final)
        self.path, self._overwrite = growing_name(final), overwrite

    def keep(self) -> None:
        """Give it its name. Raises SinkError, which tells where it stays."""
        if self._kept:
            return
        self._kept = True
        try:
            sync(self.path)
            if self.final.exists() and not self._overwrite:
                raise FileExistsError("something has come to be there meanwhile")
            place = followed(self.final)
            rename(self.path, place)
            sync(place.parent)
        except OSError as error:
            raise unnamed(self.final, self.path, error, "what was recorded") from error


class TakeFolder(PartialFolder):
    """Like ``TakePlace``, for frames."""

    def __init__(self, frames: Path, *, overwrite: bool) -> None:
        final = sequence_place(frames)[0]
        if growing_name(frames).exists():
            raise SinkError(f"{growing_name(frames)}: is there already")
        super().__init__(final, fresh=False, name=growing_name(frames).name)
        self._frames, self._overwrite = frames, overwrite

    def keep(self) -> None:
        """Move the frames to their folder, in place of all of another recording where that is wanted. Raises SinkError."""
        if self._kept:
            return
        try:
            for half in self.path.glob("*.tmp"):
                half.unlink()
            if _frames_of(self._frames) and not self._overwrite:
                raise FileExistsError("frames have come to be there meanwhile")
            for old in frames_from(*sequence_place(self._frames), 1):
                old.unlink()
        except OSError as error:
            self._kept = True
            raise unnamed(self.final, self.path, error, "what was recorded") from error
        super().keep()
