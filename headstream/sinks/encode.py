"""From cut-outs to encoded packets: the picture of one output, before any file is there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from headstream.errors import UsageError
from headstream.shared.mastering import Mastering
from headstream.sinks.background import composite
from headstream.sinks.behind import Background
from headstream.sinks.filters import Fields, Palette
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
from headstream.types import Colour, Cutout

_GIF_TICKS = 2  # hundredths of a second; browsers show a frame that is to stay for less for ten
_AVX512_AND_AVX2 = (13, 11)  # OpenCV's CV_CPU_AVX_512F and CV_CPU_AVX2, which have no names in Python
# What is stored as it is, R'G'B' or the matte itself, reaches from 0 to the peak; told otherwise, players stretch it.
_UNCODED: dict[str, dict[str, Any]] = {
    "bgra": {"full_range": True, "matrix_code": 0},
    "bgr0": {"full_range": True, "matrix_code": 0},
    "gray": {"full_range": True},
}
# Codecs that keep two fields in one frame, with AV_CODEC_FLAG_INTERLACED_DCT where they code them apart; and FFmpeg's
# names, which muxers write, for lines that lie as they are shown, the upper or the lower field being the earlier one.
_FIELD_CODECS = {"prores_aw": 1 << 18, "prores_ks": 1 << 18, "libx264": 1 << 18, "ffv1": 0}
_INTERLEAVED_TOP, _INTERLEAVED_BOTTOM = "tb", "bt"
_FIELDS_OF_LINES = 4  # of 4:2:0 that libx264 codes as fields the height is a multiple of so many
_MOST_TIMECODE_RATE = 255
_NOT_TOLD = 2  # of ITU-T H.273
What = Literal["cutout", "matte", "film", "clip"]


@dataclass(frozen=True)
class ClipInfo:
    """What an output must know of its source.

    size_px: displayed width and height.  rate: nominal frames a second.  time_base: seconds a tick.
    video_start_s: where the picture begins, from the earliest stream of the source.
    path, start_s: the file to carry sound from, and where its clock starts; None for a source without one.
    sound: another file whose sound takes the place of that one's, and begins with the picture.  old_sound: whether that one's
    is kept after it.
    timecode: of the first frame, as cameras count (HH:MM:SS:FF, drop frame HH:MM:SS;FF); "" where there is none.
    from_picture: nothing else begins before second 0, where the picture does.
    top_field_first: of frames that are two fields each, whether the upper lines are the earlier ones; None for all others.
    mastering: what an HDR film tells of the screen it was made on.
    colour: of the source; its primaries and transfer are those of R'G'B' frames, which tell none themselves.
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
    timecode: str = ""
    from_picture: bool = False
    top_field_first: bool | None = None
    mastering: Mastering | None = None
    colour: Colour = field(default_factory=Colour)


@dataclass(frozen=True)
class Picture:
    """What a clip's first cut-out settles for all of it. pix_fmt: FFmpeg's name.  tags: colour code points, by attribute."""

    pix_fmt: str
    tags: dict[str, int]


class PictureEncoder:
    """Encodes the cut-outs of one output. ``begin`` adds the stream to a container; then ``packets`` for each cut-out,
    ``flush`` at the end.

    what: as of ``VideoSink``.  picture: settled by the first cut-out, or given where
    an earlier part of the same clip settled it.  last_pts: of the last frame, in ``time_base``; goes on across parts.
    left_out: frames that come faster than the output can show them, of a GIF.
    """

    def __init__(
        self, path: Path, kind: OutputFormat, clip: ClipInfo, *, background: Background | None, what: What
    ) -> None:
        if not kind.alpha and background is None and what == "cutout":
            raise UsageError(f"{path}: {kind.name} has no transparency; choose a background")
        self._kind, self._clip, self._what, self._background = kind.for_size(clip.size_px), clip, what, background
        self.picture: Picture | None = None
        self.last_pts = -1
        self.left_out = 0
        self.stream: Any = None
        self.time_base = clip.time_base
        if kind.container in {"webp", "apng", "gif"}:
            self.time_base = Fraction(1, 100 if kind.container == "gif" else 1000)
        self._palette: Any = None
        self._fields: Fields | None = None
        self._durations: dict[int, int] = {}

    def settle(self, first: Cutout) -> Picture:
        """The pixel format and the colours, by the clip's first cut-out."""
        tagged = self._kind.layout in {"planes", "prores", "opaque"}
        pix_fmt = self._pixel_format(first)
        colour = replace(self._colour(first), **_UNCODED.get(pix_fmt, {}))
        return Picture(pix_fmt, _tags(colour, self._kind) if tagged else {})

    def begin(self, container: Any, picture: Picture) -> None:
        """Add the stream to an output container; to be called again for another one once ``flush`` was."""
        kind, clip = self._kind, self._clip
        width, height = clip.size_px
        if kind.layout == "opaque":  # 4:2:0 H.264 has even sizes only: one row or column is repeated
            width, height = width + width % 2, height + height % 2
        top_first = clip.top_field_first if tells_fields(kind, clip.size_px) else None
        options = dict(kind.options) | _fields_first(top_first) | _x264_params(kind, top_first)
        stream = container.add_stream(
            kind.codec, rate=clip.rate, options=options, width=width, height=height, time_base=self.time_base
        )
        stream.pix_fmt = picture.pix_fmt
        context = stream.codec_context
        context.sample_aspect_ratio = clip.sample_aspect_ratio
        if top_first is not None:
            context.flags |= _FIELD_CODECS[kind.codec]
            self._fields = Fields(width, height, picture.pix_fmt, top_first=top_first)
        if clip.timecode and tells_timecode(kind, clip.rate):
            stream.metadata["timecode"] = clip.timecode  # of which the muxer of .mov and .mp4 makes a track
        _set(context, picture.tags)
        self.stream, self.picture = stream, picture
        if kind.layout == "palette":
            self._palette = Palette(width, height, clip.time_base)

    def packets(self, cutout: Cutout, when: Fraction) -> list[Any]:
        """What the encoder has ready after one more cut-out, shown from second ``when`` of the output."""
        frame = self._frame(cutout, when)
        return [] if frame is None else self._timed(self.stream.encode(self._stamped(frame, when, cutout)))

    def tick(self, when: Fraction) -> int:
        """The next frame's time in ``time_base``: second ``when``, but after the frame before it."""
        self.last_pts = max(round(when / self.time_base), self.last_pts + 1)
        return self.last_pts

    def flush(self) -> list[Any]:
        """The encoder's rest."""
        return self._timed(self.stream.encode(None))

    def end(self) -> None:
        """Let go of the encoder and its memory, after ``flush`` or instead of it."""
        self.stream = self._palette = self._fields = None
        self._durations.clear()

    def _timed(self, packets: list[Any]) -> list[Any]:
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            if self._kind.codec == "prores_aw" and self.picture and self.picture.tags:
                _tell_colour(packet, self.picture.tags)
        return packets

    def _pixel_format(self, first: Cutout) -> str:
        if self._what == "matte":
            if self._kind.layout == "prores":
                return "yuv444p10le"
            return {"ffv1": "gray", "png": "gray"}.get(self._kind.codec, "yuv420p")
        if self._what == "film":
            return film_pixels(first.frame, self._kind.codec)
        layouts = {"opaque": "yuv420p", "palette": "pal8", "rgba": "bgra" if self._kind.container == "webp" else "rgba"}
        return layouts.get(self._kind.layout) or planes_format(first.frame, self._kind.codec)

    def _colour(self, first: Cutout) -> Colour:
        planes, own = first.frame.planes, self._clip.colour
        if self._what == "matte":
            return RGB_AS_YUV
        if planes is not None:
            return planes.colour
        told: dict[str, Any] = {"primaries_code": own.primaries_code, "transfer_code": own.transfer_code}
        return replace(RGB_AS_YUV, **{name: code for name, code in told.items() if code != _NOT_TOLD})

    def _frame(self, cutout: Cutout, when: Fraction) -> Any:
        """What the encoder is given; None for a frame that is left out."""
        import av

        width, height = self.stream.codec_context.width, self.stream.codec_context.height
        if self._what == "film":
            frame = av.VideoFrame(width, height, self.stream.pix_fmt)
            own = cutout.frame
            fill_opaque_frame(frame, own.planes or own.rgb, limited=self._kind.layout == "prores")
            return frame
        if self._kind.layout == "palette":
            if self.last_pts >= 0 and round(when / self.time_base) < self.last_pts + _GIF_TICKS:
                self.left_out += 1
                return None
            return self._palette.frame(cutout, when)
        if self._kind.layout == "rgba" and self._what != "matte":
            rgba = np.dstack([cutout.frame.rgb, cutout.alpha]) if self._what == "clip" else cutout.rgba()
            frame = av.VideoFrame.from_ndarray(rgba, format="rgba")
            return frame if self.stream.pix_fmt == "rgba" else frame.reformat(format=self.stream.pix_fmt)
        frame = av.VideoFrame(width, height, self.stream.pix_fmt)
        if self._what == "matte":
            self._fill_matte(frame, cutout)
        elif self._background is not None:
            fill_opaque_frame(frame, composite(cutout, self._background))
        else:
            limited = self._kind.layout == "prores"
            fill_alpha_frame(frame, cutout, hidden=self._what == "clip", limited=limited)
        return frame

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

    def _stamped(self, frame: Any, when: Fraction, cutout: Cutout) -> Any:
        if self._fields is not None:
            frame = self._fields.marked(frame)
        _set(frame, self.picture.tags if self.picture else {})  # ProRes writes them into every frame
        pts = self.tick(when)
        frame.pts, frame.time_base = pts, self.time_base
        length = cutout.frame.duration_s or 1 / self._clip.rate
        least = _GIF_TICKS if self._kind.layout == "palette" else 1
        self._durations[pts] = max(least, round(length / self.time_base))
        return frame


def tells_timecode(kind: OutputFormat, rate: Fraction) -> bool:
    """Whether an output of that kind has room for a camera's clock: the track of it in .mov and .mp4 has one byte for how many
    frames a second has."""
    return kind.container not in {"mov", "mp4"} or round(rate) <= _MOST_TIMECODE_RATE


def _tags(colour: Colour, kind: OutputFormat) -> dict[str, int]:
    """The source's colour tags; a codec that knows no full range gets limited range and is told so."""
    full = colour.full_range and kind.layout != "prores"
    return {
        "color_range": 2 if full else 1,
        "colorspace": colour.matrix_code,
        "color_primaries": colour.primaries_code,
        "color_trc": colour.transfer_code,
    }


def tells_fields(kind: OutputFormat, size_px: tuple[int, int]) -> bool:
    """Whether an output of that kind and size can say of frames that they are two fields each."""
    return kind.codec in _FIELD_CODECS and (kind.codec != "libx264" or size_px[1] % _FIELDS_OF_LINES == 0)


def _fields_first(top: bool | None) -> dict[str, str]:
    """FFmpeg's option for which field is the earlier one; none where frames are no fields."""
    return {} if top is None else {"field_order": _INTERLEAVED_TOP if top else _INTERLEAVED_BOTTOM}


def _x264_params(kind: OutputFormat, top_first: bool | None) -> dict[str, str]:
    """libx264's own options: which field is the earlier one, as it does not take FFmpeg's word for that, and what makes it give
    the same bytes for the same pictures.

    Its AVX-512 code for its macroblock tree does not, seen with PyAV 18: of 15 encodings of one clip by one thread, 14 differ,
    and none with AVX2. What is named here is used unasked, so it must be there.
    """
    if kind.codec != "libx264":
        return {}
    named = [] if top_first is None else ["tff=1" if top_first else "bff=1"]
    if all(cv2.checkHardwareSupport(feature) for feature in _AVX512_AND_AVX2):
        named.append("asm=avx2")
    return {"x264-params": ":".join(named)} if named else {}


def _tell_colour(packet: Any, tags: dict[str, int]) -> None:
    """Put all colour codes into a ProRes frame's header (SMPTE RDD 36), where decoders look for them first: this encoder puts 0
    for those it does not list, BT.601's transfer and the matrix of 625 lines among them."""
    memoryview(packet)[22:25] = bytes((tags["color_primaries"], tags["color_trc"], tags["colorspace"]))


def _set(target: Any, tags: dict[str, int]) -> None:
    for name, value in tags.items():
        setattr(target, name, value)
