"""Fixtures for every room: a real portrait, real clips of it, the shipped network and detectors; and a leak guard."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

# Networks as small as those that are trained here take longer with several threads: these wait for one another by spinning,
# and on a busy machine for most of the time. Read when torch is loaded, here and in every process that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np

from headstream.capture.photo import read_photo
from headstream.demo import PORTRAIT
from headstream.segment.crops import CropSegmenter
from headstream.segment.load import load_segmenter
from headstream.segment.onnx import OnnxSegmenter
from headstream.segment.registry import models_dir
from headstream.track.finder import FaceFinder
from headstream.types import Float32Array, UInt8Array
from tests.media import pattern, write_video

_KEPT_BYTES = 512 << 20
_NO_LINKS = 1314  # ERROR_PRIVILEGE_NOT_HELD


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Windows makes links only for developers and administrators: what tests them is skipped elsewhere."""
    try:
        return (yield)
    except OSError as error:
        if getattr(error, "winerror", None) == _NO_LINKS:
            pytest.skip(f"no links may be made here: {error}")
        raise


@pytest.fixture(autouse=True)
def _no_leaks(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test leaves one of our threads behind, or an error in the log that it did not ask for."""
    yield
    left = _our_threads()
    for _ in range(100):  # one that was told to end may still be about to
        if not left:
            break
        time.sleep(0.05)
        left = _our_threads()
    assert not left, f"threads left running: {left}"
    errors = [r.getMessage() for r in caplog.get_records("call") if r.levelno >= logging.ERROR and r.name != "libav"]
    assert not errors, f"logged: {errors}"


def _our_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("headstream") and t.is_alive()]


@pytest.fixture(scope="session", autouse=True)
def _begun_early(request: pytest.FixtureRequest) -> None:
    """What takes half a minute of waiting is begun with the first test, where one that asks for it is to come."""
    if any("sealed_cut" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("sealed_cut")


@pytest.fixture(scope="session")
def sealed_cut(head_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """A process that cuts a clip and waits, and cannot open a socket of the internet and live."""
    words = ["video", str(head_clip), "--out", str(tmp_path_factory.mktemp("sealed") / "o.mkv")]
    # Libraries that report to their makers do so some while after their start: wait for them.
    code = f"""
import sys, time
from tests.sealed import seal
seal()
from headstream.cli import main
status = main({words!r})
time.sleep(25)
sys.exit(status)
"""
    root = Path(__file__).parents[1]
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, cwd=root)
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.fixture(scope="session")
def portrait() -> UInt8Array:
    """(512, 512, 3) uint8: the portrait that comes with the package."""
    return read_photo(PORTRAIT).rgb


@pytest.fixture(scope="session")
def segmenter() -> CropSegmenter:
    return load_segmenter()


@pytest.fixture(scope="session")
def finder() -> Iterator[FaceFinder]:
    with FaceFinder(models_dir()) as found:
        yield found


class _Answers:
    """What networks have answered to crops, the last ones asked for."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], Float32Array] = OrderedDict()
        self._bytes = 0

    def of(self, segmenter: OnnxSegmenter, crops: UInt8Array) -> Float32Array:
        """As ``OnnxSegmenter._run``."""
        told = hashlib.sha256(np.ascontiguousarray(crops).tobytes()).digest()
        # The whole card: one file may be several networks' (a card sets how it finishes mattes).
        key = (repr(segmenter.card), segmenter.device, segmenter.threads, crops.shape, told)
        if key not in self._kept:
            self._kept[key] = _run(segmenter, crops)
            self._bytes += self._kept[key].nbytes
            while self._bytes > _KEPT_BYTES:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        self._kept.move_to_end(key)
        return self._kept[key].copy()


_run = OnnxSegmenter._run


@pytest.fixture(scope="session")
def keep_answers() -> Callable[[pytest.MonkeyPatch], None]:
    """Has the network run once for the same crop, in whatever test: for those that cut one film again and again, to the same
    byte, and are about what becomes of it then. Its answer depends on nothing else."""
    answers = _Answers()
    return lambda patch: patch.setattr(OnnxSegmenter, "_run", lambda self, crops: answers.of(self, crops))


@pytest.fixture
def answers_kept(keep_answers: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """See ``keep_answers``."""
    keep_answers(monkeypatch)


def moving_portrait(portrait: UInt8Array, count: int, size: tuple[int, int] = (320, 240)) -> list[UInt8Array]:
    """The portrait drifting to the right before grey: ``count`` frames of ``size`` (w, h)."""
    frames = []
    for index in range(count):
        scale = size[1] / 512 * 1.1
        matrix = np.array([[scale, 0, size[0] * 0.15 + 1.5 * index - 40 * scale], [0, scale, 0.0]])
        border = (110, 110, 110)
        frames.append(cv2.warpAffine(portrait, matrix, size, flags=cv2.INTER_AREA, borderValue=border))
    return frames


@pytest.fixture(scope="session")
def head_clip(portrait: UInt8Array, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames, 320x240, 25 a second, H.264 BT.709 and AAC: one person moving."""
    path = tmp_path_factory.mktemp("clips") / "head.mp4"
    return write_video(path, moving_portrait(portrait, 30), sound=True, colour=(1, 1, 1, 1), options={"crf": "12"})


@pytest.fixture(scope="session")
def plain_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames without anybody in them."""
    path = tmp_path_factory.mktemp("clips") / "plain.mp4"
    return write_video(path, [pattern(160, 120, i) for i in range(12)])


@pytest.fixture
def uneven_pts() -> list[int]:
    """Ticks of 1/1000 s of a clip with a variable frame rate that does not start at 0."""
    return [2500, 2533, 2600, 2633, 2800, 2833, 2850, 3100, 3133, 3166]


def seconds(ticks: list[int]) -> list[Fraction]:
    """Times from the first tick."""
    return [Fraction(t - ticks[0], 1000) for t in ticks]
