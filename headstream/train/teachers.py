"""Teachers: trained networks that a smaller one learns from beside the truth (Hinton et al., arXiv:1503.02531).

Soft labels on disk (``pseudo``) tell what a teacher sees in a picture; teachers in the run see the very crop the student
is given, mirrored, blurred and darkened like it. Where labels were drawn by hand they also tell what most labels would
say, which one careless hand does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from headstream.errors import ModelError
from headstream.nets.checkpoint import load_trained
from headstream.nets.zoo import alpha_of, as_called


class Teachers:
    """The mean of what some trained networks say of a batch of crops.

    checkpoints: of training runs, read by ``load_trained``.  outputs: the planes the student is trained to give.
    taught: those that all of them were taught; what they say of others is not ``sure``, (outputs, 1, 1) of 0 and 1.
    Raises ModelError if a teacher does not know one of them.
    """

    def __init__(self, checkpoints: Sequence[Path], outputs: tuple[str, ...], device: torch.device) -> None:
        self._nets = []
        self.taught = set(outputs) if checkpoints else set()
        for path in checkpoints:
            net, spec = load_trained(path)
            if missing := sorted(set(outputs) - set(spec.outputs)):
                raise ModelError(f"{path} cannot teach {', '.join(missing)}: it knows {', '.join(spec.outputs)}")
            self.taught &= set(spec.known)
            called = as_called(net, spec).eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
            self._nets.append((called, spec.outputs, [spec.outputs.index(plane) for plane in outputs]))
        self.sure = torch.tensor([float(plane in self.taught) for plane in outputs], device=device).view(-1, 1, 1)

    @torch.no_grad()
    def __call__(self, rgb: Tensor) -> Tensor:
        """Crops (N, 3, S, S) of 0..255 -> (N, outputs, S, S) of 0..1, float32."""
        said = [alpha_of(net(rgb).float(), knows)[:, planes] for net, knows, planes in self._nets]
        return torch.stack(said).mean(0)
