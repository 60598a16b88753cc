"""A network whose work on a CUDA device is recorded once and played back: one launch where there were hundreds.

A small network's kernels end sooner than the CPU can start the next ones; a CUDA graph starts them all at once.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Net = Callable[[Tensor], Tensor]
Play = Callable[[], Tensor]
Record = Callable[[Net, Tensor], Play]
log = logging.getLogger(__name__)

_AFTER = 2  # runs of one size: a photo is not worth a recording
_WARM_UP = 3  # runs before a recording, in which libraries choose their algorithms
_ONE_AT_A_TIME = threading.Lock()  # recordings in a process


class RecordedNet:
    """Calls a network; for batches of a size that comes again, plays back what was recorded.

    Batches are filled up to the next power of two, so that there are few recordings. Where recording fails, which some
    layers and drivers make it do, the network is called as it is from then on. Not safe to share between threads.
    """

    def __init__(self, net: Net, record: Record | None = None) -> None:
        self._net, self._record = net, record or GraphRecorder()
        self._runs: Counter[int] = Counter()
        self._recordings: dict[int, tuple[Tensor, Play]] = {}
        self._works = True

    def __call__(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) -> logits (N, planes, S, S), valid until the next call."""
        count = len(x)
        size = 1 << (count - 1).bit_length()
        self._runs[size] += 1
        if not self._works or self._runs[size] <= _AFTER:
            return self._net(x)
        if size not in self._recordings:
            given = torch.zeros((size, *x.shape[1:]), dtype=x.dtype, device=x.device)
            given = given.contiguous(memory_format=torch.channels_last)
            try:
                with _ONE_AT_A_TIME:
                    self._recordings[size] = (given, self._record(self._net, given))
            except RuntimeError as error:
                self._works = False
                log.info("CUDA graphs are not used: %s", error)
                return self._net(x)
        given, play = self._recordings[size]
        given[:count].copy_(x)
        return play()[:count]


class GraphRecorder:
    """Records a network on a batch as a CUDA graph, all of them in one pool of memory: an answer lasts until the next."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, net: Net, given: Tensor) -> Play:
        """What plays it back on what then is in ``given``. Raises RuntimeError where it cannot be recorded."""
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        now = torch.cuda.current_stream(given.device)
        # The graph goes to the device and stream that are current; a recording that fails may leave its own behind.
        with torch.cuda.device(given.device), torch.cuda.stream(now):
            side = torch.cuda.Stream(given.device)
            side.wait_stream(now)
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    net(given)
            now.wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Other threads may use the device meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, stream=side, capture_error_mode="thread_local"):
                answer = net(given)

        def play() -> Tensor:
            graph.replay()
            return answer

        return play
