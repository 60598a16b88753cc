"""headstream image"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstream.cli.console import cut_result, emit_json, network, progress_bar, say
from headstream.cli.options import (
    BackgroundOption,
    DeviceOption,
    HairColorOption,
    HeadsOption,
    HqOption,
    JsonOption,
    ModelOption,
    PartOption,
    TrimOption,
    whose,
)
from headstream.words import cut_options

if TYPE_CHECKING:
    from headstream.photos.album import PhotosReport


def image(
    inputs: Annotated[list[str], typer.Argument(metavar="IN...", help="Photos, folders of photos, or patterns.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="A folder; each photo gets DIR/STEM/. Of one photo, also FILE.png or .webp (.jpg with a background): the head "
            "alone.",
        ),
    ],
    stages: Annotated[bool, typer.Option("--stages", help="Also write a figure of all stages.")] = False,
    heads: HeadsOption = "largest",
    part: PartOption = "head",
    hair_color: HairColorOption = None,
    hq: HqOption = False,
    background: BackgroundOption = "transparent",
    trim: TrimOption = False,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> int:
    """Cut the head out of photos.

    Writes DIR/STEM/head_only.png (transparent, or before a --background), full_mask.png and head_mask_crop.png. A folder
    stands for all photos in it and below.
    """
    from headstream.photos.album import PhotosJob, cut_photos

    options = cut_options(heads, part, hair_color, hq=hq)
    job = PhotosJob(
        tuple(inputs),
        out,
        stages=stages,
        background=background,
        trim=trim,
        options=options,
        model=model,
        device=device,
    )
    with progress_bar("photos", unit="photos") as progress:
        report = cut_photos(job, progress)
    _tell(report, out, whose(heads))
    if json:
        emit_json(as_json(report))
    if report.interrupted:
        return 130
    if report.failed:
        return 2 if report.unreadable and not (report.done or report.without_head) else 1
    return 0 if report.done else 3


def as_json(report: PhotosReport) -> dict[str, Any]:
    """A report as --json prints it."""
    cut = len(report.done)
    return cut_result(
        frames_in=cut + len(report.without_head),
        frames_out=cut,
        frames_with_head=cut,
        seconds=report.seconds,
        stages_ms=report.stages_ms,
        device=report.device,
        model=report.model,
        outputs=[file for photo in report.done for file in photo.outputs],
        inputs=report.total,
        done=[
            {
                "input": str(photo.path),
                "heads": photo.heads,
                "outputs": [str(file) for file in photo.outputs],
                "box_px": photo.box_px,
            }
            for photo in report.done
        ],
        no_head=[str(path) for path in report.without_head],
        failed=[{"input": str(path), "error": error} for path, error in report.failed],
        left=report.left,
        interrupted=report.interrupted,
    )


def _tell(report: PhotosReport, out: Path, who: str) -> None:
    if report.done:
        place = f"{out}/" if out.is_dir() else out
        how = f"{report.seconds:.1f} s{network(report.model, report.device)}"
        say(f"{len(report.done)} photo{'s' if len(report.done) != 1 else ''} cut into {place}; {how}")
    for note in report.notes:
        say(f"headstream: {note}")
    for path in report.without_head:
        say(f"headstream: {path}: no head{who} found")
    for _, error in report.failed:
        say(f"headstream: {' '.join(error.split())}")
    if report.interrupted or report.stopped:
        how = "interrupted" if report.interrupted else "stopped"
        say(f"headstream: {how} with {report.left} photo{'s' if report.left != 1 else ''} left")
