"""What is drawn in one frame, brought to others along a known motion."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from headstream.matte.motion import Motion
from headstream.matte.trail import Trail, square_around
from headstream.shared.colour import planes_from_rgb
from headstream.shared.regions import even_region
from headstream.types import Colour, Frame, Region, UInt8Array
from tests.scenes import SIZE, disc, frame_at, scene

AREA: Region = (90, 50, 230, 190)


def trail_of(frame: Frame, matte: UInt8Array, area: Region = AREA) -> Trail:
    x0, y0, x1, y1 = area
    inside = np.zeros((y1 - y0, x1 - x0), np.uint8)
    visible = even_region(area, SIZE)
    inside[visible[1] - y0 : visible[3] - y0, visible[0] - x0 : visible[2] - x0] = matte[
        visible[1] : visible[3], visible[0] : visible[2]
    ]
    return Trail(frame, area, inside, Motion())


def brought(trail: Trail, frame: Frame, matte: UInt8Array) -> UInt8Array:
    """The matte as it lies in the frame, the whole of it."""
    region, (alpha,), _ = trail.brought([matte], (0, 0, *SIZE), frame)
    out = np.zeros_like(matte)
    out[region[1] : region[3], region[0] : region[2]] = alpha
    return out


@pytest.mark.parametrize("speed", [-6.0, -1.3, 0.0, 0.7, 4.0, 9.0])
def test_it_goes_with_the_picture(speed: float) -> None:
    matte = disc(160, 120, 35)
    trail = trail_of(frame_at(0), matte)
    for k in range(1, 9):
        frame = frame_at(k, scene(shift=speed * k))
        trail.step(frame)
        right = disc(160 + speed * k, 120, 35)
        assert cv2.absdiff(brought(trail, frame, matte), right).sum() < 0.04 * right.sum()
        assert trail.trust > 0.9


def test_steps_do_not_blur_what_is_brought() -> None:
    matte = disc(160, 120, 35)
    trail = trail_of(frame_at(0), matte)
    for k in range(1, 13):
        frame = frame_at(k, scene(shift=1.5 * k))
        trail.step(frame)
    soft = [int(((m > 20) & (m < 235)).sum()) for m in (matte, brought(trail, frame, matte))]
    assert soft[1] < 2.5 * soft[0]


def test_another_picture_is_not_trusted_and_more_light_is() -> None:
    trail = trail_of(frame_at(0), disc(160, 120, 35))
    trail.step(frame_at(1, cv2.convertScaleAbs(scene(), alpha=1, beta=25)))
    assert trail.trust > 0.9
    trail.step(frame_at(2, np.ascontiguousarray(scene()[::-1, ::-1])))
    assert trail.trust < 0.5


def test_what_covers_a_part_is_not_trusted_there() -> None:
    trail = trail_of(frame_at(0), disc(160, 120, 35))
    picture = scene()
    picture[100:140, 160:200] = np.where(np.indices((40, 40)).sum(axis=0) % 9 < 4, 255, 0)[..., None]
    frame = frame_at(1, picture)
    trail.step(frame)
    region, _, trust = trail.brought([disc(160, 120, 35)], (0, 0, *SIZE), frame)
    whole = np.zeros(SIZE[::-1], np.float32)
    whole[region[1] : region[3], region[0] : region[2]] = trust
    assert whole[108:132, 168:192].mean() < 0.3
    assert whole[108:132, 128:148].mean() > 0.8


def test_it_may_leave_the_picture() -> None:
    area: Region = (-40, -40, 100, 100)
    trail = trail_of(frame_at(0), disc(20, 20, 30), area)
    for k in range(1, 8):
        frame = frame_at(k, scene(shift=-12.0 * k))
        trail.step(frame)
        region, (alpha,), trust = trail.brought([disc(20, 20, 30)], (0, 0, *SIZE), frame)
        assert alpha.shape == trust.shape == (region[3] - region[1], region[2] - region[0])


def test_planes_do_as_well() -> None:
    matte = disc(160, 120, 35)
    frames = [
        Frame(planes=planes_from_rgb(scene(shift=3.0 * k), Colour(), bits=10, sub=(2, 2)), index=k) for k in range(4)
    ]
    trail = trail_of(frames[0], matte)
    for frame in frames[1:]:
        trail.step(frame)
    right = disc(169, 120, 35)
    assert cv2.absdiff(brought(trail, frames[3], matte), right).sum() < 0.04 * right.sum()


def test_squares_have_even_corners_and_hold_their_region() -> None:
    for region in ((0, 0, 10, 300), (33, 41, 96, 77), (310, 230, 320, 240)):
        x0, y0, x1, y1 = square_around(region)
        assert x1 - x0 == y1 - y0
        assert x0 % 2 == y0 % 2 == x1 % 2 == 0
        assert x0 <= region[0]
        assert y0 <= region[1]
        assert x1 >= region[2]
        assert y1 >= region[3]
