"""The real detectors on a real face: anywhere, any size, and where there is none."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from headstream.errors import ModelError
from headstream.segment.registry import models_dir
from headstream.shared.colour import planes_from_rgb
from headstream.track.boxes import crop_square, is_far, overlap
from headstream.track.faces import MODEL_FILES, Face, FaceDetector
from headstream.track.finder import FaceFinder, small_rgb
from headstream.types import Colour, Frame, UInt8Array
from tests.media import pattern

FACE = (167, 64, 287, 184)  # of the portrait, about


def scene(portrait: UInt8Array, width: int, height: int, scale: float, x: int, y: int) -> UInt8Array:
    out: UInt8Array = np.full((height, width, 3), 120, np.uint8)
    small = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    h, w = min(small.shape[0], height - y), min(small.shape[1], width - x)
    out[y : y + h, x : x + w] = small[:h, :w]
    return out


@pytest.mark.parametrize("planar", [False, True])
def test_a_scan_finds_the_face_where_it_is(portrait: UInt8Array, finder: FaceFinder, planar: bool) -> None:
    rgb = scene(portrait, 1280, 720, 0.8, 500, 200)
    frame = Frame(planes=planes_from_rgb(rgb, Colour("bt709"), sub=(2, 2))) if planar else Frame(rgb)
    (face,) = finder.scan(frame)
    expected = tuple(v * 0.8 + o for v, o in zip(FACE, (500, 200, 500, 200), strict=True))
    assert overlap(face.box_px, expected) > 0.6  # type: ignore[arg-type]
    assert face.landmarks_px.shape == (6, 2)
    assert 0.5 <= face.score <= 1


def test_a_look_agrees_with_the_scan(portrait: UInt8Array, finder: FaceFinder) -> None:
    frame = Frame(scene(portrait, 1280, 720, 0.8, 500, 200))
    (scanned,) = finder.scan(frame)
    (looked,) = finder.look(frame, crop_square(scanned.box_px))
    assert overlap(looked.box_px, scanned.box_px) > 0.75


def test_nobody_is_nobody(finder: FaceFinder) -> None:
    rgb = pattern(640, 480, 0)
    assert finder.scan(Frame(rgb)) == []
    assert finder.search(rgb) == []


@pytest.mark.parametrize(
    ("size", "scale", "at"),
    [
        ((800, 1200), 0.30, (280, 60)),  # head to foot: the head is small and at the top
        ((3000, 2000), 0.22, (2100, 1500)),  # far away, in a corner
        ((2400, 1800), 0.18, (300, 200)),
    ],
)
def test_small_faces_are_searched_for(
    portrait: UInt8Array, finder: FaceFinder, size: tuple[int, int], scale: float, at: tuple[int, int]
) -> None:
    found = finder.search(scene(portrait, *size, scale, *at))
    expected = tuple(v * scale + o for v, o in zip(FACE, (*at, *at), strict=True))
    assert any(overlap(face.box_px, expected) > 0.45 for face in found)  # type: ignore[arg-type]


def group(portrait: UInt8Array, rows: int, columns: int, side: int) -> UInt8Array:
    """A sheet of portraits, every other one mirrored."""
    small = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    return np.vstack(
        [
            np.hstack([small if (row + column) % 2 else small[:, ::-1] for column in range(columns)])
            for row in range(rows)
        ]
    )


def test_everybody_in_a_group_is_found(portrait: UInt8Array, finder: FaceFinder) -> None:
    rgb = group(portrait, 5, 8, 160)
    found = finder.search(rgb)
    everybody = found + finder.search_group(rgb, found)
    assert len(found) < 35 <= len(everybody) <= 40
    cells = {(int(face.box_px[0] // 160), int(face.box_px[1] // 160)) for face in everybody}
    assert len(cells) == len(everybody)


def test_people_side_by_side_in_a_very_wide_picture(portrait: UInt8Array, finder: FaceFinder) -> None:
    rgb = group(portrait, 1, 9, 256)
    assert finder.search(rgb) == []  # a face is 5 of the 192 pixels the detector sees
    assert len(finder.search_group(rgb, [])) == 9


class SeesThings(FaceFinder):
    """Takes something for a face in every tile."""

    looked_in = 0

    def _in_tiles(self, rgb: UInt8Array, side: int) -> list[Face]:
        self.looked_in += 1
        return [Face((20, 30, 60, 70), np.zeros((6, 2), np.float32), 0.99)]


def test_what_is_not_seen_again_from_near_is_nobody(portrait: UInt8Array) -> None:
    finder = SeesThings(models_dir())
    with finder:
        rgb = scene(portrait, 800, 1200, 0.30, 280, 160)
        found = finder.search(rgb)
        assert found
        assert finder.search_group(rgb, found) == []
        assert finder.looked_in > 0


def test_a_portrait_is_not_searched_in_tiles(portrait: UInt8Array) -> None:
    finder = SeesThings(models_dir())
    with finder:
        assert finder.search_group(portrait, finder.search(portrait)) == []
        assert finder.looked_in == 0


def test_a_face_that_fills_the_picture_is_found(portrait: UInt8Array, finder: FaceFinder) -> None:
    close = cv2.resize(portrait[50:200, 155:300], (580, 600), interpolation=cv2.INTER_CUBIC)
    assert len(finder.search(close)) == 1
    assert len(finder.scan(Frame(close))) == 1


def test_quarter_of_the_height_is_far() -> None:
    assert is_far(100, 1000)
    assert not is_far(200, 1000)


def test_crop_square_is_the_stated_multiple_and_even() -> None:
    x0, y0, x1, y1 = crop_square((100.3, 50.9, 171.0, 121.4))
    assert x1 - x0 == y1 - y0 == 170
    assert (x0 + x1) / 2 == pytest.approx(135.65, abs=1.1)
    assert all(v % 2 == 0 for v in (x0, y0, x1, y1))


def test_small_pictures_are_shown_as_they_are() -> None:
    rgb = pattern(100, 80, 0)
    small, scale = small_rgb(Frame(rgb))
    assert scale == 1.0
    assert (small == rgb).all()


def test_a_missing_or_damaged_detector_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="missing"):
        FaceDetector(tmp_path / "no.tflite")
    (tmp_path / "bad.tflite").write_bytes(b"not a model at all")
    with pytest.raises(ModelError, match="does not load"):
        FaceDetector(tmp_path / "bad.tflite")


@pytest.mark.parametrize("during", ["picture", "detector"])
def test_ctrl_c_while_mediapipe_makes_something_prints_no_traceback(
    monkeypatch: pytest.MonkeyPatch, during: str
) -> None:
    """It comes in the middle of a constructor, and what is half there is freed."""
    from mediapipe.tasks.python.vision import face_detector
    from mediapipe.tasks.python.vision.core import image

    lost: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: lost.append(args.exc_value))
    model = models_dir() / MODEL_FILES["short"]
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with FaceDetector(model) as detector, monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            if during == "picture":
                patch.setattr(
                    image.mediapipe_c_bindings, "load_raw_library", lambda *_: signal.raise_signal(signal.SIGTERM)
                )
                detector.detect(np.zeros((64, 64, 3), np.uint8))
            else:
                usual = face_detector.FaceDetector.__init__

                def interrupted(self: object, **arguments: object) -> None:
                    signal.raise_signal(signal.SIGTERM)
                    usual(self, **arguments)

                patch.setattr(face_detector.FaceDetector, "__init__", interrupted)
                FaceDetector(model)
        gc.collect()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not lost


def test_the_systems_sound_is_none_of_its_business() -> None:
    script = "import sys; from headstream.track.faces import load_mediapipe as load; load(); print('sounddevice' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_closing_twice(portrait: UInt8Array) -> None:
    finder = FaceFinder(models_dir())
    assert finder.search(portrait)
    for _ in range(2):
        finder.close()
        with pytest.raises(ModelError, match="closed"):
            finder.search(portrait)


def test_detectors_made_at_the_same_time_give_stderr_back(capfd: pytest.CaptureFixture[str]) -> None:
    """The first is done while the second is still being made."""
    model = models_dir() / MODEL_FILES["short"]

    class Waiting(FaceDetector):
        begun, ready = threading.Event(), threading.Event()

        def detect(self, rgb: UInt8Array) -> list[Face]:  # of which the constructor makes one
            self.begun.set()
            assert self.ready.wait(60)
            return super().detect(rgb)

    class Longer(Waiting):
        begun, ready = threading.Event(), threading.Event()

    with ThreadPoolExecutor(2) as threads:
        made = []
        for kind in (Waiting, Longer):
            made.append(threads.submit(kind, model))
            assert kind.begun.wait(60)
        Waiting.ready.set()
        made[0].result(60).close()
        os.write(2, b"a note of MediaPipe's")
        Longer.ready.set()
        made[1].result(60).close()
    os.write(2, b"heard again")
    assert capfd.readouterr().err == "heard again"
