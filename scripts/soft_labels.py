#!/usr/bin/env python3
"""Label data sets with trained networks, for students to learn from.

    scripts/soft_labels.py --data DIR --out DIR --teacher best.pt [--teacher other.pt] KIND:FOLDER [KIND:FOLDER ...]

Writes OUT/FOLDER/NAME.png (R head, G hair, B body). Name the folders as `pseudo` in a training configuration.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from headstream.cli.console import progress_bar, say
from headstream.errors import ModelError
from headstream.nets.checkpoint import load_trained
from headstream.segment.runtime import onnx_runtime
from headstream.train.data import DataSet
from headstream.train.export import export_onnx
from headstream.train.faces import find_faces
from headstream.train.picture import BASE_PLANES
from headstream.train.pseudo import Predict, write_soft_labels


def teacher(checkpoint: Path) -> tuple[Predict, int]:
    """The averaged network of a checkpoint as a function on pictures, and their side in pixels. On a CPU, ONNX Runtime is
    three times as fast. Raises ModelError where it does not know what is to be labelled."""
    net, spec = load_trained(checkpoint)
    if missing := sorted(set(BASE_PLANES) - set(spec.known)):
        raise ModelError(f"{checkpoint} cannot label {', '.join(missing)}: it knows {', '.join(spec.known)}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "teacher.onnx"
        export_onnx(net, spec, path, planes=BASE_PLANES)
        session = onnx_runtime().InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def predict(rgb: Any) -> Any:
        return session.run(None, {"rgb": np.ascontiguousarray(rgb)})[0].transpose(0, 2, 3, 1)

    return predict, spec.side


def main() -> None:
    """Parse, label, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, action="append", required=True)
    parser.add_argument("sets", nargs="+", metavar="KIND:FOLDER")
    options = parser.parse_args()
    try:
        teachers, sides = zip(*(teacher(path) for path in options.teacher), strict=True)
    except ModelError as error:
        parser.error(str(error))
    if len(set(sides)) > 1:
        parser.error(f"teachers of one crop size are needed, not of {', '.join(map(str, sides))} pixels")
    for entry in options.sets:
        kind, colon, folder = entry.partition(":")
        if not colon:
            parser.error(f"{entry}: expected KIND:FOLDER, such as hair:figaro")
        data = DataSet(kind, options.data / folder)
        faces = find_faces(data, options.out / f"faces-{folder}.json")
        data = dataclasses.replace(data, faces=faces)
        with progress_bar(folder, unit="pictures") as progress:
            write_soft_labels(data, teachers, options.out / folder, side=sides[0], progress=progress)
        say(f"{folder}: {len(data.names)} pictures labelled in {options.out / folder}")


if __name__ == "__main__":
    main()
