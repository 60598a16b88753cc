"""headstream live"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstream.cli.console import cut_result, emit_json, say, say_written
from headstream.cli.options import (
    BackgroundOption,
    DeviceOption,
    HairColorOption,
    HeadsOption,
    JsonOption,
    ModelOption,
    PartOption,
    parse_size,
)
from headstream.cli.studio import need_studio
from headstream.words import cut_options

if TYPE_CHECKING:
    from headstream.capture.cameras import Camera
    from headstream.live.cutting import LiveStatus
    from headstream.live.outputs import Output


def live(
    camera: Annotated[
        str,
        typer.Option(
            metavar="N|NAME|PATH|URL|screen",
            help="A webcam by number or part of its name; rtsp://, http://, udp://, tcp://; screen:X,Y,W,H; or a video file.",
        ),
    ] = "0",
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH",
            help="Width and height to ask the webcam for, 1280x720 by itself. Files, streams and the screen keep theirs.",
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=240,
            help="Frames a second to ask the webcam (or the screen) for, 30 by itself. Files and streams keep theirs.",
        ),
    ] = None,
    background: BackgroundOption = "transparent",
    virtual_camera: Annotated[
        str | None,
        typer.Option(
            metavar="[NAME]", help="Show the result as a camera that other programs can choose; which one, if several."
        ),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show a window; the default if nothing else is asked.")
    ] = False,
    overlay: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="Serve the head alone as a page, for OBS; 0 takes any port.",
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="Also write a file: .mov, .webm, .mkv with alpha; .mp4 with a background."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="A recording takes the place of the file that has its name.")
    ] = False,
    microphone: Annotated[
        str | None,
        typer.Option(
            metavar="[NAME]",
            help="The recording's sound: the system's microphone, or that whose name has NAME in it. Streams bring their own.",
        ),
    ] = None,
    mirror: Annotated[bool, typer.Option("--mirror", help="Left and right exchanged, as in a mirror.")] = False,
    loop: Annotated[bool, typer.Option("--loop", help="A file starts again when it ends.")] = False,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop by itself after this long.")] = None,
    every: Annotated[
        int,
        typer.Option(
            min=1,
            max=3,
            help="Run the network on every 2nd or 3rd frame at most, for a quiet machine; the matte follows the motion between.",
        ),
    ] = 1,
    list_: Annotated[bool, typer.Option("--list", help="List the cameras and microphones, and stop.")] = False,
    heads: HeadsOption = "largest",
    part: PartOption = "head",
    hair_color: HairColorOption = None,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> int:
    """Cut the head out of a webcam or stream as it happens. Nothing leaves the machine."""
    from headstream.capture.cameras import list_cameras, parse_target
    from headstream.live.keys import KEYS
    from headstream.live.session import LiveJob, check_live_job, run_session
    from headstream.sinks.take import TakeSink

    if list_:
        _list(list_cameras(), json)
        return 0
    job = LiveJob(
        target=parse_target(camera),
        size_px=None if size is None else parse_size(size),
        rate=fps,
        background=background,
        virtual_camera=virtual_camera is not None,
        virtual_camera_name=virtual_camera or None,
        preview=preview or (virtual_camera is None and record is None and overlay is None),
        overlay_port=overlay,
        record=record,
        overwrite=overwrite,
        microphone=microphone,
        mirror=mirror,
        loop=loop,
        seconds=seconds,
        every=every,
        options=cut_options(heads, part, hair_color),
        model=model,
        device=device,
    )
    check_live_job(job)
    if overlay is not None:
        need_studio()
    say("headstream: starting")
    shown = StatusLine(f"keys in the window: {KEYS}" if job.preview else "running; Ctrl-C ends it")
    try:
        status, outputs = run_session(job, notice=lambda line: shown.say(f"headstream: {line}"), report=shown.report)
    finally:
        shown.end()
    files = [output.sink.final_path for output in outputs if isinstance(output.sink, TakeSink) and output.sink.kept]
    if json:
        emit_json(as_json(status, outputs, files))
    else:
        late = ", ".join(f"{output.name}: {output.dropped} more dropped" for output in outputs if output.dropped)
        say(
            f"{status.frames} frames cut, {status.frames_with_head} with a head, {status.dropped} dropped{late and '; ' + late}"
        )
    for file in files:
        say_written(file)
    if status.source_error is not None or any(output.error is not None for output in outputs):
        return 1
    return 0 if status.frames_with_head else 3


def _microphones() -> list[str]:
    from headstream.capture.microphone import list_microphones
    from headstream.errors import SourceError

    try:
        names = list_microphones()
    except SourceError as error:
        say(f"headstream: {error}")
        return []
    if not names:
        say("headstream: this system names no microphone")
    return names


def _list(cameras: list[Camera], json: bool) -> None:
    if json:
        named = [{"number": found.number, "name": found.name} for found in cameras]
        emit_json({"cameras": named, "microphones": _microphones()})
        return
    for found in cameras:
        print(f"{found.number}  {found.name}", flush=True)
    if not cameras:
        say("headstream: this system names no camera")
    for name in _microphones():
        print(f"microphone  {name}")


def as_json(status: LiveStatus, shown_on: list[Output], files: list[Path]) -> dict[str, Any]:
    """A session as --json prints it."""
    return cut_result(
        frames_in=status.frames + status.dropped,
        frames_out=status.frames,
        frames_with_head=status.frames_with_head,
        seconds=status.seconds,
        stages_ms=status.stages_ms,
        device=status.device,
        model=status.model,
        outputs=files,
        frames=status.frames,
        dropped=status.dropped,
        latency_ms=round(status.latency_ms, 1),
        network_every=status.every,
        heads=list(status.heads),
        source_error=status.source_error,
        shown_on={
            output.name: {"dropped": output.dropped, "error": None if output.error is None else str(output.error)}
            for output in shown_on
        },
    )


class StatusLine:
    """On a terminal, one line that is kept up to date, below whatever else is said. how: to control it, said once there is
    something to control. ``say`` may be called from any thread."""

    def __init__(self, how: str) -> None:
        self._how: str | None = how
        self._shown, self._last_s = "", 0.0
        self._lock = threading.Lock()

    def say(self, message: str) -> None:
        """One line for the user, in its own place."""
        with self._lock:
            self._clear()
            say(message)
            self._write(self._shown)

    def report(self, status: LiveStatus, outputs: list[Output]) -> None:
        """Show how it goes."""
        from headstream.live.cutting import describe_line

        how, self._how = self._how, None
        if how is not None:
            self.say(f"headstream: {how}")
        if sys.stderr.isatty() and time.monotonic() - self._last_s > 0.5:
            self._last_s = time.monotonic()
            with self._lock:
                self._clear()
                self._shown = describe_line(status)[: _columns() - 1]  # what wraps cannot be taken back
                self._write(self._shown)

    def end(self) -> None:
        """Take the line away."""
        with self._lock:
            self._clear()
            self._shown = ""

    def _clear(self) -> None:
        if self._shown:
            self._write(f"\r{' ' * len(self._shown)}\r")  # not every console of Windows heeds codes that clear a line

    def _write(self, text: str) -> None:
        if text:
            sys.stderr.write(text)
            sys.stderr.flush()


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80  # 0 where nobody has told the terminal
    except (OSError, ValueError):
        return 80
