"""MediaPipe's detectors end wherever Python ends them."""

from __future__ import annotations

import subprocess
import sys


def ran(script: str) -> str:
    """What a Python process says on stdout that has a detector; nothing on stderr."""
    start = """
import os, signal, threading, time
from concurrent.futures import thread
import numpy as np
from headstream.segment.registry import models_dir
from headstream.track import faces
faces.load_mediapipe()
detector = faces.FaceDetector(models_dir() / faces.MODEL_FILES["full"])
"""
    done = subprocess.run([sys.executable, "-c", start + script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_detector_is_freed_in_the_middle_of_anything() -> None:
    """As where garbage is collected while MediaPipe hands a picture to its thread, by a lock that closing takes, too."""
    script = """
task = detector._task
with thread._global_shutdown_lock:
    del detector
while task._handle:
    time.sleep(0.01)
print("closed")
"""
    assert ran(script) == "closed\n"


def test_detectors_at_the_end_of_a_program() -> None:
    assert ran("others = [detector, detector.__class__(models_dir() / faces.MODEL_FILES['short'])]; del others") == ""
    assert ran("detector.me = detector; detector = None") == ""
    assert ran("threading.Thread(target=lambda: (time.sleep(0.3), globals().pop('detector'))).start()") == ""
