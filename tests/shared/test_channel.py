"""The queue between threads: failures first."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from headstream.shared.channel import Channel, Producer


def test_items_arrive_in_order_then_the_end() -> None:
    with Producer(range(100), name="headstream-test", capacity=3) as items:
        assert list(items) == list(range(100))


def test_an_error_arrives_after_the_items_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("cable pulled")

    got = []
    with Producer(broken(), name="headstream-test") as items, pytest.raises(OSError, match="cable pulled"):
        for item in items:
            got.append(item)
    assert got == [1, 2]


def test_an_error_at_once_arrives_too() -> None:
    def broken() -> Iterator[int]:
        raise KeyError("x")
        yield 0

    with Producer(broken(), name="headstream-test") as items, pytest.raises(KeyError):
        list(items)


def test_stopping_while_the_queue_is_full_ends_the_thread() -> None:
    started = threading.Event()

    def endless() -> Iterator[int]:
        n = 0
        while True:
            started.set()
            yield n
            n += 1

    items = Producer(endless(), name="headstream-test", capacity=1)
    assert started.wait(5)
    items.close()
    items.close()
    assert list(items) == []


def test_newest_never_waits_and_counts_what_it_drops() -> None:
    channel: Channel[int] = Channel(2, "newest")
    for n in range(10):
        assert channel.put(n)
    channel.finish()
    assert list(channel) == [8, 9]
    assert channel.dropped == 8


def test_every_waits_for_room_and_loses_nothing() -> None:
    channel: Channel[int] = Channel(1)
    sent = threading.Event()

    def produce() -> None:
        for n in range(5):
            channel.put(n)
        channel.finish()
        sent.set()

    thread = threading.Thread(target=produce)
    thread.start()
    assert not sent.wait(0.05)  # held back: nobody has taken anything
    assert list(channel) == [0, 1, 2, 3, 4]
    thread.join()
    assert channel.dropped == 0


def test_putting_into_a_closed_channel_says_so() -> None:
    channel: Channel[int] = Channel(1)
    channel.close()
    assert not channel.put(1)
    assert list(channel) == []


def test_capacity_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Channel(0)


def test_an_iterable_that_is_stuck_is_not_waited_for_longer_than_asked() -> None:
    released, ended = threading.Event(), threading.Event()

    def stuck() -> Iterator[int]:
        yield 1
        released.wait(20)
        ended.set()
        yield 2

    producer = Producer(stuck(), name="headstream-stuck", patience_s=0.1)
    assert next(iter(producer)) == 1
    producer.close()
    assert not ended.is_set()
    released.set()
    producer._thread.join()
    assert ended.is_set()


def test_threads_have_ended_before_the_interpreter_goes_down() -> None:
    """Whoever leaves an iteration half-way, as a script does that ends, is not held up by it."""
    script = """
import atexit
atexit.register(lambda: print(made._thread.is_alive()))
from headstream.shared.channel import Producer
made = Producer(iter(int, 1), name="headstream-test", capacity=1)
next(iter(made))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("False\n", "", 0)
