"""How one stream's packets come from a source into an output: copied, or decoded and encoded again."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

_BIT_RATE = 80_000  # per channel
_HIGHEST_BIT_RATE = 510_000  # libopus takes no more
# What loudspeakers the encoders know for one, two, ... channels.
_LAYOUTS = {
    "libopus": ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"),
    "alac": ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1(back)", "7.1(wide)"),
    **dict.fromkeys(
        ("aac", "pcm_s16le", "pcm_s24le", "pcm_f32le", "pcm_f64le"),
        ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1"),
    ),
}
# That of a layout which is told by a mask.
_USUAL_ORDER = (
    *("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC"),
    *("SL", "SR", "TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR"),
)
_GAP_S = Fraction(1, 20)  # less is the rounding of a container's clock, or one damaged packet, and is not heard
_LONGEST_GAP_S = Fraction(10)  # after the picture's end
_SILENCE = 4800  # samples of it at a time
# In 32 bits without a sign Ogg's last packet may have a length below 0, of which the muxer of .mp4 fails at its very end. It is
# told the least that .mp4 counts: of less, readers leave the packet out.
_LONGEST_PACKET, _SHORT_S = 2**31, Fraction(1, 1000)  # ticks and seconds


class UntoldError(Exception):
    """Sound of which its file tells too little for it to be read."""


class Route(ABC):
    """How one stream's packets come into the output. taken, lost: of sound that is copied and of subtitles, how many the output
    took, and how many were damaged.  endless: lines of which the end was."""

    out: Any
    codec: str = ""
    taken = lost = endless = 0

    @abstractmethod
    def convert(self, packet: Any, start_s: Fraction) -> Iterable[Any]:
        """Packets for the output made of one of the source's; ``start_s`` of the source is 0 of the output."""

    def flush(self) -> list[Any]:
        """What an encoder still holds at the end."""
        return []


class Copy(Route):
    def __init__(self, out: Any) -> None:
        self.out = out

    def convert(self, packet: Any, start_s: Fraction) -> list[Any]:
        ticks = round(start_s / packet.time_base)
        if packet.pts is not None:
            packet.pts -= ticks
        if packet.dts is not None:
            packet.dts -= ticks
        if self.out.type == "audio" and not 0 <= (packet.duration or 0) < _LONGEST_PACKET:
            packet.duration = math.ceil(_SHORT_S / packet.time_base)
        packet.stream = self.out
        return [packet]


class Sound(Route):
    """Decode, resample to what the encoder takes, encode. Times follow the samples from the first one on, and where the source
    has a gap there is silence: not every player heeds times within sound, but all play samples. Sound that changes its rate or
    its channels on the way becomes what it is at the start.

    picture_s: how far the picture has come on the source's clock. After its end a long gap is a broken time, and left out.
    skipped_s: of such, at the sound's end.  Raises ValueError for channels of which nobody knows where they belong, UntoldError
    and FFmpeg's errors where the source tells too little.
    """

    def __init__(self, stream: Any, output: Any, codec: str, picture_s: Callable[[], Fraction]) -> None:
        import av

        self._decoder = context = stream.codec_context
        self._order = _in_order(context)
        rate, self._layout = _rate(codec, context.sample_rate), _layout(codec, context)
        context.open(strict=False)  # what cannot be is told before the output has a place for it
        self.codec = codec.removeprefix("lib")
        self.out = output.add_stream(codec, rate=rate, layout=self._layout)
        encoder = self.out.codec_context
        if codec in {"libopus", "aac"}:
            encoder.bit_rate = min(_HIGHEST_BIT_RATE, _BIT_RATE * encoder.layout.nb_channels)
        encoder.time_base = Fraction(1, rate)
        self._frame_size = 960 if codec == "libopus" else 1024 if codec == "aac" else 4096
        self._resampler: Any = None
        self._kind: tuple[Any, ...] = ()  # of the frames the resampler takes
        self._samples = av.AudioFifo()
        self._next: int | None = None
        self._rate = rate
        self._heard_s = Fraction(0)  # where on the source's clock the sound taken so far ends
        self._picture_s = picture_s
        self.skipped_s = Fraction(0)

    def convert(self, packet: Any, start_s: Fraction) -> Iterator[Any]:
        import av

        try:
            frames = packet.decode()
        except av.error.FFmpegError:  # of damage there are many kinds; what comes after it keeps its time
            return
        yield from self._heard(frames, start_s)

    def _heard(self, frames: Iterable[Any], start_s: Fraction) -> Iterator[Any]:
        for frame in frames:
            if self._order:
                frame = _reordered(frame, self._order)
            begins_s = None if frame.pts is None else Fraction(frame.pts) * Fraction(frame.time_base)
            if self._next is None:
                self._heard_s = begins_s or Fraction(0)
                self._next = round((self._heard_s - start_s) * self._rate)
            gap_s = Fraction(0) if begins_s is None else begins_s - self._heard_s
            broken = gap_s > max(_LONGEST_GAP_S, self._picture_s() - self._heard_s)
            self.skipped_s = gap_s if broken else Fraction(0)
            if gap_s > _GAP_S and not broken:
                for silent in silence(frame, gap_s):
                    yield from self._take(silent)
            yield from self._take(frame)

    def _take(self, frame: Any) -> Iterator[Any]:
        import av

        self._heard_s += Fraction(frame.samples, frame.sample_rate)
        frame.pts = None
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if kind != self._kind:
            self._end_resampling()
            self._kind = kind
            self._resampler = av.AudioResampler(self.out.codec_context.format.name, self._layout, self._rate)
        for piece in self._resampler.resample(frame):
            self._keep(piece)
        while (whole := self._samples.read(self._frame_size)) is not None:
            yield from self._encode(whole)

    def _end_resampling(self) -> None:
        if self._resampler is not None:
            for piece in self._resampler.resample(None):
                self._keep(piece)

    def _keep(self, piece: Any) -> None:
        piece.pts = None
        self._samples.write(piece)

    def _encode(self, piece: Any) -> list[Any]:
        piece.pts, piece.time_base = self._next, Fraction(1, self._rate)
        self._next = (self._next or 0) + piece.samples
        packets: list[Any] = self.out.encode(piece)
        return packets

    def flush(self) -> list[Any]:
        """The decoder's rest, the resampler's and the encoder's."""
        import av

        made: list[Any] = []
        if self._next is None:
            return made
        try:
            rest = self._decoder.decode(None)  # WMA's keeps a frame back
        except av.error.FFmpegError:
            rest = []
        made += self._heard(rest, Fraction(0))
        self._end_resampling()
        while (piece := self._samples.read(self._frame_size, partial=True)) is not None:
            made += self._encode(piece)
        return made + self.out.encode(None)


def _rate(codec: str, own: int) -> int:
    """The sampling rate an encoder gets: the sound's own, or the next it knows that loses nothing, or its highest."""
    import av

    if codec == "libopus" or not own:
        return 48000
    known = sorted(av.codec.Codec(codec, "w").audio_rates or [own])
    return next((rate for rate in known if rate >= own), known[-1])


def _layout(codec: str, context: Any) -> str:
    """The loudspeakers an encoder knows for as many channels. A file may name others, as AC-3 does with 5.1, or none; a channel
    of bass, which goes to no other loudspeaker, takes a place that has one (2.1, 3.1, 4.1)."""
    import av

    count = context.layout.nb_channels
    if count <= 8:
        chosen = _LAYOUTS[codec][max(0, count - 1)]
        return "5.1" if _has_bass(context.layout) and not _has_bass(av.AudioLayout(chosen)) else chosen
    if "channels" in context.layout.name:
        raise ValueError(f"{count} channels, and nothing tells which is which")
    return _LAYOUTS[codec][-1]


def _in_order(context: Any) -> list[int]:
    """Make a decoder, which must not have begun, call its channels in the usual order; returns which of its channels are to go
    where for that, or nothing where they are in it.

    Of 6.1 and 7.1 in a .mov, and of others that list loudspeakers in an order of their own, PyAV 18 frees the list with every
    look at it, and every frame it decodes: the process dies of it. So there is one look, and the list is replaced.
    """
    layout = context.layout
    names = [channel.name for channel in layout.channels]
    if not names:
        raise UntoldError("no channels")
    if not set(names) <= set(_USUAL_ORDER):  # none is told, or a pair of its own, like downmix: there is no list then
        if "(" in layout.name:
            context.layout = f"{len(names)} channels"
        return []
    order = sorted(range(len(names)), key=lambda k: _USUAL_ORDER.index(names[k]))
    if len(set(names)) < len(names):  # two of a kind
        context.layout = f"{len(names)} channels"
        return []
    context.layout = "+".join(names[k] for k in order)
    return [] if order == list(range(len(names))) else order


def _reordered(frame: Any, order: list[int]) -> Any:
    """A frame with its channels in another order. Only sound of interleaved samples comes with one of its own."""
    import av

    samples = frame.to_ndarray()
    if samples.shape[0] > 1:
        return frame
    turned = samples.reshape(-1, len(order))[:, order].reshape(1, -1)
    made = av.AudioFrame.from_ndarray(np.ascontiguousarray(turned), format=frame.format.name, layout=frame.layout)
    made.sample_rate, made.time_base, made.pts = frame.sample_rate, frame.time_base, frame.pts
    return made


def _has_bass(layout: Any) -> bool:
    return any(channel.name == "LFE" for channel in layout.channels)


def silence(like: Any, length_s: Fraction) -> Iterator[Any]:
    """Frames of silence of a frame's format and rate, a few at a time."""
    import av

    left = round(length_s * like.sample_rate)
    kind = like.format if like.layout.nb_channels < 8 else like.format.packed  # of eight planes PyAV reads a ninth
    while left > 0:
        frame = av.AudioFrame(kind, like.layout, min(left, _SILENCE))
        frame.sample_rate, frame.time_base = like.sample_rate, like.time_base
        for plane in frame.planes:
            plane.update((b"\x80" if like.format.name.startswith("u8") else b"\0") * plane.buffer_size)
        left -= frame.samples
        yield frame


class Text(Route):
    """Text subtitles from one text format to another."""

    def __init__(self, stream: Any, output: Any, codec: str) -> None:
        self.codec = codec
        self._decoder = stream.codec_context
        self._decoder.open(strict=False)
        self.out = output.add_stream(codec)
        self.out.codec_context.subtitle_header = self._decoder.subtitle_header or _PLAIN_HEADER
        self.out.time_base = self.out.codec_context.time_base = Fraction(1, 1000)

    def convert(self, packet: Any, start_s: Fraction) -> list[Any]:
        import av

        try:
            subtitles = self._decoder.decode2(packet)
            if subtitles is None or not len(subtitles):
                return []
            made = self.out.codec_context.encode_subtitle(subtitles)
        except MemoryError:
            raise
        except av.error.FFmpegError:  # a line that is no UTF-8, or damaged, must not cost the film
            self.lost += 1
            return []
        pts = packet.dts if packet.pts is None else packet.pts
        if pts is None:  # a line for no moment
            self.lost += 1
            return []
        when = round((Fraction(pts) * packet.time_base - start_s) * 1000)
        made.stream, made.time_base = self.out, Fraction(1, 1000)
        made.pts = made.dts = when
        made.duration = round(Fraction(packet.duration or 0) * packet.time_base * 1000)
        return [made]


_PLAIN_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\n\r\n[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize\r\n"
    b"Style: Default,Arial,16\r\n\r\n[Events]\r\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV,"
    b" Effect, Text\r\n"
)
