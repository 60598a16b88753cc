"""Losses over partly known truth. All take logits and targets (N, C, H, W) and a mask of the same shape, 1 = known."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_BESIDE_HAIR = 0.06  # of the crop's side, on both sides together
_SMOOTH = 1.0  # pixels; keeps the Dice of an empty picture at 1


def masked_bce(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy with soft targets, averaged over the known pixels of each plane: (C,)."""
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * known
    return loss.sum((0, 2, 3)) / known.sum((0, 2, 3)).clamp_min(1)


def masked_dice(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Soft Dice loss (Milletari et al., arXiv:1606.04797) of each plane, the mean over pictures: (C,).

    Squared terms in the denominator, so that soft targets can reach zero loss. A picture whose known truth is empty is
    left out: there, cross-entropy says all there is to say.
    """
    alpha, target = torch.sigmoid(logits) * known, target * known
    overlap = (alpha * target).sum((2, 3))
    total = (alpha * alpha).sum((2, 3)) + (target * target).sum((2, 3))
    dice = 1 - (2 * overlap + _SMOOTH) / (total + _SMOOTH)
    present = (target.sum((2, 3)) > 0).float()
    return (dice * present).sum(0) / present.sum(0).clamp_min(1)


def masked_l1(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Mean |alpha - target| over the known pixels of each plane, as matting networks are trained: (C,).

    Cross-entropy asks for the chance that a pixel is head, and gets haze where it is unsure; this asks for a decision.
    """
    loss = (torch.sigmoid(logits) - target).abs() * known
    return loss.sum((0, 2, 3)) / known.sum((0, 2, 3)).clamp_min(1)


def below_loss(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy of the head plane (the first) where the body (the last) is, the mean over pictures: a scalar.

    Each picture counts the same: the sliver of neck in a close-up as much as the shoulders of a half-length portrait,
    which would drown it pixel for pixel. Pixels beside hair (the second plane) are left out: this is about jaw and neck,
    and would thin out long hair over clothes.
    """
    beside = 2 * round(_BESIDE_HAIR * logits.shape[-1] / 2) + 1
    hair = F.max_pool2d(target[:, 1:2], (beside, 1), stride=1, padding=(beside // 2, 0))
    hair = F.max_pool2d(hair, (1, beside), stride=1, padding=(0, beside // 2))[:, 0]
    below = target[:, -1] * known[:, -1] * known[:, 0] * (hair < 0.5)
    loss = F.binary_cross_entropy_with_logits(logits[:, 0], target[:, 0], reduction="none") * below
    pixels = below.sum((1, 2))
    present = (pixels > 8).float()
    return (loss.sum((1, 2)) / pixels.clamp_min(1) * present).sum() / present.sum().clamp_min(1)


def matte_loss(
    logits: Tensor,
    target: Tensor,
    known: Tensor,
    weights: Tensor,
    *,
    neck_weight: float = 0.0,
    l1_weight: float = 0.0,
) -> Tensor:
    """Cross-entropy plus Dice, planes weighted by ``weights`` (C,): a scalar.

    neck_weight: how much ``below_loss`` counts beside it: a neck in a head cut-out is the mistake people see first.
    l1_weight: how much ``masked_l1`` counts in each plane.
    """
    per_plane = masked_bce(logits, target, known) + masked_dice(logits, target, known)
    if l1_weight:
        per_plane = per_plane + l1_weight * masked_l1(logits, target, known)
    loss = (per_plane * weights).sum() / weights.sum()
    return loss + neck_weight * below_loss(logits, target, known) if neck_weight else loss
