"""One live session from camera to outputs: what `headstream live` does, for any caller."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path

from headstream.apart import check_apart, model_files
from headstream.backdrop import backdrop
from headstream.capture.cameras import LiveTarget
from headstream.capture.live import LiveSource
from headstream.capture.microphone import Microphone
from headstream.errors import SinkError, SourceError, UsageError
from headstream.live.cutting import Controls, LiveCutter, LiveStatus, describe_line
from headstream.live.keys import Keys
from headstream.live.outputs import Output, run_live
from headstream.live.pace import Pace
from headstream.live.takes import check_take
from headstream.pipeline import CutOptions, HeadCutter
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.sinks.background import handed_over, parse_background
from headstream.sinks.behind import Background, Checkerboard, ShownBackground, SwitchedBackground
from headstream.sinks.formats import CUTOUTS, OutputFormat, output_format
from headstream.sinks.growing import growing_name
from headstream.sinks.lock import locked
from headstream.sinks.preview import PreviewWindow
from headstream.sinks.take import TakeSink, check_sound
from headstream.sinks.vcam import ReturningCamera, VirtualCameraSink
from headstream.sinks.video import ClipInfo
from headstream.track.finder import FaceFinder
from headstream.types import Cutout

_CHROMA_GREEN = "#00b140"
_PIECE_S = 0.1  # sound comes in such, at most
_SIZE_PX, _RATE = (1280, 720), 30.0
_OWN = {
    "file": "a file keeps its own",
    "network": "a stream keeps its own",
    "screen": "the screen keeps its own (screen:X,Y,WIDTH,HEIGHT is a part of it)",
}
_OTHERS = ("blur", _CHROMA_GREEN, "#ffffff", "#000000")


@dataclass(frozen=True)
class LiveJob:
    """What to cut, and where to.

    size_px, rate: what a webcam is asked for, the screen for the rate; None for what most can. It may answer with another.
    background: as of a video.
    virtual_camera_name: None for the first there is.  overlay_port: of the overlay's page; 0 for
    any free one.  record: a file; overwrite: whether in place of one that is there.  microphone: what the recording's sound comes
    from, a part of its name, or "" for the system's own; None for the sound that a stream brings along, if it does.
    seconds: stop after that long; None for never.
    every: on which frames the network runs at most, 1 to 3: every one, every second, every third.
    """

    target: LiveTarget
    _: KW_ONLY
    size_px: tuple[int, int] | None = None
    rate: float | None = None
    background: str = "transparent"
    virtual_camera: bool = False
    virtual_camera_name: str | None = None
    preview: bool = False
    overlay_port: int | None = None
    record: Path | None = None
    overwrite: bool = False
    microphone: str | None = None
    mirror: bool = False
    loop: bool = False
    seconds: float | None = None
    every: int = 1
    options: CutOptions = field(default_factory=CutOptions)
    model: str = "default"
    device: str = "auto"


def check_live_job(job: LiveJob) -> None:
    """Refuse what cannot be, before anything is opened. Raises UsageError."""
    background = parse_background(job.background)
    if job.record is not None:
        kind = _kind(job, job.record)
        if background != "transparent" and kind.layout != "opaque":
            raise UsageError(f"{job.record}: a background needs an opaque output; name it .mp4")
        if job.microphone is not None:
            check_sound(job.record, kind)
    elif job.microphone is not None:
        raise UsageError("a microphone is for a recording's sound; name a file to record")
    if not (job.preview or job.virtual_camera or job.record or job.overlay_port is not None):
        raise UsageError("nothing to show it on; choose a preview, a virtual camera, an overlay or a file")
    if not 1 <= job.every <= 3:
        raise UsageError(f"every is {job.every}; expected 1, 2 or 3")
    if job.record is not None:
        reads = [Path(job.target.address)] if job.target.kind == "file" else []
        reads += [background] if isinstance(background, Path) else []
        check_apart([*reads, *model_files(job.model)], [job.record])
        check_take(job.record, overwrite=job.overwrite)


def _kind(job: LiveJob, record: Path) -> OutputFormat:
    """What the recording's name asks for. Raises UsageError."""
    transparent = parse_background(job.background) == "transparent"
    return output_format(record, transparent=transparent, known=CUTOUTS if transparent else ".mp4")


def run_session(
    job: LiveJob,
    *,
    notice: Callable[[str], None],
    report: Callable[[LiveStatus, list[Output]], None] = lambda status, outputs: None,
) -> tuple[LiveStatus, list[Output]]:
    """Run until the source ends, ``job.seconds`` are over, q is pressed in the preview, or KeyboardInterrupt, which
    ends it the same way. Outputs are finished in any case. A source that breaks off later than at its first frame is told in
    the status, and to the user.

    notice: gets lines for the user.  report: is called after each frame. Raises UsageError, SourceError, ModelError, SinkError.
    """
    check_live_job(job)
    with ExitStack() as stack:
        segmenter = load_segmenter(job.model, device=job.device, fast=True)
        finder = stack.enter_context(FaceFinder(models_dir()))
        size_px, rate = job.size_px or _SIZE_PX, job.rate or _RATE
        source = stack.enter_context(LiveSource(job.target, size_px=size_px, rate=rate, loop=job.loop, notice=notice))
        notice(_opening(source, f"{segmenter.card.name} on {segmenter.device}"))
        if ignored := _ignored(job):
            notice(ignored)
        sound = _sound(job, source, stack, notice)
        pace = Pace(1 / float(source.rate), least=job.every)
        heads = HeadCutter(segmenter, finder, job.options)
        cutter = LiveCutter(source, heads, pace=pace, controls=Controls(mirror=job.mirror))
        cutter.status.device, cutter.status.model = segmenter.device, segmenter.card.name
        choice = ShownBackground()
        if job.record is not None:
            stack.enter_context(locked([job.record]))
        window = None
        if job.preview:
            window = stack.enter_context(closing(_window(_backgrounds(job, Checkerboard(), choice))))
        outputs = _outputs(job, source, choice, notice, sound)
        keys = Keys(cutter, choice, notice)
        started = time.monotonic()

        def going_on() -> bool:
            return job.seconds is None or time.monotonic() - started < job.seconds

        def each(cutout: Cutout, status: LiveStatus) -> bool:
            report(status, outputs)
            keys.shown = cutout
            return going_on() and (window is None or keys.pressed(window.show(cutout, describe_line(status))))

        def idle() -> bool:
            return going_on() and (window is None or keys.pressed(window.key()))

        cutter.idle = idle
        cutter.lingers_s = lambda: _late_s(outputs)

        # Ctrl-C is the way it is ended; outputs are finished then, or it was told which are not. One more may fall into what is
        # closed after them, which is no other end: what was recorded is still to be told.
        with suppress(KeyboardInterrupt), stack.pop_all():
            try:
                run_live(cutter, outputs, each=each, notice=notice)
            except SourceError as error:
                if not cutter.status.frames:
                    raise
                cutter.status.source_error = str(error)
                notice(str(error))
    return cutter.status, outputs


def _opening(source: LiveSource, network: str) -> str:
    (width, height), rate = source.size_px, float(source.rate)
    return f"{source.target.label}: {width}x{height} at {rate:.4g} frames/s; {network}"


def _ignored(job: LiveJob) -> str:
    """What is asked for that such a source does not heed, in words."""
    kind = job.target.kind
    size = ["the size"] if job.size_px is not None and kind != "camera" else []
    rate = ["the rate"] if job.rate is not None and kind not in {"camera", "screen"} else []
    what = " and ".join(size + rate)
    return f"{what} asked for {'has' if len(size + rate) == 1 else 'have'} no effect: {_OWN[kind]}" if what else ""


def _sound(
    job: LiveJob, source: LiveSource, stack: ExitStack, notice: Callable[[str], None]
) -> Microphone | LiveSource | None:
    """Where the sound of the recording comes from, if it is to have any; told, either way."""
    if job.record is None:
        return None
    if job.microphone is not None:
        microphone = stack.enter_context(Microphone(job.microphone, notice=notice))
        notice(f"{job.record.name} will have the sound of {microphone.label}")
        return microphone
    kind = _kind(job, job.record)
    if source.layout is not None and kind.streams:
        notice(f"{job.record.name} will have the sound of the stream")
        return source
    advice = ": --microphone records sound" if kind.streams else ""
    if job.target.kind == "file":
        advice = "; headstream video keeps a film's sound"
    notice(f"{job.record.name} will have pictures only{advice}")
    return None


def _late_s(outputs: list[Output]) -> float:
    """How long to wait for the sound of the last picture."""
    takes = [output.sink for output in outputs if isinstance(output.sink, TakeSink)]
    return max([take.late_s + _PIECE_S for take in takes if take.late_s > 0], default=0.0)


def _window(background: Background) -> PreviewWindow:
    with handed_over(background):
        return PreviewWindow(background)


def _backgrounds(job: LiveJob, instead: Background, choice: ShownBackground) -> Background:
    """What was asked for, ``instead`` where that is transparency, and those the b key goes through."""
    asked = backdrop(job.background) or instead
    others = [backdrop(text) for text in _OTHERS]
    return SwitchedBackground([asked, *(other for other in others if other is not None)], choice)


def _outputs(
    job: LiveJob,
    source: LiveSource,
    choice: ShownBackground,
    notice: Callable[[str], None],
    sound: Microphone | LiveSource | None,
) -> list[Output]:
    outputs: list[Output] = []
    try:
        if job.virtual_camera:
            outputs.append(Output("virtual camera", _returning(job, source, choice, notice)))
        if job.overlay_port is not None:
            from headstream.web.overlay import OverlaySink

            overlay = OverlaySink(job.overlay_port)
            outputs.append(Output("overlay", overlay))
            notice(f"overlay for an OBS browser source: {overlay.url}")
        if job.record is not None:
            kind, clip = _kind(job, job.record), ClipInfo(source.size_px, source.rate)
            behind = backdrop(job.background)
            layout = None if sound is None else sound.layout
            with handed_over(behind):
                take = TakeSink(
                    job.record,
                    kind,
                    clip,
                    background=behind,
                    overwrite=job.overwrite,
                    sound=layout,
                    may_wait=sound is source,
                )
            if sound is not None:
                sound.listen(take.hear)
            outputs.append(Output(str(job.record), take, growing_name(job.record)))
    except BaseException:
        for output in outputs:
            output.close()
        raise
    return outputs


def _returning(
    job: LiveJob, source: LiveSource, choice: ShownBackground, notice: Callable[[str], None]
) -> ReturningCamera:
    first = _virtual_camera(job, source, choice, notice)
    same = replace(job, virtual_camera_name=first.device)  # never another, which may be somebody else's by now
    return ReturningCamera(first, lambda: _virtual_camera(same, source, choice, lambda line: None), notice)


def _virtual_camera(
    job: LiveJob, source: LiveSource, choice: ShownBackground, notice: Callable[[str], None]
) -> VirtualCameraSink:
    """Transparent if that is wanted and the camera can; else with green behind the head, and said."""
    size_px, rate, name = source.size_px, source.rate, job.virtual_camera_name
    if parse_background(job.background) == "transparent":
        try:
            return VirtualCameraSink(size_px, rate, background=None, device=name)
        except SinkError:
            pass  # drivers tell a format they refuse from other troubles in words of their own: that green works does tell
    green = backdrop(_CHROMA_GREEN)
    assert green is not None
    with handed_over(_backgrounds(job, green, choice)) as background:
        sink = VirtualCameraSink(size_px, rate, background=background, device=name)
    if parse_background(job.background) == "transparent":
        notice(
            f"the virtual camera has no transparency; {_CHROMA_GREEN} is behind the head (change it with --background)"
        )
    notice(f"virtual camera: {sink.device} ({sink.backend}), {size_px[0]}x{size_px[1]} at {float(rate):.4g} frames/s")
    return sink
