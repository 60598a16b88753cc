"""Output folders on object stores and other machines. With places.py and manifest.py, what knows fsspec."""

from __future__ import annotations

import glob
import posixpath
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from headstream.batch.patience import PassingSinkError, PassingSourceError, patiently
from headstream.batch.places import NO_FRAMES, OBJECT_STORES, file_system, frame_name, is_frame, own_folder
from headstream.errors import SinkError, SourceError

_AT_ONCE = 200  # result files that are asked for together
_FINAL = {"NoCredentialsError", "PartialCredentialsError", "ImportError", "NotImplementedError"}


class RemoteStorage:
    """A folder that fsspec has a name for."""

    clear_is_cheap = False

    def __init__(self, url: str) -> None:
        self.text = url.rstrip("/")
        self._system, self._root = file_system(self.text)
        self._root = self._root.rstrip("/")
        protocol = self._system.protocol
        self._whole_puts = bool(OBJECT_STORES & set([protocol] if isinstance(protocol, str) else protocol))
        self._sizes: dict[str, int] | None = None

    def check(self) -> None:
        pass  # only a try would tell

    def prepare(self) -> None:
        pass  # folders come with what is put into them

    def sweep_work(self) -> None:
        pass  # it is nothing of the store's, and the next worker of this machine sees to it

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        there = [name for name in names if self.measure(name) is not None]
        for start in range(0, len(there), _AT_ONCE):
            paths = {f"{self._root}/{name}": name for name in there[start : start + _AT_ONCE]}
            content = patiently(lambda paths=paths: self._cat(list(paths)))  # type: ignore[misc]
            if not isinstance(content, dict):  # some file systems answer one path with its content
                content = dict.fromkeys(paths, content)
            found.update({paths[path]: bytes(data) for path, data in content.items() if path in paths})
        return found

    def write(self, name: str, data: bytes) -> None:
        self._whole(name, lambda path: self._system.pipe_file(path, data))

    def put(self, files: Sequence[tuple[Path, str]]) -> None:
        for file, name in files:
            self._whole(name, partial(self._system.put_file, str(file)))
            file.unlink()

    def _whole(self, name: str, write: Callable[[str], object]) -> None:
        path = f"{self._root}/{name}"
        with _told(SinkError, f"{self.text}/{name}: cannot be written"):
            if self._whole_puts:
                write(path)
                return
            self._system.makedirs(posixpath.dirname(path), exist_ok=True)
            part = posixpath.join(posixpath.dirname(path), f".{uuid.uuid4().hex}.part")
            try:
                write(part)
                self._system.mv(part, path)
            finally:
                if self._system.exists(part):
                    self._system.rm_file(part)

    def remove(self, name: str, frames: range = NO_FRAMES) -> None:
        with _told(SinkError, f"{self.text}/{name}: cannot be removed"):
            self._system.invalidate_cache()
            path = f"{self._root}/{name}"
            if self._system.isfile(path):
                self._system.rm_file(path)
                return
            for frame in self._system.find(path, maxdepth=1):
                if is_frame(posixpath.basename(frame), frames):
                    self._system.rm_file(frame)

    def measure(self, name: str, files: int = 1) -> tuple[int, int] | None:
        if self._sizes is None:  # one listing instead of a question for every result
            self._sizes = {path: int(info.get("size") or 0) for path, info in patiently(self._listing).items()}
        path, sizes = f"{self._root}/{name}", []
        if path in self._sizes:
            return 1, self._sizes[path]
        for number in range(1, files + 1):
            if (size := self._sizes.get(f"{path}/{frame_name(number)}")) is None:
                break  # what is behind a missing one does not make it whole
            sizes.append(size)
        return (len(sizes), sum(sizes)) if sizes else None

    def _cat(self, paths: list[str]) -> Any:
        with _told(SourceError, f"{self.text}: results of earlier runs cannot be read"):
            return self._system.cat(paths)

    def _listing(self) -> dict[str, dict[str, Any]]:
        with _told(SourceError, f"{self.text}: cannot be listed"):
            found: dict[str, dict[str, Any]] = self._system.find(self._root, detail=True)
            return found

    def fetch(self, name: str, folder: Path, size: int) -> Path:
        with _told(SourceError, f"{self.text}/{name}: cannot be fetched"):
            _get(self._system, f"{self._root}/{name}", folder / posixpath.basename(name), size)
        return folder

    def clear(self, folder: str) -> None:
        with _told(SinkError, f"{self.text}/{folder}: cannot be removed"):
            self._system.invalidate_cache()
            for path in self._system.find(f"{self._root}/{folder}", maxdepth=1):
                self._system.rm_file(path)

    def work_folder(self) -> Path:
        return own_folder(Path(tempfile.gettempdir()) / "headstream-batch")

    def locate(self, name: str) -> str:
        return f"{self.text}/{name}"


def fetch(url: str, folder: Path, size: int) -> Path:
    """A remote input as a local file in ``folder``. Raises SourceError, PassingSourceError."""
    system, path = file_system(url)
    local = folder / f"in{posixpath.splitext(path)[1]}"
    with _told(SourceError, f"{url}: cannot be fetched"):
        _get(system, path, local, size)
    return local


def _get(system: Any, path: str, local: Path, size: int) -> None:
    system.get_file(path, str(local))
    if size and local.stat().st_size != size:
        raise ConnectionError(f"{local.stat().st_size} of {size} bytes came")


def found_at(url: str, *, literal: bool, recursive: bool) -> dict[str, dict[str, Any]]:
    """URL -> fsspec's account of every file that a URL names: a file, all below a folder, what matches a pattern.

    literal: it is a file's own name. Raises SourceError.
    """
    system, path = file_system(url)

    def look() -> dict[str, Any]:
        with _told(SourceError, f"{url}: cannot be listed"):
            try:
                if not literal and glob.has_magic(path):
                    return dict(system.glob(path, detail=True))
                if not literal and system.isdir(path):
                    return dict(system.find(path, detail=True, maxdepth=None if recursive else 1))
                return {path: system.info(path)}
            except FileNotFoundError:
                return {}

    found = patiently(look)
    return {system.unstrip_protocol(name): found[name] for name in sorted(found) if found[name]["type"] == "file"}


@contextmanager
def _told(kind: type[SourceError] | type[SinkError], what: str) -> Iterator[None]:
    """A store's own exceptions in a person's words, as errors that may pass and others that will not."""
    try:
        yield
    except FileNotFoundError as error:
        raise kind(f"{what}: no such file or bucket") from error
    except PermissionError as error:
        raise kind(f"{what}: access denied; check the credentials") from error
    except Exception as error:  # every store has classes of its own
        text = f"{what}: {type(error).__name__}: {' '.join(str(error).split())}"
        if type(error).__name__ in _FINAL:
            raise kind(text) from error
        raise (PassingSourceError if kind is SourceError else PassingSinkError)(text) from error
