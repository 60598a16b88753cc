"""Hair strand by strand: closed-form matting against its definition, and made heads with known strands."""

from __future__ import annotations

import tracemalloc
from typing import Any

import cv2
import numpy as np
import pytest

from headstream.matte.closedform import closed_form
from headstream.matte.refine import Layer
from headstream.matte.strands import with_strands
from headstream.types import Float32Array, Frame, Region, UInt8Array

S = 320
WHOLE = (0, 0, S, S)
FACE = 130.0
HAIR, WALL = (60, 42, 30), (150, 190, 120)


def dense_laplacian(rgb: UInt8Array, epsilon: float) -> np.ndarray:
    """Equation 12 of the paper, entry by entry."""
    height, width = rgb.shape[:2]
    colours = rgb.reshape(-1, 3) / 255
    out = np.zeros((height * width, height * width))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            window = [(y + j) * width + x + i for j in (-1, 0, 1) for i in (-1, 0, 1)]
            own = colours[window]
            apart = own - own.mean(axis=0)
            inverse = np.linalg.inv(apart.T @ apart / 9 + epsilon / 9 * np.eye(3))
            out[np.ix_(window, window)] += np.eye(9) - (1 + apart @ inverse @ apart.T) / 9
    return out


@pytest.mark.parametrize(("enough", "at_once", "off"), [(1e-5, 1 << 15, 2e-3), (1e-5, 10, 2e-3), (None, 1 << 15, 1e-2)])
def test_it_solves_what_the_paper_says(
    monkeypatch: pytest.MonkeyPatch, enough: float | None, at_once: int, off: float
) -> None:
    """All windows at once, and in parts; and as exactly as it is done for photos."""
    if enough is not None:
        monkeypatch.setattr("headstream.matte.closedform._ENOUGH", enough)
    monkeypatch.setattr("headstream.matte.closedform._AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    rgb = cv2.GaussianBlur(rng.integers(0, 255, (14, 17, 3)).astype(np.uint8), (0, 0), 1)
    alpha = rng.random((14, 17)).astype(np.float32)
    open_px = np.zeros((14, 17), bool)
    open_px[3:10, 4:13] = True
    laplacian, inside = dense_laplacian(rgb, 1e-5), open_px.ravel()
    system = laplacian[np.ix_(inside, inside)] + 0.05 * np.eye(int(inside.sum()))
    want = alpha.astype(np.float64).ravel()
    want[inside] += np.linalg.solve(system, -(laplacian @ want)[inside])
    got = closed_form(rgb, alpha, open_px, 0.05)
    assert np.abs(got.ravel() - want).max() < off
    assert (got[~open_px] == alpha[~open_px]).all()


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (3, 3), (1, 40)])
def test_pictures_without_room_for_windows(shape: tuple[int, int]) -> None:
    alpha = np.full(shape, 0.5, np.float32)
    got = closed_form(np.zeros((*shape, 3), np.uint8), alpha, np.ones(shape, bool), 0.01)
    assert np.allclose(got, 0.5, atol=1e-3)


def head(side: int = S) -> tuple[UInt8Array, Float32Array]:
    """Hair with strands that stand off it, before a background that is not plain; and how much of each pixel is hair."""
    truth = np.zeros((S, S), np.float32)
    middle = (S // 2, S // 2)
    cv2.circle(truth, middle, 84, 1.0, -1)
    for angle in np.arange(0, 2 * np.pi, 0.12):
        way = np.array([np.cos(angle), np.sin(angle)])
        cv2.line(truth, middle, [int(v) for v in S // 2 + 91 * way], 1.0, 2, cv2.LINE_AA)
    truth = cv2.resize(truth, (side, side), interpolation=cv2.INTER_AREA)
    rng = np.random.default_rng(1)
    blobs = cv2.resize(rng.normal(0, 14, (7, 7, 3)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    wall = np.array(WALL, np.float32) + blobs
    rgb = truth[..., None] * np.array(HAIR, np.float32) + (1 - truth[..., None]) * wall
    return np.clip(rgb + rng.normal(0, 1.5, rgb.shape), 0, 255).astype(np.uint8), truth


def seen(side: int = S) -> Layer:
    """What the network's matte is: a smooth disc."""
    alpha = np.zeros((side, side), np.float32)
    cv2.circle(alpha, (side // 2, side // 2), side * 87 // S, 255.0, -1)
    alpha = cv2.GaussianBlur(alpha, (0, 0), 3.0 * side / S)
    m = side // 8
    return Layer((m, m, side - m, side - m), alpha[m:-m, m:-m].astype(np.uint8), None)


def laid_out(layer: Layer, side: int = S) -> Float32Array:
    out = np.zeros((side, side), np.float32)
    x0, y0, x1, y1 = layer.region_px
    out[y0:y1, x0:x1] = layer.alpha / np.float32(255)
    return out


ALL_HAIR = np.ones((64, 64), np.float32)


@pytest.mark.parametrize("side", [S, 6 * S])  # as it is, and brought up from a smaller one
def test_alpha_follows_the_strands(side: int) -> None:
    rgb, truth = head(side)
    crop_px: Region = (0, 0, side, side)
    before = seen(side)
    after = with_strands(before, ALL_HAIR, crop_px, Frame(rgb), FACE * side / S)
    errors = [float(np.abs(laid_out(layer, side) - truth).mean()) for layer in (before, after)]
    assert errors[1] < 0.75 * errors[0]


def test_larger_photos_show_what_their_own_pixels_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strands are sharper than those that are solved for, and nothing is turned inside out where it overshoots."""
    monkeypatch.setattr("headstream.matte.strands._LARGEST_FACE_PX", FACE)
    errors = []
    for side in (S, 2 * S):
        rgb, truth = head(side)
        alpha = laid_out(with_strands(seen(side), ALL_HAIR, (0, 0, side, side), Frame(rgb), FACE * side / S), side)
        errors.append(float(np.abs(alpha - truth).mean()))
        window = np.ones((5, 5), np.uint8)
        assert alpha[cv2.erode(truth, window) == 1].min() > 0.5
        assert alpha[cv2.dilate(truth, window) == 0].max() < 0.5
    assert errors[1] < errors[0]


@pytest.mark.parametrize(
    ("part", "along"),
    [
        ((0, 100, S, S), np.s_[:6]),
        ((100, 0, S, S), np.s_[:, :6]),
        ((0, 0, S, 220), np.s_[-6:]),
        ((0, 0, 220, S), np.s_[:, -6:]),
    ],
    ids=["top", "left", "bottom", "right"],
)
def test_a_head_that_the_photos_border_cuts_has_strands_up_to_it(part: Region, along: Any) -> None:
    rgb, truth = head()
    whole = seen()
    x0, y0, x1, y1 = part
    left, top, right, bottom = (
        min(max(v, lo), hi) for v, lo, hi in zip(whole.region_px, (x0, y0) * 2, (x1, y1) * 2, strict=True)
    )
    alpha = (255 * laid_out(whole)[top:bottom, left:right]).astype(np.uint8)
    before = Layer((left - x0, top - y0, right - x0, bottom - y0), alpha, None)
    after = with_strands(before, ALL_HAIR, (-x0, -y0, S - x0, S - y0), Frame(rgb[y0:y1, x0:x1]), FACE)
    left, top, right, bottom = after.region_px
    assert min(left, top, x1 - x0 - right, y1 - y0 - bottom) >= 0
    assert after.alpha.shape == (bottom - top, right - left)
    own = truth[y0:y1, x0:x1]
    errors = []
    for layer in (before, after):
        left, top, right, bottom = layer.region_px
        shown = np.zeros(own.shape, np.float32)
        shown[top:bottom, left:right] = layer.alpha / np.float32(255)
        errors.append(np.abs(shown - own))
    assert errors[1].mean() < 0.6 * errors[0].mean()
    assert errors[1][along].mean() < 0.8 * errors[0][along].mean()


def test_between_strands_no_haze_is_left() -> None:
    rgb, truth = head()
    before = seen()
    alpha = laid_out(with_strands(before, ALL_HAIR, WHOLE, Frame(rgb), FACE))
    solved = cv2.dilate((alpha != laid_out(before)).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    beside = solved & (cv2.dilate(truth, np.ones((9, 9), np.uint8)) == 0)
    assert beside.sum() > 200
    assert (alpha[beside] > 0).mean() < 0.1


def test_hair_that_nothing_shows_through_keeps_its_very_pixels() -> None:
    rgb, _ = head()
    layer = with_strands(seen(), ALL_HAIR, WHOLE, Frame(rgb), FACE)
    x0, y0, x1, y1 = layer.region_px
    assert isinstance(layer.foreground, np.ndarray)
    whole = layer.alpha == 255
    assert np.abs(layer.foreground[whole].astype(int) - rgb[y0:y1, x0:x1][whole]).max() <= 1


def test_large_photos_take_little_more_than_their_own_pixels() -> None:
    """Of 100 megapixels, numbers for each would be more than there is memory."""
    side = 10 * S
    rgb = cv2.resize(head()[0], (side, side))
    layer = seen(side)
    tracemalloc.start()
    with_strands(layer, ALL_HAIR, (0, 0, side, side), Frame(rgb), FACE * side / S)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30 * side**2


def test_strands_have_the_colour_of_hair() -> None:
    rgb, _ = head()
    layer = with_strands(seen(), ALL_HAIR, WHOLE, Frame(rgb), FACE)
    x0, y0, x1, y1 = layer.region_px
    assert isinstance(layer.foreground, np.ndarray)
    half = (layer.alpha > 60) & (layer.alpha < 200)
    assert half.sum() > 300
    own, plain = (
        np.abs(colours[half].astype(float) - HAIR).mean() for colours in (layer.foreground, rgb[y0:y1, x0:x1])
    )
    assert own < plain / 3


def test_the_squares_of_jpeg_are_no_edges() -> None:
    """Where dark hair lies before something dark they are all there is to be seen."""
    _, truth = head()
    share = cv2.GaussianBlur(truth, (0, 0), 4)[..., None]
    rgb = share * np.array((30, 24, 22)) + (1 - share) * np.array((26, 22, 22))
    rgb += np.random.default_rng(1).normal(0, 0.7, rgb.shape)
    _, data = cv2.imencode(".jpg", np.clip(rgb, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 75])
    alpha = laid_out(with_strands(seen(), ALL_HAIR, WHOLE, Frame(cv2.imdecode(data, cv2.IMREAD_COLOR)), FACE))
    steps = np.abs(np.diff(alpha, axis=0)).sum(axis=1) + np.abs(np.diff(alpha, axis=1)).sum(axis=0)
    between = np.arange(1, S) % 8 == 0
    assert steps[between].mean() < 25 * steps[~between].mean()


def test_only_the_edge_of_hair_is_touched() -> None:
    rgb, _ = head()
    hair = np.zeros((64, 64), np.float32)
    hair[:32] = 1.0  # the upper half; the lower one is chin and neck
    before = seen()
    layer = with_strands(before, hair, WHOLE, Frame(rgb), FACE)
    changed = np.abs(laid_out(layer) - laid_out(before)) > 0
    assert changed[: S // 2 - 8].any()
    assert not changed[S // 2 + 8 :].any()


def test_elsewhere_colours_stay_those_of_the_layer() -> None:
    """Which are without spill, or of another hair colour."""
    rgb, _ = head()
    before = seen()
    own = np.random.default_rng(2).integers(0, 255, (*before.alpha.shape, 3), dtype=np.uint8)
    hair = np.zeros((64, 64), np.float32)
    hair[:32] = 1.0
    given = own.copy()
    layer = with_strands(Layer(before.region_px, before.alpha, given), hair, WHOLE, Frame(rgb), FACE)
    (x0, y0, _, _), (left, top, right, bottom) = layer.region_px, before.region_px
    assert isinstance(layer.foreground, np.ndarray)
    within = layer.foreground[top - y0 : bottom - y0, left - x0 : right - x0]
    height = bottom - top
    assert (within[height // 2 + 8 :] == own[height // 2 + 8 :]).all()  # chin and neck
    assert (within[height // 2 - 40 : height // 2, 80:160] == own[height // 2 - 40 : height // 2, 80:160]).all()
    assert (given == own).all()


def test_without_hair_or_matte_nothing_changes() -> None:
    rgb, _ = head()
    before = seen()
    assert with_strands(before, np.zeros((64, 64), np.float32), WHOLE, Frame(rgb), FACE) is before
    empty = Layer((0, 0, 0, 0), np.zeros((0, 0), np.uint8), None)
    assert with_strands(empty, ALL_HAIR, WHOLE, Frame(rgb), FACE) is empty
