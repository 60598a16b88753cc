"""Where batches read and write: this machine's folders, and everything fsspec knows a name for."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from headstream.batch.job import OWN_FOLDER
from headstream.errors import UsageError
from headstream.shared.disk import rename
from headstream.sinks.partial import make_parents, sink_error
from headstream.sinks.photo import check_folder

# Where putting an object is all or nothing. Elsewhere it is put beside its name and renamed.
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "r2", "hf"}
_LONGEST_NAME = 180  # of what is kept of an input, without .json: file systems take 255 bytes
_NUMBERED = re.compile(r"\d{6,}\.png")  # frames of a sequence
NO_FRAMES = range(0)
_MARKS = ("ETag", "etag", "md5Hash", "content_md5", "crc32c", "generation", "LastModified", "mtime", "created")


def own_name(kind: str, place: str) -> str:
    """A name below the output folder for what headstream keeps of an input: like its output's."""
    folder, _, name = place.rpartition("/")
    in_bytes = os.fsencode(name)  # a name on a disk need not be UTF-8
    if len(in_bytes) > _LONGEST_NAME:
        name = name[:40] + "-" + hashlib.sha256(in_bytes).hexdigest()[:16]
    return "/".join([OWN_FOLDER, kind, *([folder] if folder else []), name])


def is_remote(text: str) -> bool:
    """Whether a name is fsspec's: scheme://..., but not file://."""
    return "://" in text and not text.startswith(("file://", "local://"))


def local_path(text: str) -> str:
    """An absolute local path, also for file://."""
    return os.path.abspath(os.path.expanduser(re.sub(r"^(file|local)://", "", text)))


def file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system for a URL and the path on it. Raises UsageError saying what to install."""
    try:
        import fsspec
    except ImportError as error:
        raise UsageError(f"{url}: remote paths need fsspec: pip install 'headstream[cluster]'") from error
    try:
        found, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        advice = "pip install 'headstream[cluster]'" if url.startswith("s3") else str(error)
        raise UsageError(f"{url}: this kind of path needs another package: {advice}") from error
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from error
    except Exception as error:  # some connect at once, or open an archive, and have classes of their own
        raise UsageError(f"{url}: cannot be reached: {' '.join(str(error).split()) or type(error).__name__}") from error
    return found, str(path)


def mark_of(info: dict[str, Any]) -> str:
    """What a remote file has another of once it is changed."""
    return next((str(info[key]).strip('"') for key in _MARKS if info.get(key)), "")


class Storage(Protocol):
    """A batch's output folder. Names are relative, with forward slashes; whatever is put appears at once and whole.

    text: its full name.  clear_is_cheap: whether ``clear`` may be called for what is most likely not there; on a store asking
    for it costs too much.
    """

    text: str
    clear_is_cheap: bool

    def check(self) -> None:
        """Raise UsageError where it cannot be a folder for results, SinkError where it cannot be written, as far as can be
        told before anything is."""

    def prepare(self) -> None:
        """Make room for the workers, before there are any. Raises SinkError."""

    def sweep_work(self) -> None:
        """Remove what is left of the work folders of workers that are gone."""

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """Contents of those that are there."""

    def write(self, name: str, data: bytes) -> None:
        """Write a small file."""

    def put(self, files: Sequence[tuple[Path, str]]) -> None:
        """Move or upload (local file, name)."""

    def remove(self, name: str, frames: range = NO_FRAMES) -> None:
        """Remove a result, if it is there: a file, or these frames of a folder. Others in it may be somebody's own."""

    def measure(self, name: str, files: int = 1) -> tuple[int, int] | None:
        """(files, bytes) of a result: a file, or the first so many frames of a folder; None if it is not there."""

    def fetch(self, name: str, folder: Path, size: int) -> Path:
        """The local folder a file of ``size`` bytes is in under its last name: its own, or ``folder``, where a whole copy is
        made."""

    def clear(self, folder: str) -> None:
        """Remove the files directly in a folder of headstream's own; locally also it and those above it, where empty then."""

    def work_folder(self) -> Path:
        """A local folder to make results in, from which they can be put."""

    def locate(self, name: str) -> str:
        """The full name, for a person."""


class LocalStorage:
    """A folder of this machine, or one that a cluster's machines share."""

    clear_is_cheap = True

    def __init__(self, root: str) -> None:
        self.root = Path(local_path(root))
        self.text = str(self.root)
        self._work = self.root / OWN_FOLDER / "work"

    def check(self) -> None:
        check_folder(self.root)

    def prepare(self) -> None:
        make_parents(self._work / "x")  # workers could not say in a line why they cannot

    def sweep_work(self) -> None:
        _sweep(self._work)
        try:
            self._work.rmdir()
        except OSError:
            pass  # another batch is at work there, or nothing ever was

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        found = {}
        for name in names:
            try:
                found[name] = (self.root / name).read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                continue
        return found

    def write(self, name: str, data: bytes) -> None:
        path = self.root / name
        make_parents(path)
        part = path.with_name(f".{uuid.uuid4().hex}.part")  # several machines may share the folder
        try:
            part.write_bytes(data)
            rename(part, path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise sink_error(path, error) from error

    def put(self, files: Sequence[tuple[Path, str]]) -> None:
        for file, name in files:
            path = self.root / name
            try:
                make_parents(path)
                rename(file, path)
            except OSError as error:
                raise sink_error(path, error) from error

    def remove(self, name: str, frames: range = NO_FRAMES) -> None:
        path = self.root / name
        if os.path.isdir(path):  # of a name that no file can have pathlib says so
            for frame in [entry.name for entry in os.scandir(path) if is_frame(entry.name, frames)]:
                self.remove(f"{name}/{frame}")
        elif os.path.isfile(path):
            path.unlink()
            if path.parent != self.root and not any(path.parent.iterdir()):
                path.parent.rmdir()

    def measure(self, name: str, files: int = 1) -> tuple[int, int] | None:
        path = self.root / name
        if path.is_file():
            return 1, path.stat().st_size
        if not path.is_dir():
            return None
        frames = range(1, files + 1)
        sizes = [entry.stat().st_size for entry in os.scandir(path) if is_frame(entry.name, frames)]
        return len(sizes), sum(sizes)

    def fetch(self, name: str, folder: Path, size: int) -> Path:
        return (self.root / name).parent

    def clear(self, folder: str) -> None:
        path = PurePosixPath(folder)
        try:
            for entry in list(os.scandir(self.root / path)):
                if entry.is_file():  # folders are other inputs'
                    os.unlink(entry)
            for above in (path, *path.parents[:-2]):
                (self.root / above).rmdir()
        except OSError:
            return  # there is none, or others have something there

    def work_folder(self) -> Path:
        return own_folder(self._work)

    def locate(self, name: str) -> str:
        return str(self.root / name)


def is_numbered(name: str) -> bool:
    """Whether a file is a frame of a PNG sequence."""
    return bool(_NUMBERED.fullmatch(name))


def frame_name(number: int) -> str:
    """What a frame of a PNG sequence is called; the first is 1."""
    return f"{number:06d}.png"


def is_frame(name: str, frames: range) -> bool:
    """Whether a file is one of these frames."""
    return is_numbered(name) and (number := int(name[:-4])) in frames and name == frame_name(number)


def open_storage(out: str) -> Storage:
    """The output folder ``out`` names. Raises UsageError, SinkError."""
    if not is_remote(out):
        return LocalStorage(out)
    from headstream.batch.remote import RemoteStorage

    return RemoteStorage(out)


def own_folder(parent: Path) -> Path:
    """This process' own folder in ``parent``, empty. Those of processes of this machine that are gone are removed."""
    _sweep(parent)
    own = parent / f"{_host()}.{os.getpid()}"
    shutil.rmtree(own, ignore_errors=True)
    make_parents(own / "x")
    return own


def _host() -> str:
    """Where a process' number means that very process: containers may share a machine's name, and each counts from 1."""
    try:
        counted = f"-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # not Linux
        counted = ""
    return re.sub(r"\W", "-", socket.gethostname()) + counted


def _sweep(parent: Path) -> None:
    """Remove what dead processes of this machine left in ``parent``."""
    try:
        folders = list(parent.iterdir())
    except OSError:  # there is none
        return
    host = _host()
    for folder in folders:
        owner, _, number = folder.name.rpartition(".")
        if owner == host and number.isdigit() and not _alive(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(number: int) -> bool:
    if sys.platform == "win32":  # where os.kill would end it
        import _winapi

        try:
            handle = _winapi.OpenProcess(_winapi.SYNCHRONIZE, False, number)
        except PermissionError:
            return True  # somebody else's
        except OSError:
            return False
        try:
            return _winapi.WaitForSingleObject(handle, 0) == _winapi.WAIT_TIMEOUT
        finally:
            _winapi.CloseHandle(handle)
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
