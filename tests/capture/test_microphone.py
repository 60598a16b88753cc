"""Microphones: which there are, what they hear and when, and that they come back. PortAudio's interface has a test driver here;
where PortAudio itself names a microphone, that one is heard, too."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from headstream.capture.microphone import Microphone, _Taken, list_microphones
from headstream.errors import SourceError
from headstream.shared.sound import Sound
from tests.portaudio import PortAudioError, TestPortAudio
from tests.waiting import Gate, wait_until

WINDOWS = (
    ("Speakers", 0, 0),
    ("Realtek High Def", 2, 0),
    ("USB", 1, 0),
    ("Realtek High Definition", 2, 1),
    ("USB", 1, 1),
)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> TestPortAudio:
    made = TestPortAudio(*WINDOWS)
    monkeypatch.setitem(sys.modules, "sounddevice", made)
    monkeypatch.setattr("headstream.capture.microphone._SILENT_S", 0.3)
    monkeypatch.setattr("headstream.capture.microphone._WAIT_S", 0.05)
    return made


def test_each_is_listed_once_and_found_by_a_part_of_its_name(system: TestPortAudio) -> None:
    assert list_microphones() == ["Realtek High Def", "USB"]
    for name, label, layout in (
        ("", "Realtek High Def", "stereo"),
        ("usb", "USB", "mono"),
        ("real", "Realtek High Def", "stereo"),
    ):
        with Microphone(name) as microphone:
            assert (microphone.label, microphone.layout) == (f"microphone {label}", layout)
    assert not system.open


def test_an_exact_name_is_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", TestPortAudio(("Mic 2", 1, 0), ("Mic", 1, 0)))
    with Microphone("mic") as microphone:
        assert microphone.label == "microphone Mic"
    with pytest.raises(SourceError, match="--microphone mi: fits several; microphones: Mic 2, Mic"):
        Microphone("mi")
    with pytest.raises(SourceError, match="--microphone none: is none here; microphones: Mic 2, Mic"):
        Microphone("none")


def test_none_at_all_and_one_that_does_not_open(system: TestPortAudio) -> None:
    system.plugged_in = False
    with pytest.raises(SourceError, match="microphone USB cannot be opened: .*Device unavailable; is another program"):
        Microphone("usb")
    system.devices = (("Speakers", 0, 0),)
    assert list_microphones() == []
    for name in ("", "usb"):
        with pytest.raises(SourceError, match="has no microphone"):
            Microphone(name)


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(SourceError, match="pip install sounddevice"):
        list_microphones()

    class Finder:
        def find_spec(self, name: str, *place: object) -> None:
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.delitem(sys.modules, "sounddevice")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
        with pytest.raises(SourceError, match="apt install libportaudio2"):
            Microphone()


def test_a_sound_system_that_does_not_begin_is_told_and_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sounddevice begins PortAudio when it is imported, which MediaPipe does."""
    (tmp_path / "sounddevice.py").write_text(
        "class PortAudioError(Exception): pass\nraise PortAudioError('Error initializing PortAudio', -9999)\n"
    )
    script = (
        "import sys; from headstream.track.faces import load_mediapipe\n"
        "load_mediapipe(); from headstream.errors import SourceError\n"
        "from headstream.capture.microphone import list_microphones\n"
        "for _ in range(2):\n"
        "    try: list_microphones()\n"
        "    except SourceError as error: print(error)\n"
    )
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == 2 * "the system's sound does not work: Error initializing PortAudio\n"


def test_what_is_heard_has_the_time_it_was_heard_at(system: TestPortAudio) -> None:
    got: list[Sound] = []
    with Microphone() as microphone:
        microphone.listen(got.append)
        wait_until(lambda: len(got) > 150)
    clicks = []
    for sound in got:
        loud = np.flatnonzero(sound.frame.to_ndarray()[0, ::2] > 20000)
        if len(loud):
            clicks.append(sound.captured_s + loud[0] / 44100)
    assert clicks
    assert clicks == pytest.approx(np.round(clicks).tolist(), abs=0.05)  # as late as this machine was at its best
    heard = len(got)
    microphone.close()
    time.sleep(0.05)
    assert len(got) == heard


def test_one_that_is_unplugged_is_told_and_heard_again_when_it_is_back(system: TestPortAudio) -> None:
    lines: list[str] = []
    got: list[Sound] = []
    with Microphone("usb", notice=lines.append) as microphone:
        microphone.listen(got.append)
        wait_until(lambda: got)
        system.plugged_in = False
        already = system.begun_anew
        wait_until(lambda: system.begun_anew > already + 2)
        assert lines[-1] == "microphone USB gives no more sound; silence is recorded until it is back"
        before = len(got)
        system.plugged_in = True
        wait_until(lambda: lines[-1].startswith("microphone USB is back after"))
        assert len(got) > before
        wait_until(lambda: len(system.open) == 1)
    assert not system.open


def test_a_sound_server_that_hangs_holds_up_no_end(system: TestPortAudio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstream.capture.microphone._PATIENCE_S", 0.1)
    left: list[object] = []
    monkeypatch.setattr("headstream.capture.microphone.atexit.unregister", left.append)
    gate = Gate()
    system.closing = gate.hold
    microphone = Microphone()
    microphone.close()
    microphone.close()
    assert gate.reached.wait(20)
    assert left
    gate.open()
    wait_until(lambda: not system.open)
    system.closing, left[:] = (lambda: None), []
    with Microphone():
        pass
    assert not left


def test_a_sound_server_that_does_not_answer_is_told(system: TestPortAudio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstream.capture.microphone._ANSWER_S", 0.1)
    gate = Gate()
    usual = system.query_devices

    def query_devices(kind: str | None = None) -> Any:
        os.dup2(nowhere.fileno(), 2)  # as sounddevice does meanwhile
        gate.hold()
        return usual(kind)

    monkeypatch.setattr(system, "query_devices", query_devices)
    own = os.fstat(2)
    with open(os.devnull, "wb") as nowhere:
        for ask in (list_microphones, Microphone):
            with pytest.raises(SourceError, match=r"the system's sound has not answered for 0\.1 s"):
                ask()
            assert os.path.samestat(os.fstat(2), own)
        gate.open()


def test_one_comes_back_although_portaudio_did_not_begin_at_once(
    system: TestPortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, failures = [True], [1, 1]

    def terminate() -> None:
        system.begun_anew += 1
        if not begun[0]:
            raise PortAudioError("PortAudio not initialized", -10000)
        begun[0] = False

    def initialize() -> None:
        if failures:
            failures.pop()
            raise PortAudioError("Unanticipated host error", -9999)
        begun[0] = True

    monkeypatch.setattr(system, "_terminate", terminate)
    monkeypatch.setattr(system, "_initialize", initialize)
    got: list[Sound] = []
    with Microphone() as microphone:
        microphone.listen(got.append)
        wait_until(lambda: got)
        system.plugged_in = False
        wait_until(lambda: not failures)
        system.plugged_in = True
        before = len(got)
        wait_until(lambda: len(got) > before)
        assert begun == [True]


def test_one_that_does_not_begin_is_closed(system: TestPortAudio, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(stream: object) -> None:
        raise PortAudioError("Unanticipated host error", -9999)

    monkeypatch.setattr("tests.portaudio._Stream.start", start)
    with pytest.raises(SourceError, match="Realtek High Def cannot be opened: Unanticipated host error"):
        Microphone()
    assert not system.open


def test_what_was_lost_is_a_gap() -> None:
    got: list[Sound] = []
    taken = _Taken(48000, "mono", got.append)
    fine, lost = (SimpleNamespace(input_overflow=state) for state in (False, True))
    for state in (fine, lost):
        taken(np.zeros((480, 1), np.int16), 480, None, state)
        time.sleep(0.3)
    assert got[1].captured_s - got[0].end_s > 0.25


def test_a_real_one_is_heard_where_there_is_one() -> None:
    try:
        names = list_microphones()
    except SourceError as error:
        pytest.skip(str(error))
    if not names:
        pytest.skip("this machine has no microphone")
    got: list[Sound] = []
    with Microphone() as microphone:
        microphone.listen(got.append)
        wait_until(lambda: len(got) > 5)
    assert {sound.frame.layout.name for sound in got} == {microphone.layout}
    assert all(b.captured_s >= a.captured_s for a, b in itertools.pairwise(got))
