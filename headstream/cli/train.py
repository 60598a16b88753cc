"""headstream train"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstream.cli.console import progress_bar, say
from headstream.cli.export import export, need_packages
from headstream.cli.options import TARGETS, completing, typed
from headstream.errors import UsageError

if TYPE_CHECKING:
    from headstream.train.loop import Progress, Trainer
    from headstream.train.sets import OpenedData


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
        typer.Option(metavar="head|hair|face|parts", help="What to learn.", autocompletion=completing(*TARGETS)),
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
    need_packages()
    from headstream.sinks.lock import locked
    from headstream.sinks.photo import check_folder
    from headstream.train.config import DEFAULT, load_config, only_present
    from headstream.train.hardware import hardware
    from headstream.train.loop import Trainer

    overrides = {"net": net, "target": target, "init": init, "steps": steps, "batch": batch, "seed": seed}
    settings = load_config(config or DEFAULT, **overrides)
    if not data.is_dir():
        raise UsageError(f"--data {data}: no such folder")
    if config is None:
        settings = only_present(settings, data)
    check_folder(out)
    given = {"config": config} | overrides
    command = typed("headstream train", given)
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
