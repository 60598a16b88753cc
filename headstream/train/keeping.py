"""What a run keeps in its folder: last.pt to go on from, best.pt, and the names it is validated on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from headstream.errors import ModelError
from headstream.nets.checkpoint import load_checkpoint
from headstream.nets.zoo import NetSpec
from headstream.train.config import TrainConfig
from headstream.train.hardware import Hardware
from headstream.train.history import History
from headstream.train.record import validation_changed
from headstream.train.saving import write_checkpoint
from headstream.train.score import Score
from headstream.train.sets import OpenedData
from headstream.train.start import adamw


@dataclass
class RunState:
    """All that changes while a run goes on, and what a checkpoint holds of it.

    ema: the moving average of ``net``.  step: how many are done.  loss_mean: running, of these; None before the first.
    best: the best score so far, 0 before there is one, and best_step where it was.
    """

    net: nn.Module
    ema: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    spec: NetSpec
    history: History
    step: int = 0
    loss_mean: float | None = None
    best: float = 0.0
    best_step: int = 0

    def save(self, path: Path) -> None:
        """Write everything needed to go on, and what made it. Raises SinkError; what was there before is there then."""
        state = {
            "net": self.net.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "loss_mean": self.loss_mean,
            "best": self.best,
            "best_step": self.best_step,
            "spec": self.spec.as_dict(),
            "history": self.history.as_dict(),
        }
        write_checkpoint(state, path)


class Keeper:
    """Writes a run's state into its folder, and takes it up from there. saved_step: what last.pt holds; None before it was
    written or taken up."""

    def __init__(self, out: Path, state: RunState, config: TrainConfig, on: Hardware) -> None:
        self._state, self._config, self._on = state, config, on
        self._last, self._best = out / "last.pt", out / "best.pt"
        self.saved_step: int | None = None

    @property
    def result(self) -> Path:
        """The checkpoint to take: the best this run has seen, or its last where nothing is scored."""
        return self._best if self._state.best and self._best.exists() else self._last

    def save_last(self) -> None:
        """Write last.pt, in the process that leads. Raises SinkError."""
        if self._on.leads:
            self._state.save(self._last)
            self.saved_step = self._state.step

    def keep_if_best(self, scored: Score) -> None:
        """Note the score of this step, and write best.pt if there was none as good. Raises SinkError; then it is not noted."""
        run = self._state
        before = run.history.scores, run.best, run.best_step
        run.history.scores = {"step": run.step} | scored.as_row()
        if scored.chosen_by > run.best:
            run.best, run.best_step = scored.chosen_by, run.step
            try:
                run.save(self._best)
            except BaseException:  # then it is not the best there is, and is scored anew when the run goes on
                run.history.scores, run.best, run.best_step = before
                raise

    def resume(self, *, change: bool = False) -> bool:
        """Take up last.pt if there is one; see ``Trainer.resume``."""
        path, run = self._last, self._state
        if not path.exists():
            return False
        state = load_checkpoint(path)
        if missing := {"net", "optimizer", "scaler", "step", "best", "best_step"} - state.keys():
            raise ModelError(f"{path}: no run goes on from it, {', '.join(sorted(missing))} missing; name it as init")
        before = NetSpec.from_dict(state["spec"]).untaught  # what was learnt from other data stays learnt
        run.spec = dataclasses.replace(run.spec, untaught=tuple(x for x in run.spec.untaught if x in before))
        shapes = ({k: v.shape for k, v in weights.items()} for weights in (state["net"], run.net.state_dict()))
        different = run.history.take_up(state, run.spec, path, fits=next(shapes) == next(shapes), change=change)
        run.net.load_state_dict(state["net"])
        run.ema.load_state_dict(state["ema"])
        self._load_optimizer(state)
        if state["scaler"]:  # empty where the losses were not scaled
            run.scaler.load_state_dict(state["scaler"])
        run.step, run.best, run.best_step = state["step"], state["best"], state["best_step"]
        run.loss_mean = state.get("loss_mean")
        self.saved_step = run.step
        if validation_changed(different):
            run.best, run.best_step, run.history.scores = 0.0, run.step, {}
        return True

    def _load_optimizer(self, state: dict[str, Any]) -> None:
        """Its moments, parameter by parameter: rates are the configuration's, and may be grouped otherwise than before."""
        told = state.get("history", self._state.history.as_dict())["record"]["config"]
        rates = {key: told[key] for key in ("encoder_lr", "decoder_lr", "weight_decay")}
        before = adamw(self._state.net, dataclasses.replace(self._config, **rates), self._on.device)
        for group in state["optimizer"]["param_groups"]:  # torch goes by what was saved; on MPS none is fused
            group["fused"] = before.defaults["fused"]
        try:
            before.load_state_dict(state["optimizer"])
        except ValueError as error:
            raise ModelError(
                f"{self._last}: its optimiser does not fit these settings ({error}); set encoder_lr, decoder_lr "
                f"and weight_decay as they were, or name it as init in another --out"
            ) from error
        self._state.optimizer.state.update(before.state)


def name_validated(data: OpenedData, out: Path) -> None:
    """Write the names of what each entry of the configuration holds out, a file for each."""
    for number, held_out in enumerate(data.validated, 1):  # as on the card: a folder may be named twice
        if held_out is not None:
            path = out / f"validation-{number}-{held_out.root.name}.txt"
            path.write_text("\n".join(held_out.names) + "\n", encoding="utf-8")
