"""The command line: parse, build, call. Every command's work is done by a function elsewhere that Python can call too.

Exit status: 0 done; 1 failed; 2 wrong usage or an input that cannot be read; 3 ran, but no head was found anywhere;
130 interrupted.
"""

from __future__ import annotations

import errno
import math
import os
import re
import signal
import sys
import time
from contextlib import suppress
from types import FrameType

from headstream.cli.console import StdoutError, emit_json, flush_stdout, mute_stdout, open_streams, say
from headstream.errors import HeadstreamError, SourceError, UsageError
from headstream.failures import causes
from headstream.shared.hangup import on_hangup, outliving_terminal
from headstream.shared.interrupts import ending_signals
from headstream.shared.libraries import remedy
from headstream.shared.unswallowed import unswallowed

# What a place to write to may answer, wherever that was not foreseen.
_OF_THE_PLACE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
}

_NO_MORE_THREADS = "can't start new thread"  # in Python's words
_NO_ROOM_TO_WORK = "No usable temporary directory"  # in tempfile's words

_NAMED_OR_NOT = {"--virtual-camera", "--microphone"}
_TOGETHER_S = 1.0  # between two signals of one ending


class EndedByCtrlCError(Exception):
    """Ctrl-C, in words that typer does not take for an exit status, which nobody can tell from a command's own."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; returns the exit status. Every failure is one line on stderr, and with --json an object on stdout."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        before = [(number, signal.signal(number, _interrupt)) for number in ending_signals()]
    except ValueError:  # not in the main thread: whoever runs us there handles signals
        return _run(given)
    try:
        with unswallowed(KeyboardInterrupt, _hung_up.forget), on_hangup(_hung_up), outliving_terminal():
            return _run(given)
    finally:
        for number, handler in before:
            signal.signal(number, handler or signal.SIG_DFL)  # None: not of Python, and cannot be put back


def _run(given: list[str]) -> int:
    try:
        _check_filled(given)
        from headstream.cli.app import app  # here, because what it needs may be missing

        result = app(_filled(given), standalone_mode=False)
        flush_stdout()
    except BrokenPipeError:
        mute_stdout()
        return 1
    except (Exception, KeyboardInterrupt) as error:
        status, message = _explained(error)
        say(message)
        if "--json" in given:
            with suppress(StdoutError, BrokenPipeError):  # the message is told, and the status
                emit_json({"error": message.removeprefix("headstream: "), "exit": status})
        return status
    return result if isinstance(result, int) else 0


def _explained(error: BaseException) -> tuple[int, str]:
    """Exit status and message of what ended a command. Raises what nobody foresaw again, where HEADSTREAM_DEBUG is set."""
    if any(isinstance(cause, RuntimeError) and str(cause) == _NO_MORE_THREADS for cause in causes(error)):
        return 1, "headstream: the system allows no more threads here (ulimit -u, or the limit of a container)"
    if isinstance(error, HeadstreamError):
        return 2 if isinstance(error, (UsageError, SourceError)) else 1, f"headstream: {_one_line(error)}"
    if isinstance(error, (EndedByCtrlCError, KeyboardInterrupt)) or type(error).__name__ == "Abort":  # typer's
        return 130, "headstream: interrupted"
    if type(error).__name__ == "NoArgsIsHelpError":
        return 2, str(error)
    if hasattr(error, "format_message"):  # typer's own errors of usage
        command = getattr(getattr(error, "ctx", None), "command_path", "headstream")
        message = _one_line(error.format_message())
        if message.startswith("Missing option '--out'"):  # where others take the output as a second name
            message += " The output is named so: --out NAME"
        return 2, f"headstream: {message} (see: {command} --help)"
    if os.environ.get("HEADSTREAM_DEBUG"):
        raise error
    if isinstance(error, ImportError) and not (error.name or "").startswith("headstream"):
        return 1, f"headstream: {remedy(error)} (see: headstream doctor)"
    if isinstance(error, OSError) and error.errno in _OF_THE_PLACE:
        return 1, f"headstream: {error.filename or 'the output'}: {error.strerror}"
    if isinstance(error, FileNotFoundError) and str(error.strerror).startswith(_NO_ROOM_TO_WORK):
        return 1, f"headstream: {error.strerror}: are they full, or not to be written to? TMPDIR names another"
    if isinstance(error, FileNotFoundError) and error.filename is None and _nowhere():
        return 1, "headstream: the folder this was started in is gone: change to one that is there"
    where = "(HEADSTREAM_DEBUG=1 shows where)"
    return 1, f"headstream: internal error: {type(error).__name__}: {_one_line(error)} {where}"


def _nowhere() -> bool:
    """Whether the folder one is in has been removed, which relative names, and much else, cannot do without."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _check_filled(arguments: list[str]) -> None:
    """Raise UsageError for an empty argument: as a path it would be the folder one happens to be in."""
    options_end = arguments.index("--") if "--" in arguments else len(arguments)
    for place, (before, argument) in enumerate(zip(["", *arguments], arguments, strict=False)):
        bare = place < options_end and re.fullmatch("--[^=]+=", argument)
        option = argument[:-1] if bare else ""
        if not argument or option:
            of = option or (before if before.startswith("-") else "")
            raise UsageError(f"{of + ': ' if of else ''}an argument is empty; is a variable of the shell not set?")


def _filled(arguments: list[str]) -> list[str]:
    """``--virtual-camera`` and ``--microphone`` may stand without a name, which typer has no word for."""
    following = [*arguments[1:], "-"]
    return [
        f"{argument}=" if argument in _NAMED_OR_NOT and after.startswith("-") else argument
        for argument, after in zip(arguments, following, strict=False)
    ]


def _interrupt(number: int, frame: FrameType | None) -> None:
    if time.monotonic() - _hung_up.at_s < _TOGETHER_S:
        return
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise KeyboardInterrupt


class _HungUp:
    """As good as Ctrl-C. Whoever ends a session may send both signals at once, which is one Ctrl-C and not two."""

    at_s = -math.inf

    def __call__(self) -> None:
        self.at_s = time.monotonic()
        raise KeyboardInterrupt

    def forget(self) -> None:
        """It was lost: the signal that comes in its place is not the second of two."""
        self.at_s = -math.inf


_hung_up = _HungUp()


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def run() -> None:
    """Entry point of the ``headstream`` program."""
    open_streams()
    sys.exit(main())
