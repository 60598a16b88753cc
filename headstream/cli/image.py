"""headstream image"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from headstream.cli.console import emit_json, progress_bar, say
from headstream.cli.options import (
    DeviceOption,
    HairColorOption,
    HeadsOption,
    JsonOption,
    ModelOption,
    PartOption,
)
from headstream.words import cut_options


@dataclass
class _Tally:
    done: list[dict[str, Any]] = field(default_factory=list)
    without_head: list[str] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)


def image(
    inputs: Annotated[list[str], typer.Argument(metavar="IN...", help="Photos, folders of photos, or patterns.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder; each photo gets DIR/STEM/.")],
    stages: Annotated[bool, typer.Option("--stages", help="Also write a figure of all stages.")] = False,
    heads: HeadsOption = "largest",
    part: PartOption = "head",
    hair_color: HairColorOption = None,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> int:
    """Cut the head out of photos: DIR/STEM/head_only.png (transparent), full_mask.png and head_mask_crop.png."""
    from headstream.capture.photo import find_photos
    from headstream.photos import PhotoCutter
    from headstream.segment.load import load_segmenter
    from headstream.segment.registry import models_dir
    from headstream.sinks.photo import check_folder
    from headstream.track.finder import FaceFinder

    options = cut_options(heads, part, hair_color, stability=0.0)
    check_folder(out)
    photos, problems = find_photos(inputs, out)
    tally = _Tally(failed=[{"input": str(path), "error": message} for path, message in problems])
    started = time.monotonic()
    segmenter = load_segmenter(model, device=device)
    taken: set[str] = set()
    with FaceFinder(models_dir()) as finder, progress_bar("photos", unit="photos") as progress:
        cutter = PhotoCutter(segmenter, finder, options)
        for number, path in enumerate(photos, 1):
            _cut_one(path, cutter, out, taken, tally, stages=stages)
            progress(number, len(photos))
    seconds = time.monotonic() - started
    _tell(tally, out)
    if json:
        emit_json(
            {
                "inputs": len(photos) + len(problems),
                "done": tally.done,
                "no_head": tally.without_head,
                "failed": tally.failed,
                "seconds": round(seconds, 3),
                "device": segmenter.device,
                "model": segmenter.card.name,
            }
        )
    if tally.failed:
        return 1 if tally.done or tally.without_head else 2
    return 0 if tally.done else 3


def _cut_one(path: Path, cutter: Any, out: Path, taken: set[str], tally: _Tally, *, stages: bool) -> None:
    """One photo; whatever is wrong with it is noted and the next one goes on."""
    from headstream.capture.photo import read_photo
    from headstream.errors import SourceError
    from headstream.sinks.photo import result_folder, stages_figure, write_photo

    try:
        photo = read_photo(path)
        result = cutter.cut(photo.rgb, photo.alpha)
    except SourceError as error:
        tally.failed.append({"input": str(path), "error": str(error)})
        return
    except MemoryError:
        tally.failed.append({"input": str(path), "error": f"{path}: not enough memory for this picture"})
        return
    if not result.heads:
        tally.without_head.append(str(path))
        return
    cutout = result.cutout
    figure = stages_figure(photo.rgb, list(result.heads), result.searched_px, cutout) if stages else None
    crops = [stage.crop_alpha for stage in result.heads]
    files = write_photo(result_folder(out, path, taken), cutout, crops, icc=photo.icc, figure=figure)
    tally.done.append({"input": str(path), "heads": len(result.heads), "outputs": [str(f) for f in files]})


def _tell(tally: _Tally, out: Path) -> None:
    if tally.done:
        say(f"{len(tally.done)} photo{'s' if len(tally.done) != 1 else ''} cut into {out}/")
    for name in tally.without_head:
        say(f"headstream: {name}: no head found")
    for failure in tally.failed:
        say(f"headstream: {' '.join(failure['error'].split())}")
