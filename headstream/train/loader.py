"""From the sets of a configuration to endless, reproducible batches: sample number i depends on the seed and i alone."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from headstream.errors import UsageError
from headstream.train.augment import Composer
from headstream.train.config import TrainConfig
from headstream.train.data import DataSet
from headstream.train.disturb import Rng
from headstream.train.picture import BODY, HEAD, Picture
from headstream.train.sets import OpenedData, loaded_planes
from headstream.types import UInt8Array


class PictureCache:
    """Loads pictures and keeps the first that fit into ``size`` bytes; none is ever put out, so every order costs alike.

    What it gives is shared: not to be written to.
    """

    def __init__(self, size: int) -> None:
        self._left = size
        self._kept: dict[tuple[object, ...], Picture] = {}

    def load(self, data: DataSet, name: str) -> Picture:
        """The picture, from memory or from its files."""
        # All that tells apart what sets of one folder make of a picture.
        key = (data.kind, data.root, data.plane, data.pseudo, data.pseudo_unsure, name)
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        picture = data.load(name)
        size = sum(x.nbytes for x in (picture.rgb, picture.target, picture.known, picture.person) if x is not None)
        if size <= self._left:
            self._left -= size
            self._kept[key] = picture
        return picture


class Backdrops:
    """Windows without people, from the sets whose truth tells where nobody is."""

    def __init__(self, sets: tuple[DataSet, ...], cache: PictureCache | None = None) -> None:
        self._sets, self._cache = sets, cache or PictureCache(0)

    def __call__(self, rng: Rng) -> UInt8Array:
        for _ in range(8):
            if not self._sets:
                break
            data = self._sets[rng.integers(len(self._sets))]
            picture = self._cache.load(data, data.names[rng.integers(len(data.names))])
            empty = (picture.target[..., HEAD] < 8) & (picture.target[..., BODY] < 8) & (picture.known[..., HEAD] > 0)
            height, width = empty.shape
            for _ in range(6):
                side = int(min(height, width) * rng.uniform(0.2, 0.6))
                y, x = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
                if empty[y : y + side, x : x + side].mean() > 0.97:
                    return picture.rgb[y : y + side, x : x + side]
        noise = rng.normal(0, 1, (64, 64, 3)).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.5, 12))
        smooth = smooth / (smooth.std() + 1e-6) * rng.uniform(5, 60) + rng.uniform(0, 255, 3)
        return np.clip(smooth, 0, 255).astype(np.uint8)


class SampleDataset(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Map-style set of ``steps * batch`` samples, each made from its own number."""

    def __init__(self, config: TrainConfig, data: OpenedData) -> None:
        self._config, self._sets = config, data.train
        weights = np.array([s.weight for s in data.train], np.float64)
        self._weights = weights / weights.sum()
        people = [s for s in data.train if s.kind.startswith("celebamask") or s.kind == "packed"]
        self._people = people or list(data.train)
        planes = loaded_planes(config)
        self._wanted = [planes.index(plane) for plane in config.outputs]
        self._cache = PictureCache(config.cache_mb * 1_000_000)
        backdrops = Backdrops(data.backdrops, self._cache)
        self._composer = Composer(self._draw, self._draw_person, backdrops, planes=len(planes))

    def _draw(self, rng: Rng) -> Picture:
        return self._any_of(self._sets[rng.choice(len(self._sets), p=self._weights)], rng)

    def _draw_person(self, rng: Rng) -> Picture:
        return self._any_of(self._people[rng.integers(len(self._people))], rng)

    def _any_of(self, data: DataSet, rng: Rng) -> Picture:
        return self._cache.load(data, data.names[rng.integers(len(data.names))])

    def __len__(self) -> int:
        return self._config.steps * self._config.batch

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        rng = np.random.default_rng((self._config.seed, index))
        sample = self._composer.sample(rng, self._config.size_at(index // self._config.batch))
        target, known = sample.target[..., self._wanted], sample.known[..., self._wanted]
        rgb, target_t, known_t = (
            torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1))) for x in (sample.rgb, target, known)
        )
        return rgb, target_t, known_t


def _one_thread(worker: int) -> None:
    # Ctrl-C, a terminal that is closed, or a service that is stopped: the process that trains decides, after its step. It may be
    # taking over a sample just now, and who gives it must not be gone.
    for name in ("SIGINT", "SIGHUP", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    sys.excepthook = _told_unless_left
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _told_unless_left(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A worker's thread that hands samples over prints what it meets: not that nobody takes them any more, after Ctrl-C."""
    if not issubclass(kind, (ConnectionError, EOFError)):
        sys.__excepthook__(kind, error, trace)


def batches(
    config: TrainConfig, data: OpenedData, *, first_step: int, rank: int = 0, world: int = 1
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(rgb, target, known) uint8 (n, C, S, S), ``accumulate`` of them for every step from ``first_step`` on.

    Each process of ``world`` gets its share of every batch, so that together they see what one alone would.
    """
    share = config.batch // config.accumulate
    if share % world:
        raise UsageError(f"batches of {share} cannot be shared out over {world} processes")
    mine = share // world
    numbers = [
        range(start + rank * mine, start + (rank + 1) * mine)
        for step in range(first_step, config.steps)
        for start in range(step * config.batch, (step + 1) * config.batch, share)
    ]
    options: dict[str, Any] = {}
    if config.workers:
        # A forked worker inherits OpenCV's and MediaPipe's locks but not their threads, and hangs.
        options = {"prefetch_factor": 4, "worker_init_fn": _one_thread, "multiprocessing_context": "spawn"}
    dataset = SampleDataset(config, data)
    try:
        yield from DataLoader(dataset, batch_sampler=numbers, num_workers=config.workers, **options)
    except Exception as error:
        # What went wrong holds the workers, and Python waits at its end for those it finds, which heed no signal.
        traceback.clear_frames(error.__traceback__)
        raise
