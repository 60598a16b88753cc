"""Cut-outs into a video file: alpha or composite, with the source's own times, colours, sound and chapters."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from headstream.errors import SinkError, UsageError
from headstream.sinks.background import Background, composite
from headstream.sinks.formats import OutputFormat
from headstream.sinks.pack import (
    RGB_AS_YUV,
    fill_alpha_frame,
    fill_opaque_frame,
    film_pixels,
    matte_planes,
    planes_format,
    view,
)
from headstream.sinks.partial import PartialFile, PartialFolder, sink_error
from headstream.sinks.streams import STREAMS, StreamCarrier
from headstream.types import Colour, Cutout, Sink, UInt8Array

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipInfo:
    """What an output must know of its source.

    size_px: displayed width and height.  rate: nominal frames a second.  time_base: seconds a tick.
    video_start_s: where the picture begins, from the earliest stream of the source.
    path, start_s: the file to carry sound from, and where its clock starts; None for a source without one.
    sound: another file whose sound takes the place of that one's.  old_sound: whether that one's is kept after it.
    """

    size_px: tuple[int, int]
    rate: Fraction
    time_base: Fraction = Fraction(1, 90000)
    sample_aspect_ratio: Fraction = Fraction(1)
    video_start_s: Fraction = Fraction(0)
    path: Path | None = None
    start_s: Fraction = Fraction(0)
    sound: Path | None = None
    old_sound: bool = False


What = Literal["cutout", "matte", "film", "clip"]


class VideoSink:
    """Writes cut-outs to a video file, an animated picture, or a folder of PNG files.

    Nothing appears under the final name until ``close``; what was written by then is complete and playable. After
    ``incomplete`` it goes under NAME.partial.EXT instead, after an error or ``discard`` nowhere.
    what: "cutout"; "matte" for the matte alone as a grey video; "film" for the frames as they are, opaque; "clip" for the
    frames as they are with the matte as their transparency.
    notes: what became of the source's sound, subtitles and chapters.
    """

    def __init__(
        self,
        path: Path,
        kind: OutputFormat,
        clip: ClipInfo,
        *,
        background: Background | None = None,
        what: What = "cutout",
    ) -> None:
        import av

        if not kind.alpha and background is None and what == "cutout":
            raise UsageError(f"{path}: {kind.name} has no transparency; choose a background")
        self.path, self._kind, self._clip, self._what, self._background = path, kind, clip, what, background
        self.notes: list[str] = []
        self.frames = 0
        self._failed = self._closed = False
        self._stream: Any = None
        self._carriers: list[StreamCarrier] = []
        self._palette: Any = None
        self._durations: dict[int, int] = {}
        self._tags: dict[str, int] = {}
        self._last_pts = -1
        self._final: PartialFile | PartialFolder
        if kind.container == "image2":
            folder = path.parent if "%" in path.name else path
            self._pattern = path.name if "%" in path.name else "%06d.png"
            self._final = PartialFolder(folder)
            target = self._final.path / self._pattern
        else:
            self._final = PartialFile(path)
            target = self._final.path
        try:
            self._container = av.open(str(target), "w", format=kind.container, options=dict(kind.muxer_options))
        except (av.error.FFmpegError, OSError) as error:
            raise sink_error(path, error) from error

    def write(self, cutout: Cutout) -> None:
        """Encode one cut-out at its own time."""
        import av

        if self._failed:
            return
        try:
            if self._stream is None:
                self._begin(cutout)
            when = cutout.frame.pts + self._clip.video_start_s
            for frame in self._frames(cutout, when):
                self._mux(self._stream.encode(frame))
            for carrier in self._carriers:
                carrier.advance(when)
            self.frames += 1
        except (av.error.FFmpegError, OSError) as error:
            self._failed = True
            raise sink_error(self.path, error) from error

    def incomplete(self) -> None:
        """What was written is not all that was asked for: keep it under another name."""
        name = self._final.final
        self._final.final = name.with_name(f"{name.stem}.partial{name.suffix}")

    @property
    def final_path(self) -> Path:
        """Where ``close`` puts the output."""
        final = self._final.final
        return final if isinstance(self._final, PartialFile) or "%" not in self.path.name else final / self._pattern

    def abandon(self) -> None:
        """Nothing is to be kept; what is still written goes nowhere. Safe from any thread, unlike ``discard``."""
        self._failed = True

    def discard(self) -> None:
        """Give up: nothing is kept."""
        self.abandon()
        self.close()

    def close(self) -> None:
        """Finish the file and give it its name. Safe to call again. Raises SinkError; then nothing is kept."""
        import av

        if self._closed:
            return
        self._closed = True
        keep = not self._failed and self.frames > 0
        try:
            if keep:
                self._end()
            if self._stream is not None or keep:
                self._container.close()
        except (av.error.FFmpegError, OSError) as error:
            if keep:
                keep = False
                raise sink_error(self.path, error) from error
        finally:
            for carrier in self._carriers:
                carrier.close()
            if self._background is not None:
                self._background.close()
            self._final.keep() if keep else self._final.discard()

    def _begin(self, first: Cutout) -> None:
        """Add the streams; the first cut-out tells the pixel format and the colours."""
        kind, clip = self._kind, self._clip
        width, height = clip.size_px
        if kind.layout == "opaque":  # 4:2:0 H.264 has even sizes only: one row or column is repeated
            width, height = width + width % 2, height + height % 2
        time_base = Fraction(1, 100) if kind.container == "gif" else clip.time_base
        if kind.container in {"webp", "apng"}:
            time_base = Fraction(1, 1000)
        options = dict(kind.options)
        stream = self._container.add_stream(
            kind.codec, rate=clip.rate, options=options, width=width, height=height, time_base=time_base
        )
        stream.pix_fmt = self._pixel_format(first)
        context = stream.codec_context
        context.sample_aspect_ratio = clip.sample_aspect_ratio
        if kind.layout in {"planes", "prores", "opaque"}:
            self._tags = _tags(self._colour(first), kind)
            _set(context, self._tags)
        self._stream, self._time_base = stream, time_base
        if kind.layout == "palette":
            self._palette = _Palette(width, height, clip.time_base)
        if clip.path is None or self._what == "matte":
            return
        if kind.streams:
            self._carry(clip.path)
        else:
            self.notes.append(f"sound, subtitles and chapters left out: {kind.name} has no place for them")

    def _carry(self, source: Path) -> None:
        clip = self._clip
        kinds = STREAMS if clip.sound is None or clip.old_sound else STREAMS - {"audio"}
        if clip.sound is not None:
            self._carriers.append(StreamCarrier(clip.sound, self._container, kinds=frozenset({"audio"})))
        self._carriers.append(StreamCarrier(source, self._container, start_s=clip.start_s, kinds=kinds))
        self.notes += [note for carrier in self._carriers for note in carrier.notes]

    def _pixel_format(self, first: Cutout) -> str:
        if self._what == "matte":
            return {"ffv1": "gray", "png": "gray", "libvpx-vp9": "yuv420p", "prores_ks": "yuv444p10le"}.get(
                self._kind.codec, "yuv420p"
            )
        if self._what == "film":
            return film_pixels(first.frame, self._kind.codec)
        layouts = {"opaque": "yuv420p", "palette": "pal8", "rgba": "bgra" if self._kind.container == "webp" else "rgba"}
        return layouts.get(self._kind.layout) or planes_format(first.frame, self._kind.codec)

    def _colour(self, first: Cutout) -> Colour:
        planes = first.frame.planes
        return RGB_AS_YUV if planes is None or self._what == "matte" else planes.colour

    def _frames(self, cutout: Cutout, when: Fraction) -> list[Any]:
        import av

        width, height = self._stream.codec_context.width, self._stream.codec_context.height
        if self._what == "film":
            frame = av.VideoFrame(width, height, self._stream.pix_fmt)
            own = cutout.frame
            fill_opaque_frame(frame, own.planes or own.rgb, limited=self._kind.layout == "prores")
            return self._stamped([frame], when, cutout)
        if self._kind.layout == "palette":
            return self._stamped(self._palette.frames(cutout, when), when, cutout)
        if self._kind.layout == "rgba" and self._what != "matte":
            frame = av.VideoFrame.from_ndarray(self._rgba(cutout), format="rgba")
            if self._stream.pix_fmt != "rgba":
                frame = frame.reformat(format=self._stream.pix_fmt)
            return self._stamped([frame], when, cutout)
        frame = av.VideoFrame(width, height, self._stream.pix_fmt)
        if self._what == "matte":
            self._fill_matte(frame, cutout)
        elif self._background is not None:
            fill_opaque_frame(frame, composite(cutout, self._background))
        else:
            fill_alpha_frame(frame, cutout, hidden=self._what == "clip")
        return self._stamped([frame], when, cutout)

    def _rgba(self, cutout: Cutout) -> UInt8Array:
        return np.dstack([cutout.frame.rgb, cutout.alpha]) if self._what == "clip" else cutout.rgba()

    def _fill_matte(self, frame: Any, cutout: Cutout) -> None:
        if frame.format.name == "gray":
            view(frame.planes[0], 8)[:] = cutout.alpha
        elif frame.format.name == "yuv420p":
            fill_opaque_frame(frame, matte_planes(cutout))
        else:
            planes = matte_planes(cutout)
            view(frame.planes[0], 10)[:] = planes.y.astype("uint16") << 2
            for plane in frame.planes[1:]:
                view(plane, 10)[:] = 512

    def _stamped(self, frames: list[Any], when: Fraction, cutout: Cutout) -> list[Any]:
        for frame in frames:
            _set(frame, self._tags)  # ProRes writes them into every frame
            pts = max(round(when / self._time_base), self._last_pts + 1)
            self._last_pts = pts
            frame.pts, frame.time_base = pts, self._time_base
            length = cutout.frame.duration_s or 1 / self._clip.rate
            self._durations[pts] = max(1, round(length / self._time_base))
        return frames

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            self._container.mux(packet)

    def _end(self) -> None:
        self._mux(self._stream.encode(None))
        for carrier in self._carriers:
            carrier.finish()

    def __enter__(self) -> VideoSink:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def give_up(writer: Sink, sinks: Sequence[VideoSink]) -> None:
    """Keep nothing of what ``writer``, in a thread of its own, may still be writing to ``sinks``."""
    for sink in sinks:
        sink.abandon()
    try:
        writer.close()
    except SinkError:
        pass  # the error that made us give up is on its way already


def _tags(colour: Colour, kind: OutputFormat) -> dict[str, int]:
    """The source's colour tags; a codec that knows no full range gets limited range and is told so."""
    full = colour.full_range and kind.layout != "prores"
    return {
        "color_range": 2 if full else 1,
        "colorspace": colour.matrix_code,
        "color_primaries": colour.primaries_code,
        "color_trc": colour.transfer_code,
    }


def _set(target: Any, tags: dict[str, int]) -> None:
    for name, value in tags.items():
        setattr(target, name, value)


class _Palette:
    """RGBA frames with 256 colours each, one of them transparent, by FFmpeg's palettegen and paletteuse."""

    def __init__(self, width: int, height: int, time_base: Fraction) -> None:
        import av

        self._graph = graph = av.filter.Graph()
        self._time_base = time_base
        self._source = graph.add_buffer(width=width, height=height, format="rgba", time_base=time_base)
        split = graph.add("split")
        generate = graph.add("palettegen", "reserve_transparent=1:stats_mode=single")
        use = graph.add("paletteuse", "new=1:alpha_threshold=128:dither=bayer")
        sink = graph.add("buffersink")
        self._source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(generate, 1, 0)
        generate.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()

    def frames(self, cutout: Cutout, when: Fraction) -> list[Any]:
        """The frame, in colours a GIF has."""
        import av

        frame = av.VideoFrame.from_ndarray(cutout.rgba(), format="rgba")
        frame.pts, frame.time_base = round(when / self._time_base), self._time_base
        self._graph.push(frame)
        try:
            return [self._graph.pull()]
        except (av.error.BlockingIOError, av.error.EOFError) as error:
            raise SinkError(f"the palette filter kept a frame back: {error}") from error
