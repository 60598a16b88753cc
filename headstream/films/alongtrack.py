"""A film along its track: its frames with their places, the head's matte in each, and outputs beside it. What `headstream
crop` and `headstream paste` share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from headstream.capture.file import FileSource
from headstream.capture.named import check_file
from headstream.capture.opening import reason_of
from headstream.dub.path import Placed
from headstream.dub.trackfile import TrackReader
from headstream.errors import SourceError, UsageError
from headstream.films.outputs import DirectCut, clip_of, frames_beyond
from headstream.films.resume import work_folder
from headstream.films.writing import write_out
from headstream.matte.refine import HeadMatte, Layer
from headstream.segment.crops import CropSegmenter
from headstream.segment.places import looked_at
from headstream.shared.channel import Producer
from headstream.sinks.formats import OutputFormat
from headstream.sinks.video import VideoSink, What
from headstream.stream import timed
from headstream.timing import StageTimes
from headstream.track.lying import in_steps, roll_of
from headstream.types import Cutout, Frame

Progress = Callable[[int, int], None]
NOTHING = Layer((0, 0, 0, 0), np.zeros((0, 0), np.uint8), None)


@dataclass
class DubReport:
    """What became of a job. with_head: frames the head is in.  changed: frames that are not the film's own any more.
    times: mean milliseconds a frame of each stage."""

    frames: int = 0
    with_head: int = 0
    changed: int = 0
    head: int = 0
    seconds: float = 0.0
    device: str = ""
    model: str = ""
    outputs: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False
    times: StageTimes = field(default_factory=StageTimes)


class TrackMattes:
    """The matte of one head along its track. No face is looked for: the track knows where it is."""

    def __init__(self, segmenter: CropSegmenter, times: StageTimes) -> None:
        self.segmenter, self._times = segmenter, times
        self._matte = HeadMatte()
        self._last: Placed | None = None
        self._roll_deg = 0

    def update(self, frame: Frame, placed: Placed) -> Layer:
        """The head's layer in the next frame; empty where the track has no head."""
        last, self._last = self._last, placed
        if placed.square is None or placed.head is None:
            return NOTHING
        if last is None or last.square is None or last.shot != placed.shot:
            self._matte.reset()
            self._roll_deg = 0
        self._roll_deg = in_steps(roll_of(placed.head.landmarks), self._roll_deg)
        half = placed.head.side / 2
        left, top = (round((v - half) / 2) * 2 for v in placed.head.centre)
        side = max(2, round(half) * 2)
        crop_px = (left, top, left + side, top + side)
        network, place = self.segmenter, (frame.picture, crop_px)
        (crop,), planes = looked_at(network, [place], ("head",), self._times, rolls_deg=[self._roll_deg])
        with self._times.stage("matte"):
            return self._matte.update(planes["head"][0], crop, crop_px, frame, roll_deg=self._roll_deg)


def check_sound(path: Path) -> None:
    """Raise SourceError for a file without sound that can be read."""
    import av

    check_file(path)
    try:
        with av.open(str(path.absolute())) as container:
            if any(stream.codec_context is not None for stream in container.streams.audio):
                return
    except (av.error.FFmpegError, OSError) as error:
        raise SourceError(f"{path}: not a sound file headstream can read ({reason_of(error)})") from error
    raise SourceError(f"{path}: holds no sound")


def open_along(path: Path, track: TrackReader) -> FileSource:
    """The film of a track, or a clip of it. Raises SourceError."""
    return FileSource(path, rate=rate_along(path, track))


def rate_along(path: Path, track: TrackReader) -> Fraction | None:
    """Of numbered pictures as many a second as the track's film has; None for what has its own."""
    return None if os.path.isfile(path) else track.header.rate


def check_track(track: TrackReader, film: FileSource, path: Path) -> None:
    """Raise SourceError where ``path`` is the track of a film of another size."""
    if track.header.size_px != film.size_px:
        there, here = ("x".join(map(str, size)) for size in (track.header.size_px, film.size_px))
        raise SourceError(f"{path}: is a track of a film of {there}, but {film.path} is {here}; make it anew")


def along(film: FileSource, path: list[Placed], track: Path, times: StageTimes) -> Iterator[tuple[Frame, Placed]]:
    """Frames with their places. Raises UsageError when the track is another film's."""
    done = 0
    with Producer(timed(film, times), name="headstream-grab", capacity=4) as frames:
        for frame in frames:
            if frame.index >= len(path) or abs(path[frame.index].time_s - frame.pts) > Fraction(1, 1000):
                raise UsageError(f"{track}: does not fit {film.path} from frame {frame.index} on; make it anew")
            done += 1
            yield frame, path[frame.index]
    if done < len(path):
        raise UsageError(f"{track}: knows {len(path)} frames, but {film.path} ends after {done}; make it anew")


def open_sinks(
    film: FileSource,
    kinds: list[tuple[Path, OutputFormat, What]],
    size_px: tuple[int, int],
    *,
    sound: Path | None = None,
    old_sound: bool = False,
    own: bool = False,
) -> list[VideoSink]:
    """own: whether they are clips of their own. Their lines are not those of the film's fields, and their picture begins at
    once: programs that read frames at a constant rate would show the first one twice, and lips would be late."""
    clip = replace(clip_of(film), size_px=size_px, sound=sound, old_sound=old_sound)
    if own:
        start_s = film.first_pts_s
        clip = replace(clip, top_field_first=None, video_start_s=Fraction(0), start_s=start_s, from_picture=True)
    sinks: list[VideoSink] = []
    try:
        for path, kind, what in kinds:
            sinks.append(VideoSink(path, kind, clip, what=what))
    except BaseException:
        for sink in sinks:
            sink.discard()
        raise
    return sinks


def partly(progress: Progress | None, before: int, passes: int) -> Progress:
    """The progress of one pass over a film as that of several, ``before`` of which are done."""

    def told(done: int, total: int) -> None:
        if progress is not None:
            progress(before * total + done, passes * total)

    return told


def write_all(
    cutouts: Generator[Cutout], sinks: list[VideoSink], report: DubReport, expected: int, progress: Progress | None
) -> None:
    """Write cut-outs, finish the outputs and fill in the report. Raises as ``write_out`` does."""
    started = time.monotonic()
    outputs = DirectCut(work_folder(sinks[0].path), sinks)

    def count(cutout: Cutout) -> None:
        report.frames += 1
        if progress is not None:
            progress(report.frames, expected)

    with closing(cutouts):  # its thread ends here, whatever happens, and not when somebody collects the garbage
        report.interrupted = write_out(cutouts, outputs, count)
    report.outputs = outputs.joined
    report.notes += [note for part in sinks for note in part.notes] + frames_beyond(outputs)
    report.seconds = time.monotonic() - started
