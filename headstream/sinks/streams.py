"""Sound, subtitles, chapters and tags of the source, carried over: copied where the container takes them, transcoded
where it does not, and said either way."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from headstream.shared.continuity import Continuity
from headstream.shared.demuxing import packets_of
from headstream.sinks.routes import Copy, Route, Sound, Text, UntoldError

log = logging.getLogger(__name__)

# What a stream becomes where its own codec has no place: container -> codec.
_SOUND = {"webm": "libopus", "mov": "aac", "mp4": "aac", "matroska": "aac"}
_LOSSLESS = {"flac", "alac", "tta", "wavpack", "truehd", "mlp"}
_SHORT = {"pcm_mulaw", "pcm_alaw", "pcm_s8"}  # that 16 bits hold
_TEXT = {"webm": "webvtt", "mov": "mov_text", "mp4": "mov_text", "matroska": "subrip"}
_TEXT_CODECS = {"subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text"}
# Tags the muxer writes itself, or that described the old picture.
_OWN_TAGS = {"encoder", "major_brand", "minor_version", "compatible_brands", "rotate", "handler_name", "vendor_id"}
# .mov numbers languages as QuickTime does, and the muxer knows each by one name of several: the others' were lost.
_QUICKTIME_NAMES = {
    **{"deu": "ger", "nld": "dut", "swe": "sve", "ell": "gre", "isl": "ice", "zho": "chi", "sqi": "alb", "mkd": "mac"},
    **{"hye": "arm", "eus": "baq", "cym": "wel", "kat": "geo", "msa": "may", "mya": "bur", "bod": "tib"},
    **{"fre": "fra", "rum": "ron", "cze": "ces", "slo": "slk", "nob": "nor", "nno": "nor"},
}
_WITH_HEADER = {"vorbis", "flac", "alac", "opus"}  # without which .mp4 fails at its very end
_UNTOLD = "it cannot be read: it is empty, begins late or has a damaged header"
_MOST_DAMAGED = 50  # packets more than were taken: past that, a muxer is taken to refuse the stream
_LONGEST_LINE_S, _LINE_S = 86400, 5  # of subtitles: one that ends before it begins is told to last for 49 days
_OPUS_DELAY_S = Fraction(1, 100)  # Opus is told to begin that early; muxers know, and do without
STREAMS = frozenset({"audio", "subtitle", "attachment"})  # all there may be beside the picture


class StreamCarrier:
    """Brings everything but the picture from a source file into an output container, or its streams of some ``kinds``.

    Streams are added when it is made, before the output's header is written; ``advance(t)`` writes all that belongs
    before second ``t`` of the output, ``finish(t)`` the rest (or all up to ``t``). ``notes`` says what became of each.
    start_s: what second of the source is 0 of the output; None for its own first to be second ``begins_s`` there.
    chosen: whether players are to play this source's sound of themselves; None for what the source says.
    trims: leave out what begins before second 0 of the output.
    """

    def __init__(
        self,
        source: Path,
        output: Any,
        *,
        start_s: Fraction | None = None,
        begins_s: Fraction = Fraction(0),
        kinds: frozenset[str] = STREAMS,
        chosen: bool | None = None,
        trims: bool = False,
    ) -> None:
        import av

        self.notes: list[str] = []
        self._input = av.open(str(source.absolute()), metadata_errors="replace")
        if start_s is None:
            start_s = Fraction(self._input.start_time or 0, 1_000_000) - begins_s
        self._output, self._start_s, self._trims = output, start_s, trims
        self._container = output.format.name.split(",")[0]
        self._picture_s = Fraction(0)  # how far it has come
        self._routes: dict[int, Route] = {}
        for stream in self._input.streams:
            if stream.type in kinds:
                self._add(stream)
        if chosen is not None:
            self._mark_sound(chosen=chosen)
        if "attachment" in kinds:  # the film itself, not a sound brought in
            self._carry_tags_and_chapters()
        self._packets = self._carried()
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
        import av

        context = stream.codec_context  # whose own name may be that of one of several decoders: mp3float
        name = context.codec.canonical_name if context is not None else stream.type
        if stream.type == "audio" and context is not None and not context.sample_rate:
            self._leave_out(stream, name, _UNTOLD)
            return
        no_place = stream.type == "attachment" and self._container != "matroska"  # some muxers fail, others say nothing
        pcm_in_mp4 = self._container == "mp4" and name.startswith("pcm_")  # has a place there, but few players know it
        headless = name in _WITH_HEADER and context is not None and not context.extradata
        if no_place or pcm_in_mp4 or headless:
            self._transcode(stream, name, "its header is missing" if headless else "")
            return
        try:
            if stream.type != "attachment":
                _try_header(stream, self._output.format.name)
            out = self._output.add_stream_from_template(stream)
            if stream.type != "attachment":
                self._routes[stream.index] = Copy(out)
                self.notes.append(f"{stream.type} {stream.index}: {name} copied")
        except (ValueError, RuntimeError, AttributeError, av.error.FFmpegError):
            self._transcode(stream, name)
            return
        self._carry_stream_tags(stream, out)

    def _transcode(self, stream: Any, name: str, why: str = "") -> None:
        """why: the output has no copy of it; "" for want of a place."""
        import av

        try:
            if stream.codec_context is None:  # a phone's spatial sound, for one
                raise ValueError("its codec is not known here")
            if stream.type == "audio":
                codec = self._sound_codec(name)
                route: Route = Sound(stream, self._output, codec, lambda: self._start_s + self._picture_s)
            elif stream.type == "subtitle" and name in _TEXT_CODECS:
                route = Text(stream, self._output, _TEXT[self._container])
            else:
                raise ValueError("no such stream in this container")
        except (UntoldError, av.error.FFmpegError):
            self._leave_out(stream, name, _UNTOLD)
        except (ValueError, KeyError, RuntimeError) as error:
            self._leave_out(stream, name, f"{self._container} has no place for it ({error})")
        else:
            self._routes[stream.index] = route
            self._carry_stream_tags(stream, route.out)
            why = why or f"{self._container} does not take {name}"
            self.notes.append(f"{stream.type} {stream.index}: {name} -> {route.codec}, {why}")

    def _leave_out(self, stream: Any, name: str, why: str) -> None:
        self._warn(f"{stream.type} {stream.index}: {name} left out, {why}")

    def _sound_codec(self, name: str) -> str:
        if self._container == "mov" and (name in _LOSSLESS or name.startswith("pcm_")):
            return "alac"
        if self._container == "matroska" and name.startswith("pcm_"):
            # Telephones', DVDs' and Blu-rays': nothing is lost.
            if name.startswith("pcm_f"):
                return "pcm_f64le" if name.startswith("pcm_f64") else "pcm_f32le"
            return "pcm_s16le" if name in _SHORT else "pcm_s24le"
        return _SOUND[self._container]

    def _carry_stream_tags(self, stream: Any, out: Any) -> None:
        for key, value in stream.metadata.items():
            if key.lower() not in _OWN_TAGS and key.lower() != "duration":
                out.metadata[key] = value
        language = out.metadata.get("language", "")
        if self._container == "mov" and language in _QUICKTIME_NAMES:
            out.metadata["language"] = _QUICKTIME_NAMES[language]
        out.disposition = stream.disposition

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

    def _carried(self) -> Iterator[Any]:
        """The packets that have a route, on the clock the picture is on."""
        clock = Continuity()
        for packet in packets_of(self._input) if self._routes else ():
            clock.follow(packet)
            if packet.stream.index in self._routes:
                yield packet

    def advance(self, until_s: Fraction) -> None:
        """Write what comes before ``until_s`` seconds of the output, which its picture has come to."""
        self._picture_s = until_s
        self._carry(until_s)

    def _carry(self, until_s: Fraction) -> None:
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
            if not (self._trims and self._is_early(packet)):
                self._write(packet)

    def _is_early(self, packet: Any) -> bool:
        """Whether a packet begins before the output does: a muxer that has no negative times would move all others. Subtitles
        that are still shown then begin with it."""
        begins_s = Fraction(packet.dts if packet.pts is None else packet.pts) * packet.time_base - self._start_s
        if begins_s >= 0:
            return False
        if packet.stream.type == "audio":
            opus = packet.stream.codec_context is not None and packet.stream.codec_context.name.endswith("opus")
            return begins_s < (-_OPUS_DELAY_S if opus else 0)
        hidden = math.ceil(-begins_s / packet.time_base)
        packet.pts = packet.dts = (packet.dts if packet.pts is None else packet.pts) + hidden
        packet.duration = max(0, (packet.duration or 0) - hidden)
        return not packet.duration

    def _write(self, packet: Any) -> None:
        import av

        route = self._routes[packet.stream.index]
        if packet.stream.type == "subtitle" and (packet.duration or 0) * packet.time_base > _LONGEST_LINE_S:
            packet.duration = round(_LINE_S / packet.time_base)
            route.endless += 1
        for made in route.convert(packet, self._start_s):
            if isinstance(route, Sound):
                self._output.mux(made)
                continue
            if isinstance(route, Copy) and made.dts is not None:
                self._keep_order(made)
            try:
                self._output.mux(made)
                route.taken += 1
            except av.error.FFmpegError as error:  # damaged, as on the way from a broadcaster: the rest is good
                if isinstance(error, (OSError, MemoryError)):  # of the disk, of this machine
                    raise
                route.lost += 1
                if route.lost > _MOST_DAMAGED + route.taken:
                    raise  # no damage: the muxer does not take such a stream

    def _keep_order(self, packet: Any) -> None:
        """A muxer refuses time that stands still or runs backwards, by its own ticks: keep order, lose nothing."""
        self._output.start_encoding()  # settles the ticks
        index, ticks = packet.stream.index, packet.time_base / packet.stream.time_base
        due = math.floor(packet.dts * ticks + Fraction(1, 2))
        last = self._last_dts.get(index)
        if last is not None and due <= last:
            due = last + 1
            packet.pts = None if packet.pts is None else max(round(packet.pts * ticks), due)
            packet.duration = round((packet.duration or 0) * ticks)
            packet.dts, packet.time_base = due, packet.stream.time_base
        self._last_dts[index] = due

    def finish(self, until_s: Fraction | None = None) -> None:
        """Write the rest, or the rest before ``until_s``, and flush the encoders."""
        self._carry(Fraction(10**9) if until_s is None else until_s)
        for index, route in self._routes.items():
            for made in route.flush():
                self._output.mux(made)
            if route.lost:
                kind = self._input.streams[index].type
                what = "1 damaged packet" if route.lost == 1 else f"{route.lost} damaged packets"
                self._warn(f"{kind} {index}: {what} left out")
            if isinstance(route, Sound) and route.skipped_s:
                self._warn(
                    f"audio {index}: {float(route.skipped_s):.0f} s without sound after the picture's end left out"
                )
            if route.endless:
                what = "1 line" if route.endless == 1 else f"{route.endless} lines"
                self._warn(f"subtitle {index}: {what} whose end is damaged, shown for {_LINE_S} s")

    def _warn(self, note: str) -> None:
        self.notes.append(note)
        log.warning(note)

    def close(self) -> None:
        """Free the source. Safe to call again."""
        self._input.close()


def _try_header(stream: Any, container: str) -> None:
    """Raise what a muxer says whose header does not take a copy of a stream: some codecs its tables name all the same, and what
    the source tells too little of. In the output's own header it would cost the film."""
    import av

    with av.open(io.BytesIO(), "w", format=container) as trial:
        trial.add_stream_from_template(stream)
        trial.start_encoding()
