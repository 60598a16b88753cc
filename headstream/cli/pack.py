"""headstream pack"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from headstream.cli.console import progress_bar, say
from headstream.cli.options import TARGETS, completing
from headstream.errors import UsageError


def pack(
    data: Annotated[str, typer.Argument(metavar="KIND:FOLDER", help="A data set as a configuration names it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help='The packed file (.zip); use it as kind = "packed".')],
    side: Annotated[int, typer.Option(min=32, help="Longer side of the pictures in it, in pixels.")] = 512,
    target: Annotated[
        str,
        typer.Option(
            metavar="head|hair|face|parts",
            help="What it is to teach.",
            autocompletion=completing(*TARGETS),
        ),
    ] = "head",
) -> None:
    """Put a data set into one file. Pictures scaled down once, truth and face boxes: it reads several times faster."""
    import tempfile

    from headstream.sinks.partial import check_file
    from headstream.train.data import DataSet
    from headstream.train.faces import find_faces
    from headstream.train.packed import pack as write
    from headstream.train.picture import BASE_PLANES
    from headstream.train.picture import TARGETS as PLANES

    if out.suffix.lower() != ".zip":
        raise UsageError(f"--out {out}: is a packed file; name it .zip")
    check_file(out)
    kind, colon, folder = data.partition(":")
    if not colon:
        raise UsageError(f"{data}: expected KIND:FOLDER, such as celebamask-hq:CelebAMask-HQ/")
    if target not in PLANES:
        raise UsageError(f"--target {target}: expected one of {', '.join(PLANES)}")
    if kind == "masks" and target == "parts":
        raise UsageError("--target parts: masks are of one plane; name head, hair or face, whichever they are of")
    planes = BASE_PLANES + tuple(plane for plane in PLANES[target] if plane not in BASE_PLANES)
    opened = DataSet(kind, Path(folder), planes=planes, plane=target)  # plain masks are of what is to be taught
    opened.check_truth()
    with tempfile.TemporaryDirectory() as cache:
        with progress_bar("looking for faces", unit="pictures") as progress:
            opened = replace(opened, faces=find_faces(opened, Path(cache) / "faces.json", progress))
    with progress_bar("packing", unit="pictures") as progress:
        write(opened, out, side=side, progress=progress)
    say(f"wrote {out}: {len(opened.names)} pictures, {out.stat().st_size / 1e6:.1f} MB")
