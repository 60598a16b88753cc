"""Tiny inputs for batches: clips of a few frames, photos, and what only looks like them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import pytest
from PIL import Image

from headstream.batch import run, worker
from headstream.batch.pool import InProcess
from headstream.segment.load import load_segmenter
from headstream.track.finder import FaceFinder
from headstream.types import UInt8Array
from tests.conftest import moving_portrait
from tests.media import pattern, write_video

# Of the film that is split: a key frame every second.
SHORT = {"g": "10", "bf": "2", "sc_threshold": "0", "crf": "18"}
RATE, FRAMES = 10, 66
# Of a shorter one, for what does not depend on lengths: three pieces, the last of which is reached over a key frame.
BRIEF = SHORT | {"g": "8"}
BRIEF_FRAMES, BRIEF_SPLIT_S, BRIEF_PIECES = 42, 1.6, [(0, 16), (16, 32), (32, 42)]


@pytest.fixture(scope="session")
def own_process(
    finder: FaceFinder, keep_answers: Callable[[pytest.MonkeyPatch], None]
) -> Callable[[pytest.MonkeyPatch], None]:
    """Has batches cut in this process, with network and detectors that are loaded once for all tests."""
    loaded = cache(load_segmenter)

    def patched(patch: pytest.MonkeyPatch) -> None:
        keep_answers(patch)
        patch.setattr(run, "LocalPool", lambda setup, workers: InProcess(setup))
        patch.setattr(worker, "load_segmenter", loaded)
        patch.setattr(worker, "FaceFinder", lambda models: nullcontext(finder))

    return patched


@pytest.fixture
def in_process(own_process: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker processes, where they are not what is tested: each takes seconds to start."""
    own_process(monkeypatch)


@pytest.fixture
def then_in_process(own_process: Callable[[pytest.MonkeyPatch], None]) -> Iterator[Callable[[], None]]:
    """From its call on as ``in_process``: for what comes after worker processes did what they are tested for."""
    with pytest.MonkeyPatch.context() as patch:
        yield lambda: own_process(patch)


@pytest.fixture(scope="session")
def clip(portrait: UInt8Array, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 frames, 160x120, one person."""
    return write_video(tmp_path_factory.mktemp("tiny") / "clip.mp4", moving_portrait(portrait, 4, (160, 120)))


@pytest.fixture(scope="session")
def long_clip(portrait: UInt8Array, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames: long enough to be interrupted."""
    return write_video(tmp_path_factory.mktemp("tiny") / "long.mp4", moving_portrait(portrait, 40, (160, 120)))


@pytest.fixture(scope="session")
def photo(portrait: UInt8Array, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "ada.jpg"
    Image.fromarray(cv2.resize(portrait, (160, 160), interpolation=cv2.INTER_AREA)).save(path)
    return path


@pytest.fixture(scope="session")
def nobody(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip without anybody in it."""
    return write_video(tmp_path_factory.mktemp("tiny") / "nobody.mp4", [pattern(160, 120, i) for i in range(4)])


@pytest.fixture(scope="session")
def swinging(portrait: UInt8Array) -> list[UInt8Array]:
    """The portrait going to and fro."""
    there = moving_portrait(portrait, 30, (160, 120))
    return ((there + there[::-1]) * 3)[:FRAMES]


@pytest.fixture(scope="session")
def film(swinging: list[UInt8Array], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """66 frames, 10 a second, a key frame every second, B-frames, sound."""
    return filmed(tmp_path_factory.mktemp("films") / "film.mp4", swinging, options=SHORT, sound=True)


@pytest.fixture(scope="session")
def brief_film(swinging: list[UInt8Array], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """42 frames, 10 a second, a key frame every 8, B-frames, sound."""
    pictures = swinging[:BRIEF_FRAMES]
    return filmed(tmp_path_factory.mktemp("films") / "film.mp4", pictures, options=BRIEF, sound=True)


def filmed(path: Path, frames: list[UInt8Array], **more: Any) -> Path:
    return write_video(path, frames, rate=RATE, **more)


def copies(source: Path, folder: Path, *names: str) -> None:
    """The same file under several names."""
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())


def there(folder: Path, ending: str) -> list[str]:
    """Names of files below a folder that others are at work in; what goes meanwhile is no error, as it is to ``rglob``."""
    return [name for _, _, names in os.walk(folder) for name in names if name.endswith(ending)]


def kill(pid: int) -> None:
    """As the system does when memory runs out."""
    os.kill(pid, signal.SIGKILL)
