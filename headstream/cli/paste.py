"""headstream paste"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headstream.cli.console import progress_bar
from headstream.cli.crop import HeadOption, StabiliseOption, TrackOption, tell
from headstream.cli.options import CodecOption, DeviceOption, JsonOption, ModelOption, completing
from headstream.words import one_of


def paste(
    source: Annotated[Path, typer.Argument(metavar="IN", readable=False, help="The film the clip was cropped from.")],
    track: TrackOption,
    clip: Annotated[
        Path, typer.Option("--clip", readable=False, help="The clip as it came back: square, as long as the film.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help=".mkv (FFV1, lossless), .mov (ProRes), .mp4 (H.264), .webm, or a folder of PNG."
        ),
    ],
    head: HeadOption = None,
    stabilise: StabiliseOption = "full",
    region: Annotated[
        str,
        typer.Option(
            metavar="head|face|mouth",
            help="Which part of the head takes the clip.",
            autocompletion=completing("head", "face", "mouth"),
        ),
    ] = "head",
    audio: Annotated[
        Path | None, typer.Option(help="New sound, in place of the film's, from its first picture on.")
    ] = None,
    keep_audio: Annotated[bool, typer.Option("--keep-audio", help="Keep the film's sound after the new one.")] = False,
    feather: Annotated[
        float | None, typer.Option(metavar="PIXELS", help="How far the border fades into the film; 1.5 % of the head.")
    ] = None,
    match_colour: Annotated[
        bool, typer.Option("--match-colour", "--match-color", help="Bring the clip's colours to the film's.")
    ] = False,
    grain: Annotated[bool, typer.Option("--grain/--no-grain", help="Give changed parts the film's grain.")] = True,
    codec: CodecOption = None,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> int:
    """Put a processed head clip back into its film.

    What the clip left alone, within its codec's noise, stays the film's own, bit for bit.
    """
    from headstream.dub.path import STABILISE
    from headstream.dub.regions import HEAD_REGIONS
    from headstream.films.dubbing import PasteJob, paste_film

    part = one_of("--region", region, HEAD_REGIONS)
    held = one_of("--stabilise", stabilise, STABILISE)
    job = PasteJob(
        source,
        track,
        clip,
        out,
        head=head,
        stabilise=held,
        region=part,
        audio=audio,
        old_audio=keep_audio,
        feather_px=feather,
        match_colour=match_colour,
        grain=grain,
        codec=codec,
        model=model,
        device=device,
    )
    with progress_bar(source.name) as progress:
        report = paste_film(job, progress)
    return tell(report, json, f", changed {report.changed}")
