"""What made the weights so far: kept in every checkpoint, compared when a run is taken up, told on the card."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstream.errors import UsageError
from headstream.nets.zoo import NetSpec
from headstream.train.record import Differences, Record, differences, in_words

log = logging.getLogger(__name__)


@dataclass
class History:
    """record: what the run depends on now.  commands: that made it, in order.  changes: on the way, in words.
    seconds: spent in training.  scores: of the last evaluation, and its step."""

    record: Record
    commands: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As kept in checkpoints."""
        return dataclasses.asdict(self)

    def take_up(self, state: dict[str, Any], spec: NetSpec, path: Path, *, fits: bool, change: bool) -> Differences:
        """Go on from the checkpoint ``state``; what differs is given back, and noted.

        fits: whether its weights fit the network.  change: whether a difference is meant. Raises UsageError if not.
        """
        told = state.get("history")
        if told is None:
            before = NetSpec.from_dict(state["spec"]).as_dict()
            different = {k: (before[k], v) for k, v in spec.as_dict().items() if before[k] != v}
            told = {"changes": [f"step {state['step']}: settings before were not recorded"]}
            versions = ""
        else:
            different = differences(told["record"], self.record)
            versions = in_words(_versions(told["record"], self.record))
        if different and not (change and fits):
            advice = "" if fits else "; the network is another, so its weights do not fit"
            go_on = f", or add --change to go on with what is new from step {state['step']} on" if fits else ""
            raise UsageError(f"{path} was trained with {in_words(different)}{advice}. Name another --out{go_on}")
        if "record" not in told:
            log.warning("%s tells no settings (an older version wrote it): nothing could be compared", path)
        changed = [f"step {state['step']}: {words}" for words in (in_words(different), versions) if words]
        self.changes = [*told["changes"], *changed]
        self.commands = list(dict.fromkeys([*told.get("commands", []), *self.commands]))
        self.seconds, self.scores = told.get("seconds", 0.0), told.get("scores", {})
        return different


def _versions(was: Record, now: Record) -> Differences:
    return {key: (was[key], now[key]) for key in ("headstream", "torch") if was[key] != now[key]}
