"""Checkpoints on the disk: the new one is whole, or the old one is still there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from headstream.nets.zoo import NetSpec
from headstream.sinks.partial import PartialFile, sink_error


def write_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint over the one that may be there. Raises SinkError, and leaves that one as it was."""
    place = PartialFile(path)
    try:
        with place.path.open("wb") as file:
            torch.save(state, file)
        place.keep()
    except (OSError, RuntimeError) as error:
        # torch closes its archive on the way out, and complains of that instead of what the disk said.
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise sink_error(path, cause) from error
    finally:
        place.discard()


def save_trained(net: nn.Module, spec: NetSpec, making: dict[str, Any], path: Path) -> None:
    """Write a network as a checkpoint to start from; it holds no optimiser, so no run resumes from it.

    making: what ``making_of`` tells, for the card of what is exported from it.
    """
    write_checkpoint(
        {"ema": net.state_dict(), "spec": spec.as_dict(), "step": making["trained_steps"], "making": making}, path
    )
