"""headstream bench"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from headstream.cli.console import emit_json, progress_bar
from headstream.cli.options import DeviceOption, JsonOption, ModelOption, SizeOption, parse_size

app = typer.Typer(help="How fast headstream is on this machine.", no_args_is_help=True, rich_markup_mode=None)


@app.command("file")
def bench_file(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A video file.")],
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Decode, track, segment and matte a file, without encoding."""
    from headstream.bench import bench_file as run

    with progress_bar(source.name) as progress:
        _show(run(source, model=model, device=device, progress=progress), json)


@app.command("model")
def bench_model(
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    threads: Annotated[int | None, typer.Option(help="Threads to use; as many as cores, up to 4, otherwise.")] = None,
    json: JsonOption = False,
) -> None:
    """Time the network alone, one crop at a time."""
    from headstream.bench import bench_model as run

    _show(run(model=model, device=device, threads=threads), json)


@app.command("live")
def bench_live(
    size: SizeOption = "1280x720",
    fps: Annotated[float, typer.Option(min=1, max=240, help="Frames a second of the synthetic webcam.")] = 30.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long, after two seconds of warming up.")] = 20.0,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """A synthetic webcam, cut live: frames lost, latency from capture to sink, load."""
    from headstream.bench import bench_live as run

    _show(
        run(parse_size(size), rate=Fraction(fps).limit_denominator(1001), seconds=seconds, model=model, device=device),
        json,
    )


def _show(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(result)
        return
    for key, value in result.items():
        print(f"{key:18} {value}")
