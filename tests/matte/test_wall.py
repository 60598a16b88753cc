"""Plain walls behind dark hair: made heads with known gaps between their curls."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from headstream.matte.refine import HeadMatte, Layer, MatteOptions
from headstream.matte.wall import find_wall, without_wall
from headstream.shared.colour import planes_from_rgb
from headstream.types import Colour, Float32Array, Frame, UInt8Array

S = 256
WHOLE = (0, 0, S, S)
HAIR, SKIN, WALL = (38, 30, 26), (205, 160, 135), (228, 226, 222)


def curly(hair: tuple[int, int, int] = HAIR, wall: tuple[int, int, int] = WALL) -> tuple[UInt8Array, Float32Array]:
    """A head of curls before a wall, and how much of it is head: notches all along its outline, a face in the middle."""
    truth = np.zeros((S, S), np.float32)
    cv2.circle(truth, (S // 2, S // 2), 84, 1.0, -1)
    for angle in np.arange(0, 2 * np.pi, 0.14):
        way = np.array([np.cos(angle), np.sin(angle)])
        ends = [tuple(int(v) for v in S // 2 + r * way) for r in (79, 90)]
        cv2.line(truth, ends[0], ends[1], 0.0, 3)
    truth = cv2.GaussianBlur(truth, (0, 0), 0.8)
    rgb = truth[..., None] * np.array(hair, np.float32) + (1 - truth[..., None]) * np.array(wall, np.float32)
    cv2.circle(rgb, (S // 2, S // 2), 50, SKIN, -1)
    noise = np.random.default_rng(1).normal(0, 2, (S, S, 1))
    return np.clip(rgb + noise, 0, 255).astype(np.uint8), truth


def seen() -> Float32Array:
    """What a network says of it: a smooth disc."""
    alpha = np.zeros((S, S), np.float32)
    cv2.circle(alpha, (S // 2, S // 2), 84, 1.0, -1)
    return cv2.GaussianBlur(alpha, (0, 0), 2.0)


def cut(frame: Frame, rgb: UInt8Array, *, bare: bool) -> Layer:
    return HeadMatte(MatteOptions(stability=0.0, bare=bare)).update(seen(), rgb, WHOLE, frame)


def shown(layer: Layer, rgb: UInt8Array) -> Float32Array:
    """(S, S, 3) float32: the cut-out over black."""
    out = np.zeros((S, S, 3), np.float32)
    x0, y0, x1, y1 = layer.region_px
    colours = rgb[y0:y1, x0:x1] if layer.foreground is None else np.asarray(layer.foreground)
    out[y0:y1, x0:x1] = colours * (layer.alpha[..., None] / np.float32(255))
    return out


def test_what_shows_between_dark_curls_is_taken_out() -> None:
    rgb, truth = curly()
    plain, bare = (shown(cut(Frame(rgb), rgb, bare=on), rgb) for on in (False, True))
    want = truth[..., None] * np.array(HAIR, np.float32)
    ring = np.zeros((S, S), np.uint8)
    cv2.circle(ring, (S // 2, S // 2), 92, 1, 18)
    errors = [float(np.abs(got - want)[ring > 0].mean()) for got in (plain, bare)]
    assert errors[1] < 0.5 * errors[0]


def test_the_face_and_the_hair_further_in_stay() -> None:
    rgb, _ = curly()
    plain, bare = (cut(Frame(rgb), rgb, bare=on) for on in (False, True))
    inner = np.zeros((S, S), np.uint8)
    cv2.circle(inner, (S // 2, S // 2), 66, 1, -1)
    assert (np.abs(shown(plain, rgb) - shown(bare, rgb))[inner > 0] < 1).all()


@pytest.mark.parametrize(
    ("hair", "wall"),
    [(HAIR, (60, 60, 60)), ((215, 190, 150), WALL), (WALL, HAIR)],
    ids=["before a dark wall", "fair hair", "white hair before a dark wall"],
)
def test_other_hair_and_walls_are_left_alone(hair: tuple[int, int, int], wall: tuple[int, int, int]) -> None:
    rgb, _ = curly(hair, wall)
    plain, bare = (shown(cut(Frame(rgb), rgb, bare=on), rgb) for on in (False, True))
    assert np.abs(plain - bare).max() < 2


def test_an_uneven_background_is_no_wall() -> None:
    rgb, _ = curly()
    checks = ((np.indices((S, S)) // 6).sum(axis=0) % 2 * 150)[..., None].astype(np.uint8)
    rgb = np.where(seen()[..., None] < 0.02, checks + 60, rgb).astype(np.uint8)
    plain, bare = (shown(cut(Frame(rgb), rgb, bare=on), rgb) for on in (False, True))
    assert np.abs(plain - bare).mean() < 0.05


def test_a_light_strand_within_the_band_is_no_hole() -> None:
    rgb, _ = curly()
    cv2.ellipse(
        rgb, (S // 2, S // 2), (75, 75), 0, 200, 250, WALL, 2
    )  # a lit curl, a little further in than the notches
    layer = cut(Frame(rgb), rgb, bare=True)
    x0, y0, _, _ = layer.region_px
    for angle in (205, 225, 245):
        way = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        x, y = (S // 2 + 75 * way).round().astype(int)
        assert layer.alpha[y - y0, x - x0] == 255
        assert np.abs(shown(layer, rgb)[y, x] - WALL).max() < 1  # of its own colour


def test_films_are_left_alone() -> None:
    rgb, _ = curly()
    planes = planes_from_rgb(rgb, Colour("bt709"), sub=(2, 2))
    plain, bare = (cut(Frame(planes=planes), rgb, bare=on) for on in (False, True))
    assert (plain.alpha == bare.alpha).all()


def test_dyed_hair_keeps_its_dye() -> None:
    rgb, _ = curly()
    layers = []
    for bare in (False, True):
        options = MatteOptions(stability=0.0, bare=bare, hair_color=(138, 43, 226))
        layers.append(HeadMatte(options).update(seen(), rgb, WHOLE, Frame(rgb), seen()))
    plain, other = (np.asarray(layer.foreground) for layer in layers)
    assert np.array_equal(plain, other)


def test_nothing_seen_is_no_wall() -> None:
    assert find_wall(np.full((S, S, 3), 200, np.uint8), np.zeros((S, S), np.float32)) is None


def test_strips_of_a_large_photo_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb, _ = curly()
    whole = cut(Frame(rgb), rgb, bare=True)
    monkeypatch.setattr("headstream.matte.wall._STRIP", 64)
    strips = cut(Frame(rgb), rgb, bare=True)
    assert strips.region_px == whole.region_px
    assert np.abs(strips.alpha.astype(int) - whole.alpha).max() <= 1


def test_nothing_becomes_more_opaque() -> None:
    rgb, _ = curly()
    plain, bare = (cut(Frame(rgb), rgb, bare=on) for on in (False, True))
    assert (bare.alpha <= plain.alpha).all()


def alphas(rgb: UInt8Array, alpha: Float32Array) -> list[Float32Array]:
    """(S, S) of what is cut without and with regard to the wall."""
    out = []
    for bare in (False, True):
        layer = HeadMatte(MatteOptions(stability=0.0, bare=bare)).update(alpha, rgb, WHOLE, Frame(rgb))
        x0, y0, x1, y1 = layer.region_px
        whole = np.zeros((S, S), np.float32)
        whole[y0:y1, x0:x1] = layer.alpha
        out.append(whole)
    return out


def straight() -> UInt8Array:
    """A head of straight dark hair, seen from behind, before the wall."""
    share = np.zeros((S, S), np.float32)
    cv2.circle(share, (S // 2, S // 2), 84, 1.0, -1)
    share = cv2.GaussianBlur(share, (0, 0), 0.8)[..., None]
    rgb = share * np.array(HAIR) + (1 - share) * np.array(WALL)
    return np.clip(rgb + np.random.default_rng(1).normal(0, 2, (S, S, 1)), 0, 255).astype(np.uint8)


def test_skin_at_the_outline_is_no_mixture_of_hair_and_wall() -> None:
    """The rim of an ear, say. Its brightness alone is that of a mixture."""
    rgb = straight()
    cv2.ellipse(rgb, (S // 2, S // 2), (83, 83), 0, -30, 30, SKIN, 5)
    plain, bare = alphas(rgb, seen())
    rim = np.s_[S // 2 - 10 : S // 2 + 10, S // 2 + 81]
    assert plain[rim].min() > 200
    assert (bare[rim] == plain[rim]).all()


def test_of_what_is_too_thin_to_show_its_own_colour_nothing_is_taken() -> None:
    """A grey brim beside dark hair is no black one that the wall shows through."""
    rgb, alpha = straight(), seen()
    cv2.rectangle(rgb, (S // 2, S // 2 - 4), (S - 8, S // 2 + 3), (185, 185, 185), -1)
    cv2.rectangle(alpha, (S // 2, S // 2 - 4), (S - 8, S // 2 + 3), 1.0, -1)
    plain, bare = alphas(rgb, alpha)
    brim = np.s_[S // 2 - 2 : S // 2 + 2, S - 20 : S - 10]
    assert plain[brim].min() > 240
    assert (bare[brim] == plain[brim]).all()


def test_a_light_strand_along_the_outline_is_no_hole() -> None:
    rgb = straight()
    cv2.circle(rgb, (S // 2, S // 2), 77, WALL, 1)
    _, bare = alphas(rgb, seen())
    assert (bare[S // 2 + 70 : S // 2 + 80, S // 2] == 255).all()


def test_what_reaches_in_from_the_outline_is_taken_out_no_deeper_than_curls_go() -> None:
    """A pin as light as the wall, say."""
    rgb, _ = curly()
    cv2.line(rgb, (S // 2, S // 2 - 90), (S // 2, S // 2 - 52), WALL, 2)
    plain, bare = alphas(rgb, seen())
    pin = np.s_[:, S // 2]
    assert (bare[pin][S // 2 - 82 : S // 2 - 80] < 0.7 * plain[pin][S // 2 - 82 : S // 2 - 80]).all()
    assert (bare[pin][S // 2 - 66 : S // 2 - 52] == 255).all()


def test_what_is_half_wall_gets_the_colour_of_the_hair() -> None:
    """Black hair, too."""
    for hair in (HAIR, (3, 2, 2)):
        rgb, _ = curly(hair)
        plain, bare = (cut(Frame(rgb), rgb, bare=on) for on in (False, True))
        half = (bare.alpha > 40) & (bare.alpha < 200)
        assert half.sum() > 200
        before, after = (np.abs(np.asarray(layer.foreground)[half].astype(float) - hair) for layer in (plain, bare))
        assert after.mean() < 0.4 * before.mean()
        assert (np.asarray(bare.foreground) <= np.asarray(plain.foreground)).all()  # nor is any lighter


def test_slivers_of_a_large_photo() -> None:
    """Of a head that is almost wholly beyond the picture."""
    rgb, _ = curly()
    wall = find_wall(rgb, seen())
    assert wall is not None
    for shape, region in (((3000, 1), (600, 0, 601, 3000)), ((1, 3000), (0, 600, 3000, 601))):
        alpha, own = np.full(shape, 200, np.uint8), np.full((*shape, 3), 120, np.uint8)
        lower, _ = without_wall(alpha, own, own, (region, (0, 0, 3000, 3000)), wall)
        assert lower.shape == shape
