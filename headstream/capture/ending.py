"""Whether a film ends where it should: what a file tells of its length, against the last picture in it."""

from __future__ import annotations

import re
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

from headstream.capture.decoding import Decoding
from headstream.capture.numbered import picture_at
from headstream.capture.opening import open_film
from headstream.errors import SourceError
from headstream.shared.demuxing import packets_of

_MATROSKA, _FLASH = "matroska,webm", "flv"
_TAG = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")  # hours, minutes, seconds
_SHORT_S = Fraction(2)  # what tells no number of frames is not exact about its length either


def check_complete(film: Decoding, frames: int, ends_s: Fraction, *, expected: int, rate: Fraction) -> None:
    """Raise SourceError where a film that was read to its end lacks frames, warn through ``film`` where it may.

    frames: that were met.  ends_s: when the last one ends, from the first's begin.  expected: pictures, of a film of such.
    rate: frames a second.
    """
    indexed = int(film.stream.frames)
    promised = promised_s(film.path, film.container, film.stream, ends_s)
    known = frames + film.damaged_packets + film.discarded
    if film.of_pictures and known < expected:
        what = picture_at(film.path, known)
        raise SourceError(f"{what}: is gone or damaged: there are {known} of {expected} pictures")
    if indexed and ends_early(known, ends_s, indexed=indexed, promised_s=promised):
        raise SourceError(
            f"{film.path}: ends after {frames} of the {indexed} frames its index lists; the file is cut off"
        )
    if lacks_its_end(known, ends_s, indexed=indexed, promised_s=promised, rate=rate):
        film.warn_once(f"video ends at {float(ends_s):.1f} s of {float(promised):.1f} s; the file may be cut off")


def promised_s(path: Path, container: Any, stream: Any, ends_s: Fraction) -> Fraction:
    """How long a film's picture is to be by the file's own account, from its first frame; 0 where it tells nothing of it.

    ends_s: when its last frame ends. Matroska, WebM and FLV may tell only how long all is that is in them, and sound may go on
    longer than the picture; so that counts only where everything ends early.
    """
    base = Fraction(stream.time_base)
    if stream.duration:
        return Fraction(stream.duration) * base
    if container.format.name not in {_MATROSKA, _FLASH}:
        return Fraction(0)
    begins_s, whole_s = Fraction(stream.start_time or 0) * base, Fraction(container.duration or 0, 1_000_000)
    if tag := _TAG.match(stream.metadata.get("DURATION", "")):
        whole_s = min(whole_s, int(tag[1]) * 3600 + int(tag[2]) * 60 + Fraction(tag[3]))
    elif begins_s + ends_s + _SHORT_S < whole_s <= _reach_s(path) + _SHORT_S:
        return Fraction(0)
    return max(whole_s - begins_s, Fraction(0))


def _reach_s(path: Path) -> Fraction:
    """When the last packet of a film ends, of all its streams; beyond all lengths where it can no longer be read to its end."""
    import av

    last = Fraction(0)
    try:
        with open_film(path) as container:
            for packet in packets_of(container):
                if packet.pts is not None:
                    last = max(last, (packet.pts + (packet.duration or 0)) * Fraction(packet.time_base))
    except (SourceError, av.error.FFmpegError, OSError):
        return Fraction(sys.maxsize)
    return last


def ends_early(frames: int, ends_s: Fraction, *, indexed: int, promised_s: Fraction) -> bool:
    """Whether a film ends before its index says so. An index may list more than is shown, places of dropped frames (AVI) or
    what an edit list leaves out: where the last frame is due when it comes, nothing is missing.

    ends_s: when the last frame ends, from the first's begin.  promised_s: how long the film is to be, or 0 if it does not tell.
    """
    share = Fraction(98, 100) - Fraction(2, indexed)
    return frames < share * indexed and (not promised_s or ends_s < share * promised_s)


def lacks_its_end(frames: int, ends_s: Fraction, *, indexed: int, promised_s: Fraction, rate: Fraction) -> bool:
    """Whether a film ends so long before the time it is to last for that frames may be missing."""
    short_s = max(Fraction(1, 2) if indexed else _SHORT_S, 2 / rate)
    return (not indexed or frames < indexed) and ends_s + short_s < promised_s
