"""headstream video"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstream.cli.console import broken_off, cut_result, emit_json, network, progress_bar, say, say_written
from headstream.cli.options import (
    BackgroundOption,
    CodecOption,
    DeviceOption,
    FilmArgument,
    HairColorOption,
    HeadsOption,
    JsonOption,
    ModelOption,
    PartOption,
    RateOption,
    parse_rate,
    whose,
)
from headstream.words import cut_options

if TYPE_CHECKING:
    from headstream.films.videojob import VideoReport
    from headstream.review.collect import Review


def video(
    source: FilmArgument,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help=".mov (ProRes 4444), .webm (VP9 with alpha), .mkv (FFV1, lossless), a folder or %06d.png (PNG sequence), "
            ".webp, .apng, .gif; .mp4 (H.264) with a background.",
        ),
    ],
    background: BackgroundOption = "transparent",
    matte: Annotated[Path | None, typer.Option(help="Also write the matte as its own grey video.")] = None,
    fixes: Annotated[
        Path | None,
        typer.Option(
            "--fix", help="Corrections in single frames (.json, see docs/fixes.md), spread to the frames around."
        ),
    ] = None,
    review: Annotated[
        Path | None, typer.Option(help="Also write a page (.html) with the frames whose matte the tool itself doubts.")
    ] = None,
    look_ahead: Annotated[
        bool,
        typer.Option(
            "--look-ahead/--no-look-ahead",
            help="Fill in heads that are lost for a moment from frames before and after.",
        ),
    ] = True,
    codec: CodecOption = None,
    heads: HeadsOption = "largest",
    part: PartOption = "head",
    hair_color: HairColorOption = None,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    segment: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Long films are made in segments of this length: a run that is broken off loses one at most, and the same "
            "command goes on from there. 0: in one piece.",
        ),
    ] = 30,
    rate: RateOption = None,
    json: JsonOption = False,
) -> int:
    """Cut the head out of a video file. Every frame keeps its time; sound, subtitles and chapters come along."""
    from headstream.films.video import VideoJob, cut_video_file

    options = cut_options(heads, part, hair_color)
    job = VideoJob(
        source,
        out,
        background=background,
        matte=matte,
        codec=codec,
        options=options,
        model=model,
        device=device,
        review=review,
        fixes=fixes,
        look_ahead=look_ahead,
        segment_s=segment,
        rate=parse_rate(rate),
    )
    with progress_bar(source.name) as progress:
        report = cut_video_file(job, progress)
    if json:
        emit_json(as_json(report))
    else:
        _tell(report)
        if review is not None and report.doubts is not None and report.doubts.frames:
            say(f"wrote {review}: {found(report.doubts)}")
    if report.interrupted:
        say(f"headstream: {broken_off(report.outputs, report.frames_out, report.frames_expected)}")
        return 130
    if not report.frames_with_head:
        say(f"headstream: {source}: no head{whose(heads)} was found in any of its {report.frames_in} frames")
        return 3
    return 0


def _tell(report: VideoReport) -> None:
    for note in report.notes:
        say(f"  {note}")
    people = ", ".join(f"#{number} in {count}" for number, count in sorted(report.heads.items()))
    say(
        f"{report.frames_out} frames, {report.frames_with_head} with a head"
        + (f" ({people})" if len(report.heads) > 1 else "")
        + f"; {report.seconds:.1f} s, {report.fps:.1f} frames/s{network(report.model, report.device)}"
    )
    for path in report.outputs:
        say_written(path)
    if report.outputs:
        say(f"shows in: {report.viewers}")


def found(doubts: Review) -> str:
    """What a review comes to, in a few words."""
    if not doubts.doubtful:
        return "no frame is in doubt"
    places = "1 place" if doubts.places == 1 else f"{doubts.places} places"
    return f"{places} to look at, {doubts.doubtful} of {doubts.frames} frames"


def as_json(report: VideoReport) -> dict[str, object]:
    """A report as --json prints it."""
    return cut_result(
        frames_in=report.frames_in,
        frames_out=report.frames_out,
        frames_with_head=report.frames_with_head,
        seconds=report.seconds,
        fps=report.fps,
        stages_ms=report.stages_ms,
        device=report.device,
        model=report.model,
        outputs=report.outputs,
        heads={str(k): v for k, v in sorted(report.heads.items())},
        notes=report.notes,
        interrupted=report.interrupted,
        resumed_from_frame=report.resumed_from_frame,
    ) | ({} if report.doubts is None else _doubts_json(report.doubts))


def _doubts_json(doubts: Review) -> dict[str, object]:
    return {"doubtful_frames": doubts.doubtful, "doubtful_places": doubts.places, "doubts": dict(doubts.counts)}
