"""What a run computes on: one CPU, a GPU, Apple's, or several processes started by torchrun."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import nn

from headstream.errors import UsageError
from headstream.nets.device import choose_device
from headstream.train.config import Amp

# The others wait for what the first process does alone: an evaluation, a search for duplicates over all pictures.
_PATIENCE = timedelta(days=1)
# Words of torch, cuBLAS, cuDNN, which finds nothing that fits into what is left, and Linux.
_NO_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
    "Unable to find a valid cuDNN algorithm",
    "unable to find an engine to execute",
)


@dataclass(frozen=True)
class Hardware:
    """device: where tensors live.  precision: of autocast, or None.  rank, world: this process among how many."""

    device: torch.device
    precision: torch.dtype | None
    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context a forward pass runs in."""
        return torch.autocast(self.device.type, self.precision or torch.bfloat16, enabled=self.precision is not None)

    def scaler(self) -> torch.amp.GradScaler:
        """Loss scaling, which only half precision needs."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == torch.float16)

    def spread(self, net: nn.Module) -> nn.Module:
        """``net`` with gradients averaged over all processes; ``net`` itself where there is one."""
        if self.world == 1:
            return net
        return nn.parallel.DistributedDataParallel(
            net, device_ids=[self.device] if self.device.type == "cuda" else None
        )

    def agreed(self, decided: bool) -> bool:
        """What the leading process has decided, in each of them; all must ask at the same step."""
        if self.world == 1:
            return decided
        flag = torch.tensor([decided], dtype=torch.uint8, device=self.device)
        torch.distributed.broadcast(flag, 0)
        return bool(flag.item())

    def mean(self, value: float) -> float:
        """The mean over all processes; all must ask at the same step."""
        if self.world == 1:
            return value
        total = torch.tensor(value, dtype=torch.float32, device=self.device)
        torch.distributed.all_reduce(total)
        return float(total) / self.world

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """All processes come to the end of this block, or none: where it is broken off in one, it raises OtherEndedError in the
        others. All must come to it at the same step."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(RuntimeError):  # of another that has ended, too
                self.mean(1.0)
            raise
        if self.mean(0.0) > 0:
            raise OtherEndedError


class OtherEndedError(RuntimeError):
    """Another process of the run has ended, or is about to."""


def _precision(amp: Amp, device: torch.device) -> torch.dtype | None:
    if amp == "auto":
        if device.type == "cuda":  # torch's own word for it also counts cards that only emulate bf16
            return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
        return None
    return {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]


@contextlib.contextmanager
def hardware(wanted: str = "auto", amp: Amp = "auto") -> Iterator[Hardware]:
    """What to train on. Under torchrun it joins the other processes and leaves them at the end."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    device = choose_device(wanted)
    if world == 1:
        yield Hardware(device, _precision(amp, device))
        return
    if missing := {"RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} - os.environ.keys():
        raise UsageError(f"WORLD_SIZE is set, but not {min(missing)}: start it by torchrun, or unset WORLD_SIZE")
    rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    if device.type == "cuda":
        if local >= (count := torch.cuda.device_count()):
            raise UsageError(
                f"process {local} of this machine has no GPU of its own: torchrun --nproc-per-node {count} is all"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Hardware(device, _precision(amp, device), rank, world)
    finally:
        # Networks that are spread over the processes hold their group, whose threads must be gone before Python is.
        gc.collect()
        torch.distributed.destroy_process_group()


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, on any device."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    )


def process_lost(error: BaseException) -> bool:
    """Whether an exception means that another process of the run has ended; gloo tells it in words only."""
    lost = isinstance(error, (OtherEndedError, torch.distributed.DistError))
    return lost or (isinstance(error, RuntimeError) and "gloo" in str(error))


def worker_lost(error: BaseException) -> bool:
    """Whether an exception means that a process which makes samples is gone. Linux ends one where memory runs out."""
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")


def no_shared_memory(error: BaseException) -> bool:
    """Whether an exception means that there is no room to hand samples over in; torch tells it in words only."""
    told = str(error)
    return isinstance(error, RuntimeError) and ("shared memory" in told or "</torch_" in told)
