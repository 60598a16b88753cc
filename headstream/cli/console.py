"""How commands talk: messages and progress on stderr, one JSON object on stdout when asked."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from headstream.errors import SinkError

_SHOW_AFTER_S = 1.0
_LONGEST_TITLE = 20
_ROOM_FOR_ALL = 70  # columns of a terminal; in fewer, figures would be cut off for the bar


class StdoutError(SinkError):
    """Standard output takes nothing more. What else is printed goes nowhere."""


def open_streams() -> None:
    """Where a program was started without stdout or stderr (``2>&-``), what it prints there goes nowhere: the first file it opens
    would get their number otherwise, and with it what libraries print. Letters that a file's or pipe's encoding lacks (Windows'
    cp1252) are written as their numbers."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", errors="backslashreplace", closefd=False))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":  # others take all there is
        sys.stdout.reconfigure(errors="backslashreplace")


def say(message: str) -> None:
    """One line for the user, on stderr. One that takes nothing more (a log on a full disk) is no reason to end."""
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:
        _mute(sys.stderr)


def say_written(path: Path) -> None:
    """That an output is there and, of a file, how large it is."""
    try:
        size = path.stat().st_size if path.is_file() else 0
    except OSError:  # gone again
        size = 0
    shown = f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
    say(f"wrote {path}" + (f" ({shown})" if size else ""))


def cut_result(
    *,
    frames_in: int,
    frames_out: int,
    frames_with_head: int,
    seconds: float,
    stages_ms: Mapping[str, float],
    device: str,
    model: str,
    outputs: Sequence[str | Path],
    fps: float | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What --json prints of every command that cuts, in one order and of one kind each (docs/json.md), and ``more``.

    device, model: "" where no network ran, which is null.  fps: where it is not simply frames out by seconds.
    """
    if fps is None:
        fps = frames_out / seconds if seconds else 0.0
    return {
        "frames_in": frames_in,
        "frames_out": frames_out,
        "frames_with_head": frames_with_head,
        "seconds": round(seconds, 3),
        "fps": round(fps, 2),
        "stages_ms": dict(stages_ms),
        "device": device or None,
        "model": model or None,
        "outputs": [str(path) for path in outputs],
    } | more


def broken_off(outputs: Sequence[Path], done: int, expected: int = 0) -> str:
    """What an interrupt left behind. expected: how many frames the film has, 0 if it does not tell."""
    if not outputs:
        return "interrupted; nothing was written"
    names = " and ".join(path.name for path in outputs)
    verb = "holds" if len(outputs) == 1 else "hold"
    return f"interrupted: {names} {verb} the first {done} frames" + (f" of {expected}" if expected > done else "")


def network(model: str, device: str) -> str:
    """The end of a summary: what cut, and on what; "" where no network ran."""
    return f"; {model} on {device}" if device else ""


def emit_json(result: dict[str, Any]) -> None:
    """The one JSON object of a command, on stdout. Raises StdoutError, BrokenPipeError."""
    flush_stdout(json.dumps(result, default=str) + "\n")


def flush_stdout(text: str = "") -> None:
    """Have ``text``, and what was printed before, on stdout by now. Raises StdoutError, BrokenPipeError."""
    try:
        print(text, end="", flush=True)
    except OSError as error:
        mute_stdout()
        if isinstance(error, BrokenPipeError):
            raise
        raise StdoutError(f"standard output cannot be written: {error.strerror}") from error


def mute_stdout() -> None:
    """What is still held back for it would fail once more when Python ends, with a traceback."""
    _mute(sys.stdout)


def _mute(stream: TextIO) -> None:
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, stream.fileno())
    os.close(descriptor)


@contextmanager
def progress_bar(title: str, *, unit: str = "frames", quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A function of (done, of how many; 0 if unknown) that draws a bar on a terminal once a second has passed."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns: list[ProgressColumn] = [MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn()]
    if console.width >= _ROOM_FOR_ALL:
        rate_column = TextColumn("{task.fields[rate]:>6} /s")
        columns = [TextColumn("{task.description}"), BarColumn(), *columns[:2], rate_column, columns[2]]
    bar = Progress(*columns, console=console, auto_refresh=False)
    started = last = time.monotonic()
    shown_title = title if len(title) <= _LONGEST_TITLE else title[: _LONGEST_TITLE - 3] + "..."
    task = bar.add_task(shown_title, total=None, rate="")
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
        if shown and (now - last > 0.1 or done == total):  # the last one stays on the screen
            last = now
            rate = f"{(done - before) / (now - started):.1f}"
            bar.update(task, completed=done, total=max(total, done) or None, rate=rate, refresh=True)

    try:
        yield update
    finally:
        if shown:
            bar.refresh()
            bar.stop()
