"""The command line: parse, build, call. Every command's work is done by a function elsewhere that Python can call too.

Exit status: 0 done; 1 failed; 2 wrong usage or an input that cannot be read; 3 ran, but no head was found anywhere;
130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from headstream.cli.console import say
from headstream.errors import HeadstreamError, SourceError, UsageError
from headstream.libraries import remedy


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; returns the exit status. Every failure is one line on stderr."""
    try:
        signal.signal(signal.SIGTERM, _interrupt)
    except ValueError:
        pass  # not in the main thread: whoever runs us there handles signals
    try:
        from headstream.cli.app import app  # here, because what it needs may be missing

        result = app(_filled(sys.argv[1:] if arguments is None else arguments), standalone_mode=False)
    except HeadstreamError as error:
        say(f"headstream: {_one_line(error)}")
        return 2 if isinstance(error, (UsageError, SourceError)) else 1
    except KeyboardInterrupt:
        say("headstream: interrupted")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if type(error).__name__ == "Abort":  # typer's
            return 130
        if type(error).__name__ == "NoArgsIsHelpError":
            say(str(error))
            return 2
        if hasattr(error, "format_message"):  # typer's own errors of usage
            command = getattr(getattr(error, "ctx", None), "command_path", "headstream")
            say(f"headstream: {_one_line(error.format_message())} (see: {command} --help)")
            return 2
        if os.environ.get("HEADSTREAM_DEBUG"):
            raise
        if isinstance(error, ImportError) and not (error.name or "").startswith("headstream"):
            say(f"headstream: {remedy(error)} (see: headstream doctor)")
            return 1
        say(f"headstream: internal error: {type(error).__name__}: {_one_line(error)} (HEADSTREAM_DEBUG=1 shows where)")
        return 1
    return result if isinstance(result, int) else 0


def _filled(arguments: list[str]) -> list[str]:
    """``--virtual-camera`` may stand without a name, which typer has no word for."""
    following = [*arguments[1:], "-"]
    return [
        f"{argument}=" if argument == "--virtual-camera" and after.startswith("-") else argument
        for argument, after in zip(arguments, following, strict=False)
    ]


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def run() -> None:
    """Entry point of the ``headstream`` program."""
    sys.exit(main())
