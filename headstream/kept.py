"""What the Python interface loads once and keeps: the last networks, and as many pairs of detectors as threads used at once."""

from __future__ import annotations

import atexit
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from headstream.segment.crops import CropSegmenter
from headstream.segment.load import load_segmenter, model_path
from headstream.segment.registry import models_dir
from headstream.shared.cores import cores_here
from headstream.track.finder import FaceFinder

_NETWORKS = 2  # one for photos, one for films
# Idle ones, about 20 MB each, are never more than were in use at once; and Python's own pools have so many threads.
_FINDERS = min(32, cores_here() + 4)


class _Kept:
    """Networks may be used by several threads at once; a finder by one, so whoever finds it lent makes another."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal's handler may cut a photo while its own thread loads a network
        self._networks: OrderedDict[Any, CropSegmenter] = OrderedDict()
        self._idle: deque[FaceFinder] = deque(maxlen=_FINDERS)

    def network(self, model: str, device: str, *, fast: bool) -> CropSegmenter:
        key = (model, str(device), fast, _marks(model_path(model)))
        with self._lock:  # loading, too: whoever wants the same meanwhile gets the same
            if key not in self._networks:
                self._networks[key] = load_segmenter(model, device=device, fast=fast)
                while len(self._networks) > _NETWORKS:
                    self._networks.popitem(last=False)
            self._networks.move_to_end(key)
            return self._networks[key]

    @contextmanager
    def finder(self) -> Iterator[FaceFinder]:
        try:
            mine = self._idle.pop()
        except IndexError:
            mine = FaceFinder(models_dir())
        try:
            yield mine
        finally:
            # Perhaps in a generator that is collected as garbage, in the middle of anything: nothing here waits for a lock.
            self._idle.append(mine)  # one too many frees itself

    def close(self) -> None:
        with self._lock:
            self._networks.clear()
        with suppress(IndexError):
            while True:
                self._idle.pop().close()


def _marks(path: Path) -> tuple[Any, ...]:
    """What changes when the files of a model do: where they are, sizes and times, its card's too."""
    files = sorted(path.iterdir()) if path.is_dir() else [path, path.with_suffix(".json")]
    found = [(str(file.absolute()), file.stat()) for file in files if file.is_file()]
    return tuple((name, about.st_size, about.st_mtime_ns) for name, about in found)


_here = _Kept()
_parents: list[_Kept] = []


def _forked() -> None:
    """A forked child has none of the threads that its parent's networks work with. It leaves those alone, for good."""
    global _here
    _parents.append(_here)
    _here = _Kept()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
atexit.register(lambda: _here.close())


def network(model: str, device: str, *, fast: bool) -> CropSegmenter:
    """As ``load_segmenter``, which is asked only if it was not one of the last, or its files have changed."""
    return _here.network(model, device, fast=fast)


def finder() -> Any:
    """A context manager that lends a ``FaceFinder``, which is then this thread's alone."""
    return _here.finder()
