"""MediaPipe's detectors end wherever Python ends them."""

from __future__ import annotations

import subprocess
import sys

import pytest


def ran(script: str) -> str:
    """What a Python process says on stdout that has a detector; nothing on stderr."""
    start = """
import os, signal, threading, time
from concurrent.futures import thread
import numpy as np
from headstream.errors import ModelError
from headstream.shared.muted import native_stderr_muted
from headstream.segment.registry import models_dir
from headstream.track import faces
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and hand that on
faces.load_mediapipe()
detector = faces.FaceDetector(models_dir() / faces.MODEL_FILES["full"])
"""
    python = [sys.executable, "-W", "ignore::DeprecationWarning"]  # from 3.12 on, of forks beside threads
    done = subprocess.run([*python, "-c", start + script], capture_output=True, text=True, timeout=60)
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


def test_ctrl_c_waits_for_the_picture_that_is_looked_at() -> None:
    """MediaPipe's own thread reads it: where it is freed meanwhile, the whole process dies. Some programs send Ctrl-C twice."""
    script = """
usual = detector._task.detect
def detect(image):
    for _ in range(2):
        signal.raise_signal(signal.SIGINT)
    looked.append(usual(image))
    return looked[-1]
detector._task.detect = detect
for _ in range(3):
    looked = []
    try:
        detector.detect(np.zeros((64, 64, 3), np.uint8))
    except KeyboardInterrupt:
        print(len(looked))
"""
    assert ran(script) == "1\n1\n1\n"


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_forked_process_is_told_to_make_its_own() -> None:
    script = """
picture = np.zeros((64, 64, 3), np.uint8)
child = os.fork()
if not child:
    try:
        detector.detect(picture)
    except ModelError as error:
        print(error, flush=True)
    detector.close()
    assert not faces.FaceDetector(models_dir() / faces.MODEL_FILES["short"]).detect(picture)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
detector.detect(picture)
"""
    assert ran(script) == "a face detector does not work in a forked process; make a new one there\n"


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_process_forked_while_a_detector_is_made_has_its_stderr() -> None:
    script = """
stderr = os.fstat(2)
muted, forked = threading.Event(), threading.Event()
def make():
    with native_stderr_muted:
        muted.set()
        forked.wait()
threading.Thread(target=make).start()
muted.wait()
child = os.fork()
if not child:
    print(os.path.samestat(os.fstat(2), stderr))
    faces.FaceDetector(models_dir() / faces.MODEL_FILES["short"])
    print(os.path.samestat(os.fstat(2), stderr), flush=True)
    os._exit(0)
os.waitpid(child, 0)
forked.set()
"""
    assert ran(script) == "True\nTrue\n"
