"""headstream track"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headstream.cli.console import cut_result, emit_json, network, progress_bar, say, say_written
from headstream.cli.options import DeviceOption, FilmArgument, JsonOption, ModelOption, RateOption, parse_rate
from headstream.errors import UsageError


def track(
    source: FilmArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="The track file, one JSON object a line (docs/track.md).")],
    plot: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Also draw boxes and paths over a frame of each shot.")
    ] = None,
    rate: RateOption = None,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> int:
    """Write down every head in every frame. Number, face box, landmarks, crop and shots of a film, smoothed without lag."""
    from headstream.apart import check_apart, model_files
    from headstream.films.tracks import plot_track, track_file
    from headstream.sinks.partial import check_file

    check_apart([source, *model_files(model)], [path for path in (out, plot) if path is not None])
    if out.suffix.lower() not in {".json", ".jsonl"}:
        raise UsageError(f"--out {out}: is a track file; name it .json or .jsonl")
    if plot is not None:
        if plot.suffix.lower() != ".png":
            raise UsageError(f"--plot {plot}: is a picture; name it .png")
        check_file(plot)
    with progress_bar(source.name) as progress:
        report = track_file(source, out, rate=parse_rate(rate), model=model, device=device, progress=progress)
    outputs = [out]
    if plot is not None:
        with progress_bar(plot.name) as progress:
            plot_track(source, out, plot, progress)
        outputs.append(plot)
    if json:
        heads = {str(k): v for k, v in sorted(report.heads.items())}
        emit_json(
            cut_result(
                frames_in=report.frames,
                frames_out=report.frames,
                frames_with_head=report.frames_with_head,
                seconds=report.seconds,
                stages_ms=report.stages_ms,
                device=report.device,
                model=report.model,
                outputs=outputs,
                frames=report.frames,
                heads=heads,
                cuts=report.cuts,
            )
        )
    else:
        people = ", ".join(f"#{number} in {count}" for number, count in sorted(report.heads.items())) or "nobody"
        say(
            f"{report.frames} frames, {report.cuts + 1} shot{'s' * bool(report.cuts)}: {people}; "
            f"{report.seconds:.1f} s{network(report.model, report.device)}"
        )
        for path in outputs:
            say_written(path)
    if not report.frames_with_head:
        say(f"headstream: {source}: no head was found in any of its {report.frames} frames")
        return 3
    return 0
