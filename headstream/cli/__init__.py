"""The command line: parse, build, call. Every command's work is done by a function elsewhere that Python can call too.

Exit status: 0 done; 1 failed; 2 wrong usage or an input that cannot be read; 3 ran, but no head was found anywhere;
130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import typer
from typer.core import TyperGroup

from headstream.cli import (
    batch,
    bench,
    crop,
    demo,
    doctor,
    evaluate,
    image,
    live,
    models,
    paste,
    studio,
    track,
    train,
    video,
)
from headstream.cli.console import emit_json, say
from headstream.errors import HeadstreamError, SourceError, UsageError


class _InterruptedError(Exception):
    """Ctrl-C, in words that typer does not take for an exit status, which nobody can tell from a command's own."""


class _Commands(TyperGroup):
    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _InterruptedError from error


app = typer.Typer(
    name="headstream",
    cls=_Commands,
    help="Cut the head (face, hair, beard; no neck, no body) out of videos and photos.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _main(
    version: bool = typer.Option(False, "--version", help="Show the version and exit.", is_eager=True),
) -> None:
    if version:
        from headstream import __version__

        print(f"headstream {__version__}")
        raise typer.Exit


app.command(name="demo")(demo.demo)
app.command(name="image")(image.image)
app.command(name="video")(video.video)
app.command(name="batch")(batch.batch)
app.command(name="live")(live.live)
app.command(name="studio")(studio.studio)
app.command(name="track")(track.track)
app.command(name="crop")(crop.crop)
app.command(name="paste")(paste.paste)
app.command(name="train")(train.train)
app.command(name="pack")(train.pack)
app.command(name="evaluate")(evaluate.evaluate)
app.command(name="export")(train.export)
app.add_typer(models.app, name="models")
app.add_typer(bench.app, name="bench")
app.command(name="doctor")(doctor.doctor)


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; returns the exit status. Every failure is one line on stderr, and with --json an object on stdout."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        signal.signal(signal.SIGTERM, _interrupt)
    except ValueError:
        pass  # not in the main thread: whoever runs us there handles signals
    try:
        result = app(_filled(given), standalone_mode=False)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:
        status, message = _explained(error)
        say(message)
        if "--json" in given:
            emit_json({"error": message.removeprefix("headstream: "), "exit": status})
        return status
    return result if isinstance(result, int) else 0


def _explained(error: BaseException) -> tuple[int, str]:
    """Exit status and message of what ended a command. Raises what nobody foresaw again, where HEADSTREAM_DEBUG is set."""
    if isinstance(error, HeadstreamError):
        return 2 if isinstance(error, (UsageError, SourceError)) else 1, f"headstream: {_one_line(error)}"
    if isinstance(error, (typer.Abort, _InterruptedError, KeyboardInterrupt)):
        return 130, "headstream: interrupted"
    if type(error).__name__ == "NoArgsIsHelpError":
        return 2, str(error)
    if hasattr(error, "format_message"):  # typer's own errors of usage
        command = getattr(getattr(error, "ctx", None), "command_path", "headstream")
        return 2, f"headstream: {_one_line(error.format_message())} (see: {command} --help)"
    if os.environ.get("HEADSTREAM_DEBUG"):
        raise error
    where = "(HEADSTREAM_DEBUG=1 shows where)"
    return 1, f"headstream: internal error: {type(error).__name__}: {_one_line(error)} {where}"


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
