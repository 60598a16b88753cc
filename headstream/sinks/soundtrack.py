"""The sound of a live recording: pieces with the times they were heard at, made one track that keeps to the pictures."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from typing import Any

from headstream.shared.sound import Sound
from headstream.sinks.routes import silence

# What editors and players of each container take, without loss where the picture has none.
_CODECS = {"mov": "pcm_s16le", "mp4": "aac", "matroska": "flac", "webm": "libopus"}
_RATE = 48000
_STRETCH = 48  # samples a second, a thousandth: nobody hears it, and clocks differ by less
_MOVED_S = 0.05  # off by more, it is cut or filled at once: lips tell (EBU R 37: 40 ms early, 60 ms late)
# How much later than its picture sound may come, before it is missing: as late as it has come of late, and a little.
_LATEST_S, _LATER_S = 5.0, 0.5
_FORGETS = 0.995  # with each piece
_KEPT_S = 3.0  # before the first picture, which the network has to cut before it is written
_TICKS = Fraction(1, 1_000_000)


class SoundTrack:
    """One track of sound in an output container.

    ``hear`` takes what comes, from any thread, and does no work. ``begin`` adds the track, before the header is written;
    ``advance`` gives packets of what belongs before a second of the output, ``finish`` the rest. Where nothing was heard there is
    silence. Where a microphone's clock is not the pictures', sound is stretched or squeezed by a thousandth at most, or moved
    by the whole difference where that is over 0.05 s (FFmpeg's aresample). layout: "mono" or "stereo".  may_wait: whether sound
    may come seconds after its picture, as a stream's may and a microphone's never does.  late_s: by how much it has, of late.
    """

    def __init__(self, layout: str, *, may_wait: bool = True) -> None:
        self._layout = layout
        self._waiting: deque[Sound] = deque()
        self._stream: Any = None
        self._graph: Any = None
        self._like: Any = None  # a frame of what the graph takes
        self._known: dict[tuple[str, str, int], bool] = {}  # formats, and whether they can be taken
        self._origin_s = 0.0
        self._taken_s = Fraction(0)  # how far the graph was given sound
        self._next = 0  # the sample that is encoded next, from second 0 of the output
        self._end: int | None = None
        self._told_nothing = may_wait
        self.late_s = 0.0

    def hear(self, sound: Sound) -> None:
        """Take a piece of sound, of any format. One that begins before others that wait stands in their place."""
        with suppress(IndexError):  # none waits, or another thread has just taken the last
            while self._waiting[-1].captured_s >= sound.captured_s:
                self._waiting.pop()
        self._waiting.append(sound)
        late_s, self._told_nothing = time.perf_counter() - sound.end_s, False
        self.late_s = min(_LATEST_S, max(late_s, _FORGETS * self.late_s))
        while self._stream is None and self._waiting[0].captured_s < sound.captured_s - _KEPT_S:
            self._waiting.popleft()

    @property
    def heard_s(self) -> Fraction:
        """Up to which second of the output there is sound, encoded or not."""
        try:
            return max(self._taken_s, self._at(self._waiting[-1].end_s))
        except IndexError:
            return self._taken_s

    @property
    def waits_s(self) -> float:
        """How much sound waits to be encoded."""
        try:
            return self._waiting[-1].end_s - self._waiting[0].captured_s
        except IndexError:  # another thread has taken the last
            return 0.0

    def begin(self, output: Any, container: str, *, origin_s: float, first_s: Fraction) -> None:
        """Add the track. origin_s: when second 0 of the output was.  first_s: where its first picture is."""
        self._stream = output.add_stream(_CODECS[container], rate=_RATE, layout=self._layout)
        self._origin_s, self._taken_s, self._next = origin_s, first_s, round(first_s * _RATE)

    def advance(self, until_s: Fraction) -> list[Any]:
        """Packets of what was heard before second ``until_s``, in whole pieces."""
        waits_s = _LATEST_S if self._told_nothing else self.late_s + _LATER_S
        return self._heard(until_s, lambda sound: sound.end_s) + self._silent(until_s - Fraction(waits_s))

    def _heard(self, until_s: Fraction, by: Callable[[Sound], float]) -> list[Any]:
        made: list[Any] = []
        while self._waiting and self._at(by(self._waiting[0])) <= until_s:
            sound = self._waiting.popleft()
            if self._at(sound.end_s) <= self._taken_s:
                continue  # there is silence in its place by now
            if self._can_take(sound.frame):
                made += self._taken(sound.frame, self._at(sound.captured_s))
        return made

    def finish(self, end_s: Fraction) -> list[Any]:
        """Packets of the rest, up to second ``end_s``."""
        self._end = round(end_s * _RATE)
        made = self._heard(end_s, lambda sound: sound.captured_s) + self._silent(end_s) + self._pulled(last=True)
        like = _plain(self._layout, self._stream.codec_context.format.name)
        for frame in silence(like, Fraction(self._end - self._next, _RATE)):  # what stretching has left out
            made += self._encoded(frame)
        return made + list(self._stream.encode(None))

    def _at(self, captured_s: float) -> Fraction:
        return Fraction(captured_s - self._origin_s)

    def _silent(self, until_s: Fraction) -> list[Any]:
        """Silence up to second ``until_s``, where no sound has come so far."""
        made: list[Any] = []
        if self._like is None:
            self._like = _plain(self._layout)
        for frame in silence(self._like, until_s - self._taken_s):
            made += self._taken(frame, self._taken_s)
        return made

    def _taken(self, frame: Any, at_s: Fraction) -> list[Any]:
        made: list[Any] = []
        if self._graph is None or _kind(frame) != _kind(self._like):
            made += self._pulled(last=True)
            self._graph, self._like = self._made_graph(frame), frame
        self._taken_s = at_s + Fraction(frame.samples, frame.sample_rate)
        frame.pts, frame.time_base = round(at_s / _TICKS), _TICKS
        self._graph.push(frame)
        return made + self._pulled()

    def _can_take(self, frame: Any) -> bool:
        """Whether FFmpeg knows what to make of it: of nine loudspeakers it does not. No reason to lose the picture."""
        import av

        kind = _kind(frame)
        if kind not in self._known:
            try:
                self._made_graph(frame)
                self._known[kind] = True
            except (av.error.FFmpegError, ValueError):
                self._known[kind] = False
        return self._known[kind]

    def _made_graph(self, like: Any) -> Any:
        import av

        graph = av.filter.Graph()
        context = self._stream.codec_context
        steps = [
            graph.add_abuffer(
                sample_rate=like.sample_rate, format=like.format.name, layout=like.layout.name, time_base=_TICKS
            ),
            graph.add("aresample", f"{_RATE}:async={_STRETCH}:min_hard_comp={_MOVED_S}:first_pts={self._next}"),
            graph.add("aformat", f"sample_fmts={context.format.name}:channel_layouts={self._layout}"),
            graph.add("abuffersink"),
        ]
        graph.link_nodes(*steps).configure()
        return graph

    def _pulled(self, *, last: bool = False) -> list[Any]:
        """What the graph has ready, encoded. last: it gets no more."""
        import av

        made: list[Any] = []
        if self._graph is None:
            return made
        if last:
            self._graph.push(None)
        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                break
            made += self._encoded(frame)
        if last:
            self._graph = None
        return made

    def _encoded(self, frame: Any) -> list[Any]:
        if self._end is not None and self._next + frame.samples > self._end:
            frame = _cut(frame, self._end - self._next)
        if frame is None:
            return []
        frame.pts, frame.time_base = self._next, Fraction(1, _RATE)
        self._next += frame.samples
        packets = self._stream.encode(frame)
        # AAC's first has nothing in it, and fragments have no edit list that would tell to skip it.
        return [packet for packet in packets if packet.pts >= 0 or self._stream.codec_context.name != "aac"]


def _kind(frame: Any) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _plain(layout: str, kind: str = "s16") -> Any:
    import av

    frame = av.AudioFrame(kind, layout, 1)
    frame.sample_rate, frame.time_base = _RATE, Fraction(1, _RATE)
    return frame


def _cut(frame: Any, samples: int) -> Any:
    """The first samples of a frame; None where there are none."""
    import av

    if samples <= 0:
        return None
    channels = 1 if frame.format.is_planar else frame.layout.nb_channels
    kept = frame.to_ndarray()[:, : samples * channels].copy()
    made = av.AudioFrame.from_ndarray(kept, format=frame.format.name, layout=frame.layout.name)
    made.sample_rate = frame.sample_rate
    return made
