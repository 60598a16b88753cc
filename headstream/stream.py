"""A whole source through a cutter, in three threads: one reads, one finds heads, one finishes their mattes.

Where the next head lies depends on what the network says of the last one, but not on how its matte is finished: so the mattes
of one frame are finished while the next is begun. On two cores that is a fifth more frames in the same time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing

from headstream.errors import SourceError
from headstream.pipeline import Begun, HeadCutter
from headstream.shared.channel import Channel, Policy, Producer
from headstream.timing import StageTimes
from headstream.types import Cutout, Frame, Source

_PATIENCE_S = 0.05  # before a cut-out comes out without the next frame having been begun
_AHEAD = 1  # frames that are begun while one is finished
_LOT_BYTES = 192 << 20  # pictures held for one run of the network: eight of 8K, 8 bits


def cut_stream(
    source: Source,
    cutter: HeadCutter,
    *,
    policy: Policy = "every",
    capacity: int = 4,
    on_stop: Callable[[], None] | None = None,
    settled: Callable[[Frame], bool] = lambda frame: False,
) -> Generator[Cutout, None, None]:
    """Cut-outs of every frame of a source, which is read in a thread of its own. Closing the generator stops it.

    With the policy "every", the next frame, if it is there, is begun before a cut-out comes out: what the cutter is told
    meanwhile is for the one after that.

    on_stop: ends a source that may be long in coming to its next frame; called from another thread than reads it.
    settled: after which frames nothing is under way, so that a snapshot may be taken.
    """
    items = timed(source, cutter.times)
    with Producer(items, name="headstream-grab", capacity=capacity, policy=policy, on_stop=on_stop) as frames:
        if policy == "newest":
            yield from map(cutter.cut, frames)
            return
        with closing(_begun(cutter, frames.ticking(_PATIENCE_S))) as begun:
            yield from _overlapped(cutter, begun, settled)


def _begun(cutter: HeadCutter, frames: Iterable[Frame | None]) -> Generator[Begun | None, None, None]:
    """None where the next frame is long in coming."""
    for some in _together(frames, cutter.at_once):
        if not some:
            yield None
        yield from cutter.begin_together(some)


def _overlapped(
    cutter: HeadCutter, begun: Iterator[Begun | None], settled: Callable[[Frame], bool]
) -> Generator[Cutout, None, None]:
    """Each frame finished in a thread while the next is begun, or waited for in vain. Where one cannot be begun, those before
    it are good."""
    waiting: deque[Begun] = deque()
    todo: Channel[Begun] = Channel(_AHEAD + 1)
    made = Producer(map(cutter.finish, todo), name="headstream-matte", capacity=_AHEAD + 1, on_stop=todo.close)
    finished = iter(made)

    def out(most: int) -> Iterator[Cutout]:
        while len(waiting) > most:
            cutout = next(finished)
            yield cutter.given(waiting.popleft(), cutout)

    try:
        while True:
            try:
                each = next(begun)
            except StopIteration:
                break
            except Exception:
                yield from out(0)
                raise
            if each is not None:
                waiting.append(each)
                todo.put(each)
            yield from out(0 if each is None or settled(each.frame) else _AHEAD)
        yield from out(0)
    finally:
        cutter.give_up(len(waiting))
        made.close()


def _together(frames: Iterable[Frame | None], count: int) -> Iterator[list[Frame]]:
    """Frames in lots of ``count``, fewer where they are large; an empty lot where the next frame is long in coming. Where the
    source breaks off, what came before is good."""
    some: list[Frame] = []
    try:
        for frame in frames:
            if frame is None:
                yield []
                continue
            some.append(frame)
            if len(some) >= min(count, _LOT_BYTES // frame.nbytes):
                yield some
                some = []
    except Exception:
        if some:
            yield some
        raise
    if some:
        yield some


def timed(source: Source, times: StageTimes) -> Iterator[Frame]:
    """A source's frames; what each takes is noted as the stage "decode"."""
    frames = iter(source)
    while True:
        with times.stage("decode"):
            try:
                frame = next(frames)
            except StopIteration:
                return
        if not isinstance(frame, Frame):
            raise SourceError(f"{type(source).__name__} gives {type(frame).__name__}, expected Frame")
        yield frame
