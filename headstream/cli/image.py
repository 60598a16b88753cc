"""headstream image"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstream.cli.console import cut_result, emit_json, network, progress_bar, say
from headstream.cli.options import (
    DeviceOption,
    HairColorOption,
    HeadsOption,
    JsonOption,
    ModelOption,
    PartOption,
    whose,
)
from headstream.words import cut_options

if TYPE_CHECKING:
    from headstream.photos import PhotoCutter


@dataclass
class _Tally:
    """What became of the photos. notes: on what was not cut of those that could be read.  stopped: why the rest was not
    tried, or ""; left: how many those are.  status: of the failures, 2 where all are of photos that cannot be read."""

    done: list[dict[str, Any]] = field(default_factory=list)
    without_head: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    status: int = 2
    interrupted: bool = False
    stopped: str = ""
    left: int = 0


def image(
    inputs: Annotated[list[str], typer.Argument(metavar="IN...", help="Photos, folders of photos, or patterns.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="A folder; each photo gets DIR/STEM/. Of one photo, also FILE.png: the head alone."
        ),
    ],
    stages: Annotated[bool, typer.Option("--stages", help="Also write a figure of all stages.")] = False,
    heads: HeadsOption = "largest",
    part: PartOption = "head",
    hair_color: HairColorOption = None,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> int:
    """Cut the head out of photos.

    Writes DIR/STEM/head_only.png (transparent), full_mask.png and head_mask_crop.png. A folder stands for all photos in
    it and below.
    """
    from headstream.capture.photo import find_photos
    from headstream.photos import PhotoCutter
    from headstream.segment.load import load_segmenter
    from headstream.segment.registry import models_dir
    from headstream.sinks.photo import check_folder
    from headstream.track.finder import FaceFinder

    options = cut_options(heads, part, hair_color)
    alone = _names_a_file(out)
    if not alone:
        check_folder(out)
    photos, problems = find_photos(inputs, out)
    if alone:
        _check_alone(photos, out, stages=stages)
    tally = _Tally(failed=[{"input": str(path), "error": message} for path, message in problems])
    started = time.monotonic()
    segmenter = load_segmenter(model, device=device)
    with FaceFinder(models_dir()) as finder, progress_bar("photos", unit="photos") as progress:
        cutter = PhotoCutter(segmenter, finder, options)
        _cut_all(photos, cutter, out, tally, progress, stages=stages, alone=alone)
    seconds = time.monotonic() - started
    _tell(tally, out, f"{seconds:.1f} s{network(segmenter.card.name, segmenter.device)}", whose(heads))
    if json:
        cut = len(tally.done)
        emit_json(
            cut_result(
                frames_in=cut + len(tally.without_head),
                frames_out=cut,
                frames_with_head=cut,
                seconds=seconds,
                stages_ms=cutter.times.mean_ms(),
                device=segmenter.device,
                model=segmenter.card.name,
                outputs=[file for photo in tally.done for file in photo["outputs"]],
                inputs=len(photos) + len(problems),
                done=tally.done,
                no_head=tally.without_head,
                failed=tally.failed,
                left=tally.left,
                interrupted=tally.interrupted,
            )
        )
    if tally.interrupted:
        return 130
    if tally.failed:
        return 1 if tally.done or tally.without_head else tally.status
    return 0 if tally.done else 3


def _names_a_file(out: Path) -> bool:
    """Whether ``out`` is meant for one picture and not for a folder. Raises UsageError for one that has no transparency, or no
    name."""
    from headstream.capture.photo import SUFFIXES
    from headstream.errors import UsageError

    if out.name.lower() in SUFFIXES:
        raise UsageError(f"--out {out}: has no name before {out.name}; is a variable of the shell not set?")
    kind = out.suffix.lower()
    if kind not in SUFFIXES or (out.exists() and (out.is_dir() or kind != ".png")):
        return False
    if kind != ".png":
        raise UsageError(f"--out {out}: a cut-out is a .png (RGBA); name one, or a folder for its masks, too")
    return True


def _check_alone(photos: list[Path], out: Path, *, stages: bool) -> None:
    """Raise UsageError unless one photo's head goes into the file ``out``, and nothing else."""
    from headstream.errors import UsageError

    if len(photos) > 1:
        raise UsageError(f"--out {out} is one file, and there are {len(photos)} photos; name a folder")
    if stages:
        raise UsageError(f"--out {out} holds the head alone; for --stages, name a folder")
    if photos and out.exists() and out.samefile(photos[0]):
        raise UsageError(f"--out {out} is the photo itself; name another")


def _cut_all(
    photos: list[Path],
    cutter: PhotoCutter,
    out: Path,
    tally: _Tally,
    progress: Callable[[int, int], None],
    *,
    stages: bool,
    alone: bool,
) -> None:
    """One after the other, until one fails in a way in which all others would, or Ctrl-C; what is done stays done."""
    taken: set[str] = set()
    tried = 0
    try:
        for path in photos:
            _cut_one(path, cutter, out, taken, tally, stages=stages, alone=alone)
            tried += 1
            progress(tried, len(photos))
            if tally.stopped:
                break
    except KeyboardInterrupt:
        tally.interrupted, tally.stopped = True, "interrupted"
    tally.left = len(photos) - tried


def _cut_one(
    path: Path, cutter: PhotoCutter, out: Path, taken: set[str], tally: _Tally, *, stages: bool, alone: bool
) -> None:
    """One photo; whatever is wrong with it is noted and the next one goes on."""
    from headstream.batch.patience import ends_all, in_words
    from headstream.errors import HeadstreamError, SourceError

    try:
        _cut(path, cutter, out, taken, tally, stages=stages, alone=alone)
    except Exception as error:  # whatever one odd file brings about, the others go on
        foreseen = isinstance(error, (HeadstreamError, OSError, MemoryError))
        if not foreseen and os.environ.get("HEADSTREAM_DEBUG"):
            raise
        tally.failed.append({"input": str(path), "error": in_words(error, str(path))})
        if not isinstance(error, SourceError):
            tally.status = 1
        if ends_all(error) is not None:
            tally.stopped = "stopped"


def _cut(
    path: Path, cutter: PhotoCutter, out: Path, taken: set[str], tally: _Tally, *, stages: bool, alone: bool
) -> None:
    from headstream.capture.photo import read_photo
    from headstream.errors import SourceError
    from headstream.sinks.photo import RESULT, result_folder, save_png, stages_figure, write_photo

    folder = result_folder(out, path, taken)
    if RESULT.fullmatch(path.name) and path.resolve().parent == folder.resolve():
        raise SourceError(f"{path}: its result would replace it; choose another --out")
    with cutter.times.stage("decode"):
        photo = read_photo(path)
    result = cutter.cut(photo.rgb, photo.alpha)
    if photo.pictures > 1:
        tally.notes.append(f"{path}: holds {photo.pictures} pictures; only the first was looked at{_for_all(path)}")
    if not result.heads:
        tally.without_head.append(str(path))
        if result.believed:
            seen = f"{result.believed} head{'s' if result.believed > 1 else ''}"
            tally.notes.append(f"{path}: {seen} in it, numbered from the largest on")
        elif result.faces:
            tally.notes.append(
                f"{path}: something like a face is in it, but the network finds no {cutter.options.part} there"
            )
        return
    cutout = result.cutout
    figure = stages_figure(photo.rgb, list(result.heads), result.searched_px, cutout) if stages else None
    crops = [stage.crop_alpha for stage in result.heads]
    with cutter.times.stage("write"):
        if alone:
            save_png(out, cutout.rgba(), photo.icc)
            files = [out]
        else:
            files = write_photo(folder, cutout, crops, icc=photo.icc, figure=figure)
    tally.done.append({"input": str(path), "heads": len(result.heads), "outputs": [str(f) for f in files]})


def _for_all(path: Path) -> str:
    """How to cut the others, where the decoder of films knows the format."""
    return f"; for all: headstream video {path} --out FILE" if path.suffix.lower() in {".gif", ".apng", ".png"} else ""


def _tell(tally: _Tally, out: Path, how: str, who: str) -> None:
    if tally.done:
        place = f"{out}/" if out.is_dir() else out
        say(f"{len(tally.done)} photo{'s' if len(tally.done) != 1 else ''} cut into {place}; {how}")
    for note in tally.notes:
        say(f"headstream: {note}")
    for name in tally.without_head:
        say(f"headstream: {name}: no head{who} found")
    for failure in tally.failed:
        say(f"headstream: {' '.join(failure['error'].split())}")
    if tally.stopped:
        say(f"headstream: {tally.stopped} with {tally.left} photo{'s' if tally.left != 1 else ''} left")
