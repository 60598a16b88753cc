"""From a configuration to endless, reproducible batches: sample number i depends on the seed and i alone."""

from __future__ import annotations

import dataclasses
import logging
import random
import re
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from headstream.errors import UsageError
from headstream.train.augment import Composer
from headstream.train.config import DataConfig, TrainConfig
from headstream.train.data import DataSet, read_names
from headstream.train.disturb import Rng
from headstream.train.faces import find_faces
from headstream.train.picture import BASE_PLANES, BODY, HEAD, TARGETS, Picture
from headstream.train.truth import BY_FACE, tells
from headstream.types import UInt8Array

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenedData:
    """The sets of a configuration: to train on, to take backgrounds from, to score.

    validated: what each entry of the configuration holds out to be scored, None where that is nothing.
    """

    train: tuple[DataSet, ...]
    backdrops: tuple[DataSet, ...]
    validated: tuple[DataSet | None, ...]

    @property
    def validation(self) -> tuple[DataSet, ...]:
        """The sets to score."""
        return tuple(data for data in self.validated if data is not None)


def loaded_planes(config: TrainConfig) -> tuple[str, ...]:
    """Planes to load: head, hair and body, which the augmentation needs, then what the network is to learn besides."""
    return BASE_PLANES + tuple(plane for plane in config.outputs if plane not in BASE_PLANES)


def open_data(
    config: TrainConfig,
    data_root: Path,
    config_dir: Path,
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
) -> OpenedData:
    """All sets of a configuration, held-out and validation names left out of training, each with its face boxes.

    progress: called with the number of pictures of a set in which faces were looked for, and how many there are.
    """
    train: list[DataSet] = []
    validated: list[DataSet | None] = []
    for entry in config.data:
        opened = _opened(entry, loaded_planes(config), data_root, config_dir)
        chosen = _validation_names(entry, opened, config_dir, config.seed)
        scored = None
        if chosen:
            scored = dataclasses.replace(opened, names=tuple(sorted(chosen)), pseudo=None)
            scored.check_truth()
            left = tuple(name for name in opened.names if name not in chosen)
            if not left:
                raise UsageError(f"{entry.folder}: nothing is left to train on beside the {len(chosen)} validated")
            opened = dataclasses.replace(opened, names=left)
        opened.check_truth()
        validated.append(scored)
        train.append(opened)
    train = [_without_validated(data, validated) for data in train]
    _check_told(config, train, [data for data in validated if data is not None])
    for number, (data, entry) in enumerate(zip(train, config.data, strict=True)):  # last: it may take hours
        file = cache / f"faces-{_as_a_name(entry.folder)}.json"
        train[number] = dataclasses.replace(data, faces=find_faces(data, file, progress))
        scored = validated[number]
        if scored is not None and scored.kind in BY_FACE:
            validated[number] = dataclasses.replace(scored, faces=find_faces(scored, file, progress))
    backdrops = [data for data, entry in zip(train, config.data, strict=True) if entry.backdrops]
    return OpenedData(tuple(train), tuple(backdrops), tuple(validated))


def _without_validated(data: DataSet, validated: list[DataSet | None]) -> DataSet:
    """A set to train on without what other entries of its pictures validate: a folder may be named twice."""
    same = [
        frozenset(scored.names) for scored in validated if scored and scored.images.resolve() == data.images.resolve()
    ]
    left = tuple(name for name in data.names if not any(name in names for names in same))
    if left == data.names:
        return data
    if not left:
        raise UsageError(f"{data.root}: nothing is left to train on; other [[data]] of this folder validate all of it")
    count = len(data.names) - len(left)
    log.warning("%s: %d pictures are not trained on: other [[data]] of this folder validate them", data.root, count)
    return dataclasses.replace(data, names=left)


def _as_a_name(folder: str) -> str:
    """Part of a file's name that no other folder has: a-b is not a/b."""
    return re.sub(r"[%/\\:]", lambda mark: f"%{ord(mark[0]):02X}", folder)


def _opened(entry: DataConfig, planes: tuple[str, ...], data_root: Path, config_dir: Path) -> DataSet:
    """A set without what is held out. Raises UsageError where an entry asks for what is not there."""
    held = frozenset[str]().union(*(read_names(config_dir / name) for name in entry.hold_out))
    pseudo = None if entry.pseudo is None else config_dir / entry.pseudo
    if pseudo is not None and not pseudo.is_dir():
        raise UsageError(f"pseudo of {entry.folder}: there is no folder {pseudo}")
    opened = DataSet(
        entry.kind,
        data_root / entry.folder,
        weight=entry.weight,
        exclude=held,
        pseudo=pseudo,
        pseudo_unsure=entry.pseudo_unsure,
        plane=entry.plane,
        planes=planes,
    )
    missing = held.difference(opened.all_names())
    if held and len(missing) == len(held):
        raise UsageError(f"hold_out of {entry.folder}: none of the {len(held)} names, such as {min(held)}, is in it")
    if missing:  # a list may be of several sets
        told = (entry.folder, len(missing), len(held), min(missing))
        log.warning("hold_out of %s: %d of %d names are not in it, such as %s", *told)
    return opened


def _check_told(config: TrainConfig, train: list[DataSet], validated: list[DataSet]) -> None:
    """Raise UsageError where no set's truth tells what is to be learnt, or scored, from all else: the loss would fall, and the
    scores be perfect, of a network that takes everything."""
    wanted = TARGETS[config.target]
    for sets, use in ((train if not config.teachers else [], "to learn from"), (validated, "to validate")):
        if sets and not any(tells(data, plane) for data in sets for plane in wanted):
            names = ", ".join(f"{data.root.name} ({data.kind})" for data in sets)
            raise UsageError(
                f"target {config.target}: none of the sets {use}, {names}, tells it from all else; add one that does, such as "
                "celebamask, or choose another --target"
            )


def _validation_names(entry: DataConfig, opened: DataSet, config_dir: Path, seed: int) -> frozenset[str]:
    if not entry.validate:
        return frozenset()
    if not entry.validate.endswith("%"):
        named = read_names(config_dir / entry.validate)
        if missing := sorted(named.difference(opened.all_names())):
            raise UsageError(
                f"validate = {entry.validate!r}: {len(missing)} of {len(named)} names are not in {opened.root}, such as "
                f"{missing[0]}"
            )
        return named
    try:
        share = float(entry.validate[:-1]) / 100
        if not 0 < share < 1:
            raise ValueError
    except ValueError:
        raise UsageError(f"validate = {entry.validate!r}: expected a file of names or a share like '5%'") from None
    shuffled = list(opened.names)
    random.Random(seed).shuffle(shuffled)
    return frozenset(shuffled[: max(1, round(share * len(shuffled)))])


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
    yield from DataLoader(dataset, batch_sampler=numbers, num_workers=config.workers, **options)
