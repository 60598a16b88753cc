"""The motion of a face from frame to frame, and what is believed where its skin cannot be followed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from headstream.dub.motion import face_motion
from headstream.types import Box, Frame, Planes, UInt8Array


def framed(
    portrait: UInt8Array, matrix: np.ndarray[tuple[int, int], np.dtype[np.float64]], *, deep: bool = False
) -> Frame:
    moved = matrix[:2].copy()
    moved[:, 2] += moved[:, :2] @ (0.5, 0.5) - 0.5
    rgb = cv2.warpAffine(portrait, moved, (640, 480), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    if not deep:
        return Frame(rgb)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.uint16) << 2
    return Frame(planes=Planes(grey, grey[::2, ::2].copy(), grey[::2, ::2].copy(), bits=10))


FACE: Box = (178.0, 75.0, 280.0, 177.0)  # of the portrait


def similarity(scale: float, lean: float, x: float, y: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    c, s = scale * np.cos(np.radians(lean)), scale * np.sin(np.radians(lean))
    return np.array([[c, -s, x], [s, c, y], [0, 0, 1]])


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("step", [(1.0, 0.0, 0.3, -0.2), (1.01, 1.5, -14.0, 9.0), (0.97, -3.0, 22.0, 3.0)])
def test_motion_is_found_to_a_tenth_of_a_pixel(
    portrait: UInt8Array, step: tuple[float, float, float, float], deep: bool
) -> None:
    true = similarity(*step)
    corners = (true @ np.array([[FACE[0], FACE[2]], [FACE[1], FACE[3]], [1, 1]]))[:2]
    after: Box = (corners[0, 0] + 3, corners[1, 0] - 2, corners[0, 1] + 3, corners[1, 1] - 2)  # as a detector errs
    found = face_motion(framed(portrait, np.eye(3), deep=deep), framed(portrait, true, deep=deep), FACE, after)
    points = np.array([[200, 110, 1], [260, 110, 1], [230, 160, 1]], float).T
    assert np.abs((found - true) @ points).max() < 0.25


def test_the_boxes_are_believed_where_nothing_can_be_followed(portrait: UInt8Array) -> None:
    flat = Frame(np.full((480, 640, 3), 128, np.uint8))
    after: Box = (188.0, 75.0, 290.0, 177.0)
    assert np.allclose(face_motion(flat, flat, FACE, after), similarity(1, 0, 10, 0))
    # The picture stands still, but the detector saw the face elsewhere: somebody else's skin was followed.
    still = framed(portrait, np.eye(3))
    far: Box = (278.0, 75.0, 380.0, 177.0)
    assert np.allclose(face_motion(still, still, FACE, far), similarity(1, 0, 100, 0))
    outside: Box = (-300.0, -300.0, -200.0, -200.0)
    assert np.allclose(face_motion(still, still, outside, outside), np.eye(3))
