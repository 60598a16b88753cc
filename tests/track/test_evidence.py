"""What a matte says of the face box it was made for, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from headstream.track.evidence import cut_sides, evidence_of, likely_head, matte_evidence
from headstream.types import Float32Array, Head, Part

HEAD = Head(1, (40, 60, 80, 100), (0, 0, 200, 200), np.zeros((6, 2), np.float32), 0.9)


def matte(rows: slice, columns: slice) -> Float32Array:
    """(100, 100) over the crop: two pixels a cell."""
    alpha = np.zeros((100, 100), np.float32)
    alpha[rows, columns] = 1.0
    return alpha


def test_of_a_whole_head() -> None:
    alpha = matte(slice(30, 90), slice(20, 60))
    seen = matte_evidence(alpha, HEAD)
    assert seen.fill == 1.0
    assert seen.centre_px == pytest.approx((80, 120), abs=1e-3)
    assert seen.seen_px == (40, 60, 120, 180)
    alpha[5, 5:7] = 1.0  # stray cells
    assert matte_evidence(alpha, HEAD).seen_px == (40, 60, 120, 180)
    assert matte_evidence(np.zeros_like(alpha), HEAD).seen_px is None
    both: dict[Part, Float32Array] = {"head": alpha[None], "hair": np.zeros_like(alpha)[None]}
    assert evidence_of(both, "hair", [HEAD]) == {1: matte_evidence(alpha, HEAD)}  # the head tells more


def test_a_face_fills_its_box_and_tells_nothing_of_the_hair() -> None:
    seen = evidence_of({"face": matte(slice(30, 50), slice(20, 40))[None]}, "face", [HEAD])[1]
    assert seen.fill == 1.0
    assert seen.seen_px == likely_head(HEAD.box_px) == pytest.approx((30, 44.4, 90, 104.4))
    half = matte(slice(33, 47), slice(20, 30))[None]
    assert evidence_of({"face": half}, "face", [HEAD])[1].fill == 0.5
    assert evidence_of({"skin": half}, "skin", [HEAD])[1].fill == pytest.approx(0.5 / 0.6)  # eyes and mouth are holes
    nothing = np.zeros((1, 100, 100), np.float32)
    assert evidence_of({"face": nothing}, "face", [HEAD])[1].fill == 0.0


def test_hair_speaks_for_a_head_and_never_against_one() -> None:
    long = evidence_of({"hair": matte(slice(15, 90), slice(25, 35))[None]}, "hair", [HEAD])[1]
    assert long.fill == 1.0  # beside the face, not in it
    assert long.seen_px == pytest.approx((30, 30, 90, 180))
    elsewhere = matte(slice(80, 95), slice(80, 95))[None]  # somebody else's
    for hair in (elsewhere, np.zeros_like(elsewhere)):
        assert evidence_of({"hair": hair}, "hair", [HEAD]) == {}


def test_a_head_is_cut_off_only_where_the_picture_goes_on() -> None:
    across = matte(slice(None), slice(40, 60))
    assert cut_sides(across, (0, 0, 200, 200), (640, 360)) == (False, False, False, True)
    assert cut_sides(across, (20, 20, 220, 220), (640, 360)) == (False, True, False, True)
    stray = matte(slice(-2, None), slice(10, 13))
    assert cut_sides(stray, (20, 20, 220, 220), (640, 360)) == (False,) * 4
