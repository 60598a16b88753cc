"""No command writes over what it reads, nor twice to one place: refused before any work, however the paths are written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from headstream.capture.named import same_file
from headstream.capture.numbered import numbered_pictures
from headstream.errors import SourceError, UsageError
from headstream.segment.registry import find_model
from headstream.sinks.clipfile import incomplete_name
from headstream.sinks.formats import is_sequence, sequence_place


def check_apart(reads: Iterable[Path], writes: Iterable[Path]) -> None:
    """Raise UsageError where an output is an input or another output. Links are followed, and need not be there yet.

    Of a PNG sequence the whole folder is one output; an input may lie in it unless a frame could get its name.
    """
    outputs = list(writes)
    for at, output in enumerate(outputs):
        for other in outputs[:at]:
            if same_file(_replaced(output), _replaced(other)):
                raise UsageError(f"{output}: is written twice ({other}); outputs must be different files")
    for read in (path for named in reads for path in _read(named)):
        for output in outputs:
            if _takes(output, read):
                raise UsageError(f"{output}: is an input, too ({read}); inputs and outputs must be different files")
            if same_file(incomplete_name(_replaced(output)), read):
                raise UsageError(
                    f"{read}: a film that breaks off goes by this name where the output is {output}; choose another output"
                )


def model_files(model: str) -> list[Path]:
    """What is read of a model that is a file: the weights, and the card beside them, or that names them."""
    path = Path(model).expanduser()
    if not path.suffix or not path.is_file():
        return []
    return [path, find_model(str(path)).file] if path.suffix == ".json" else [path, path.with_suffix(".json")]


def _read(named: Path) -> list[Path]:
    """What may not be written to: a file; of numbered pictures also the first, which stands for all."""
    try:
        pictures = None if os.path.isfile(named) else numbered_pictures(named)
    except SourceError:  # said where they are opened
        pictures = None
    return [named] if pictures is None else [named, pictures.first_path]


def _replaced(output: Path) -> Path:
    """What an output replaces: of pictures the folder, however they are named."""
    return sequence_place(output)[0] if is_sequence(output) else output


def _takes(output: Path, read: Path) -> bool:
    """Whether ``read`` may be lost to an output."""
    if not is_sequence(output):
        return same_file(output, read)
    folder, pattern = sequence_place(output)
    named = re.compile(re.sub(r"%(0\d+)?d", r"\\d+", re.escape(pattern)), re.IGNORECASE)
    in_it = (path for path in (read, read.resolve()) if named.fullmatch(path.name))
    return same_file(folder, read) or any(same_file(folder, path.parent) for path in in_it)
