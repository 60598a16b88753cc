"""A network whose work on a CUDA device is recorded once and played back: one launch where there were hundreds.

A small network's kernels end sooner than the CPU can start the next ones; a CUDA graph starts them all at once.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

Net = Callable[[Tensor], Tensor]
Record = Callable[[Net, Tensor], Net]
log = logging.getLogger(__name__)

_AFTER = 2  # runs of one size: a photo is not worth a recording
_WARM_UP = 3  # runs before a recording, in which libraries choose their algorithms


class RecordedNet:
    """Calls a network; for batches of a size that comes again, plays back what was recorded.

    Batches are filled up to the next power of two, so that there are few recordings. Where recording fails, which some
    layers and drivers make it do, the network is called as it is from then on. Not safe to share between threads.
    """

    def __init__(self, net: Net, record: Record | None = None) -> None:
        self._net, self._record = net, record or record_graph
        self._runs: Counter[int] = Counter()
        self._recordings: dict[int, Net] = {}
        self._works = True

    def __call__(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) -> logits (N, planes, S, S), valid until the next call."""
        count = len(x)
        size = 1 << (count - 1).bit_length()
        self._runs[size] += 1
        if not self._works or self._runs[size] <= _AFTER:
            return self._net(x)
        if count < size:
            x = torch.cat([x, x[-1:].expand(size - count, *x.shape[1:])])
        if size not in self._recordings:
            try:
                self._recordings[size] = self._record(self._net, x)
            except RuntimeError as error:
                self._works = False
                log.info("CUDA graphs are not used: %s", error)
                return self._net(x)[:count]
        return self._recordings[size](x)[:count]


def record_graph(net: Net, example: Tensor) -> Net:
    """``net`` on batches like ``example`` as a CUDA graph. Raises RuntimeError where it cannot be recorded."""
    given = example.clone(memory_format=torch.preserve_format)
    side = torch.cuda.Stream(given.device)
    side.wait_stream(torch.cuda.current_stream(given.device))
    with torch.cuda.stream(side):
        for _ in range(_WARM_UP):
            net(given)
    torch.cuda.current_stream(given.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may use the device meanwhile
        answer = net(given)

    def play(x: Tensor) -> Tensor:
        given.copy_(x)
        graph.replay()
        return answer

    return play
