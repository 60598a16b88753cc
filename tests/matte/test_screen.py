"""Before a green or blue screen: what shines through hair is taken out; hats of its colour and other backgrounds stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headstream.matte.refine import HeadMatte, MatteOptions
from headstream.matte.screen import find_screen, keyed
from headstream.shared.colour import planes_from_rgb
from headstream.shared.turned import turned
from headstream.types import Colour, Frame

SIDE = 256
GREEN, BLUE, HAIR, SKIN = (40, 170, 80), (30, 80, 190), (36, 30, 28), (205, 150, 125)
WHOLE = (0, 0, SIDE, SIDE)


def distance() -> Any:
    """From the middle of the picture."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.hypot(rows - SIDE / 2, columns - SIDE / 2)


def scene(screen: Any, hair: Any = HAIR) -> tuple[Any, Any, Any]:
    """A head whose hair thins out from 80 px on: the picture, the true alpha, and the hard one a network gives."""
    away = distance()
    truth = np.clip((90 - away) / 10, 0, 1)
    head = np.where((away < 50)[..., None], np.array(SKIN), np.array(hair))
    rgb = head * truth[..., None] + np.asarray(screen) * (1 - truth[..., None])
    return rgb.round().astype(np.uint8), truth, (away < 90).astype(np.float32)


def frame_of(rgb: Any, kind: str) -> Frame:
    if kind == "rgb":
        return Frame(rgb)
    bits, sub = {"8-bit": (8, (2, 2)), "10-bit": (10, (2, 2)), "4:4:4": (8, (1, 1))}[kind]
    return Frame(planes=planes_from_rgb(rgb, Colour(), bits=bits, sub=sub))


@pytest.mark.parametrize("kind", ["rgb", "8-bit", "10-bit", "4:4:4"])
@pytest.mark.parametrize("screen", [GREEN, BLUE])
def test_hair_is_see_through_as_far_as_it_is_and_has_its_own_colour(kind: str, screen: Any) -> None:
    rgb, truth, network = scene(screen)
    frame = frame_of(rgb, kind)
    plain = HeadMatte(MatteOptions(spill=False)).update(network, rgb, WHOLE, frame)
    layer = HeadMatte().update(network, rgb, WHOLE, frame)
    x0, y0, x1, y1 = layer.region_px
    true = truth[y0:y1, x0:x1]
    before, after = (np.abs(alpha / 255 - true) for alpha in (plain.alpha, layer.alpha))
    edge = (true > 0.3) & (true < 0.95)
    assert after[edge].mean() < 0.5 * before[edge].mean()
    own = Frame(layer.foreground) if kind == "rgb" else Frame(planes=layer.foreground)  # type: ignore[arg-type]
    assert np.abs(own.rgb[edge].astype(int) - HAIR).mean() < 8
    assert (layer.alpha[true == 0] <= plain.alpha[true == 0]).all()  # never more than the network saw


def test_what_is_whole_keeps_its_very_pixels() -> None:
    rgb, _, network = scene(GREEN)
    frame = frame_of(rgb, "8-bit")
    layer = HeadMatte().update(network, rgb, WHOLE, frame)
    assert frame.planes is not None
    own, (x0, y0, x1, y1) = frame.planes.region(layer.region_px), layer.region_px
    inside = distance()[y0:y1, x0:x1] < 60
    assert (layer.alpha[inside] == 255).all()
    assert (layer.foreground.y[inside] == own.y[inside]).all()  # type: ignore[union-attr]


def test_a_screen_lit_unevenly_is_taken_out_on_its_dark_side_too() -> None:
    light = np.linspace(0.7, 1.2, SIDE)[None, :, None]
    rgb, truth, network = scene(np.array(GREEN) * light)
    layer = HeadMatte().update(network, rgb, WHOLE, Frame(rgb))
    x0, y0, x1, y1 = layer.region_px
    true = truth[y0:y1, x0:x1]
    edge = (true > 0.3) & (true < 0.95)
    error = np.abs(layer.alpha / 255 - true)
    columns = np.arange(x0, x1)[None] + np.zeros_like(true)
    for side in (columns < SIDE / 2, columns >= SIDE / 2):
        assert error[edge & side].mean() < 0.12


@pytest.mark.parametrize("hat", [GREEN, (60, 150, 90)])
def test_a_hat_of_the_screens_colour_stays(hat: Any) -> None:
    rgb, _, network = scene(GREEN, hair=hat)
    layer = HeadMatte().update(network, rgb, WHOLE, Frame(rgb))
    x0, y0, x1, y1 = layer.region_px
    assert layer.alpha[distance()[y0:y1, x0:x1] < 78].mean() > 200


@pytest.mark.parametrize(
    "background",
    [(190, 120, 60), (200, 200, 205), (120, 30, 40), (70, 75, 60), (1, 20, 66)],
    ids=["wood", "wall", "curtain", "drab", "stage"],
)
def test_other_plain_backgrounds_are_no_screens(background: Any) -> None:
    rgb, _, network = scene(background)
    assert find_screen(rgb, network, WHOLE, (SIDE, SIDE)) is None


def test_leaves_of_many_greens_are_no_screen() -> None:
    leaves = np.random.default_rng(1).uniform(0.2, 1.8, (SIDE, SIDE, 1)) * np.array((60, 110, 40))
    rgb, _, network = scene(np.clip(leaves, 0, 255))
    assert find_screen(rgb, network, WHOLE, (SIDE, SIDE)) is None


def test_only_what_is_beside_and_above_the_head_in_the_frame_counts() -> None:
    rgb, _, network = scene(GREEN)
    below = rgb.copy()
    below[SIDE // 2 :] = np.where(network[SIDE // 2 :, :, None] > 0, below[SIDE // 2 :], (90, 60, 60))  # a jacket
    assert find_screen(below, network, WHOLE, (SIDE, SIDE)) is not None
    # The same crop where nearly all of that lies beyond the frame's border.
    assert find_screen(rgb, network, (-160, -160, SIDE - 160, SIDE - 160), (100, 100)) is None


@pytest.mark.parametrize("roll_deg", [-90, 90, 120, 180])
def test_clothes_are_where_the_chin_is(roll_deg: int) -> None:
    """Of somebody who lies, they are beside the head."""
    rgb, _, network = scene(GREEN)
    rgb[SIDE // 2 :] = np.where(network[SIDE // 2 :, :, None] > 0, rgb[SIDE // 2 :], (90, 60, 60))
    quarters = round(roll_deg / 90)
    lying, mask = turned(rgb, quarters), turned(network, quarters)
    found = find_screen(lying, mask, WHOLE, (SIDE, SIDE), roll_deg)
    assert found is not None
    assert found == find_screen(rgb, network, WHOLE, (SIDE, SIDE))
    assert find_screen(lying, mask, WHOLE, (SIDE, SIDE)) != found


def test_no_head_and_a_head_that_fills_the_crop() -> None:
    rgb, _, network = scene(GREEN)
    assert find_screen(rgb, np.zeros_like(network), WHOLE, (SIDE, SIDE)) is None
    assert find_screen(rgb, np.ones_like(network), WHOLE, (SIDE, SIDE)) is None


def test_a_faint_screen_counts_in_part() -> None:
    network = scene(GREEN)[2]
    faint = find_screen(scene((100, 150, 108))[0], network, WHOLE, (SIDE, SIDE))
    assert faint is not None
    assert 0 < faint.strength < 1
    vivid = find_screen(scene(GREEN)[0], network, WHOLE, (SIDE, SIDE))
    assert vivid is not None
    assert vivid.strength == 1


def test_hdr_films_are_left_alone() -> None:
    rgb, _, network = scene(GREEN)
    planes = planes_from_rgb(rgb, Colour(transfer_code=16, primaries_code=9, matrix="bt2020"), bits=10, sub=(2, 2))
    layer = HeadMatte().update(network, rgb, WHOLE, Frame(planes=planes))
    plain = HeadMatte(MatteOptions(spill=False)).update(network, rgb, WHOLE, Frame(planes=planes))
    assert (layer.alpha == plain.alpha).all()


def test_regions_of_one_pixel_and_odd_sizes() -> None:
    rgb, _, network = scene(GREEN)
    screen = find_screen(rgb, network, WHOLE, (SIDE, SIDE))
    assert screen is not None
    for region in ((38, 40, 39, 41), (36, 30, 137, 131)):
        x0, y0, x1, y1 = region
        for kind in ("rgb", "8-bit"):
            frame = frame_of(rgb[:131, :137], kind)
            alpha, colours = keyed(np.full((y1 - y0, x1 - x0), 255, np.uint8), None, frame, region, screen)
            assert alpha.shape == (y1 - y0, x1 - x0)
            assert (colours.shape[:2] if isinstance(colours, np.ndarray) else colours.y.shape) == alpha.shape


def test_a_hat_much_like_the_screen_is_no_thinner_at_its_edge() -> None:
    rgb, _, network = scene(GREEN, hair=(50, 140, 70))
    layer = HeadMatte().update(network, rgb, WHOLE, Frame(rgb))
    x0, y0, x1, y1 = layer.region_px
    away = distance()[y0:y1, x0:x1]
    assert layer.alpha[(away > 70) & (away < 80)].mean() > 240


def test_shadows_of_a_screen_are_no_hair_and_its_lights_no_hole() -> None:
    rgb, truth, network = scene(np.array(GREEN) * np.linspace(0.65, 1.3, SIDE)[None, :, None])
    layer = HeadMatte().update(network, rgb, WHOLE, Frame(rgb))
    x0, y0, x1, y1 = layer.region_px
    true = truth[y0:y1, x0:x1]
    edge, columns = (true > 0.05) & (true < 0.95), np.arange(x0, x1)[None] + np.zeros_like(true)
    for side in (columns < 60, columns > 196):
        assert np.abs(layer.alpha / 255 - true)[edge & side].mean() < 0.06


def test_where_the_screen_is_taken_out_black_hair_is_as_black_as_black_is() -> None:
    rgb, _, network = scene(np.array(GREEN) * np.linspace(0.7, 1.2, SIDE)[None, :, None], hair=(0, 0, 0))
    layer = HeadMatte().update(network, rgb, WHOLE, frame_of(rgb, "8-bit"))
    assert layer.foreground.y.min() == 16  # type: ignore[union-attr]


@pytest.mark.parametrize("roll_deg", [-90, 90])
def test_of_a_head_that_lies_at_one_side_only_the_background_counts(roll_deg: int) -> None:
    rgb, _, network = (np.roll(part, (20, 40), (0, 1)) for part in scene(GREEN))
    lying, mask = (turned(part, round(roll_deg / 90)) for part in (rgb, network))
    assert find_screen(lying, mask, WHOLE, (SIDE, SIDE), roll_deg) == find_screen(rgb, network, WHOLE, (SIDE, SIDE))
