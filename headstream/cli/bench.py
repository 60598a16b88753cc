"""headstream bench"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from headstream.cli.console import cut_result, emit_json, progress_bar, say
from headstream.cli.options import DeviceOption, JsonOption, ModelOption, SizeOption, parse_size

app = typer.Typer(help="How fast headstream is on this machine.", no_args_is_help=True, rich_markup_mode=None)


@app.command("file")
def bench_file(
    source: Annotated[Path, typer.Argument(metavar="IN", readable=False, help="A video file.")],
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> int:
    """Decode, track, segment and matte a file, without encoding."""
    from headstream.bench import bench_file as run

    with progress_bar(source.name) as progress:
        result = run(source, model=model, device=device, progress=progress)
    _show_cut(result, result["frames"], json)
    if not result["frames_with_head"]:
        say(f"headstream: {source}: no head was found in any of its {result['frames']} frames")
        return 3
    return 0


@app.command("model")
def bench_model(
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads to use; as many as cores, up to 4, otherwise.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Time the network alone, one crop at a time."""
    from headstream.bench import bench_model as run

    with progress_bar("crops", unit="crops") as progress:
        result = run(model=model, device=device, threads=threads, progress=progress)
    _show(result, json)


@app.command("live")
def bench_live(
    size: SizeOption = "1280x720",
    fps: Annotated[float, typer.Option(min=1, max=240, help="Frames a second of the synthetic webcam.")] = 30.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long, after two seconds of warming up.")] = 20.0,
    every: Annotated[int, typer.Option(min=1, max=3, help="As of `headstream live`.")] = 1,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> int:
    """Cut a synthetic webcam live. Shows frames lost, latency from capture to sink, load."""
    from headstream.bench import bench_live as run

    size_px, rate = parse_size(size), Fraction(fps).limit_denominator(1001)
    with progress_bar("webcam") as progress:
        result = run(size_px, rate=rate, seconds=seconds, every=every, model=model, device=device, progress=progress)
    _show_cut(result, result["frames"] + result["dropped"], json)
    if not result["frames_with_head"]:
        say("headstream: no head was found in any frame of the synthetic webcam")
        return 3
    return 0


def _show_cut(result: dict[str, Any], frames_in: int, json: bool) -> None:
    if json:
        result = cut_result(frames_in=frames_in, frames_out=result["frames"], outputs=[], **result)
    _show(result, json)


def _show(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(result)
        return
    for key, value in result.items():
        told = ", ".join(f"{name} {figure}" for name, figure in value.items()) if isinstance(value, dict) else value
        print(f"{key:18} {told}")
