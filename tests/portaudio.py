"""PortAudio's interface, with test microphones: they hear clicks at whole seconds, in real time, until they are unplugged."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np


class PortAudioError(Exception):
    """As sounddevice's."""


class TestPortAudio:
    """In place of the module sounddevice. devices: (name, channels, way to it), of which the first that hears is the default.

    plugged_in: without it, nothing opens, and what is open hears nothing. closing: called when a stream is closed.
    """

    __test__ = False
    PortAudioError = PortAudioError

    def __init__(self, *devices: tuple[str, int, int], rate: int = 44100) -> None:
        self.devices, self.rate = devices, rate
        self.plugged_in = True
        self.open: list[Any] = []
        self.begun_anew = 0
        self.closing: Any = lambda: None

    def _exit_handler(self) -> None:
        """Of sounddevice, which registers it with ``atexit``."""

    def query_devices(self, kind: str | None = None) -> Any:
        told = [
            {
                "name": name,
                "index": index,
                "hostapi": way,
                "max_input_channels": channels,
                "default_samplerate": float(self.rate),
            }
            for index, (name, channels, way) in enumerate(self.devices)
        ]
        if kind is None:
            return told
        hearing = [device for device in told if device["max_input_channels"]]
        if not hearing:
            raise PortAudioError("Error querying device -1")
        return hearing[0]

    def InputStream(self, **asked: Any) -> Any:
        if not self.plugged_in:
            raise PortAudioError("Error opening InputStream: Device unavailable", -9985)
        assert asked["dtype"] == "int16"
        stream = _Stream(self, **asked)
        self.open.append(stream)
        return stream

    def _terminate(self) -> None:
        self.begun_anew += 1

    def _initialize(self) -> None:
        pass


class _Stream:
    def __init__(
        self, system: TestPortAudio, *, callback: Any, channels: int, samplerate: int, device: int, **other: Any
    ):
        self._system, self._callback = system, callback
        self._channels, self._rate, self.device = channels, samplerate, device
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, ignore_errors: bool = True) -> None:
        self._system.closing()
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self in self._system.open:
            self._system.open.remove(self)

    def _run(self) -> None:
        count, rate, system = self._rate // 100, self._rate, self._system
        heard_s = time.perf_counter()
        while not self._ended.wait(max(0.0, heard_s + count / rate - time.perf_counter())):
            index = np.arange(count) + round(heard_s * rate)
            wave = np.where(index % rate < 20, 30000, 3000 * np.sin(index / 16)).astype(np.int16)
            if system.plugged_in:
                samples = np.repeat(wave[:, None], self._channels, axis=1)
                self._callback(samples, count, None, SimpleNamespace(input_overflow=False))
            heard_s += count / rate
