"""headstream crop"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstream.cli.console import broken_off, cut_result, emit_json, network, progress_bar, say, say_written
from headstream.cli.options import CodecOption, DeviceOption, JsonOption, ModelOption, completing
from headstream.words import one_of

if TYPE_CHECKING:
    from headstream.films.alongtrack import DubReport

TrackOption = Annotated[
    Path, typer.Option("--track", readable=False, help="What `headstream track` wrote for this film.")
]
HeadOption = Annotated[
    int | None, typer.Option("--head", metavar="ID", help="Whose head; needed only if the track has several.")
]
StabiliseOption = Annotated[
    str,
    typer.Option(
        metavar="full|position|none",
        autocompletion=completing("full", "position", "none"),
        help="What the clip's square follows: place, size and lean; the place alone; nothing, it stands still.",
    ),
]


def crop(
    source: Annotated[
        Path,
        typer.Argument(metavar="IN", readable=False, help="The film of the track: a video file or numbered pictures."),
    ],
    track: TrackOption,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help=".mkv (FFV1, lossless), .mov (ProRes), .mp4 (H.264), .webm, or a folder of PNG."
        ),
    ],
    head: HeadOption = None,
    size: Annotated[int, typer.Option(help="Side of the clip in pixels.")] = 512,
    stabilise: StabiliseOption = "full",
    alpha: Annotated[bool, typer.Option("--alpha", help="The head's matte as the clip's transparency.")] = False,
    matte: Annotated[Path | None, typer.Option(help="The head's matte as a video of its own.")] = None,
    codec: CodecOption = None,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> int:
    """Write a stabilised clip of one head. It has every frame of the film at its own time, and its sound."""
    from headstream.dub.path import STABILISE
    from headstream.films.cropping import CropJob, crop_film

    held = one_of("--stabilise", stabilise, STABILISE)
    job = CropJob(
        source,
        track,
        out,
        head=head,
        size=size,
        stabilise=held,
        alpha=alpha,
        matte=matte,
        codec=codec,
        model=model,
        device=device,
    )
    with progress_bar(source.name) as progress:
        report = crop_film(job, progress)
    return tell(report, json)


def tell(report: DubReport, json: bool, what: str = "") -> int:
    """Say what became of it; the exit status. what: was done with the frames, to go into the summary."""
    if json:
        emit_json(
            cut_result(
                frames_in=report.frames,
                frames_out=report.frames,
                frames_with_head=report.with_head,
                seconds=report.seconds,
                stages_ms=report.times.mean_ms(),
                device=report.device,
                model=report.model,
                outputs=report.outputs,
                frames=report.frames,
                frames_changed=report.changed,
                head=report.head,
                notes=report.notes,
                interrupted=report.interrupted,
            )
        )
    else:
        for note in report.notes:
            say(f"  {note}")
        say(
            f"{report.frames} frames, head #{report.head} in {report.with_head}{what}; "
            f"{report.seconds:.1f} s{network(report.model, report.device)}"
        )
        for path in report.outputs:
            say_written(path)
    if report.interrupted:
        say(f"headstream: {broken_off(report.outputs, report.frames)}")
        return 130
    return 0
