"""MediaPipe's face detectors behind one small class. The only file that imports mediapipe.

Two BlazeFace networks, both Apache-2.0: "full" finds faces down to a few percent of the picture (12 ms a frame at most),
"short" sees a face that fills a good part of what it is shown (half the time), so it suits a zoomed region.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

import numpy as np

from headstream.errors import ModelError
from headstream.shared.interrupts import held_interrupts
from headstream.shared.libraries import remedy
from headstream.shared.muted import native_stderr_muted
from headstream.shared.turned import quarters_of, turned_box, turned_points
from headstream.track.boxes import overlap
from headstream.types import Box, UInt8Array

Range = Literal["full", "short"]
MODEL_FILES: dict[Range, str] = {
    "full": "face_detection_full_range_sparse.tflite",
    "short": "face_detection_short_range.tflite",
}


# MediaPipe's own drawing. It brings matplotlib's plotting along, two thirds of a second in every process that starts.
_DRAWING = {f"mediapipe.tasks.python.vision.drawing_{kind}" for kind in ("styles", "utils")}
_SOUND = "sounddevice"


@dataclass(frozen=True)
class Face:
    """One detected face, in the pixels of the picture it was found in.

    box_px: x0, y0, x1, y1, from brow to chin and cheek to cheek; may reach past the picture.
    landmarks_px: (6, 2) float32: right eye, left eye (the person's), nose tip, mouth, right and left ear.
    score: detector confidence, 0..1.
    """

    box_px: Box
    landmarks_px: np.ndarray[Any, np.dtype[np.float32]]
    score: float

    def moved(self, scale: float, dx: float, dy: float) -> Face:
        """The same face after the picture is scaled and then shifted."""
        x0, y0, x1, y1 = self.box_px
        return Face(
            (x0 * scale + dx, y0 * scale + dy, x1 * scale + dx, y1 * scale + dy),
            (self.landmarks_px * scale + (dx, dy)).astype(np.float32),
            self.score,
        )

    def turned(self, turns: int, size_px: tuple[int, int]) -> Face:
        """The same face after the picture, of ``size_px``, is turned clockwise by so many quarters."""
        landmarks = turned_points(self.landmarks_px, turns, size_px).astype(np.float32)
        return Face(turned_box(self.box_px, turns, size_px), landmarks, self.score)

    def leaning(self, roll_deg: int, side_px: int) -> Face:
        """The same face after a square picture, in which it was upright, is turned clockwise about its middle by so many degrees.
        A box stays upright and as large."""
        quarters, lean = quarters_of(roll_deg)
        x0, y0, x1, y1 = self.box_px
        moved = np.array([((x0 + x1) / 2, (y0 + y1) / 2), *self.landmarks_px]) - side_px / 2
        cos, sin = np.cos(np.radians(lean)), np.sin(np.radians(lean))
        (cx, cy), *points = moved @ np.array([[cos, sin], [-sin, cos]]) + side_px / 2
        w, h = (x1 - x0) / 2, (y1 - y0) / 2
        face = Face((float(cx - w), float(cy - h), float(cx + w), float(cy + h)), np.float32(points), self.score)
        return face.turned(quarters, (side_px, side_px))


def distinct(faces: list[Face], least: float) -> list[Face]:
    """Each face once, the best scored, best first. least: the overlap from which two are one."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda f: -f.score):
        if all(overlap(face.box_px, other.box_px) < least for other in kept):
            kept.append(face)
    return kept


class _NeverUsed(MetaPathFinder):
    """What MediaPipe imports and headstream does not use. Its drawing is found as modules that are loaded when they are used;
    its recording of sound gets no access to it, which would call at the sound server, and fail or hang where that does."""

    @classmethod
    def find_spec(cls, fullname: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if fullname == _SOUND:
            raise ImportError(
                "MediaPipe records sound only where it was imported before headstream used it", name=_SOUND
            )
        spec = PathFinder.find_spec(fullname, path, target) if fullname in _DRAWING else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def load_mediapipe() -> Any:
    """The package. Raises ModelError where it does not load, with what to do."""
    try:
        sys.meta_path.insert(0, _NeverUsed)
        try:
            import mediapipe
        except BaseException:  # Ctrl-C in it: what is half there would fail at the next import
            for name in [name for name in sys.modules if name.partition(".")[0] == "mediapipe"]:
                del sys.modules[name]
            raise
        finally:
            sys.meta_path.remove(_NeverUsed)
    except (ImportError, OSError) as error:
        raise ModelError(remedy(error, "mediapipe")) from error
    return mediapipe


def _close(task: Any) -> None:
    try:
        task.close()
    except RuntimeError:
        # The interpreter is going down and MediaPipe's own thread with it; without a handle its destructor keeps quiet.
        task._handle = None


def _free(task: Any, freed: SimpleQueue[Any]) -> None:
    """Also where Python collects garbage, which it does in the middle of anything: so nothing here waits for a lock."""
    if threading.main_thread().is_alive():
        freed.put(task)
    else:  # as in _close
        task._handle = None


@functools.cache
def _freed() -> SimpleQueue[Any]:
    """Tasks of detectors that nobody holds any more, closed by a thread, which only this process has."""
    tasks: SimpleQueue[Any] = SimpleQueue()

    def close_all() -> None:
        while True:
            _close(tasks.get())

    threading.Thread(target=close_all, name="freed detectors", daemon=True).start()
    return tasks


if hasattr(os, "register_at_fork"):  # a child leaves those of its parent alone: their threads are not there
    os.register_at_fork(after_in_child=_freed.cache_clear)


def _freeable(image: Any) -> Any:
    """MediaPipe's kind of picture, whose ``__del__`` prints a traceback where Ctrl-C came before it had anything to free."""
    return type("Image", (image,), {"_image_ptr": None})


class FaceDetector:
    """Finds faces in RGB pictures. Not safe to share between threads; a context manager; ``close`` is idempotent."""

    def __init__(self, model: Path, *, min_score: float = 0.5) -> None:
        with native_stderr_muted:
            self._mp = load_mediapipe()
            from mediapipe.tasks.python import BaseOptions, vision

            if not model.is_file():
                raise ModelError(f"face detector {model} is missing; reinstall headstream")
            options = vision.FaceDetectorOptions(
                base_options=BaseOptions(model_asset_buffer=model.read_bytes()), min_detection_confidence=min_score
            )
            freed = _freed()
            try:
                # A half-made one is freed with a traceback, too. A whole one is ours to free from the start: MediaPipe's own
                # destructor waits for ever where it is collected as garbage together with its thread. And it prints one where
                # the interpreter goes down.
                with held_interrupts():
                    self._task: Any = vision.FaceDetector.create_from_options(options)
                    self._finalizer = weakref.finalize(self, _free, self._task, freed)
            except OSError as error:  # its native part is loaded only now
                raise ModelError(remedy(error, "mediapipe")) from error
            except (RuntimeError, ValueError) as error:
                raise ModelError(f"face detector {model.name} does not load: {error}") from error
            self._process = os.getpid()
            self._image = _freeable(self._mp.Image)
            self.detect(np.zeros((64, 64, 3), np.uint8))  # the first call builds the graph and prints

    def detect(self, rgb: UInt8Array) -> list[Face]:
        """Faces in ``rgb``, (H, W, 3) uint8, best score first. Raises ModelError after ``close``, and in a forked process."""
        if not self._finalizer.alive:
            raise ModelError("the face detector is closed; make a new one")
        if self._process != os.getpid():  # without MediaPipe's thread, for which this would wait for ever
            raise ModelError("a face detector does not work in a forked process; make a new one there")
        image = self._image(image_format=self._mp.ImageFormat.SRGB, data=np.ascontiguousarray(rgb))
        height, width = rgb.shape[:2]
        faces = []
        with held_interrupts(second_waits=True):  # MediaPipe's thread reads the picture: it must not be freed meanwhile
            detections = self._task.detect(image).detections
            del image
        for found in detections:
            box = found.bounding_box
            points = np.array([(p.x * width, p.y * height) for p in found.keypoints], np.float32).reshape(-1, 2)
            x, y = float(box.origin_x), float(box.origin_y)
            corners = (x, y, x + box.width, y + box.height)
            faces.append(Face(corners, points, float(found.categories[0].score)))
        return sorted(faces, key=lambda face: -face.score)

    def close(self) -> None:
        """Free the native task. Safe to call again."""
        if not self._finalizer.detach():
            return
        if self._process == os.getpid():
            _close(self._task)
        else:  # in a forked process, without MediaPipe's thread, it would wait for ever
            self._task._handle = None

    def __enter__(self) -> FaceDetector:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
