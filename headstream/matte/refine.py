"""From the network's small matte to the frame's own pixels: steadied, guided, without spill."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from headstream.matte.clean import largest_piece, without_holes
from headstream.matte.grid import continued, over_region, visible_region
from headstream.matte.guided import guide_coefficients
from headstream.matte.motion import comparable
from headstream.matte.screen import find_screen, keyed
from headstream.matte.spill import spill_correction
from headstream.matte.temporal import MatteState, Stabiliser
from headstream.matte.tint import Rgb, hair_luma, hair_share, tint_correction
from headstream.matte.wall import Wall, find_wall, without_wall
from headstream.shared.colour import to_8_bits, yuv_from_rgb
from headstream.shared.regions import around, chroma_index, index_in, seen_from
from headstream.shared.tone import is_hdr
from headstream.types import LUMA_WEIGHTS, Float32Array, Frame, Matrix, Plane, Planes, Region, UInt8Array


@dataclass(frozen=True)
class MatteOptions:
    """How mattes are finished.

    stability: 0..1, share of the moved last matte in the new one; 0 for single pictures.
    low, high: alpha that becomes 0 and 1.
    spill: whether background colour is taken out of the soft edge.  hair_color: R'G'B' that hair becomes, or None.
    bare: whether a plain wall that shows between dark curls is taken out, of RGB frames: for single pictures, it is not steady.
    strands: whether single pictures get their hair strand by strand, see matte/strands.py.
    """

    stability: float = 0.7
    low: float = 0.15
    high: float = 0.85
    spill: bool = True
    hair_color: Rgb | None = None
    bare: bool = False
    strands: bool = False


@dataclass(frozen=True)
class Layer:
    """One head's part of a cut-out; fields as in ``Cutout``."""

    region_px: Region
    alpha: UInt8Array
    foreground: Planes | UInt8Array | None


class HeadMatte:
    """Finishes the mattes of one head, in order. ``reset`` forgets the past (a cut, a head that was lost).

    solid: whether nothing shows through in the middle: of a head, that is; in the middle of hair there may be a face.
    """

    def __init__(self, options: MatteOptions | None = None, *, solid: bool = True) -> None:
        self.options, self._solid = options or MatteOptions(), solid
        self._stabiliser = Stabiliser(self.options.stability)
        self.reset()

    def reset(self) -> None:
        """Start anew with the next matte."""
        self._state: MatteState | None = None
        self._hair: MatteState | None = None
        self._hair_luma: float | None = None

    def snapshot(self) -> tuple[MatteState | None, MatteState | None, float | None]:
        """All that is remembered: of the matte, of the hair, of its brightness."""
        return self._state, self._hair, self._hair_luma

    def restore(self, snapshot: tuple[MatteState | None, MatteState | None, float | None]) -> None:
        """Go on where a ``snapshot`` was taken."""
        self._state, self._hair, self._hair_luma = snapshot

    def update(
        self,
        alpha: Float32Array,
        crop_rgb: UInt8Array,
        crop_px: Region,
        frame: Frame,
        hair: Float32Array | None = None,
        roll_deg: int = 0,
    ) -> Layer:
        """Finish one matte. alpha: (S, S) float32 over ``crop_px`` of ``frame``; crop_rgb: (S, S, 3), what it was made of;
        hair: (S, S), where its colour is to change; roll_deg: how far the head leans, clockwise."""
        crop_rgb = continued(crop_rgb, crop_px, frame.size_px)
        luma = _luma(crop_rgb, _matrix(frame))
        alpha = largest_piece(alpha)
        alpha = continued(without_holes(alpha) if self._solid else alpha, crop_px, frame.size_px)
        self._state = self._stabiliser.update(alpha, luma, crop_px, self._state)
        if hair is not None:
            hair = continued(hair, crop_px, frame.size_px)
            self._hair = self._stabiliser.update(hair, luma, crop_px, self._hair)
        return self._finished(self._state, crop_rgb, frame, roll_deg)

    def can_carry(self, crop_px: Region) -> bool:
        """Whether there is a last matte, of a crop that shows much the same."""
        return self._state is not None and comparable(crop_px, self._state.crop_px)

    def carry(self, crop_rgb: UInt8Array, crop_px: Region, frame: Frame, roll_deg: int = 0) -> Layer:
        """The last matte, moved along with the picture and finished on this frame's own pixels: for a machine that has no
        time to run the network on every frame. Only where ``can_carry``; raises ValueError otherwise."""
        if self._state is None or not self.can_carry(crop_px):
            raise ValueError("there is no last matte to carry to this crop")
        crop_rgb = continued(crop_rgb, crop_px, frame.size_px)
        luma = _luma(crop_rgb, _matrix(frame))
        self._state = self._stabiliser.carried(luma, crop_px, self._state)
        if self._hair is not None:
            self._hair = self._stabiliser.carried(luma, crop_px, self._hair)
        return self._finished(self._state, crop_rgb, frame, roll_deg)

    def _finished(self, state: MatteState, crop_rgb: UInt8Array, frame: Frame, roll_deg: int) -> Layer:
        options, alpha, crop_px = self.options, state.alpha, state.crop_px
        region = visible_region(alpha, crop_px, frame.size_px, options.low)
        if region == (0, 0, 0, 0):
            return Layer(region, np.zeros((0, 0), np.uint8), None)
        full = self._full_size(alpha, state.luma, region, crop_px, frame)
        correction = spill_correction(crop_rgb, np.clip(alpha, 0, 1)) if options.spill else None
        kept = cv2.compare(full, 255, cv2.CMP_EQ)  # pixels whose colour is their own
        if options.hair_color is not None and self._hair is not None:
            correction, kept = self._tinted(crop_rgb, correction, options.hair_color), np.zeros_like(kept)
        colours = None if correction is None else _corrected(frame, region, crop_px, correction, kept)
        # Code values of HDR are not the colours that screens and walls are known by.
        look = options.spill and not is_hdr(frame.picture)
        screen = find_screen(crop_rgb, alpha, crop_px, frame.size_px, roll_deg) if look else None
        if screen is not None:
            full, bare = keyed(full, colours, frame, region, screen)
            colours = bare if options.hair_color is None else colours
        elif look and options.bare and options.hair_color is None and frame.planes is None:
            full, colours = _bare(full, colours, frame, (region, crop_px), find_wall(crop_rgb, np.clip(alpha, 0, 1)))
        return Layer(region, times_own_alpha(full, frame, region), colours)

    def _tinted(self, crop_rgb: UInt8Array, correction: Float32Array | None, colour: Rgb) -> Float32Array:
        """The correction with the hair's other colour in it. The hair's own brightness is followed slowly: it must not pump."""
        assert self._hair is not None
        side = crop_rgb.shape[0]
        whole = np.zeros(crop_rgb.shape, np.float32) if correction is None else cv2.resize(correction, (side, side))
        seen = hair_luma(crop_rgb, self._hair.alpha)
        if seen is not None:
            self._hair_luma = seen if self._hair_luma is None else self._hair_luma + 0.1 * (seen - self._hair_luma)
        if self._hair_luma is None:
            return whole
        assert self._state is not None
        share = hair_share(self._hair.alpha, np.clip(self._state.alpha, 0, 1))
        return whole + tint_correction(crop_rgb + whole, share, colour, self._hair_luma)

    def _full_size(
        self, alpha: Float32Array, luma: UInt8Array, region: Region, crop_px: Region, frame: Frame
    ) -> UInt8Array:
        options = self.options
        a, b = guide_coefficients(alpha, luma.astype(np.float32) * np.float32(1 / 255))
        # From code values of luma to those of alpha in one step: so much less is done at full size.
        own, black, span = _own_luma(frame, region)
        most = 255 / (options.high - options.low)
        a, b = a * (most / span), b * most
        b -= a * black
        full = cv2.multiply(over_region(a, crop_px, region), own, dtype=cv2.CV_32F)
        return cv2.addWeighted(full, 1, over_region(b, crop_px, region), 1, -options.low * most, dtype=cv2.CV_8U)


def _matrix(frame: Frame) -> Matrix:
    return frame.planes.colour.matrix if frame.planes is not None else "bt709"


def _luma(rgb: UInt8Array, matrix: Matrix) -> UInt8Array:
    """(S, S) uint8 luma, 0..255, of R'G'B'."""
    kr, kb = LUMA_WEIGHTS[matrix]
    return cv2.transform(rgb, np.array([[kr, 1 - kr - kb, kb]], np.float32))


def region_luma(frame: Frame, region: Region) -> Float32Array:
    """(h, w) float32, 0..1: the region's luma in the same measure as ``_luma``."""
    plane, black, span = _own_luma(frame, region)
    luma = plane.astype(np.float32)
    luma -= black
    luma *= 1 / span
    return luma


def _own_luma(frame: Frame, region: Region) -> tuple[Plane, int, int]:
    """The region's luma as the frame has it, the value of black, and how much higher white is."""
    x0, y0, x1, y1 = region
    planes = frame.planes
    if planes is None:
        return _luma(frame.rgb[y0:y1, x0:x1], "bt709"), 0, 255
    scale = 1 << (planes.bits - 8)
    black, span = (0, 255 * scale) if planes.colour.full_range else (16 * scale, 219 * scale)
    return planes.y[y0:y1, x0:x1], black, span


def _corrected(
    frame: Frame, region: Region, crop_px: Region, correction: Float32Array, solid: UInt8Array
) -> Planes | UInt8Array:
    """The region's colours with ``correction`` (S, S, 3; R'G'B' 0..255) added except where ``solid``, which is 0 or 255."""
    planes = frame.planes
    if planes is None:
        x0, y0, x1, y1 = region
        return _added(frame.rgb[y0:y1, x0:x1], over_region(correction, crop_px, region), solid, 8)
    part = planes.region(region)
    linear = yuv_from_rgb(planes.colour.matrix, planes.colour.full_range)[:, :3] * (1 << (planes.bits - 8))
    steps = cv2.split(cv2.transform(correction, linear))
    sub = (planes.sub_w, planes.sub_h)
    y = _added(part.y, over_region(steps[0], crop_px, region), solid, planes.bits)
    solid = np.ascontiguousarray(solid[:: sub[1], :: sub[0]])
    u, v = (
        _added(plane, over_region(step, crop_px, region, sub), solid, planes.bits)
        for plane, step in ((part.u, steps[1]), (part.v, steps[2]))
    )
    return replace(part, y=y, u=u, v=v)


def _added(plane: Plane, more: Float32Array, solid: UInt8Array, bits: int) -> Plane:
    """``plane`` plus ``more``, kept within ``bits``; ``solid`` pixels as they were."""
    fixed = cv2.addWeighted(plane, 1, more, 1, 0, dtype=cv2.CV_8U if bits == 8 else cv2.CV_16U)
    if bits != 8:
        np.minimum(fixed, (1 << bits) - 1, out=fixed)
    return cv2.copyTo(plane, solid, fixed)


def _bare(
    full: UInt8Array, colours: Any, frame: Frame, place: tuple[Region, Region], wall: Wall | None
) -> tuple[UInt8Array, Any]:
    """The matte of an RGB frame, and its colours, without the ``wall`` behind dark hair."""
    if wall is None:
        return full, colours
    x0, y0, x1, y1 = place[0]
    own = frame.rgb[y0:y1, x0:x1]
    return without_wall(full, own if colours is None else colours, own, place, wall)


def times_own_alpha(alpha: UInt8Array, frame: Frame, region: Region) -> UInt8Array:
    """What the source itself shows through stays so."""
    own = _own_alpha(frame, region)
    return alpha if own is None else cv2.multiply(alpha, own, scale=1 / 255)


def within_own_alpha(alpha: UInt8Array, frame: Frame, region: Region) -> UInt8Array:
    """The same for what is made of finished mattes, in which the source's alpha is already."""
    own = _own_alpha(frame, region)
    return alpha if own is None else np.minimum(alpha, own)


def _own_alpha(frame: Frame, region: Region) -> UInt8Array | None:
    """(h, w) uint8: the source's alpha in a region, if it has one."""
    x0, y0, x1, y1 = region
    if frame.planes is not None and frame.planes.alpha is not None:
        return to_8_bits(frame.planes.alpha[y0:y1, x0:x1], frame.planes.bits)
    return None if frame.alpha is None else frame.alpha[y0:y1, x0:x1]


def merged(layers: list[Layer], frame: Frame) -> Layer:
    """Several heads as one: the union of their regions, the larger alpha, the colours of the head that has it."""
    layers = [layer for layer in layers if layer.alpha.size]
    if len(layers) < 2:
        return layers[0] if layers else Layer((0, 0, 0, 0), np.zeros((0, 0), np.uint8), None)
    region = around(*(layer.region_px for layer in layers))
    alpha = np.zeros((region[3] - region[1], region[2] - region[0]), np.uint8)
    colours = own_colours(frame, region)
    for layer in layers:
        target = alpha[index_in(layer.region_px, region)]
        wins = layer.alpha > target
        if layer.foreground is not None:
            put_colours(colours, layer.foreground, seen_from(layer.region_px, region), wins)
        np.maximum(target, layer.alpha, out=target)
    return Layer(region, alpha, colours)


def own_colours(frame: Frame, region: Region) -> Planes | UInt8Array:
    """A copy of the frame's colours in a region."""
    x0, y0, x1, y1 = region
    if frame.planes is None:
        return frame.rgb[y0:y1, x0:x1].copy()
    part = frame.planes.region(region)
    return replace(part, y=part.y.copy(), u=part.u.copy(), v=part.v.copy())


def put_colours(into: Planes | UInt8Array, colours: Planes | UInt8Array, inner: Region, where: Any) -> None:
    """Put a region's colours into those of a larger one, whose part it is ``inner``, where ``where`` (h, w) is set."""
    x0, y0, x1, y1 = inner
    if not isinstance(into, Planes) or not isinstance(colours, Planes):
        assert isinstance(into, np.ndarray)
        assert isinstance(colours, np.ndarray)
        into[y0:y1, x0:x1][where] = colours[where]
        return
    chroma_where = where[:: into.sub_h, :: into.sub_w]
    chroma = chroma_index(inner, (into.sub_w, into.sub_h))
    into.y[y0:y1, x0:x1][where] = colours.y[where]
    for target, own in ((into.u, colours.u), (into.v, colours.v)):
        target[chroma][chroma_where] = own[chroma_where]
