"""headstream bench"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headstream.cli.console import emit_json, progress_bar
from headstream.cli.options import DeviceOption, JsonOption, ModelOption

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


def _show(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(result)
        return
    for key, value in result.items():
        print(f"{key:18} {value}")
