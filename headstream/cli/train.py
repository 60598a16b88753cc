"""headstream train, headstream export"""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstream.cli.console import progress_bar, say
from headstream.cli.options import completing
from headstream.errors import UsageError

if TYPE_CHECKING:
    from headstream.train.export import Finish
    from headstream.train.loop import Progress, Trainer
    from headstream.train.sets import OpenedData

_TARGETS = ("head", "hair", "face", "parts")


def train(
    data: Annotated[Path, typer.Option(help="Folder that holds the data sets' folders.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the run: checkpoints, log.csv, curves.png, model.")
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file, see configs/ in the repository. Without one: celebamask, fullbody, celeb_hair, figaro and lfw, "
            "as far as they lie in --data, and a twentieth of one to validate."
        ),
    ] = None,
    net: Annotated[
        str | None,
        typer.Option(
            metavar="lite|unet34|deeplabv3|custom-cnn",
            help="Which network.",
            autocompletion=completing("lite", "unet34", "deeplabv3", "custom-cnn"),
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="head|hair|face|parts", help="What to learn.", autocompletion=completing(*_TARGETS)),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="lite|FILE", help="Weights to start from: those that ship, a checkpoint .pt, an .onnx of export."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="How many updates; the configuration says, as the next two.")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Pictures in an update.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all that is drawn by chance.")] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="auto|cpu|cuda|mps", help="Where to train.", autocompletion=completing("auto", "cpu", "cuda", "mps")
        ),
    ] = "auto",
    change: Annotated[
        bool, typer.Option("--change", help="Go on in --out with other settings or data than before; the card tells.")
    ] = False,
) -> int:
    """Train a network. Called again with the same --out it goes on where it stopped; at the end it writes ONNX and card.

    Several GPUs: torchrun --nproc-per-node N -m headstream train ...
    """
    _need_packages()
    from headstream.lock import locked
    from headstream.train.config import DEFAULT, load_config, only_present
    from headstream.train.hardware import hardware
    from headstream.train.loop import Trainer

    overrides = {"net": net, "target": target, "init": init, "steps": steps, "batch": batch, "seed": seed}
    settings = load_config(config or DEFAULT, **overrides)
    if not data.is_dir():
        raise UsageError(f"--data {data}: no such folder")
    if config is None:
        settings = only_present(settings, data)
    given = {"config": config} | overrides
    command = _typed("headstream train", given)
    with ExitStack() as held:
        on = held.enter_context(hardware(device, settings.amp))
        if on.leads:
            held.enter_context(locked([out / "last.pt"]))

        def trainer() -> Trainer:
            with progress_bar("looking for faces", unit="pictures", quiet=not on.leads) as looking:
                return Trainer(
                    settings,
                    data_root=data,
                    config_dir=(config or DEFAULT).resolve().parent,
                    out=out,
                    on=on,
                    command=f"{command} --data DATA --out RUN",
                    looking=looking,
                )

        # Nothing else holds the trainer: what it shares with other processes is gone before they part.
        result = _run(trainer(), change)
        if on.leads:
            export([result], out / "model.onnx")
    return 0


def _typed(command: str, given: Mapping[str, object]) -> str:
    """A command with the options that were given to it."""
    return command + "".join(f" --{k} {shlex.quote(str(v))}" for k, v in given.items() if v is not None)


def _run(trainer: Trainer, change: bool) -> Path:
    """Take the run up if there is one, and train to the end, telling how it goes. Returns the checkpoint to take."""
    settings, on, quiet = trainer.config, trainer.on, not trainer.on.leads
    resumed = trainer.resume(change=change)
    if on.leads:
        if resumed:
            say(f"going on from step {trainer.step} of {settings.steps}")
        _tell_data(trainer.data, look=change or not resumed)
        say(
            f"{settings.net} for {settings.target} on {on.device}" + (f", {on.world} processes" if on.world > 1 else "")
        )

    with progress_bar("training", unit="steps", quiet=quiet) as bar:

        def report(progress: Progress) -> None:
            bar(progress.step, progress.steps)
            if on.leads and (progress.score is not None or progress.step % 100 == 0):
                rate = progress.pictures_per_s
                scores = f"  {progress.score}" if progress.score is not None else ""
                say(
                    f"step {progress.step}/{progress.steps}  loss {progress.loss:.4f}  "
                    f"{rate:{'.0f' if rate >= 10 else '.2g'}} pictures/s  {progress.seconds_left / 60:.0f} min left{scores}"
                )

        try:
            trainer.run(report)
        except KeyboardInterrupt:
            if on.leads:
                _tell_stopped(trainer)
            raise
    return trainer.result


def _tell_stopped(trainer: Trainer) -> None:
    """Say how far an interrupted run came, and what of that is kept."""
    stopped = f"stopped after step {trainer.step} of {trainer.config.steps}"
    if trainer.saved_step == trainer.step:
        say(f"{stopped}, saved: the same command goes on from there")
    else:
        say(f"{stopped}, not saved: the same command goes on from step {trainer.saved_step or 0}")


def _tell_data(data: OpenedData, *, look: bool) -> None:
    """Say what is trained on and validated, and (``look``) which pictures are both, as far as looks tell."""
    from headstream.train.leaks import duplicates_between

    for sets, use in ((data.train, "trained on"), (data.validation, "validated")):
        told = ", ".join(f"{x.root.name} ({len(x.names)} pictures, {x.kind})" for x in sets)
        say(f"{use}: {told or 'nothing'}")
    if not look:
        return
    with progress_bar("looking for duplicates", unit="pictures") as progress:
        found = duplicates_between(data.train, data.validation, progress=progress)
    for pair in found[:10]:
        say(f"warning: {pair.first} is trained on and looks like {pair.second}, which is validated")
    if len(found) > 10:
        say(f"warning: and {len(found) - 10} more such pairs")


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
    _need_packages()
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
    command = _typed(f"headstream export {shlex.quote(source)}", {"out": out.name, **dashed})
    folders = (_typed("", {"calibrate": folder.absolute().name}) for folder in calibrate or ())
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


def pack(
    data: Annotated[str, typer.Argument(metavar="KIND:FOLDER", help="A data set as a configuration names it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help='The packed file (.zip); use it as kind = "packed".')],
    side: Annotated[int, typer.Option(min=32, help="Longer side of the pictures in it, in pixels.")] = 512,
    target: Annotated[
        str,
        typer.Option(metavar="head|hair|face|parts", help="What it is to teach.", autocompletion=completing(*_TARGETS)),
    ] = "head",
) -> None:
    """Put a data set into one file. Pictures scaled down once, truth and face boxes: it reads several times faster."""
    import tempfile

    from headstream.sinks.partial import check_file
    from headstream.train.data import DataSet
    from headstream.train.faces import find_faces
    from headstream.train.packed import pack as write
    from headstream.train.picture import BASE_PLANES, TARGETS

    if out.suffix.lower() != ".zip":
        raise UsageError(f"--out {out}: is a packed file; name it .zip")
    check_file(out)
    kind, colon, folder = data.partition(":")
    if not colon:
        raise UsageError(f"{data}: expected KIND:FOLDER, such as celebamask-hq:CelebAMask-HQ/")
    if target not in TARGETS:
        raise UsageError(f"--target {target}: expected one of {', '.join(TARGETS)}")
    if kind == "masks" and target == "parts":
        raise UsageError("--target parts: masks are of one plane; name head, hair or face, whichever they are of")
    planes = BASE_PLANES + tuple(plane for plane in TARGETS[target] if plane not in BASE_PLANES)
    opened = DataSet(kind, Path(folder), planes=planes, plane=target)  # plain masks are of what is to be taught
    opened.check_truth()
    with tempfile.TemporaryDirectory() as cache:
        with progress_bar("looking for faces", unit="pictures") as progress:
            opened = replace(opened, faces=find_faces(opened, Path(cache) / "faces.json", progress))
    with progress_bar("packing", unit="pictures") as progress:
        write(opened, out, side=side, progress=progress)
    say(f"wrote {out}: {len(opened.names)} pictures, {out.stat().st_size / 1e6:.1f} MB")


def _need_packages() -> None:
    """Raise UsageError unless all is here that a run needs, to its last step: the curves, the export."""
    needed = ["torch", "matplotlib", "onnx", *(["tomli"] if sys.version_info < (3, 11) else [])]
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise UsageError(f"training needs {', '.join(missing)}: pip install 'headstream[train]'")
