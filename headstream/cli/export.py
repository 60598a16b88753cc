"""headstream export"""

from __future__ import annotations

import importlib.util
import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstream.cli.console import progress_bar, say
from headstream.cli.options import typed
from headstream.errors import UsageError

if TYPE_CHECKING:
    from headstream.train.export import Finish


def export(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(
            metavar="CHECKPOINT...",
            help="best.pt or last.pt; of several, the mean is written. Or one network that was exported: an .onnx, lite.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The .onnx file, its card beside it; or a .pt to train on from.")
    ],
    int8: Annotated[bool, typer.Option("--int8", help="8-bit weights and activations; needs --calibrate.")] = False,
    calibrate: Annotated[list[Path] | None, typer.Option(help="Folder of pictures to take ranges from.")] = None,
    gain: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Firmness of the matte's edges; 1 leaves chances as they are.",
            show_default="1, or as on the card of what was exported",
        ),
    ] = None,
    against_body: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="How far the cut keeps away from what looks like neck and clothes.",
            show_default="0, or as on that card",
        ),
    ] = None,
    side: Annotated[
        int | None,
        typer.Option(
            help="Pixels of the square crops it takes, a multiple of 32: fewer are faster.", show_default="as trained"
        ),
    ] = None,
) -> None:
    """Write a checkpoint as ONNX. Takes its averaged weights; a model card comes beside it."""
    need_packages()
    from headstream.apart import check_apart
    from headstream.nets.checkpoint import load_averaged
    from headstream.train.card import making_of
    from headstream.train.export import card_details, export_onnx, write_card
    from headstream.train.recover import load_exported
    from headstream.train.saving import save_trained

    named = checkpoints[0].name
    checkpoints = [_exportable(path, len(checkpoints)) for path in checkpoints]
    if int8 and not calibrate:
        raise UsageError("--int8 needs --calibrate FOLDER, with a hundred pictures of people or so")
    finishes = {"gain": gain, "against_body": against_body}
    _check_export(checkpoints[0], out, int8=int8, finishes=finishes, side=side)
    check_apart(checkpoints, [out])
    net, spec = load_exported(checkpoints[0]) if checkpoints[0].suffix == ".onnx" else load_averaged(checkpoints)
    if out.suffix == ".pt":
        save_trained(net, spec, making_of(checkpoints), out)
        say(f"wrote {out}; name it as `init` in a training configuration")
        return
    spec = replace(spec, side=side or spec.side)
    details = card_details(net, spec, *checkpoints)  # now: without a card of what is given, nothing is to be written
    finish = _finish(checkpoints[0], finishes)
    if checkpoints[0].suffix == ".onnx":
        command = _export_command(named, out, calibrate if int8 else None, {"side": side, **finishes})
        details["commands"] = [*details.get("commands", []), command]
    precision = "weights stored in half precision, computed in single"
    if int8 and calibrate:
        from headstream.train.quantise import crops_of_folders, export_int8

        precision = "8-bit weights and activations (QDQ), last convolution in single"
        with progress_bar("looking for faces", unit="pictures") as progress:
            crops = crops_of_folders(calibrate, spec.side, progress=progress)
        with progress_bar("calibrating", unit="crops") as progress:
            export_int8(net, spec, out, crops, finish=finish, progress=progress)
    else:
        export_onnx(net, spec, out, finish=finish)
    card = write_card(out, details | {"precision": precision, "finish": asdict(finish)})
    say(f"wrote {out} and {card.name}; use it with --model {out}")


def _exportable(path: Path, count: int) -> Path:
    """The file of a network to export. Raises UsageError where it is none, or one of several that cannot be averaged."""
    from headstream.train.start import initial_file

    path = initial_file(str(path))
    if path.suffix == ".onnx" and count > 1:
        raise UsageError(f"{path}: only checkpoints can be averaged; an exported network is written alone")
    return path


def _finish(source: Path, named: dict[str, float | None]) -> Finish:
    """What is done to the logits last: what is named, the rest as the card of an exported network has it."""
    from headstream.segment.registry import read_card
    from headstream.train.export import Finish

    told = read_card(source.with_suffix(".json")).finish if source.suffix == ".onnx" else {}
    given = told | {name: value for name, value in named.items() if value is not None}
    return Finish(**{name: given[name] for name in named if name in given})


def _export_command(source: str, out: Path, calibrate: list[Path] | None, options: dict[str, float | None]) -> str:
    """How an exported network is exported in another way, for its card, which names no folders above what is given."""
    dashed = {name.replace("_", "-"): value for name, value in options.items()}
    command = typed(f"headstream export {shlex.quote(source)}", {"out": out.name, **dashed})
    folders = (typed("", {"calibrate": folder.absolute().name}) for folder in calibrate or ())
    return command + " --int8" * bool(calibrate) + "".join(folders)


def _check_export(source: Path, out: Path, *, int8: bool, finishes: dict[str, float | None], side: int | None) -> None:
    """Raise UsageError where ``out`` is no file that an export can be, or one that cannot hold what is asked for."""
    if out.suffix not in {".onnx", ".pt"}:
        raise UsageError(f"--out {out}: expected a file named .onnx, or .pt to train on from")
    if out.suffix == ".pt" and source.suffix == ".onnx":
        raise UsageError(f"--out {out}: to train on from {source.name}, name it as init (headstream train --init)")
    if out.suffix == ".pt" and (int8 or any(value is not None for value in (*finishes.values(), side))):
        raise UsageError(
            f"--out {out}: --int8, --gain, --against-body and --side are of .onnx files; a .pt is to train on from"
        )
    if side is not None and (side < 64 or side % 32):
        raise UsageError(f"--side {side}: expected a multiple of 32, 64 or more")


def need_packages() -> None:
    """Raise UsageError unless all is here that a run needs, to its last step: the curves, the export."""
    needed = ["torch", "matplotlib", "onnx", *(["tomli"] if sys.version_info < (3, 11) else [])]
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise UsageError(f"training needs {', '.join(missing)}: pip install 'headstream[train]'")
