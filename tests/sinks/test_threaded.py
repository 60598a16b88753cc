from __future__ import annotations

import threading

import pytest

from headstream.errors import SinkError
from headstream.sinks.memory import CountingSink, MemorySink
from headstream.sinks.threaded import TeeSink, ThreadedSink
from headstream.types import Cutout, Frame
from tests.media import pattern


def cutout(index: int = 0) -> Cutout:
    return Cutout(Frame(pattern(16, 16, index), index=index))


class Breaking:
    """A sink that fails at its n-th write, or when closed."""

    def __init__(self, at: int = -1, on_close: bool = False) -> None:
        self.at, self.on_close, self.writes, self.closed = at, on_close, 0, 0

    def write(self, item: Cutout) -> None:
        self.writes += 1
        if self.writes == self.at:
            raise SinkError("disk full")

    def close(self) -> None:
        self.closed += 1
        if self.on_close:
            raise SinkError("no trailer")


def test_everything_arrives_in_order() -> None:
    memory = MemorySink()
    sink = ThreadedSink(memory, capacity=2)
    for k in range(20):
        sink.write(cutout(k))
    sink.close()
    sink.close()
    assert [c.frame.index for c in memory.cutouts] == list(range(20))
    assert (memory.frames, memory.frames_with_head) == (20, 0)


def test_a_write_error_reaches_the_writer_and_the_inner_sink_is_closed() -> None:
    inner = Breaking(at=2)
    sink = ThreadedSink(inner, capacity=1)
    with pytest.raises(SinkError, match="disk full"):
        for k in range(50):
            sink.write(cutout(k))
    sink.close()
    assert inner.closed == 1


def test_an_error_in_the_last_write_comes_out_at_close() -> None:
    inner = Breaking(at=1)
    sink = ThreadedSink(inner)
    sink.write(cutout())
    with pytest.raises(SinkError, match="disk full"):
        sink.close()
    assert inner.closed == 1


def test_an_error_of_close_comes_out() -> None:
    with pytest.raises(SinkError, match="no trailer"):
        ThreadedSink(Breaking(on_close=True)).close()


def test_closing_while_the_queue_is_full_writes_what_is_queued() -> None:
    gate = threading.Event()

    class Slow(CountingSink):
        def write(self, item: Cutout) -> None:
            assert gate.wait(10)
            super().write(item)

    slow = Slow()
    sink = ThreadedSink(slow, capacity=3)
    for k in range(3):
        sink.write(cutout(k))
    gate.set()
    sink.close()
    assert slow.frames == 3


def test_a_tee_closes_all_and_raises_the_first_error() -> None:
    first, second, third = Breaking(on_close=True), Breaking(), CountingSink()
    tee = TeeSink([first, second, third])
    tee.write(cutout())
    with pytest.raises(SinkError, match="no trailer"):
        tee.close()
    assert [first.closed, second.closed, third.frames] == [1, 1, 1]


def test_memory_keeps_only_so_many() -> None:
    memory = MemorySink(limit=2)
    for k in range(5):
        memory.write(cutout(k))
    assert [c.frame.index for c in memory.cutouts] == [3, 4]
