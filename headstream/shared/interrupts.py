"""Ctrl-C between two steps, not in the middle of one; after what is being finished, not before."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none


def ending_signals() -> tuple[int, ...]:
    """What other programs end this one by: SIGTERM, and on Windows, where that reaches nobody, Ctrl-Break."""
    return tuple(getattr(signal, name) for name in ("SIGTERM", "SIGBREAK") if hasattr(signal, name))


@contextlib.contextmanager
def unheard_children() -> Iterator[None]:
    """Nobody hears meanwhile of processes that end: torch's handler for those that make samples raises wherever it comes, also in
    what is written because one of them has ended."""
    number = getattr(signal, "SIGCHLD", None)  # Windows has none
    if number is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(number, before or signal.SIG_DFL)


@contextlib.contextmanager
def held_interrupts(*, second_waits: bool = False) -> Iterator[list[int]]:
    """SIGINT, SIGHUP and ``ending_signals`` wait until the block has ended, so that it is done whole or not at all; a second one
    does not wait, but that of a closed terminal, which comes twice. second_waits: it does, and all that follow; the block has to
    see to it that it ends. Gives the numbers of those that came, as they come.

    Only handlers written in Python are held; outside the main thread, where none ever runs, nothing is.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def note(number: int, frame: FrameType | None) -> None:
        if number == _HANGUP != signal.SIGTERM and number in came:
            return
        came.append(number)
        if len(came) > 1 and not second_waits:
            before[number](number, frame)

    for one in {signal.SIGINT, *ending_signals(), _HANGUP}:
        handler = signal.getsignal(one)
        if callable(handler):
            before[one] = handler
            signal.signal(one, note)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        late = [*dict.fromkeys(came)] if second_waits else came[: len(came) == 1]
        with contextlib.ExitStack() as each:  # what one of them raises keeps none of the others from being heard
            for number in reversed(late):
                each.callback(before[number], number, None)
