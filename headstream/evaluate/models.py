"""Networks over one data set, side by side: what `headstream evaluate` does, for any caller."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path

import numpy as np

from headstream.errors import UsageError
from headstream.evaluate.run import Evaluation, Matte, evaluate, matte_of, write_results
from headstream.photos.cutter import PhotoCutter
from headstream.pipeline import CutOptions
from headstream.segment.crops import CropSegmenter
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.sinks.partial import make_parents
from headstream.sinks.photo import check_folder
from headstream.track.finder import FaceFinder
from headstream.train.data import DataSet, read_names
from headstream.train.faces import find_faces
from headstream.train.picture import BASE_PLANES
from headstream.train.truth import BY_FACE, tells
from headstream.types import Part

# Opens a function of (pictures done, of how many) for what is called so.
Bars = Callable[[str], AbstractContextManager[Callable[[int, int], None] | None]]


def _no_bar(title: str) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True)
class EvaluationJob:
    """Which networks to score, on what, and where to. models: what ``load_segmenter`` takes.  data: KIND:FOLDER.  out: a folder.

    names: a file of names, to be scored alone.  pipeline: find, crop and paste as for photos, not the network alone.
    compare: also write report.html, which shows so many ``pictures``.
    """

    models: tuple[str, ...]
    data: str
    out: Path
    _: KW_ONLY
    names: Path | None = None
    part: Part = "head"
    pipeline: bool = False
    compare: bool = False
    pictures: int = 24
    device: str = "auto"


@dataclass
class EvaluationReport:
    """What came of it. outputs: a folder for each result, and the page.  seconds: of this run, with the set open."""

    results: list[Evaluation] = field(default_factory=list)
    outputs: list[Path] = field(default_factory=list)
    seconds: float = 0.0


def evaluate_models(
    job: EvaluationJob,
    bars: Bars = _no_bar,
    done: Callable[[Evaluation], None] | None = None,
) -> EvaluationReport:
    """Score one network after the other against the truth. ``done`` gets each result once it is written.

    Raises UsageError, SourceError, ModelError before any work for what is wrong with a network or the set; SinkError.
    """
    check_folder(job.out)
    opened = _opened(job, bars)
    segmenters = [load_segmenter(model, device=job.device) for model in job.models]
    for segmenter in segmenters:
        CutOptions(part=job.part).planes_of(segmenter)
    make_parents(job.out / "summary.json")
    report, started = EvaluationReport(), time.monotonic()
    for label, segmenter in zip(_labels(job.models), segmenters, strict=True):
        folder = job.out / label
        with bars(label) as progress, _matte(segmenter, job.part, job.pipeline) as matte:
            result = evaluate(label, matte, opened, job.part, out=folder / "mattes", progress=progress)
        result.parameters, result.file_mb = _size(segmenter)
        result.device = segmenter.device
        write_results(result, opened, folder / "mattes", folder)
        report.results.append(result)
        report.outputs.append(folder)
        if done is not None:
            done(result)
    if job.compare:
        from headstream.evaluate.report import write_report

        mattes, page = [folder / "mattes" for folder in report.outputs], job.out / "report.html"
        logs = [_log_of(model) for model in job.models]
        write_report(report.results, opened, mattes, page, pictures=job.pictures, logs=logs)
        report.outputs.append(page)
    report.seconds = time.monotonic() - started
    return report


def _log_of(model: str) -> Path | None:
    """The log.csv beside a file of weights, if there is one."""
    log = Path(model).parent / "log.csv"
    return log if Path(model).suffix and log.is_file() else None


def _labels(models: Sequence[str]) -> list[str]:
    """A folder name for each model: its own, made different where two are called the same."""
    found: list[str] = []
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
        while label in found:
            label, number = f"{plain}-{number}", number + 1
        found.append(label)
    return found


def _opened(job: EvaluationJob, bars: Bars = _no_bar) -> DataSet:
    """The set to evaluate on, with its truth. Raises UsageError, SourceError."""
    data, part = job.data, job.part
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
    if job.names is not None:
        opened = replace(opened, names=_named(opened, job.names))
    opened.check_truth()
    return _with_faces(opened, bars) if kind in BY_FACE else opened


def _named(opened: DataSet, names: Path) -> tuple[str, ...]:
    """The names in a file, all of which are in the set. Raises UsageError."""
    wanted = read_names(names)
    if not wanted:
        raise UsageError(f"{names}: names no picture; expected one name a line, without .jpg or .png")
    if unknown := sorted(wanted - set(opened.names)):
        others = f", nor {len(unknown) - 1} others" * (len(unknown) > 1)
        raise UsageError(f"{names}: {unknown[0]} is not in {opened.root}{others}")
    return tuple(sorted(wanted))


def _with_faces(opened: DataSet, bars: Bars) -> DataSet:
    """With its face boxes: without them none of its skin is known."""
    with tempfile.TemporaryDirectory() as cache, bars("looking for faces") as progress:
        return replace(opened, faces=find_faces(opened, Path(cache) / "faces.json", progress))


@contextmanager
def _matte(segmenter: CropSegmenter, part: Part, pipeline: bool) -> Iterator[Matte]:
    """The function to score."""
    if not pipeline:
        yield matte_of(segmenter, part)
        return
    with FaceFinder(models_dir()) as finder:
        cutter = PhotoCutter(segmenter, finder, CutOptions(part=part))
        yield lambda rgb: cutter.cut(rgb).cutout.alpha.astype(np.float32) / np.float32(255)


def _size(segmenter: CropSegmenter) -> tuple[int, float]:
    card = segmenter.card
    size = card.file.stat().st_size / 1e6 if card.file.is_file() else 0.0
    return int(card.details.get("parameters", 0)), size
