"""Losses, by hand."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from headstream.train.losses import below_loss, masked_bce, masked_dice, masked_l1, matte_loss  # noqa: E402


class TestLosses:
    def test_cross_entropy_by_hand_and_only_where_known(self) -> None:
        logits = torch.tensor([[[[0.0, 2.0]], [[1.0, -1.0]]]])
        target = torch.tensor([[[[1.0, 1.0]], [[0.0, 0.0]]]])
        known = torch.tensor([[[[1.0, 0.0]], [[1.0, 1.0]]]])
        got = masked_bce(logits, target, known)
        assert got[0] == pytest.approx(np.log(2))
        assert got[1] == pytest.approx((np.log1p(np.e) + np.log1p(np.exp(-1))) / 2)

    def test_dice_is_zero_when_right_and_one_when_wrong(self) -> None:
        target = torch.zeros(1, 1, 20, 20)
        target[..., :10] = 1
        known = torch.ones_like(target)
        right = masked_dice((target * 2 - 1) * 30, target, known)
        wrong = masked_dice((1 - target * 2) * 30, target, known)
        assert float(right) == pytest.approx(0, abs=1e-3)
        assert float(wrong) == pytest.approx(1, abs=0.01)

    def test_dice_is_the_mean_over_pictures_with_something_that_is_known(self) -> None:
        target = torch.zeros(2, 1, 20, 20)
        target[0, ..., :5] = target[0, ..., 10:] = 1
        known = torch.ones_like(target)
        known[0, ..., 10:] = 0
        logits = (target * known * 2 - 1) * 30
        logits[1] = 30  # wrong, where there is nothing to be found
        assert float(masked_dice(logits, target, known)) == pytest.approx(0, abs=1e-3)
        logits[0] *= -1
        assert float(masked_dice(logits, target, known)) == pytest.approx(1, abs=0.01)

    def test_planes_count_by_their_weights(self) -> None:
        target, known = torch.rand(2, 2, 8, 8), torch.ones(2, 2, 8, 8)
        logits = torch.randn(2, 2, 8, 8)
        first, second = (float(matte_loss(logits, target, known, torch.eye(2)[k])) for k in (0, 1))
        both = matte_loss(logits, target, known, torch.tensor([1.0, 0.25]))
        assert float(both) == pytest.approx((first + 0.25 * second) / 1.25)

    def test_below_the_head_is_neither_a_sliver_nor_beside_hair(self) -> None:
        wrong = np.log1p(np.exp(3.0))

        def told(row: int, width: int = 10, *, known: float = 1.0) -> list[float]:
            """With a row of body below a row of hair; and both on their side."""
            target, sure = torch.zeros(1, 3, 100, 100), torch.ones(1, 3, 100, 100)
            target[0, 1, 50, 40:60] = 1
            target[0, 2, row, 45 : 45 + width] = 1
            sure[:, 0] = known
            logits = torch.full((1, 3, 100, 100), 3.0)
            return [float(below_loss(logits, x, sure)) for x in (target, target.transpose(2, 3))]

        assert told(53) == [0, 0]
        assert told(54) == pytest.approx([wrong, wrong], rel=1e-5)
        assert told(54, width=8) == [0, 0]
        assert told(54, width=9) == pytest.approx([wrong, wrong], rel=1e-5)
        assert told(54, known=0.0) == [0, 0]

    def test_soft_targets_can_be_met(self) -> None:
        target = torch.full((1, 1, 20, 20), 0.3)
        logits = torch.full_like(target, float(np.log(0.3 / 0.7)))
        assert float(masked_dice(logits, target, torch.ones_like(target))) == pytest.approx(0, abs=1e-5)

    def test_l1_by_hand(self) -> None:
        logits = torch.tensor([0.0, 30.0, -30.0, 30.0]).view(1, 1, 2, 2)
        target = torch.tensor([1.0, 0.25, 1.0, 1.0]).view(1, 1, 2, 2)
        known = torch.tensor([1.0, 1.0, 0.0, 1.0]).view(1, 1, 2, 2)
        assert float(masked_l1(logits, target, known)) == pytest.approx((0.5 + 0.75 + 0) / 3)
        weights = torch.tensor([1.0])
        more = matte_loss(logits, target, known, weights, l1_weight=3.0) - matte_loss(logits, target, known, weights)
        assert float(more) == pytest.approx(1.25)

    def test_unknown_pixels_have_no_say(self) -> None:
        known = torch.zeros(2, 3, 8, 8)
        known[..., :4] = 1
        logits = torch.randn(2, 3, 8, 8, requires_grad=True)
        target = torch.rand(2, 3, 8, 8)
        matte_loss(logits, target, known, torch.tensor([1.0, 0.5, 0.25])).backward()
        assert logits.grad is not None
        assert (logits.grad[..., 4:] == 0).all()
        assert (logits.grad[..., :4] != 0).any()
