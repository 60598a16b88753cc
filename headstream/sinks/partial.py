"""Nothing half-written under a final name: outputs are made beside it and renamed when they are whole."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from headstream.errors import SinkError, UsageError
from headstream.shared.disk import remove, rename, sync

# /dev/stdout is a file where a shell has put one there.
_STREAMS = {Path("/dev"), Path("/dev/fd"), Path("/proc/self/fd")}
_LONGEST_NAME = 255  # bytes, of file systems
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # C:/ is none


class PartialFile:
    """A file in the making. ``keep`` or ``discard`` ends it; both are safe to call again, and ``discard`` after ``keep``.

    path: where to write.  final: where it goes; a link there is followed. Raises SinkError when the place cannot be written to.
    """

    def __init__(self, final: Path) -> None:
        if final.is_dir():
            raise SinkError(f"{final}: is a folder; name a file")
        self.final = final
        place = followed(final)
        self.path = place.with_name(fitting(".", place.stem, f".part{place.suffix}"))
        self._kept = False
        make_parents(final)

    def keep(self) -> None:
        """Move the finished file to its final name, over whatever was there. Raises SinkError; where it is only the name it
        cannot have, the file stays, and the error tells where."""
        if self._kept:
            return
        try:
            sync(self.path)
        except OSError as error:
            self.discard()
            raise _lost(self.final, self.path, error) from error
        self._kept = True
        place = followed(self.final)
        try:
            rename(self.path, place)
        except OSError as error:
            raise unnamed(self.final, self.path, error) from error
        try:
            sync(place.parent)
        except OSError as error:
            raise sink_error(self.final, error) from error

    def discard(self) -> None:
        """Remove it."""
        if not self._kept:
            remove(self.path)


@contextmanager
def whole_file(final: Path) -> Iterator[Path]:
    """Where to write ``final``, which gets its name when the block ends; when the block fails there is what was there before.

    Raises SinkError, also for what the disk says within.
    """
    place = PartialFile(final)
    try:
        yield place.path
        place.keep()
    except OSError as error:
        raise sink_error(final, error) from error
    finally:
        place.discard()


class PartialFolder:
    """Like ``PartialFile``, for a folder of files; files already in the final folder stay, same names are replaced.

    fresh: whether files of an earlier run that was broken off are removed.  name: of the folder in the making.
    """

    def __init__(self, final: Path, *, fresh: bool = True, name: str | None = None) -> None:
        self.final = final
        place = followed(final)
        self.path = neighbour(place, name or fitting(".", place.name, ".part"))
        self._kept = False
        make_parents(final)
        if final.exists() and not final.is_dir():
            raise SinkError(f"{final}: is a file; name a folder for the frames")
        if fresh:
            shutil.rmtree(self.path, ignore_errors=True)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise sink_error(final, error) from error

    def keep(self) -> None:
        """Move the finished files to their final folder. Raises SinkError as ``PartialFile.keep`` does."""
        if self._kept:
            return
        if not self.path.is_dir():
            raise _lost(self.final, self.path, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
        self._kept = True
        try:
            if not self.final.exists():
                rename(self.path, followed(self.final))
                return
            for file in self.path.iterdir():
                rename(file, self.final / file.name)
                file.unlink(missing_ok=True)  # two names of one file stay two
            self.path.rmdir()
        except OSError as error:
            raise unnamed(self.final, self.path, error, "what has not got there") from error

    def discard(self) -> None:
        """Remove them."""
        if not self._kept:
            shutil.rmtree(self.path, ignore_errors=True)


def followed(final: Path) -> Path:
    """What a link leads to, there or not: an output is made beside that, on its disk, and the link stays. Any other name is
    returned as it is."""
    return Path(os.path.realpath(final)) if final.is_symlink() else final


def fitting(before: str, name: str, after: str) -> str:
    """The name of what belongs to the making of ``name``; where ``name`` leaves no room for more, a hash stands for it."""
    whole = f"{before}{name}{after}"
    if len(os.fsencode(whole)) <= _LONGEST_NAME:
        return whole
    return f"{before}{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}{after}"


def neighbour(place: Path, name: str) -> Path:
    """What is to be renamed to ``place``, or belongs to its making: beside it; inside a folder that is there where beside it
    is another file system (a mount point, a link), to which nothing can be renamed, or no permission to write."""
    if place.is_dir():
        place = place if place.name not in {"", ".."} else place.resolve()
        parent = place.absolute().parent
        elsewhere = not place.name or parent.stat().st_dev != place.stat().st_dev
        if elsewhere or not os.access(parent, os.W_OK | os.X_OK):
            return place / name
    return place.with_name(name)


def check_writable(final: Path) -> None:
    """Raise SinkError unless something can be created at ``final``, or in it where it is a folder; UsageError for what is no name
    of a file. Nothing is created yet."""
    if _ADDRESS.match(final.as_posix()):
        raise UsageError(f"{final}: is an address; outputs are files of this machine (object stores: headstream batch)")
    stream = str(final) == "-" or final.parent in _STREAMS
    if stream or (final.exists() and not final.is_file() and not final.is_dir()):
        raise UsageError(f"{final}: is a pipe or a device; an output is made in a file and then named: name a file")
    place = followed(final)
    if place.is_symlink():
        raise UsageError(f"{final}: is a link that leads back to itself; name a file")
    folder = place.absolute() if place.is_dir() else place.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise SinkError(f"{final}: {folder} is a file, not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SinkError(f"{final}: no permission to write in {folder}")


def check_named(final: Path, suffixes: Collection[str]) -> None:
    """Raise UsageError where one of ``suffixes`` is all of a name."""
    if final.name.lower() in suffixes:
        raise UsageError(f"{final}: has no name before {final.name}; is a variable of the shell not set?")


def check_file(final: Path) -> None:
    """As ``check_writable``, for a file: a folder of that name is a UsageError, too."""
    check_writable(final)
    if final.is_dir():
        raise UsageError(f"{final}: is a folder; name a file")
    if sys.platform == "win32" and final.is_file():  # what a player has open there could not be replaced in the end
        try:
            final.open("r+b").close()
        except OSError as error:
            raise sink_error(final, error) from error


def is_page(final: Path) -> bool:
    """Whether a file has a page's name: one of HTML is written nowhere else, so that a slip cannot cost a film."""
    return final.suffix.lower() in {".html", ".htm"}


def make_parents(final: Path) -> None:
    """Make the folders ``final`` goes into. Raises SinkError, UsageError."""
    check_writable(final)
    folder = followed(final).parent
    try:
        # What links on the way lead to is made, too: a link to nothing is in the way of a folder of its name.
        Path(os.path.realpath(folder)).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise sink_error(folder, error) from error


def _lost(final: Path, part: Path, error: OSError) -> SinkError:
    """Why a finished file is not whole on the disk."""
    if isinstance(error, FileNotFoundError):
        return SinkError(
            f"{final}: {part.name}, which it was made in, is gone; somebody else has removed or renamed it"
        )
    return sink_error(final, error)


def unnamed(final: Path, part: Path, error: OSError, what: str = "what was made") -> SinkError:
    """A finished output that cannot have its name: where it stays instead."""
    return SinkError(f"{sink_error(final, error)}; {what} is whole and stays in {part}: give it a name yourself")


def is_refusal(error: BaseException | None) -> bool:
    """Whether an encoder or a muxer refuses what it is given, and always will. One of FFmpeg's words for that, EPERM, is also the
    system's for want of permission to open a file; to that PyAV adds no name."""
    import av

    if not isinstance(error, av.error.FFmpegError) or isinstance(error, MemoryError):
        return False
    return not isinstance(error, OSError) or (error.errno == errno.EPERM and error.filename is not None)


def sink_error(path: Path, error: BaseException) -> SinkError:
    """What went wrong while writing, in a person's words."""
    code = getattr(error, "errno", None)
    if code in {errno.ENOSPC, errno.EDQUOT}:
        free, folder = "", followed(path).parent
        if folder.exists():
            free = f" ({shutil.disk_usage(folder).free // 2**20} MiB left there)"
        return SinkError(f"{path}: the disk is full{free}; free some space or write elsewhere")
    if code in {errno.EACCES, errno.EPERM, errno.EROFS} and not is_refusal(error):
        held = ", or another program has it open" if sys.platform == "win32" else ""  # there it is one error
        return SinkError(f"{path}: no permission to write it{held}")
    if code == errno.EFBIG:
        return SinkError(f"{path}: the file grew past the size allowed here")
    return SinkError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}")
