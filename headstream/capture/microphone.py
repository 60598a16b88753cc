"""A microphone of this machine, by way of PortAudio. The only file that imports sounddevice.

It is opened again when it is back, as cameras are. What it hears is timed by the count of its samples, which come evenly, put on
the clock of the pictures by when they arrive. What PortAudio tells of when they were heard is not used: of PulseAudio it is
wrong by up to 0.6 s, and what a webcam's pictures wait before they arrive nobody tells either.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from typing import Any, TypeVar

from headstream.capture.cameras import called
from headstream.errors import SourceError
from headstream.shared.sound import Listener, Sound, SteadyClock
from headstream.shared.threads import JoinedThread

T = TypeVar("T")
_LAYOUTS = ("mono", "stereo")
_SILENT_S = 2.0  # with nothing heard for this long, it counts as lost
_WAIT_S = 1.0
_PATIENCE_S = 2.0  # with a device that is being closed
_ANSWER_S = 5.0  # patience with one that is being opened
_BUFFER_S = 0.2  # for which Python may be busy with other things without a gap


def list_microphones() -> list[str]:
    """The microphones the system names. Raises SourceError where it cannot be asked, or does not answer."""

    def names() -> list[str]:
        sounddevice = _sounddevice()
        try:
            return [device["name"] for device in _devices(sounddevice)]
        except sounddevice.PortAudioError as error:
            raise SourceError(f"the system does not list its microphones: {_reason(error)}") from error

    return _answered(names)


class Microphone:
    """Sound until ``close``, given to whoever is named to ``listen``, in a thread of PortAudio's.

    name: a part of its name; "" for the system's own choice. notice: gets a line for the user when it is lost, and when it is
    back. Raises SourceError where it cannot be opened.
    label: what to call it.  layout: "mono" or "stereo".
    """

    def __init__(self, name: str = "", *, notice: Callable[[str], None] = lambda line: None) -> None:
        self._name, self._notice = name, notice
        self._listener: Listener = lambda sound: None
        self._stop = threading.Event()
        self.label, self.layout = "", _LAYOUTS[0]
        self._heard_s = self._opened_s = time.monotonic()
        self._sounddevice: Any = _answered(_sounddevice)
        self._stream: Any = _answered(self._opened)
        self._watch = JoinedThread(target=self._keep_open, name="headstream-microphone", daemon=True)
        self._watch.start()

    def listen(self, listener: Listener) -> None:
        """Give what is heard from now on to this one."""
        self._listener = listener

    def close(self) -> None:
        """End it; a sound server that hangs is left to itself. Safe to call again."""
        self._stop.set()
        self._watch.join(_PATIENCE_S)
        if self._watch.is_alive():
            _leave_to_itself()

    def __enter__(self) -> Microphone:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _opened(self) -> Any:
        """The device, begun. Raises SourceError."""
        try:
            device = _wanted(self._sounddevice, self._name)
            rate, channels = int(device["default_samplerate"]), min(2, device["max_input_channels"])
            self.label, self.layout = f"microphone {device['name']}", _LAYOUTS[channels - 1]
            stream = self._sounddevice.InputStream(
                device=device["index"],
                samplerate=rate,
                channels=channels,
                dtype="int16",
                latency=_BUFFER_S,
                callback=_Taken(rate, self.layout, self._hear),
            )
            with ExitStack() as unless_begun:
                unless_begun.callback(stream.close)
                stream.start()
                unless_begun.pop_all()
        except self._sounddevice.PortAudioError as error:
            name = self.label or "the microphone"
            raise SourceError(f"{name} cannot be opened: {_reason(error)}; is another program using it?") from error
        self._opened_s = time.monotonic()
        return stream

    def _hear(self, sound: Sound) -> None:
        self._heard_s = time.monotonic()
        self._listener(sound)

    def _keep_open(self) -> None:
        """Look whether sound still comes; where it does not, open the device until it does. At the end, close it."""
        lost_s: float | None = None
        while not self._stop.wait(_WAIT_S):
            now_s = time.monotonic()
            if lost_s is not None and self._heard_s > lost_s:
                self._notice(f"{self.label} is back after {now_s - lost_s:.0f} s")
                lost_s = None
            if now_s - max(self._heard_s, self._opened_s) < _SILENT_S:
                continue
            if lost_s is None:
                lost_s = now_s
                self._notice(f"{self.label} gives no more sound; silence is recorded until it is back")
            self._reopen()
        self._end_stream()

    def _reopen(self) -> None:
        self._end_stream()
        with suppress(self._sounddevice.PortAudioError):  # it has not begun, when beginning failed the last time
            self._sounddevice._terminate()
        with suppress(SourceError, self._sounddevice.PortAudioError):  # tried again in a moment
            self._sounddevice._initialize()  # it sees what is plugged in when it begins, and never again
            self._stream = self._opened()

    def _end_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()  # which ignores errors


class _Taken:
    """PortAudio's callback: pieces of sound with the times they were heard at."""

    def __init__(self, rate: int, layout: str, hear: Listener) -> None:
        self._rate, self._layout, self._hear = rate, layout, hear
        self._clock, self._samples = SteadyClock(), 0

    def __call__(self, data: Any, count: int, times: Any, status: Any) -> None:
        import av

        if status.input_overflow:  # some were lost, nobody tells how many
            self._clock.forget()
        told_s = self._samples / self._rate
        self._samples += count
        self._clock.follow(self._samples / self._rate, time.perf_counter())
        frame = av.AudioFrame.from_ndarray(data.reshape(1, -1).copy(), format="s16", layout=self._layout)
        frame.sample_rate, frame.time_base = self._rate, Fraction(1, self._rate)
        self._hear(Sound(frame, self._clock.at(told_s)))


def _wanted(sounddevice: Any, name: str) -> Any:
    """What PortAudio tells of a device. Raises SourceError where there is none, or several of such a name."""
    devices = _devices(sounddevice)
    if not devices:
        raise SourceError("this machine has no microphone, or this program may not use it")
    if not name:
        try:
            return sounddevice.query_devices(kind="input")
        except sounddevice.PortAudioError:  # none is the default
            return devices[0]
    found = called(name, devices, lambda device: str(device["name"]))
    if len({device["name"] for device in found}) == 1:  # of two of one name the first: nothing else tells them apart
        return found[0]
    listed = ", ".join(device["name"] for device in found or devices)
    raise SourceError(f"--microphone {name}: {'fits several' if found else 'is none here'}; microphones: {listed}")


def _devices(sounddevice: Any) -> list[Any]:
    """What can be recorded from. Windows has several ways to each of them: those of the one it prefers."""
    hearing = [device for device in sounddevice.query_devices() if device["max_input_channels"] > 0]
    try:
        way = sounddevice.query_devices(kind="input")["hostapi"]
    except sounddevice.PortAudioError:
        return hearing
    return [device for device in hearing if device["hostapi"] == way]


def _answered(ask: Callable[[], T]) -> T:
    """What the system's sound answers. Raises SourceError where it does not within seconds; else what ``ask`` raises."""
    given: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            given.append(ask())
        except BaseException as error:
            raised.append(error)

    with _stderr_given_back() as give_back:
        thread = JoinedThread(target=run, name="headstream-sound", daemon=True)
        thread.start()
        thread.join(_ANSWER_S)
        if thread.is_alive():
            give_back()
            _leave_to_itself()
            raise SourceError(f"the system's sound has not answered for {_ANSWER_S:g} s")
    if raised:
        raise raised[0]
    return given[0]


@contextmanager
def _stderr_given_back() -> Iterator[Callable[[], object]]:
    """sounddevice sends what is written to stderr nowhere while PortAudio begins: gives what ends that."""
    try:
        own = os.dup(2)
    except OSError:  # there is none
        yield lambda: None
        return
    try:
        yield lambda: os.dup2(own, 2)
    finally:
        os.close(own)


def _leave_to_itself() -> None:
    """Nobody waits at the end for a sound server that hangs."""
    if (sounddevice := sys.modules.get("sounddevice")) is not None:
        atexit.unregister(getattr(sounddevice, "_exit_handler", _leave_to_itself))


def _sounddevice() -> Any:
    """The module, begun. Raises SourceError where it does not load, with what to do."""
    try:
        import sounddevice
    except ImportError as error:
        raise SourceError("a microphone needs sounddevice: pip install sounddevice") from error
    except OSError as error:
        raise SourceError(
            "a microphone needs PortAudio, which is not here; on Debian and Ubuntu: apt install libportaudio2"
        ) from error
    except Exception as error:  # its own, which nobody could import yet
        raise SourceError(f"the system's sound does not work: {_reason(error)}") from error
    return sounddevice


def _reason(error: BaseException) -> str:
    """PortAudio's words, without its number."""
    return str(error.args[0] if error.args else error)
