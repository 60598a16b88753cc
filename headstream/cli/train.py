"""headstream train, headstream export"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from headstream.cli.console import progress_bar, say
from headstream.errors import UsageError


def train(
    config: Annotated[Path, typer.Option(help="TOML file, see configs/ in the repository.")],
    data: Annotated[Path, typer.Option(help="Folder that holds the data sets' folders.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the run: checkpoints, log.csv, curves.png, model.")
    ],
    net: Annotated[str | None, typer.Option(metavar="lite|unet34|deeplabv3|custom-cnn", help="Network.")] = None,
    target: Annotated[str | None, typer.Option(metavar="head|hair|face|parts", help="What to learn.")] = None,
    steps: Annotated[int | None, typer.Option(help="Updates.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pictures an update.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed.")] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where to train.")] = "auto",
) -> int:
    """Train a network. Called again with the same --out it goes on where it stopped; at the end it writes ONNX and card.

    Several GPUs: torchrun --nproc-per-node N -m headstream train ...
    """
    _need_torch()
    from headstream.train.config import load_config
    from headstream.train.hardware import hardware
    from headstream.train.loop import Progress, Trainer

    settings = load_config(config, net=net, target=target, steps=steps, batch=batch, seed=seed)
    if not data.is_dir():
        raise UsageError(f"--data {data}: no such folder")
    with hardware(device, settings.amp) as on:
        trainer = Trainer(settings, data_root=data, config_dir=config.resolve().parent, out=out, on=on)
        if trainer.resume() and on.leads:
            say(f"going on from step {trainer.step} of {settings.steps}")
        if on.leads:
            _tell_duplicates(trainer.data)
            say(
                f"{settings.net} for {settings.target} on {on.device}"
                + (f", {on.world} processes" if on.world > 1 else "")
            )
        with progress_bar("training", unit="steps", quiet=not on.leads) as bar:

            def report(progress: Progress) -> None:
                bar(progress.step, progress.steps)
                if on.leads and (progress.score is not None or progress.step % 100 == 0):
                    scores = f"  {progress.score}" if progress.score is not None else ""
                    say(
                        f"step {progress.step}/{progress.steps}  loss {progress.loss:.4f}  "
                        f"{progress.pictures_per_s:.0f} pictures/s  {progress.seconds_left / 60:.0f} min left{scores}"
                    )

            trainer.run(report)
        if on.leads:
            best = out / "best.pt"
            export([best if best.exists() else out / "last.pt"], out / "model.onnx")
    return 0


def _tell_duplicates(data: object) -> None:
    """Say which pictures are both trained on and validated, as far as looks tell."""
    from headstream.train.leaks import duplicates_between
    from headstream.train.loader import OpenedData

    assert isinstance(data, OpenedData)
    found = duplicates_between(data.train, data.validation)
    for pair in found[:10]:
        say(f"warning: {pair.first} is trained on and looks like {pair.second}, which is validated")
    if len(found) > 10:
        say(f"warning: and {len(found) - 10} more such pairs")


def export(
    checkpoints: Annotated[
        list[Path], typer.Argument(metavar="CHECKPOINT...", help="best.pt or last.pt; of several, the mean is written.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The .onnx file, its card beside it; or a .pt to train on from.")
    ],
    int8: Annotated[bool, typer.Option("--int8", help="8-bit weights and activations; needs --calibrate.")] = False,
    calibrate: Annotated[list[Path] | None, typer.Option(help="Folder of pictures to take ranges from.")] = None,
    gain: Annotated[
        float, typer.Option(min=0.1, help="Firmness of the matte's edges; 1 leaves chances as they are.")
    ] = 1.0,
    against_body: Annotated[
        float, typer.Option(min=0.0, help="How far the cut keeps away from what looks like neck and clothes.")
    ] = 0.0,
) -> None:
    """Write a checkpoint's averaged weights as ONNX, with a model card."""
    _need_torch()
    from headstream.nets.checkpoint import load_averaged, load_checkpoint, save_trained
    from headstream.train.export import Finish, card_details, export_onnx, write_card

    for checkpoint in checkpoints:
        if not checkpoint.is_file():
            raise UsageError(f"{checkpoint}: no such checkpoint")
    if int8 and not calibrate:
        raise UsageError("--int8 needs --calibrate FOLDER, with a hundred pictures of people or so")
    net, spec = load_averaged(checkpoints)
    if out.suffix == ".pt":
        save_trained(net, spec, load_checkpoint(checkpoints[-1])["step"], out)
        say(f"wrote {out}; name it as `init` in a training configuration")
        return
    finish = Finish(gain, against_body)
    if int8 and calibrate:
        from headstream.train.quantise import crops_of_folders, export_int8

        export_int8(net, spec, out, crops_of_folders(calibrate, spec.side), finish=finish)
    else:
        export_onnx(net, spec, out, finish=finish)
    card = write_card(out, card_details(net, spec, checkpoints[-1]) | {"finish": asdict(finish)})
    say(f"wrote {out} and {card.name}; use it with --model {out}")


def pack(
    data: Annotated[str, typer.Argument(metavar="KIND:FOLDER", help="A data set as a configuration names it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help='The packed file (.zip); use it as kind = "packed".')],
    side: Annotated[int, typer.Option(help="Longer side of the pictures in it, in pixels.")] = 512,
    target: Annotated[str, typer.Option(metavar="head|hair|face|parts", help="What it is to teach.")] = "head",
) -> None:
    """Put a data set into one file: pictures scaled down once, truth, face boxes. It reads several times faster."""
    import tempfile
    from dataclasses import replace

    from headstream.train.data import BASE_PLANES, TARGETS, DataSet, find_faces
    from headstream.train.packed import pack as write

    kind, colon, folder = data.partition(":")
    if not colon:
        raise UsageError(f"{data}: expected KIND:FOLDER, such as celebamask-hq:CelebAMask-HQ/")
    if target not in TARGETS:
        raise UsageError(f"--target {target}: expected one of {', '.join(TARGETS)}")
    planes = BASE_PLANES + tuple(plane for plane in TARGETS[target] if plane not in BASE_PLANES)
    opened = DataSet(kind, Path(folder), planes=planes)
    with tempfile.TemporaryDirectory() as cache:
        opened = replace(opened, faces=find_faces(opened, Path(cache) / "faces.json"))
    with progress_bar("packing", unit="pictures") as progress:
        write(opened, out, side=side, progress=progress)
    say(f"wrote {out}: {len(opened.names)} pictures, {out.stat().st_size / 1e6:.1f} MB")


def _need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise UsageError("training needs torch: pip install 'headstream[train]'") from error
