"""How commands talk: messages and progress on stderr, one JSON object on stdout when asked."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_SHOW_AFTER_S = 1.0


def say(message: str) -> None:
    """One line for the user, on stderr."""
    print(message, file=sys.stderr, flush=True)


def emit_json(result: dict[str, Any]) -> None:
    """The one JSON object of a command, on stdout."""
    print(json.dumps(result, default=str), flush=True)


@contextmanager
def progress_bar(title: str, *, unit: str = "frames", quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A function of (done, of how many; 0 if unknown) that draws a bar on a terminal once a second has passed."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit + " {task.fields[rate]:>6} /s"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True), auto_refresh=False)
    started = last = time.monotonic()
    task = bar.add_task(title, total=None, rate="")
    shown = False
    before: int | None = None  # done by an earlier run

    def update(done: int, total: int) -> None:
        nonlocal last, shown, before
        now = time.monotonic()
        if before is None:
            before = done if done > 1 else 0
        if not shown and now - started > _SHOW_AFTER_S:
            bar.start()
            shown = True
        if shown and now - last > 0.1:
            last = now
            rate = f"{(done - before) / (now - started):.1f}"
            bar.update(task, completed=done, total=max(total, done) or None, rate=rate, refresh=True)

    try:
        yield update
    finally:
        if shown:
            bar.refresh()
            bar.stop()
