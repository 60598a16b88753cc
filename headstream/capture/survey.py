"""What a film's packets tell without decoding any: when its frames are shown, and which of them are key frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from headstream.capture.ending import ends_early, lacks_its_end, promised_s
from headstream.capture.opening import open_film, reason_of, tells_no_times, video_stream
from headstream.errors import SourceError
from headstream.shared.continuity import Continuity
from headstream.shared.demuxing import packets_of


@dataclass(frozen=True)
class Survey:
    """Frames by their packets. ticks: (N,) int64, their times in ``time_base``, rising.  keys: (N,) bool, the key frames.

    fault: why packets do not tell the frames of this file, or "".
    """

    ticks: np.ndarray[Any, np.dtype[np.int64]]
    keys: np.ndarray[Any, np.dtype[np.bool_]]
    time_base: Fraction
    rate: Fraction
    fault: str = ""

    @property
    def length_s(self) -> Fraction:
        """How long the film is, as nearly as can be told."""
        return len(self.ticks) / self.rate


def length_s(path: Path, *, count: bool = True) -> Fraction:
    """How long the picture of a film is: by the file's own account; where it has none, by its packets, or 0 without ``count``.
    Raises SourceError."""
    with open_film(path) as container:
        stream = video_stream(container, path)
        if stream.duration:
            return Fraction(stream.duration) * Fraction(stream.time_base)
        if container.duration:
            return Fraction(container.duration, 1_000_000)
    return survey(path).length_s if count else Fraction(0)


def counted(path: Path, rate: Fraction | None = None) -> tuple[int, Fraction]:
    """Frames of a film by its packets, and the seconds from its first frame to the end of its last. rate: as of
    ``FileSource``. Raises SourceError."""
    import av

    times: list[int] = []
    untimed = last = 0
    with open_film(path, rate) as container:
        stream = video_stream(container, path)
        try:
            for packet in _of_frames(container, stream):
                if packet.pts is None:
                    untimed += 1
                else:
                    times.append(packet.pts)
                    last = max(last, packet.pts + (packet.duration or 0))
        except (av.error.FFmpegError, OSError) as error:
            raise SourceError(f"{path}: reading failed part-way ({reason_of(error)})") from error
        base, rate = Fraction(stream.time_base), Fraction(stream.average_rate or stream.guessed_rate or 25)
    if not times and not untimed:
        raise SourceError(f"{path}: holds no frame")
    if not times:  # bare H.264 and the like tell none
        return untimed, untimed / rate
    return len(times), (last - min(times)) * base


def _of_frames(container: Any, stream: Any) -> Iterator[Any]:
    """The packets of a film's picture that are shown, their times made continuous."""
    clock = Continuity()
    for packet in packets_of(container):
        clock.follow(packet)
        if packet.stream.index == stream.index and packet.size and not packet.is_discard:
            yield packet


def shown_s(path: Path) -> list[float]:
    """When the frames of a film are shown, in seconds from the first, by its packets; [] where these do not tell. A film that is
    damaged on the way is none of this one's business: whoever decodes it says so."""
    import av

    try:
        with open_film(path) as container:
            stream = video_stream(container, path)
            if tells_no_times(container, stream):
                return []
            ticks = [packet.pts for packet in _of_frames(container, stream)]
            base = Fraction(stream.time_base)
    except (SourceError, av.error.FFmpegError, OSError):
        return []
    known = sorted(tick for tick in ticks if tick is not None)
    return [float((tick - known[0]) * base) for tick in known] if len(known) == len(ticks) else []


def survey(path: Path) -> Survey:
    """Read all packets of a film's picture. Raises SourceError for a file that cannot even be opened."""
    import av

    fault = ""
    times: list[int | None] = []
    keys: list[bool] = []
    ends: list[int] = []
    clock = Continuity()
    with open_film(path) as container:
        stream = video_stream(container, path)
        untimed = tells_no_times(container, stream)
        try:
            for packet in packets_of(container):
                clock.follow(packet)
                if packet.stream.index != stream.index:
                    continue
                if not packet.size:  # the end; in AVI also a frame that was dropped
                    continue
                if packet.is_corrupt or packet.is_discard:
                    fault = fault or ("some packets are damaged" if packet.is_corrupt else "an edit list hides frames")
                times.append(packet.pts)
                keys.append(packet.is_keyframe)
                ends.append((packet.pts or 0) + (packet.duration or 0))
        except (av.error.FFmpegError, OSError) as error:
            raise SourceError(f"{path}: reading failed part-way ({reason_of(error)})") from error
        base, rate = Fraction(stream.time_base), Fraction(stream.average_rate or stream.guessed_rate or 25)
        ends_s = (max(ends) - min(tick or 0 for tick in times)) * base if times else Fraction(0)
        promised, indexed = promised_s(path, container, stream, ends_s), int(stream.frames)
    fault = "the clock begins again on the way" if clock.begun_again else fault
    fault = fault or ("its frames have no times of their own" if untimed else "")
    fault = fault or ("some frames have no time" if None in times else "")
    ticks = np.array([0 if tick is None else tick for tick in times], np.int64)
    order = np.argsort(ticks, kind="stable")
    ticks, marks = ticks[order], np.array(keys, bool)[order]
    if not fault and (np.diff(ticks) <= 0).any():
        fault = "some frames have the same time"
    early = indexed and ends_early(len(ticks), ends_s, indexed=indexed, promised_s=promised)
    if not fault and (early or lacks_its_end(len(ticks), ends_s, indexed=indexed, promised_s=promised, rate=rate)):
        fault = "the file is cut off"
    return Survey(ticks, marks, base, rate, fault)
