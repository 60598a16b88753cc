"""A square of a frame as a picture of its own, and back: on the decoded planes, to a fraction of a pixel.

Chroma is sited as ``headstream.shared.colour`` has it: left in a row, half-way between rows. Where a warp makes the picture
smaller it is smoothed first, by what the sampling would otherwise fold back (a Gaussian, so that a warp and its reverse
stay smooth).
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from headstream.dub.path import Square
from headstream.shared.regions import even_region
from headstream.types import Float32Array, Float64Array, Frame, Matrix, Plane, Planes, Region, UInt8Array

_UNTOLD = 2
_CODES: dict[Matrix, int] = {"bt709": 1, "bt601": 6, "bt2020": 9}  # ITU-T H.273
Steps = tuple[int, int]  # chroma subsampling (w, h); (1, 1) for luma and RGB


def _place_of_samples(steps: Steps) -> Float64Array:
    """(3, 3): index of a sample of a plane to where it lies, in pixels of the picture."""
    return np.array([[steps[0], 0, 0.5], [0, steps[1], steps[1] / 2], [0, 0, 1]], float)


def _scale(matrix: Float64Array) -> float:
    return float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))


def _smoothed_for(plane: Plane, shrink: float) -> Plane:
    if shrink <= 1.1:
        return plane
    # As wide as a box over the pixels that become one: their standard deviation is shrink / sqrt(12).
    return cv2.GaussianBlur(plane, (0, 0), 0.3 * float(np.sqrt(shrink**2 - 1)), borderType=cv2.BORDER_REPLICATE)


def clip_plane(plane: Plane, square: Square, size: int, steps: Steps, beyond: float | None) -> Plane:
    """The square of one plane as (size / steps h, size / steps w); ``beyond`` the picture's border it is filled with that,
    or for None with the border's own pixels."""
    unit_from_clip = _place_of_samples(steps) / np.array([[size], [size], [1]])
    frame_from_clip = square.frame_from_unit @ unit_from_clip
    source_from_clip = np.linalg.inv(_place_of_samples(steps)) @ frame_from_clip
    shrink = _scale(source_from_clip)
    if shrink > 1.1:
        plane, source_from_clip = _window(plane, square, steps, source_from_clip)
        plane = _smoothed_for(plane, shrink)
    return cv2.warpAffine(
        plane,
        source_from_clip[:2],
        (size // steps[0], size // steps[1]),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE if beyond is None else cv2.BORDER_CONSTANT,
        borderValue=(beyond or 0,) * 4,
    )


def _window(plane: Plane, square: Square, steps: Steps, source_from_clip: Float64Array) -> tuple[Plane, Float64Array]:
    """The part of a plane the square needs, with room for smoothing, and the matrix for that part."""
    x0, y0, x1, y1 = square.around()
    room = 0.1 * square.side + 8
    height, width = plane.shape[:2]
    left, top = (max(0, int((v - room) / s)) for v, s in ((x0, steps[0]), (y0, steps[1])))
    right, bottom = (min(m, int((v + room) / s) + 1) for v, s, m in ((x1, steps[0], width), (y1, steps[1], height)))
    if right <= left or bottom <= top:
        return plane, source_from_clip
    moved = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], float) @ source_from_clip
    return np.ascontiguousarray(plane[top:bottom, left:right]), moved


def clip_frame(frame: Frame, square: Square | None, size: int, *, continued: bool = False) -> Frame:
    """A frame of the clip: ``size`` pixels square, same time, planes and colours as the film's; black without a square, and
    beyond the film's border unless its pixels are to be ``continued`` there.

    The clip tells its colour matrix even where the film does not: readers guess by size, and its size is another.
    """
    planes = frame.planes
    if planes is None:
        rgb = np.zeros((size, size, 3), np.uint8)
        return frame.showing(
            rgb if square is None else clip_plane(frame.rgb, square, size, (1, 1), None if continued else 0)
        )
    return frame.showing(planes=clip_planes(planes, square, size, continued=continued))


def clip_planes(planes: Planes, square: Square | None, size: int, *, continued: bool = False) -> Planes:
    """The same for planes alone. The film's own transparency does not come along."""
    steps = (planes.sub_w, planes.sub_h)
    black, grey = planes.black
    made = []
    for plane, step, beyond in ((planes.y, (1, 1), black), (planes.u, steps, grey), (planes.v, steps, grey)):
        if square is None:
            made.append(np.full((size // step[1], size // step[0]), beyond, plane.dtype))
        else:
            part = clip_plane(plane, square, size, step, None if continued else beyond)
            made.append(np.minimum(part, (1 << planes.bits) - 1))
    colour = planes.colour
    if colour.matrix_code == _UNTOLD:
        colour = replace(colour, matrix_code=_CODES[colour.matrix])
    return replace(planes, y=made[0], u=made[1], v=made[2], alpha=None, colour=colour)


def clip_matte(alpha: UInt8Array, region: Region, square: Square, size: int) -> UInt8Array:
    """(size, size) uint8: a frame's matte, given in ``region``, as the clip sees it."""
    if alpha.size == 0:
        return np.zeros((size, size), np.uint8)
    moved = Square((square.centre[0] - region[0], square.centre[1] - region[1]), square.side, square.roll_deg)
    made: UInt8Array = clip_plane(alpha, moved, size, (1, 1), 0)
    return made


def region_of(square: Square, size_px: tuple[int, int]) -> Region:
    """The part of a frame a square covers, corners even."""
    x0, y0, x1, y1 = square.around()
    return even_region((int(x0), int(y0), int(x1 + 1), int(y1 + 1)), size_px)


def put_back(plane: Float32Array, square: Square, region: Region, steps: Steps) -> Float32Array:
    """A plane of the clip (any side) at the samples of the frame's plane that lie in ``region``. Outside the square its
    border goes on; ``covered`` tells where that is."""
    height, width = plane.shape[:2]
    size = np.array([[width * steps[0]], [height * steps[1]], [1]], float)
    clip_from_unit = np.linalg.inv(_place_of_samples(steps)) @ np.diag(size.ravel())
    x0, y0, x1, y1 = region
    corner = np.array([[1, 0, x0 // steps[0]], [0, 1, y0 // steps[1]], [0, 0, 1]], float)
    frame_from_part = _place_of_samples(steps) @ corner
    clip_from_part = clip_from_unit @ np.linalg.inv(square.frame_from_unit) @ frame_from_part
    shape = (-(-x1 // steps[0]) - x0 // steps[0], -(-y1 // steps[1]) - y0 // steps[1])
    made: Float32Array = cv2.warpAffine(
        _smoothed_for(plane, _scale(clip_from_part)),
        clip_from_part[:2],
        shape,
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return made


def covered(square: Square, region: Region, size: int) -> Float32Array:
    """(h, w) float32 over ``region``: 1 inside the square, falling to 0 over the clip's last two pixels of ``size``."""
    inside = np.zeros((size + 4, size + 4), np.float32)
    inside[4:-4, 4:-4] = 1
    grown = Square(square.centre, square.side * (size + 4) / size, square.roll_deg)
    return np.clip(put_back(inside, grown, region, (1, 1)), 0, 1)
