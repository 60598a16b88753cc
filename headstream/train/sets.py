"""From a configuration to its sets: to train on, to take backgrounds from, to score; none of them of another's pictures."""

from __future__ import annotations

import dataclasses
import logging
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headstream.errors import UsageError
from headstream.train.config import DataConfig, TrainConfig
from headstream.train.data import DataSet, read_names
from headstream.train.faces import find_faces
from headstream.train.picture import BASE_PLANES, TARGETS
from headstream.train.truth import BY_FACE, tells

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
