"""Sound, subtitles, chapters and tags of the source, carried over: copied where the container takes them, transcoded
where it does not, and said either way."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

# What a stream becomes where its own codec has no place: container -> codec.
_SOUND = {"webm": "libopus", "mov": "aac", "mp4": "aac", "matroska": "aac"}
_LOSSLESS = {"flac", "alac", "tta", "wavpack", "truehd", "mlp"}
_TEXT = {"webm": "webvtt", "mov": "mov_text", "mp4": "mov_text", "matroska": "subrip"}
_TEXT_CODECS = {"subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text"}
# Tags the muxer writes itself, or that described the old picture.
_OWN_TAGS = {"encoder", "major_brand", "minor_version", "compatible_brands", "rotate", "handler_name", "vendor_id"}
# What a muxer's tables name, but its header then refuses.
_REFUSED = {"mov": {"flac", "opus", "truehd"}, "mp4": {"truehd"}}
_BIT_RATE = 160_000  # per pair of channels
_GAP_S = Fraction(1, 20)  # less is the rounding of a container's clock, or one damaged packet, and is not heard
_LONGEST_GAP_S = Fraction(3600)  # of files that do not know their length; what is longer is a broken time
_SILENCE = 4800  # samples of it at a time
STREAMS = frozenset({"audio", "subtitle", "attachment"})  # all there may be beside the picture


class StreamCarrier:
    """Brings everything but the picture from a source file into an output container, or its streams of some ``kinds``.

    Streams are added when it is made, before the output's header is written; ``advance(t)`` writes all that belongs
    before second ``t`` of the output, ``finish(t)`` the rest (or all up to ``t``). ``notes`` says what became of each.
    start_s: what second of the source is 0 of the output; None for its own first.  chosen: whether players are to play this
    source's sound of themselves; None for what the source says.
    """

    def __init__(
        self,
        source: Path,
        output: Any,
        *,
        start_s: Fraction | None = None,
        kinds: frozenset[str] = STREAMS,
        chosen: bool | None = None,
    ) -> None:
        import av

        self.notes: list[str] = []
        self._input = av.open(str(source), metadata_errors="replace")
        own_start_s = Fraction(self._input.start_time or 0, 1_000_000)
        self._output, self._start_s = output, own_start_s if start_s is None else start_s
        self._container = output.format.name.split(",")[0]
        self._routes: dict[int, _Route] = {}
        for stream in self._input.streams:
            if stream.type in kinds:
                self._add(stream)
        if chosen is not None:
            self._mark_sound(chosen=chosen)
        if "attachment" in kinds:  # the film itself, not a sound brought in
            self._carry_tags_and_chapters()
        wanted = [s for s in self._input.streams if s.index in self._routes]
        self._packets: Iterator[Any] = iter(self._input.demux(wanted)) if wanted else iter(())
        self._held: Any = None
        self._last_dts: dict[int, int] = {}

    def _mark_sound(self, *, chosen: bool) -> None:
        """The default flag: on the first sound that is chosen, off all sound that is not."""
        import av

        sounds = [route.out for index, route in self._routes.items() if self._input.streams[index].type == "audio"]
        for number, out in enumerate(sounds):
            others = out.disposition & ~av.stream.Disposition.default
            out.disposition = others | (av.stream.Disposition.default if chosen and number == 0 else 0)

    def _add(self, stream: Any) -> None:
        name = stream.codec_context.name if stream.codec_context is not None else stream.type
        pcm_in_mp4 = self._container == "mp4" and name.startswith("pcm_")  # has a place there, but few players know it
        if pcm_in_mp4 or name in _REFUSED.get(self._container, ()):
            self._transcode(stream, name)
            return
        try:
            out = self._output.add_stream_from_template(stream)
            if stream.type != "attachment":
                self._routes[stream.index] = _Copy(out)
                self.notes.append(f"{stream.type} {stream.index}: {name} copied")
        except (ValueError, RuntimeError, AttributeError):
            self._transcode(stream, name)
            return
        _carry_stream_tags(stream, out)

    def _transcode(self, stream: Any, name: str) -> None:
        import av

        try:
            if stream.type == "audio":
                length_s = Fraction(self._input.duration, 1_000_000) if self._input.duration else _LONGEST_GAP_S
                route: _Route = _Sound(stream, self._output, self._sound_codec(name), length_s)
            elif stream.type == "subtitle" and name in _TEXT_CODECS:
                route = _Text(stream, self._output, _TEXT[self._container])
            else:
                raise ValueError("no such stream in this container")
        except (ValueError, KeyError, RuntimeError, av.error.FFmpegError) as error:
            note = f"{stream.type} {stream.index}: {name} left out, {self._container} has no place for it ({error})"
            log.warning(note)
        else:
            self._routes[stream.index] = route
            _carry_stream_tags(stream, route.out)
            note = f"{stream.type} {stream.index}: {name} -> {route.codec}, {self._container} does not take {name}"
        self.notes.append(note)

    def _sound_codec(self, name: str) -> str:
        if self._container == "mov" and (name in _LOSSLESS or name.startswith("pcm_")):
            return "alac"
        return _SOUND[self._container]

    def _carry_tags_and_chapters(self) -> None:
        for key, value in self._input.metadata.items():
            if key.lower() not in _OWN_TAGS:
                self._output.metadata[key] = value
        chapters = self._input.chapters()
        if chapters:
            shifted = []
            for chapter in chapters:
                base = Fraction(chapter["time_base"])
                ticks = round(self._start_s / base)
                moved = {"start": max(0, chapter["start"] - ticks), "end": max(0, chapter["end"] - ticks)}
                shifted.append(chapter | moved)
            self._output.set_chapters(shifted)
            self.notes.append(f"{len(chapters)} chapters copied")

    def advance(self, until_s: Fraction) -> None:
        """Write what comes before ``until_s`` seconds of the output."""
        while True:
            packet = self._held if self._held is not None else next(self._packets, None)
            self._held = None
            if packet is None:
                return
            if packet.dts is None and packet.pts is None:
                continue
            when = Fraction(packet.dts if packet.dts is not None else packet.pts) * packet.time_base - self._start_s
            if when >= until_s:
                self._held = packet
                return
            self._write(packet)

    def _write(self, packet: Any) -> None:
        route = self._routes[packet.stream.index]
        for made in route.convert(packet, self._start_s):
            if made.dts is not None:  # a muxer refuses time running backwards; keep order, lose nothing
                last = self._last_dts.get(made.stream.index)
                if last is not None and made.dts <= last and isinstance(route, _Copy):
                    made.dts = last + 1
                    if made.pts is not None and made.pts < made.dts:
                        made.pts = made.dts
                self._last_dts[made.stream.index] = made.dts
            self._output.mux(made)

    def finish(self, until_s: Fraction | None = None) -> None:
        """Write the rest, or the rest before ``until_s``, and flush the encoders."""
        self.advance(Fraction(10**9) if until_s is None else until_s)
        for route in self._routes.values():
            for made in route.flush():
                self._output.mux(made)

    def close(self) -> None:
        """Free the source. Safe to call again."""
        self._input.close()


def _carry_stream_tags(stream: Any, out: Any) -> None:
    for key, value in stream.metadata.items():
        if key.lower() not in _OWN_TAGS and key.lower() != "duration":
            out.metadata[key] = value
    out.disposition = stream.disposition


class _Route(ABC):
    """How one stream's packets come into the output."""

    out: Any
    codec: str = ""

    @abstractmethod
    def convert(self, packet: Any, start_s: Fraction) -> Iterable[Any]:
        """Packets for the output made of one of the source's; ``start_s`` of the source is 0 of the output."""

    def flush(self) -> list[Any]:
        """What an encoder still holds at the end."""
        return []


class _Copy(_Route):
    def __init__(self, out: Any) -> None:
        self.out = out

    def convert(self, packet: Any, start_s: Fraction) -> list[Any]:
        ticks = round(start_s / packet.time_base)
        if packet.pts is not None:
            packet.pts -= ticks
        if packet.dts is not None:
            packet.dts -= ticks
        packet.stream = self.out
        return [packet]


class _Sound(_Route):
    """Decode, resample to what the encoder takes, encode. Times follow the samples from the first one on, and where the source
    has a gap there is silence: not every player heeds times within sound, but all play samples.

    length_s: of the source; no gap is longer.
    """

    def __init__(self, stream: Any, output: Any, codec: str, length_s: Fraction) -> None:
        import av

        context = stream.codec_context
        rate = 48000 if codec == "libopus" else context.sample_rate
        layout = _layout(context)
        self.codec = codec.removeprefix("lib")
        self.out = output.add_stream(codec, rate=rate, layout=layout)
        encoder = self.out.codec_context
        if codec != "alac":
            encoder.bit_rate = _BIT_RATE * max(1, context.channels // 2)
        encoder.time_base = Fraction(1, rate)
        frame_size = 960 if codec == "libopus" else 1024 if codec == "aac" else 4096
        self._resampler = av.AudioResampler(encoder.format.name, layout, rate, frame_size=frame_size)
        self._next: int | None = None
        self._rate = rate
        self._heard_s = Fraction(0)  # where on the source's clock the sound taken so far ends
        self._length_s = length_s

    def convert(self, packet: Any, start_s: Fraction) -> Iterator[Any]:
        import av

        try:
            frames = packet.decode()
        except av.error.FFmpegError:  # of damage there are many kinds; what comes after it keeps its time
            return
        for frame in frames:
            begins_s = None if frame.pts is None else Fraction(frame.pts) * Fraction(frame.time_base)
            if self._next is None:
                self._heard_s = begins_s or Fraction(0)
                self._next = round((self._heard_s - start_s) * self._rate)
            if begins_s is not None and _GAP_S < begins_s - self._heard_s <= self._length_s:
                for silent in _silence(frame, begins_s - self._heard_s):
                    yield from self._take(silent)
            yield from self._take(frame)

    def _take(self, frame: Any) -> Iterator[Any]:
        self._heard_s += Fraction(frame.samples, frame.sample_rate)
        frame.pts = None
        for piece in self._resampler.resample(frame):
            yield from self._encode(piece)

    def _encode(self, piece: Any) -> list[Any]:
        piece.pts, piece.time_base = self._next, Fraction(1, self._rate)
        self._next = (self._next or 0) + piece.samples
        packets: list[Any] = self.out.encode(piece)
        return packets

    def flush(self) -> list[Any]:
        """The resampler's rest and the encoder's."""
        made: list[Any] = []
        if self._next is None:
            return made
        for piece in self._resampler.resample(None):
            made += self._encode(piece)
        return made + self.out.encode(None)


def _silence(like: Any, length_s: Fraction) -> Iterator[Any]:
    """Frames of silence of a frame's format and rate, a few at a time."""
    import av

    left = round(length_s * like.sample_rate)
    while left > 0:
        frame = av.AudioFrame(like.format, like.layout, min(left, _SILENCE))
        frame.sample_rate, frame.time_base = like.sample_rate, like.time_base
        for plane in frame.planes:
            plane.update((b"\x80" if like.format.name.startswith("u8") else b"\0") * plane.buffer_size)
        left -= frame.samples
        yield frame


class _Text(_Route):
    """Text subtitles from one text format to another."""

    def __init__(self, stream: Any, output: Any, codec: str) -> None:
        self.codec = codec
        self._decoder = stream.codec_context
        self._decoder.open(strict=False)
        self.out = output.add_stream(codec)
        self.out.codec_context.subtitle_header = self._decoder.subtitle_header or _PLAIN_HEADER
        self.out.time_base = self.out.codec_context.time_base = Fraction(1, 1000)

    def convert(self, packet: Any, start_s: Fraction) -> list[Any]:
        subtitles = self._decoder.decode2(packet)
        if subtitles is None or not len(subtitles):
            return []
        made = self.out.codec_context.encode_subtitle(subtitles)
        when = round((Fraction(packet.pts) * packet.time_base - start_s) * 1000)
        made.stream, made.time_base = self.out, Fraction(1, 1000)
        made.pts = made.dts = when
        made.duration = round(Fraction(packet.duration or 0) * packet.time_base * 1000)
        return [made]


_PLAIN_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\n\r\n[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize\r\n"
    b"Style: Default,Arial,16\r\n\r\n[Events]\r\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV,"
    b" Effect, Text\r\n"
)


def _layout(context: Any) -> str:
    """The channel layout, by name; one or two channels of a file that names none."""
    name = context.layout.name
    if name and "channels" not in name:
        return str(name)
    return "mono" if context.channels == 1 else "stereo"
