"""The edge: guided, steadied, without spill. Invariants of the maths, then a known matte in motion."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstream.matte.clean import largest_piece, without_holes
from headstream.matte.grid import brought_up, continued, grid_from_region, over_region, visible_region
from headstream.matte.guided import guide_coefficients, levels
from headstream.matte.refine import HeadMatte, Layer, MatteOptions, merged
from headstream.matte.spill import spill_correction
from headstream.matte.temporal import MatteState, Stabiliser
from headstream.shared.colour import crop_resized, planes_from_rgb, rgb_from_planes
from headstream.shared.regions import laid_over
from headstream.types import Colour, Float32Array, Frame, Matrix, Planes, UInt8Array

S = 64


def disc(cx: float, cy: float, radius: float, side: int = S) -> Float32Array:
    """(side, side) float32 matte of a disc with a one-cell soft edge."""
    ys, xs = np.mgrid[:side, :side] + 0.5
    return np.clip(radius - np.hypot(xs - cx, ys - cy) + 0.5, 0, 1).astype(np.float32)


class TestGrid:
    @given(
        x=st.integers(-60, 200), y=st.integers(-60, 120), side=st.integers(16, 200).map(lambda v: 2 * v),
        a=st.floats(0.1, 0.9), b=st.floats(0.1, 0.9),
    )  # fmt: skip
    @settings(max_examples=60, deadline=None)
    def test_a_ramp_lands_on_its_own_pixels(self, x: int, y: int, side: int, a: float, b: float) -> None:
        """What is linear over the frame stays so: the grid and the frame agree on where every pixel is."""
        crop = (2 * x, 2 * y, 2 * x + side, 2 * y + side)
        cell = side / S
        xs = crop[0] + (np.arange(S) + 0.5) * cell
        ys = crop[1] + (np.arange(S) + 0.5) * cell
        ramp = (a * xs[None] + b * ys[:, None]).astype(np.float32)
        inner = (crop[0] + side // 4, crop[1] + side // 4, crop[2] - side // 4, crop[3] - side // 4)
        up = brought_up(ramp, grid_from_region(inner, crop, S), (inner[2] - inner[0], inner[3] - inner[1]))
        px = a * (np.arange(inner[0], inner[2]) + 0.5)[None] + b * (np.arange(inner[1], inner[3]) + 0.5)[:, None]
        assert np.abs(up - px).max() < 0.05 * cell + 1e-3

    @given(
        x=st.integers(-60, 200), y=st.integers(-60, 120), side=st.integers(16, 200).map(lambda v: 2 * v),
        sub=st.sampled_from([(1, 1), (2, 1), (2, 2)]), ends=st.tuples(*[st.floats(0, 0.4)] * 4), odd=st.booleans(),
    )  # fmt: skip
    @settings(max_examples=60, deadline=None)
    def test_over_a_region_it_is_the_same_as_pixel_by_pixel(
        self, x: int, y: int, side: int, sub: tuple[int, int], ends: tuple[float, float, float, float], odd: bool
    ) -> None:
        crop = (2 * x, 2 * y, 2 * x + side, 2 * y + side)
        x0, y0, x1, y1 = (int(side * share) // 2 * 2 for share in ends)
        region = (crop[0] + x0, crop[1] + y0, crop[2] - x1 - odd, crop[3] - y1 - odd)
        width, height = region[2] - region[0], region[3] - region[1]
        plane = cv2.GaussianBlur(disc(30, 34, 22), (0, 0), 2)
        size = (-(-width // sub[0]), -(-height // sub[1]))
        up = over_region(plane, crop, region, sub)
        assert up.shape == size[::-1]
        assert np.abs(up - brought_up(plane, grid_from_region(region, crop, S, sub), size)).max() < 0.01

    def test_the_region_holds_all_that_is_visible_and_is_even(self) -> None:
        alpha = disc(20, 40, 9)
        region = visible_region(alpha, (100, 50, 228, 178), (400, 300), 0.05)
        x0, y0, x1, y1 = region
        assert x0 <= 100 + 11 * 2
        assert x1 >= 100 + 29 * 2
        assert y0 <= 50 + 31 * 2
        assert y1 >= 50 + 49 * 2
        assert (x1 - x0) < 2 * 32
        assert all(v % 2 == 0 for v in region)

    def test_it_ends_at_the_frame(self) -> None:
        assert visible_region(np.ones((S, S), np.float32), (-50, -50, 500, 500), (301, 201), 0.1) == (0, 0, 301, 201)
        assert visible_region(np.ones((S, S), np.float32), (400, 0, 500, 100), (301, 201), 0.1) == (0, 0, 0, 0)
        assert visible_region(np.zeros((S, S), np.float32), (0, 0, 64, 64), (301, 201), 0.1) == (0, 0, 0, 0)


class TestGuided:
    def test_a_flat_guide_leaves_a_blur_and_a_flat_matte_stays(self) -> None:
        luma = np.full((S, S), 0.5, np.float32)
        a, b = guide_coefficients(np.full((S, S), 0.7, np.float32), luma)
        assert np.allclose(a * luma + b, 0.7, atol=1e-4)

    def test_an_edge_of_the_picture_becomes_the_edge_of_the_matte(self) -> None:
        luma = np.where(np.arange(S) < 30, 0.2, 0.8)[None].repeat(S, 0).astype(np.float32)
        coarse = cv2.GaussianBlur(np.where(np.arange(S) < 31, 0, 1)[None].repeat(S, 0).astype(np.float32), (0, 0), 2)
        a, b = guide_coefficients(coarse, luma, radius=3, epsilon=1e-4)
        fine = a * luma + b
        steepest = np.abs(np.diff(fine[32])).argmax()
        assert steepest == 29  # where the picture changes, not where the matte did
        assert np.abs(np.diff(fine[32])).max() > 2 * np.abs(np.diff(coarse[32])).max()

    def test_levels_by_hand(self) -> None:
        alpha = np.array([[0.0, 0.2, 0.5, 0.8, 1.0]], np.float32)
        assert np.allclose(levels(alpha, 0.2, 0.8), [[0, 0, 0.5, 1, 1]])


class TestClean:
    def test_what_lies_apart_goes_and_strands_nearby_stay(self) -> None:
        head, far = disc(20, 20, 10), disc(54, 54, 5)
        strand = np.zeros((S, S), np.float32)
        strand[20, 33:35] = 0.9
        out = largest_piece(np.maximum(np.maximum(head, far), strand))
        assert np.allclose(out[10:30, 10:30], head[10:30, 10:30], atol=1e-5)
        assert out[45:].max() == 0
        assert out[20, 33] > 0.4

    def test_nothing_stays_nothing(self) -> None:
        assert not largest_piece(np.zeros((S, S), np.float32)).any()


def textured(shift: float = 0.0) -> UInt8Array:
    """A luma full of detail, moved to the right by ``shift`` cells."""
    rng = np.random.default_rng(3)
    wide = cv2.GaussianBlur(rng.normal(0, 1, (S, 2 * S)).astype(np.float32), (0, 0), 2.5)
    wide = ((wide - wide.min()) / np.ptp(wide) * 255).astype(np.float32)
    matrix = np.array([[1, 0, shift - S / 2], [0, 1, 0]], np.float64)
    return cv2.warpAffine(wide, matrix, (S, S), flags=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


class TestStabiliser:
    crop = (0, 0, 2 * S, 2 * S)

    def test_flicker_of_a_still_head_is_damped(self) -> None:
        rng = np.random.default_rng(0)
        steady, state = Stabiliser(0.7), None
        base, luma, raw, out = disc(32, 32, 15), textured(), [], []
        for _ in range(40):
            noisy = np.clip(base + rng.normal(0, 0.08, base.shape), 0, 1).astype(np.float32)
            state = steady.update(noisy, luma, self.crop, state)
            raw.append(noisy)
            out.append(state.alpha)
        flicker = [np.abs(np.diff(np.stack(x)[5:], axis=0)).mean() for x in (raw, out)]
        assert flicker[1] < 0.5 * flicker[0]
        assert np.abs(np.mean(out[10:], axis=0) - np.mean(raw, axis=0)).mean() < 0.02

    def test_a_moving_head_does_not_trail(self) -> None:
        steady, state = Stabiliser(0.7), None
        for k in range(12):
            x = 24 + 1.5 * k
            state = steady.update(disc(x, 32, 12), textured(1.5 * k), self.crop, state)
        assert state is not None
        error = {shift: np.abs(state.alpha - disc(x - shift, 32, 12)).mean() for shift in (-1.5, 0, 1.5)}
        assert min(error, key=error.__getitem__) == 0
        assert error[0] < 0.01

    def test_a_crop_that_moves_is_accounted_for(self) -> None:
        """The head stands still in the frame; only the crop around it moves. Nothing may change in the frame."""
        scene = cv2.resize(textured(), (256, 256), interpolation=cv2.INTER_CUBIC)
        steady, state = Stabiliser(0.8), None
        for k in range(6):
            crop = (20 + 4 * k, 30, 20 + 4 * k + 192, 222)
            luma = cv2.resize(scene[crop[1] : crop[3], crop[0] : crop[2]], (S, S), interpolation=cv2.INTER_AREA)
            cell = 192 / S
            alpha = disc((128 - crop[0]) / cell, (126 - crop[1]) / cell, 14)
            state = steady.update(alpha, luma, crop, state)
            assert np.abs(state.alpha - alpha).mean() < 0.006  # what resampling a one-cell edge costs
            assert np.abs(state.alpha - alpha).max() < 0.3

    def test_what_changes_without_the_picture_moving_there_is_believed_anew(self) -> None:
        steady = Stabiliser(0.7)
        state = steady.update(disc(20, 32, 12), textured(), self.crop, None)
        state = steady.update(disc(46, 32, 12), textured(40), self.crop, state)
        assert state.alpha[32, 20] < 0.35
        assert state.alpha[32, 46] > 0.9

    def test_another_place_starts_anew(self) -> None:
        steady = Stabiliser(0.9)
        last = MatteState(np.ones((S, S), np.float32), textured(), (0, 0, 128, 128))
        assert not steady.update(np.zeros((S, S), np.float32), textured(), (400, 0, 528, 128), last).alpha.any()

    def test_what_a_fast_movement_uncovers_leaves_no_ghost(self) -> None:
        """Where the picture is another one, nothing of the last matte shows, however like the new one it is."""
        last = MatteState(np.full((S, S), 0.2, np.float32), np.full((S, S), 40, np.uint8), self.crop)
        light, alpha = np.full((S, S), 200, np.uint8), np.full((S, S), 0.6, np.float32)
        assert np.allclose(Stabiliser(0.7).update(alpha, light, self.crop, last).alpha, 0.6, atol=1e-6)

    def test_where_a_crop_leaps_nothing_is_brought_along(self) -> None:
        """Of a grey picture nothing else tells that this is another place."""
        grey = np.full((S, S), 100, np.uint8)
        last = MatteState(np.ones((S, S), np.float32), grey, (0, 0, 128, 128))
        alpha = np.full((S, S), 0.3, np.float32)
        for crop in ((400, 0, 528, 128), (0, 0, 256, 256)):
            assert np.allclose(Stabiliser(0.7).update(alpha, grey, crop, last).alpha, 0.3, atol=1e-6)

    def test_strength_is_checked(self) -> None:
        with pytest.raises(ValueError, match="strength"):
            Stabiliser(1.0)


class TestSpill:
    def test_green_light_leaves_the_edge_and_only_the_edge(self) -> None:
        alpha = cv2.GaussianBlur(disc(32, 32, 16), (0, 0), 2.0)
        skin, green = np.array([200.0, 150, 130]), np.array([20.0, 230, 40])
        mixed = (alpha[..., None] * skin + (1 - alpha[..., None]) * green).astype(np.uint8)
        step = cv2.resize(spill_correction(mixed, alpha), (S, S), interpolation=cv2.INTER_LINEAR)
        fixed = mixed + step
        edge = (alpha > 0.3) & (alpha < 0.9)
        before = np.abs(mixed[edge] - skin).mean()
        after = np.abs(fixed[edge] - skin).mean()
        assert after < 0.4 * before
        assert not spill_correction(mixed, np.ones_like(alpha)).any()
        inner = cv2.erode(alpha, np.ones((5, 5))) == 1
        assert (fixed[inner] == mixed[inner]).all()


def soft_head() -> tuple[UInt8Array, Float32Array]:
    """(160, 200, 3) of a bright disc before green, and its true matte at full size."""
    ys, xs = np.mgrid[:160, :200] + 0.5
    matte = np.clip((45 - np.hypot(xs - 100, ys - 80)) / 3 + 0.5, 0, 1).astype(np.float32)
    rgb = matte[..., None] * np.array([210, 160, 140]) + (1 - matte[..., None]) * np.array([30, 90, 40])
    return rgb.astype(np.uint8), matte


class TestHeadMatte:
    crop = (30, 10, 170, 150)

    def cut(self, frame: Frame, options: MatteOptions | None = None) -> Layer:
        rgb, matte = soft_head()
        x0, y0, x1, y1 = self.crop
        small = cv2.resize(matte[y0:y1, x0:x1], (S, S), interpolation=cv2.INTER_AREA)
        crop = crop_resized(rgb, self.crop, S)
        return HeadMatte(options or MatteOptions(stability=0.0)).update(small, crop, self.crop, frame)

    @pytest.mark.parametrize("bits", [0, 8, 10])
    def test_the_matte_comes_back_to_the_frames_own_pixels(self, bits: int) -> None:
        rgb, matte = soft_head()
        frame = Frame(planes=planes_from_rgb(rgb, Colour("bt709"), bits=bits, sub=(2, 2))) if bits else Frame(rgb)
        layer = self.cut(frame)
        x0, y0, x1, y1 = layer.region_px
        full = np.zeros((160, 200))
        full[y0:y1, x0:x1] = layer.alpha / 255
        assert np.abs(full - matte).mean() < 0.006
        assert ((full > 0.5) & (matte > 0.5)).sum() / ((full > 0.5) | (matte > 0.5)).sum() > 0.985

    def test_untouched_pixels_keep_their_exact_colours(self) -> None:
        rgb, _ = soft_head()
        planes = planes_from_rgb(rgb, Colour("bt709"), sub=(2, 2))
        layer = self.cut(Frame(planes=planes))
        assert isinstance(layer.foreground, Planes)
        own = planes.region(layer.region_px)
        solid = layer.alpha == 255
        assert solid.mean() > 0.3
        assert (layer.foreground.y[solid] == own.y[solid]).all()
        assert (layer.foreground.u[solid[::2, ::2]] == own.u[solid[::2, ::2]]).all()
        assert (layer.foreground.v[solid[::2, ::2]] == own.v[solid[::2, ::2]]).all()
        assert (layer.foreground.u != own.u).sum() > 100
        edge = (layer.alpha > 40) & (layer.alpha < 200)
        green = rgb_from_planes(layer.foreground)[edge].astype(int)
        assert (green[:, 0] - green[:, 1]).mean() > (rgb_from_planes(own)[edge].astype(int) @ [1, -1, 0]).mean() + 15

    @pytest.mark.parametrize("bits", [8, 10])
    @pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
    def test_a_film_of_any_range_and_matrix_is_cut_as_its_pictures_are(self, bits: int, matrix: Matrix) -> None:
        rgb, _ = soft_head()
        want = self.cut(Frame(rgb))
        for full_range in (False, True):
            layer = self.cut(Frame(planes=planes_from_rgb(rgb, Colour(matrix, full_range), bits=bits)))
            assert layer.region_px == want.region_px
            assert np.abs(layer.alpha.astype(int) - want.alpha).max() <= 12

    @pytest.mark.parametrize("bits", [8, 10])
    @pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
    def test_as_much_spill_is_taken_out_of_any_film(
        self, bits: int, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("headstream.matte.refine.find_screen", lambda *_: None)
        rgb, _ = soft_head()
        want = self.cut(Frame(rgb))
        edge = (want.alpha > 40) & (want.alpha < 200)
        for full_range in (False, True):
            colours = self.cut(Frame(planes=planes_from_rgb(rgb, Colour(matrix, full_range), bits=bits))).foreground
            assert isinstance(colours, Planes)
            assert np.abs(rgb_from_planes(colours)[edge].astype(int) - np.asarray(want.foreground)[edge]).mean() < 1.5

    def test_without_spill_to_be_taken_out_all_colours_are_the_frames_own(self) -> None:
        assert self.cut(Frame(soft_head()[0]), MatteOptions(stability=0.0, spill=False)).foreground is None

    def test_how_light_hair_is_that_gets_another_colour_is_followed_slowly(self) -> None:
        """Or one lamp that flickers makes it pump."""
        head = disc(32, 32, 24)
        matte = HeadMatte(MatteOptions(stability=0.0, hair_color=(138, 43, 226)))
        lights = []
        for grey in (60, 100):
            rgb = np.full((S, S, 3), grey, np.uint8)
            matte.update(head, rgb, (0, 0, S, S), Frame(rgb), head)
            lights.append(matte.snapshot()[2])
        first, second = lights
        assert first is not None
        assert second is not None
        assert 0.02 * 40 < second - first < 0.3 * 40

    def test_ten_bits_stay_within_ten_bits(self) -> None:
        rgb = np.full((160, 200, 3), 255, np.uint8)
        planes = planes_from_rgb(rgb, Colour("bt709", True), bits=10)
        layer = self.cut(Frame(planes=planes))
        assert isinstance(layer.foreground, Planes)
        assert max(int(p.max()) for p in (layer.foreground.y, layer.foreground.u, layer.foreground.v)) <= 1023

    def test_a_head_at_the_pictures_border_is_whole_up_to_it(self) -> None:
        frame = Frame(np.full((160, 200, 3), (60, 40, 30), np.uint8))
        crop_px = (30, -30, 170, 110)  # a fifth of it is above the picture
        seen = np.zeros((S, S), np.float32)
        seen[round(S * 30 / 140) :, S // 4 : -S // 4] = 1  # what is not there is no head
        layer = HeadMatte(MatteOptions(stability=0.0)).update(seen, crop_resized(frame.rgb, crop_px, S), crop_px, frame)
        assert layer.region_px[1] == 0
        middle = layer.alpha.shape[1] // 2
        assert (layer.alpha[:6, middle - 20 : middle + 20] == 255).all()
        assert isinstance(layer.foreground, np.ndarray)
        assert (layer.foreground[:6, middle - 20 : middle + 20] == (60, 40, 30)).all()

    def test_a_hole_in_a_face_is_filled_and_one_in_hair_is_not(self) -> None:
        rgb, _ = soft_head()
        seen = np.zeros((S, S), np.float32)
        cv2.circle(seen, (S // 2, S // 2), S // 3, 1.0, -1)
        cv2.circle(seen, (S // 2, S // 2), S // 20, 0.3, -1)
        for solid, shows in ((True, False), (False, True)):
            matte = HeadMatte(MatteOptions(stability=0.0), solid=solid)
            layer = matte.update(seen, crop_resized(rgb, self.crop, S), self.crop, Frame(rgb))
            middle = layer.alpha[layer.alpha.shape[0] // 2, layer.alpha.shape[1] // 2]
            assert (middle < 255) == shows

    def test_the_sources_own_transparency_stays(self) -> None:
        rgb, _ = soft_head()
        own = np.full((160, 200), 255, np.uint8)
        own[:, :100] = 0
        layer = self.cut(Frame(rgb, alpha=own))
        x0 = layer.region_px[0]
        assert not layer.alpha[:, : 100 - x0].any()
        assert layer.alpha[:, 100 - x0 :].max() == 255

    def test_nothing_seen_gives_nothing(self) -> None:
        matte = HeadMatte()
        empty = matte.update(
            np.zeros((S, S), np.float32), np.zeros((S, S, 3), np.uint8), self.crop, Frame(soft_head()[0])
        )
        assert empty.region_px == (0, 0, 0, 0)
        assert empty.alpha.size == 0

    def test_what_lies_apart_is_not_shown(self) -> None:
        rgb, _ = soft_head()
        seen = np.maximum(disc(24, 32, 15), disc(55, 32, 4))
        matte = HeadMatte(MatteOptions(stability=0.0))
        layer = matte.update(seen, crop_resized(rgb, self.crop, S), self.crop, Frame(rgb))
        x0, y0, _, _ = self.crop
        shown = laid_over(layer.alpha, layer.region_px, (0, 0, 200, 160))
        assert shown[y0 + 70, x0 + 52] == 255
        assert not shown[:, x0 + 100 :].any()


@pytest.mark.parametrize("planar", [False, True])
def test_two_layers_merge_into_their_union(planar: bool) -> None:
    rgb = np.full((40, 60, 3), 90, np.uint8)
    frame = Frame(planes=planes_from_rgb(rgb, Colour("bt709"), sub=(2, 2))) if planar else Frame(rgb, pts=Fraction(0))
    red = np.full((10, 10, 3), (200, 40, 40), np.uint8)
    colours = planes_from_rgb(red, Colour("bt709"), sub=(2, 2)) if planar else red
    one = Layer((4, 4, 14, 14), np.full((10, 10), 200, np.uint8), colours)
    two = Layer((30, 20, 40, 30), np.full((10, 10), 100, np.uint8), None)
    both = merged([one, two, Layer((0, 0, 0, 0), np.zeros((0, 0), np.uint8), None)], frame)
    assert both.region_px == (4, 4, 40, 30)
    assert both.alpha[0, 0] == 200
    assert both.alpha[-1, -1] == 100
    assert both.alpha[0, -1] == 0
    out = rgb_from_planes(both.foreground) if isinstance(both.foreground, Planes) else both.foreground
    assert out is not None
    assert np.abs(out[5, 5].astype(int) - (200, 40, 40)).max() <= 3
    assert np.abs(out[-2, -2].astype(int) - 90).max() <= 1


def test_cells_beyond_the_picture_repeat_those_at_its_border() -> None:
    grid = np.arange(64, dtype=np.float32).reshape(8, 8)
    out = continued(grid, (-20, 0, 60, 80), (50, 200))  # cells of 10 px: two before the picture, one after
    assert (out[:, :2] == out[:, 2:3]).all()
    assert (out[:, 7] == out[:, 6]).all()
    assert (out[:, 2:7] == grid[:, 2:7]).all()
    assert continued(grid, (0, 0, 80, 80), (80, 80)) is grid
    assert continued(grid, (100, 0, 180, 80), (50, 200)) is grid  # all of it is beyond


def test_gaps_near_the_outline_are_no_holes() -> None:
    alpha = np.zeros((S, S), np.float32)
    cv2.circle(alpha, (S // 2, S // 2), S // 3, 1.0, -1)
    assert without_holes(alpha) is alpha
    cv2.circle(alpha, (S // 2 + S // 3 - 6, S // 2), 3, 0.0, -1)  # behind an earring
    assert without_holes(alpha) is alpha


def test_what_the_head_divides_is_no_hole() -> None:
    alpha = np.zeros((S, S), np.float32)
    alpha[S // 3 : 2 * S // 3] = 1  # hair from one side of the crop to the other
    assert without_holes(alpha) is alpha


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_where_layers_overlap_the_more_opaque_one_gives_its_colours(planar: bool, turned: bool) -> None:
    """And the frame keeps its own."""

    def colours(grey: int, width: int) -> Planes | UInt8Array:
        rgb = np.full((40, width, 3), grey, np.uint8)
        return planes_from_rgb(rgb, Colour("bt709"), sub=(2, 2)) if planar else rgb

    own = colours(100, 80)
    frame = Frame(planes=own) if isinstance(own, Planes) else Frame(own)
    layers = [
        Layer((0, 0, 50, 40), np.full((40, 50), 255, np.uint8), colours(10, 50)),
        Layer((30, 0, 80, 40), np.full((40, 50), 100, np.uint8), colours(200, 50)),
    ]
    both = merged(layers[::-1] if turned else layers, frame).foreground
    shown = rgb_from_planes(both) if isinstance(both, Planes) else both
    assert shown is not None
    assert np.abs(shown[:, :50].astype(int) - 10).max() <= 2
    assert np.abs(shown[:, 50:].astype(int) - 200).max() <= 2
    assert np.abs(frame.rgb.astype(int) - 100).max() <= 2
