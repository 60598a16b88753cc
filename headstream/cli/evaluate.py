"""headstream evaluate"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstream.cli.console import emit_json, progress_bar, say
from headstream.cli.options import DeviceOption, JsonOption, PartOption
from headstream.errors import UsageError
from headstream.sinks.partial import make_parents
from headstream.words import parse_part

if TYPE_CHECKING:
    from headstream.evaluate.run import Matte
    from headstream.train.data import DataSet
    from headstream.types import Part


def evaluate(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Anything --model takes; one or more.")],
    data: Annotated[
        str, typer.Option(metavar="KIND:FOLDER", help="Pictures with truth, of a kind that `train` takes.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for scores, mattes, the worst pictures, the report.")
    ],
    names: Annotated[Path | None, typer.Option(help="File of names, one a line: only these pictures.")] = None,
    part: PartOption = "head",
    pipeline: Annotated[
        bool, typer.Option("--pipeline", help="Find, crop and paste as `image` does, not the network alone.")
    ] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Write report.html with the models side by side.")] = False,
    pictures: Annotated[int, typer.Option(min=1, help="How many pictures the report shows.")] = 24,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Score networks against the truth. IoU, Dice, boundary F, MAD, neck leak, curves, the worst pictures."""
    from headstream.evaluate.run import evaluate as run
    from headstream.evaluate.run import write_results
    from headstream.pipeline import CutOptions
    from headstream.segment.load import load_segmenter

    chosen = parse_part(part)
    opened = _opened(data, names, chosen)
    segmenters = [load_segmenter(model, device=device) for model in models]  # before any work, for what is wrong there
    for segmenter in segmenters:
        CutOptions(part=chosen).planes_of(segmenter)
    make_parents(out / "summary.json")
    results, mattes, logs = [], [], []
    started = time.monotonic()
    for label, model, segmenter in zip(_labels(models), models, segmenters, strict=True):
        folder = out / label
        with progress_bar(label, unit="pictures") as progress, _matte(segmenter, chosen, pipeline) as matte:
            result = run(label, matte, opened, chosen, out=folder / "mattes", progress=progress)
        result.parameters, result.file_mb = _size(segmenter)
        result.device = segmenter.device
        write_results(result, opened, folder / "mattes", folder)
        results.append(result)
        mattes.append(folder / "mattes")
        log = Path(model).parent / "log.csv"
        logs.append(log if Path(model).suffix and log.is_file() else None)
        if not json:
            _tell(result.summary)
    if compare:
        from headstream.evaluate.report import write_report

        write_report(results, opened, mattes, out / "report.html", pictures=pictures, logs=logs)
        say(f"wrote {out / 'report.html'}")
    if json:
        emit_json(
            {
                "out": str(out),
                "data": data,
                "models": [result.summary for result in results],
                "seconds": round(time.monotonic() - started, 3),
                "device": ", ".join(sorted({result.device for result in results})),
                "outputs": [str(folder.parent) for folder in mattes] + [str(out / "report.html")] * compare,
            }
        )
    else:
        say(f"wrote {out}: summary.json, pictures.csv, curves.json, worst.jpg and mattes/ for each model")


def _tell(summary: dict[str, Any]) -> None:
    print(" ".join(f"{key}={value}" for key, value in summary.items()))


def _labels(models: list[str]) -> list[str]:
    """A folder name for each model: its own, made different where two are called the same."""
    labels: list[str] = []
    for model in models:
        path = Path(os.path.abspath(model))  # a folder called .. has a name, too
        plain = path.name if path.is_dir() else model
        if path.suffix in {".onnx", ".json", ".pt", ".ckpt", ".safetensors"}:
            plain = path.stem
        if plain in {"best", "last", "model"} and path.parent.name:
            plain = path.parent.name
        plain = plain.strip("/").replace("/", "-")
        if plain in {"", ".", ".."}:  # the results would lie in --out itself, or outside
            plain = "model"
        label, number = plain, 2
        while label in labels:
            label, number = f"{plain}-{number}", number + 1
        labels.append(label)
    return labels


def _opened(data: str, names: Path | None, part: Part) -> DataSet:
    from headstream.train.data import DataSet
    from headstream.train.picture import BASE_PLANES
    from headstream.train.truth import BY_FACE, tells

    kind, colon, folder = data.partition(":")
    if not colon:
        raise UsageError(f"--data {data}: expected KIND:FOLDER, such as celebamask:DATA/celebamask")
    planes = BASE_PLANES if part in BASE_PLANES else (*BASE_PLANES, part)
    # Plain masks are of what is asked for.
    opened = DataSet(kind, Path(folder), planes=planes, plane=part, largest_px=None)
    if not tells(opened, part):
        raise UsageError(
            f"--data {data}: sets of kind {kind} do not tell the {part} from all else; evaluate another --part"
        )
    if names is not None:
        opened = replace(opened, names=_named(opened, names))
    opened.check_truth()
    return _with_faces(opened) if kind in BY_FACE else opened


def _named(opened: DataSet, names: Path) -> tuple[str, ...]:
    """The names in a file, all of which are in the set. Raises UsageError."""
    from headstream.train.data import read_names

    wanted = read_names(names)
    if not wanted:
        raise UsageError(f"{names}: names no picture; expected one name a line, without .jpg or .png")
    if unknown := sorted(wanted - set(opened.names)):
        others = f", nor {len(unknown) - 1} others" * (len(unknown) > 1)
        raise UsageError(f"{names}: {unknown[0]} is not in {opened.root}{others}")
    return tuple(sorted(wanted))


def _with_faces(opened: DataSet) -> DataSet:
    """With its face boxes: without them none of its skin is known."""
    import tempfile

    from headstream.train.faces import find_faces

    with tempfile.TemporaryDirectory() as cache, progress_bar("looking for faces", unit="pictures") as progress:
        return replace(opened, faces=find_faces(opened, Path(cache) / "faces.json", progress))


@contextmanager
def _matte(segmenter: Any, part: Any, pipeline: bool) -> Iterator[Matte]:
    """The function to score."""
    if not pipeline:
        from headstream.evaluate.run import matte_of

        yield matte_of(segmenter, part)
        return
    import numpy as np

    from headstream.photos import PhotoCutter
    from headstream.pipeline import CutOptions
    from headstream.segment.registry import models_dir
    from headstream.track.finder import FaceFinder

    with FaceFinder(models_dir()) as finder:
        cutter = PhotoCutter(segmenter, finder, CutOptions(part=part))
        yield lambda rgb: cutter.cut(rgb).cutout.alpha.astype(np.float32) / np.float32(255)


def _size(segmenter: Any) -> tuple[int, float]:
    card = segmenter.card
    size = card.file.stat().st_size / 1e6 if card.file.is_file() else 0.0
    return int(card.details.get("parameters", 0)), size
