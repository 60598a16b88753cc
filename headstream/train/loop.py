"""The training loop: resumable to the same numbers, with a moving average of the weights that is scored and exported."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headstream.errors import ModelError, SourceError
from headstream.nets.zoo import NetSpec, as_called
from headstream.shared.interrupts import held_interrupts, unheard_children
from headstream.sinks.partial import make_parents
from headstream.train.config import TrainConfig
from headstream.train.hardware import Hardware, no_shared_memory, out_of_memory, process_lost, worker_lost
from headstream.train.history import History
from headstream.train.keeping import Keeper, RunState, name_validated
from headstream.train.loader import batches
from headstream.train.log import RunLog
from headstream.train.losses import matte_loss
from headstream.train.record import record_of
from headstream.train.score import Score, score
from headstream.train.sets import open_data
from headstream.train.start import adamw, build_net, initial_file, rate_factor, spec_of, untaught_planes
from headstream.train.teachers import Teachers
from headstream.types import Float32Array, UInt8Array

log = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor, Tensor]  # (rgb, target, known)


@dataclasses.dataclass
class Progress:
    """What a caller may show after each step. score: where the net was just scored."""

    step: int
    steps: int
    loss: float
    pictures_per_s: float
    seconds_left: float
    score: Score | None = None


class Trainer:
    """One run in one folder: log.csv, curves.png, last.pt, best.pt, the names validated on. ``run`` may be interrupted and
    called anew. Where the folder holds a run, ``resume`` comes first: an exported network named as ``init`` is not made ready
    for a start then.

    command: how to run it again, for the card.  looking: progress of the search for faces, see ``open_data``.
    Raises UsageError, SinkError.
    """

    def __init__(
        self,
        config: TrainConfig,
        *,
        data_root: Path,
        config_dir: Path,
        out: Path,
        on: Hardware | None = None,
        command: str | None = None,
        looking: Callable[[int, int], None] | None = None,
    ) -> None:
        self._log = RunLog(out, tensorboard=config.tensorboard)
        make_parents(out / "last.pt")
        torch.manual_seed(config.seed % 2**63)
        self.config, self.out = config, out
        self.on = on or Hardware(torch.device("cpu"), None)
        if config.init is not None:
            initial_file(config.init)  # a wrong one is told now: the search for faces may take hours
        self.data = open_data(config, data_root, config_dir, out, looking)
        spec = spec_of(config)
        net = build_net(config, self.data, measured=not (out / "last.pt").exists())
        self.net = net.to(self.on.device, memory_format=torch.channels_last)
        self.ema = copy.deepcopy(self.net).eval().requires_grad_(False)
        self._called = self.on.spread(as_called(self.net, spec).to(self.on.device))
        self._averaged = as_called(self.ema, spec).to(self.on.device)
        self._teachers = Teachers([Path(path) for path in config.teachers], config.outputs, self.on.device)
        self.optimizer = adamw(self.net, config, self.on.device)
        self.scaler = self.on.scaler()
        self._whole = True  # no step is half in the weights; norms may have seen its pictures
        self.history = History(record_of(config, self.data, self.on.device), [command] if command else [])
        spec = dataclasses.replace(spec, untaught=untaught_planes(config, self.data, self._teachers.taught))
        self.state = RunState(self.net, self.ema, self.optimizer, self.scaler, spec, self.history)
        self._keeper = Keeper(out, self.state, config, self.on)

    @property
    def spec(self) -> NetSpec:
        """What the network is, and what of it nothing has taught."""
        return self.state.spec

    @property
    def step(self) -> int:
        """How many are done."""
        return self.state.step

    @property
    def saved_step(self) -> int | None:
        """What last.pt holds; None before it was written or taken up."""
        return self._keeper.saved_step

    @property
    def result(self) -> Path:
        """The checkpoint to take: the best this run has seen, or its last where nothing is scored."""
        return self._keeper.result

    def resume(self, *, change: bool = False) -> bool:
        """Continue from last.pt if there is one.

        change: go on where settings or data are others than before; what changed is kept for the card.
        Raises UsageError naming what differs, where that changes the numbers and is not asked for.
        """
        return self._keeper.resume(change=change)

    def run(self, report: Callable[[Progress], None] | None = None) -> None:
        """Train to the end. On an interrupt the state is saved before it is passed on; not on a second one while weights
        change, which leaves the step half done and last.pt as it was: ``saved_step`` tells.

        Raises ModelError with advice when memory runs out or a worker or another process is gone, SourceError for a picture that
        cannot be read (the state is saved each time, by the process that leads), SinkError when it cannot be saved.
        """
        if self.on.leads:
            name_validated(self.data, self.out)
        try:
            with contextlib.closing(self._steps()) as steps:
                for progress in steps:
                    if report:
                        report(progress)
        except KeyboardInterrupt:
            self._saved()
            raise
        except SourceError as error:
            raise SourceError(f"{error}{self._saved()}") from error
        except (RuntimeError, MemoryError) as error:
            if no_shared_memory(error):
                raise ModelError(self._handover_advice()) from error
            if worker_lost(error):
                raise ModelError(self._worker_advice()) from error
            if out_of_memory(error):
                raise ModelError(self._memory_advice()) from error
            if self.on.world > 1 and process_lost(error):
                ended = f"another process of this run ended at step {self.step}{self._saved()}"
                raise ModelError(f"{ended}; the same command goes on") from error
            raise
        self._keeper.save_last()

    def _saved(self) -> str:
        """Save the state, in the process that leads and where no step is half done, and say so in a message."""
        if not (self.on.leads and self._whole):
            return ""
        # Where one process ends, torchrun ends the others at once, and it passes Ctrl-C on, which then comes twice.
        with held_interrupts() if self.on.world > 1 else contextlib.nullcontext(), unheard_children():
            self._keeper.save_last()
        return "; the state is saved"

    def _memory_advice(self) -> str:
        config = self.config
        side = config.size_at(self.step)
        shares = (n for n in range(config.accumulate + 1, config.batch + 1) if config.batch % (n * self.on.world) == 0)
        share = next(shares, None)
        parts = f"accumulate = {share} (same batch, less memory), or " if share else ""
        return (
            f"memory ran out at step {self.step} with batches of {config.batch // config.accumulate} at {side} px on "
            f"{self.on.device}{self._saved()}: set {parts}a smaller batch or sizes, and run the same command again with "
            f"--change"
        )

    def _worker_advice(self) -> str:
        """It may be told in the middle of a step, as a signal is: that is not kept."""
        return (
            f"a process that makes samples was ended at step {self.step}, as the system does where memory runs "
            f"out{self._goes_on()}: set fewer workers than {self.config.workers}, or a smaller cache_mb"
        )

    def _handover_advice(self) -> str:
        return (
            f"at step {self.step} there was no shared memory (on Linux, room in /dev/shm) to hand samples over "
            f"in{self._goes_on()}: make it larger (docker run --shm-size 1g), or set workers = 0"
        )

    def _goes_on(self) -> str:
        self._saved()
        return f"; the same command goes on from step {self.saved_step or 0}" if self.on.leads else ""

    def _steps(self) -> Generator[Progress, None, None]:
        config = self.config
        weights = torch.tensor(config.weights, device=self.on.device)
        self._make_up_evaluation()
        if self._out_of_patience():
            return
        started, first = time.monotonic(), self.step
        before = self.history.seconds
        parts = batches(config, self.data, first_step=first, rank=self.on.rank, world=self.on.world)
        while self.step < config.steps:
            given = self._fetched(parts)
            with held_interrupts():  # half a step would be in the weights, and not in the count
                loss = self._train_step(given, weights)
                mean = self.state.loss_mean
                self.state.loss_mean = mean = loss if mean is None else 0.98 * mean + 0.02 * loss
                self.state.step += 1
                self.history.seconds = before + time.monotonic() - started
                self._whole = True
            rate = (self.step - first) / (self.history.seconds - before)
            left = (config.steps - self.step) / rate
            progress = Progress(self.step, config.steps, mean, rate * config.batch, left)
            if self.on.leads and self._due():
                progress.score = self._evaluate()
            yield progress
            if self._out_of_patience():
                return

    def _due(self) -> bool:
        """Whether this step is one that is evaluated."""
        return self.step > 0 and (self.step % self.config.evaluate_every == 0 or self.step == self.config.steps)

    def _make_up_evaluation(self) -> None:
        """Evaluate what an interrupt left without its scores: of the last step, no later one would come."""
        if self.on.leads and self.data.validation and self._due() and self.history.scores.get("step") != self.step:
            log.info("step %d was not evaluated before: %s", self.step, self._evaluate())

    def _out_of_patience(self) -> bool:
        """Whether the run ends early here. All processes must ask at the same step."""
        config = self.config
        if not (config.patience and self.data.validation) or self.step % config.evaluate_every:
            return False
        stale = self.step - self.state.best_step >= config.patience * config.evaluate_every
        if not self.on.agreed(stale):  # only the leading process has seen the scores
            return False
        log.info("no better score in %d evaluations; stopping early", config.patience)
        return True

    def _fetched(self, parts: Iterator[Batch]) -> list[Batch]:
        """What one step learns from; in all processes, so that none is waited for in the middle of it."""
        try:
            with self.on.together():
                return [next(parts) for _ in range(self.config.accumulate)]
        except (ConnectionError, EOFError) as error:  # the end of a worker that was just handing something over
            raise ModelError(self._worker_advice()) from error
        except (OSError, SourceError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise SourceError(f"at step {self.step} a picture failed: {reason}") from error

    def _train_step(self, given: list[Batch], weights: Tensor) -> float:
        self.net.train()
        # Dropout by step and process alone: what was drawn before depends on where the run was taken up.
        drawn = (self.config.seed * 1_000_003 + self.step) * self.on.world + self.on.rank
        torch.manual_seed(drawn % 2**63)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * rate_factor(self.step, self.config)
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for rgb, target, known in given:
            loss = self._loss(rgb, target, known, weights) / self.config.accumulate
            self.scaler.scale(loss).backward()
            total += float(loss.detach())
        total = self.on.mean(total)  # all processes break off together, or none
        if not math.isfinite(total):
            raise ModelError(
                f"the loss is {total} at step {self.step}: training broke down. Set lower encoder_lr and decoder_lr, or "
                f'amp = "off" if it is fp16, and begin in another --out'
            )
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self._whole = False
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._average()
        return total

    def _loss(self, rgb: Tensor, target: Tensor, known: Tensor, weights: Tensor) -> Tensor:
        rgb, target, known = (x.to(self.on.device, non_blocking=True) for x in (rgb, target, known))
        rgb = rgb.float().contiguous(memory_format=torch.channels_last)
        with self.on.autocast():
            logits = self._called(rgb).float()
        neck = self.config.neck_weight if self.config.outputs == ("head", "hair", "body") else 0.0
        truth, sure = target.float() / 255, (known > 0).float()
        l1, share = self.config.l1_weight, self.config.teacher_weight
        loss = matte_loss(logits, truth, sure, weights, neck_weight=neck, l1_weight=l1)
        if not self.config.teachers:
            return loss
        with self.on.autocast():
            told = self._teachers(rgb)
        # Teachers know all pixels; the neck's own term stays with the truth, which is surer of it than they are.
        sure = torch.ones_like(told) * self._teachers.sure
        return (1 - share) * loss + share * matte_loss(logits, told, sure, weights, l1_weight=l1)

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for mean, value in zip(self.ema.state_dict().values(), self.net.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - keep)
            else:
                mean.copy_(value)

    def _evaluate(self) -> Score | None:
        """Score, log and save."""
        scored = None
        if self.data.validation:
            scored = score(self.predict, self.spec.outputs, self.data.validation, self.spec.side)
        mean = self.state.loss_mean  # None: a checkpoint of before it was kept
        loss = None if mean is None else round(mean, 5)
        row: dict[str, Any] = {"step": self.step, "loss": loss}
        with held_interrupts():  # half of it kept would be taken for all: no later score might be as good
            try:
                self._log.add(row | (scored.as_row() if scored else {}))
                if scored is not None:
                    self._keeper.keep_if_best(scored)
            finally:  # the last: what it tells as evaluated is in the log, and what failed on the way is made up for
                self._keeper.save_last()
        return scored

    @torch.no_grad()
    def predict(self, rgb: UInt8Array) -> Float32Array:
        """(N, H, W, 3) uint8 -> (N, H, W, outputs) float32 alpha, with the averaged weights."""
        x = torch.from_numpy(rgb).to(self.on.device).permute(0, 3, 1, 2).float()
        with self.on.autocast():
            alpha: Any = torch.sigmoid(self._averaged(x).float())
        return alpha.permute(0, 2, 3, 1).cpu().numpy()
