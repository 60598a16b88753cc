"""What passes between the rooms: pictures, heads, cut-outs, and the protocols of those who make and take them.

Pictures stay on the planes they were decoded to. A decoded H.264 frame is three planes (Y, U, V); an alpha output of it
is the same three planes and a fourth. RGB is a view made on demand, because turning a frame to RGB and back costs more
than cutting it and shifts its colours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np

UInt8Array = np.ndarray[Any, np.dtype[np.uint8]]
Float32Array = np.ndarray[Any, np.dtype[np.float32]]
Float64Array = np.ndarray[Any, np.dtype[np.float64]]
Plane = np.ndarray[Any, np.dtype[Any]]  # uint8, or uint16 above 8 bits
Box = tuple[float, float, float, float]
Region = tuple[int, int, int, int]
# What a network may know: the planes a training set can have.
Part = Literal[
    "head", "hair", "face", "body",
    "skin", "nose", "glasses", "left_eye", "right_eye", "left_brow", "right_brow", "left_ear", "right_ear",
    "mouth", "upper_lip", "lower_lip", "hat", "earring", "necklace", "neck", "cloth",
]  # fmt: skip
PARTS: tuple[Part, ...] = get_args(Part)
Matrix = Literal["bt601", "bt709", "bt2020"]

# Kr, Kb of Y' = Kr R' + (1 - Kr - Kb) G' + Kb B' (ITU-R BT.601-7, BT.709-6, BT.2020-2).
LUMA_WEIGHTS: dict[Matrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}


def _kind(array: Plane) -> str:
    return f"{array.shape} {array.dtype}"


@dataclass(frozen=True)
class Colour:
    """How to read Y, U and V, and what to write into an output so that others read them alike.

    matrix: which luma weights.  full_range: 0..255 rather than 16..235 for Y and 16..240 for U and V (at 8 bits).
    matrix_code, primaries_code, transfer_code: the stream's own code points of ITU-T H.273; 2 means not told.
    """

    matrix: Matrix = "bt709"
    full_range: bool = False
    matrix_code: int = 2
    primaries_code: int = 2
    transfer_code: int = 2


@dataclass(frozen=True, eq=False)  # arrays have no one answer; two are the same where they are one object
class Planes:
    """A picture as Y, U and V.

    y: (H, W); u, v: (ceil(H / sub_h), ceil(W / sub_w)); uint8, or uint16 where ``bits`` > 8, low bits used.
    sub_w, sub_h: chroma subsampling, 1 or 2.  alpha: (H, W) of the same type, or None: the source's own transparency.
    Raises ValueError where these do not go together.
    """

    y: Plane = field(repr=False)
    u: Plane = field(repr=False)
    v: Plane = field(repr=False)
    colour: Colour = field(default_factory=Colour)
    bits: int = 8
    sub_w: int = 2
    sub_h: int = 2
    alpha: Plane | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        height, width = self.y.shape
        chroma = (-(-height // self.sub_h), -(-width // self.sub_w))
        if self.u.shape != chroma or self.v.shape != chroma:
            raise ValueError(
                f"chroma planes must be {chroma} for luma {self.y.shape}, got {self.u.shape}, {self.v.shape}"
            )
        if not 8 <= self.bits <= 16 or self.y.dtype != (np.uint8 if self.bits == 8 else np.uint16):
            raise ValueError(f"{self.bits}-bit planes cannot be {self.y.dtype}")
        if self.u.dtype != self.y.dtype or self.v.dtype != self.y.dtype:
            raise ValueError(f"chroma planes must be {self.y.dtype} like luma, got {self.u.dtype}, {self.v.dtype}")
        if self.alpha is not None and (self.alpha.shape, self.alpha.dtype) != (self.y.shape, self.y.dtype):
            raise ValueError(f"alpha must be {self.y.shape} {self.y.dtype} like luma, got {_kind(self.alpha)}")

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height."""
        return self.y.shape[1], self.y.shape[0]

    @property
    def black(self) -> tuple[int, int]:
        """The luma of black, and the chroma of grey."""
        return (0 if self.colour.full_range else 16 << (self.bits - 8)), 128 << (self.bits - 8)

    def region(self, region: Region) -> Planes:
        """Views of the part inside ``region`` (x0, y0, x1, y1), whose corners lie on chroma samples or on the border."""
        x0, y0, x1, y1 = region
        sw, sh = self.sub_w, self.sub_h
        chroma = np.s_[y0 // sh : -(-y1 // sh), x0 // sw : -(-x1 // sw)]
        alpha = None if self.alpha is None else self.alpha[y0:y1, x0:x1]
        return replace(self, y=self.y[y0:y1, x0:x1], u=self.u[chroma], v=self.v[chroma], alpha=alpha)


class Frame:
    """One picture of a source, with its place in time. Immutable; ``rgb`` is not copied: whoever fills one buffer again and again
    gives a copy of it. Raises ValueError for what is none.

    rgb: (H, W, 3) uint8 R'G'B' (sRGB); or else ``planes``, of which it is made on demand.
    index: counts the frames the source made, from 0.  pts: Fraction, seconds from the first frame;
    given as a float, NumPy's too, it becomes that very number.
    duration_s: Fraction or None, how long it is shown, where the source says so.
    captured_s: time.perf_counter when it arrived; 0.0 for files.
    planes: Y, U, V as decoded, or None for a source that is RGB.
    alpha: (H, W) uint8, the own transparency of a source that is RGB (Planes hold theirs), or None.
    size_px: width and height.
    """

    __slots__ = ("_rgb", "alpha", "captured_s", "duration_s", "index", "planes", "pts", "size_px")

    def __init__(
        self,
        rgb: UInt8Array | None = None,
        *,
        planes: Planes | None = None,
        index: int = 0,
        pts: Fraction | float | np.floating[Any] | np.integer[Any] = Fraction(0),
        duration_s: Fraction | None = None,
        captured_s: float = 0.0,
        alpha: UInt8Array | None = None,
    ) -> None:
        if (rgb is None) == (planes is None):
            raise ValueError("a Frame holds either rgb or planes")
        if rgb is not None:
            if not isinstance(rgb, np.ndarray):
                raise ValueError(f"rgb must be an array, (H, W, 3) uint8, got {type(rgb).__name__}")
            if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
                raise ValueError(f"rgb must be (H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
            rgb = rgb.view()
            rgb.flags.writeable = False
        size = planes.size_px if planes is not None else (rgb.shape[1], rgb.shape[0])  # type: ignore[union-attr]
        if 0 in size:
            raise ValueError(f"a picture has at least one pixel, got {size[0]}x{size[1]}")
        if alpha is not None and (alpha.shape != (size[1], size[0]) or alpha.dtype != np.uint8):
            raise ValueError(f"alpha must be {(size[1], size[0])} uint8 like the picture, got {_kind(alpha)}")
        values = (rgb, alpha, captured_s, duration_s, index, planes, _exact(pts), size)
        for name, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, name, value)

    _rgb: UInt8Array | None
    alpha: UInt8Array | None
    captured_s: float
    duration_s: Fraction | None
    index: int
    planes: Planes | None
    pts: Fraction
    size_px: tuple[int, int]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Frame is immutable; cannot set {name}")

    def __reduce__(self) -> tuple[Any, ...]:
        """For copies, and for other processes: without a view made on demand."""
        own = self._rgb if self.planes is None else None
        return _again, (own, self.planes, self.index, self.pts, self.duration_s, self.captured_s, self.alpha)

    @property
    def picture(self) -> Planes | UInt8Array:
        """The planes as decoded, or the R'G'B' of a source that has no others."""
        return self.rgb if self.planes is None else self.planes

    @property
    def rgb(self) -> UInt8Array:
        """(H, W, 3) uint8 R'G'B', read-only. Made from the planes at the first call."""
        if self._rgb is None:
            from headstream.shared.colour import rgb_from_planes

            assert self.planes is not None
            rgb = rgb_from_planes(self.planes)
            rgb.flags.writeable = False
            object.__setattr__(self, "_rgb", rgb)
        assert self._rgb is not None
        return self._rgb

    @property
    def nbytes(self) -> int:
        """What its pixels take in memory, a view made on demand left out."""
        if self.planes is not None:
            own = (self.planes.y, self.planes.u, self.planes.v, self.planes.alpha)
            return sum(plane.nbytes for plane in own if plane is not None)
        assert self._rgb is not None
        return self._rgb.nbytes + (0 if self.alpha is None else self.alpha.nbytes)

    def timed(self, *, index: int | None = None, pts: Fraction | None = None, captured_s: float | None = None) -> Frame:
        """The same picture with another place in time; what is None stays."""
        return Frame(
            None if self.planes is not None else self._rgb,
            planes=self.planes,
            index=self.index if index is None else index,
            pts=self.pts if pts is None else pts,
            duration_s=self.duration_s,
            captured_s=self.captured_s if captured_s is None else captured_s,
            alpha=self.alpha,
        )

    def showing(
        self, rgb: UInt8Array | None = None, *, planes: Planes | None = None, alpha: UInt8Array | None = None
    ) -> Frame:
        """Another picture, with another transparency or none, in this frame's place in time."""
        return Frame(
            rgb,
            planes=planes,
            index=self.index,
            pts=self.pts,
            duration_s=self.duration_s,
            captured_s=self.captured_s,
            alpha=alpha,
        )

    def __repr__(self) -> str:
        kind = "rgb" if self.planes is None else f"{self.planes.bits}-bit planes"
        return f"Frame({self.size_px[0]}x{self.size_px[1]} {kind}, index={self.index}, pts={float(self.pts):.3f} s)"


def _exact(pts: object) -> Fraction:
    if isinstance(pts, Fraction):
        return pts
    number: Any = float(pts) if isinstance(pts, (np.floating, np.integer)) else pts
    try:
        if not isinstance(number, str):  # Fraction would read it
            return Fraction(number)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"pts is {pts!r}; expected seconds, a finite number")


def _again(
    rgb: UInt8Array | None,
    planes: Planes | None,
    index: int,
    pts: Fraction,
    duration_s: Fraction | None,
    captured_s: float,
    alpha: UInt8Array | None,
) -> Frame:
    return Frame(rgb, planes=planes, index=index, pts=pts, duration_s=duration_s, captured_s=captured_s, alpha=alpha)


@dataclass(frozen=True, eq=False)
class Head:
    """One head in one frame.

    track_id: stable number of the person, from 1.  box_px: x0, y0, x1, y1 of the face in frame pixels.
    crop_px: x0, y0, x1, y1 of the square crop in the frame; reaches past the border where the head does.
    landmarks_px: (6, 2) float32: right eye, left eye (the person's), nose tip, mouth, right and left ear.
    score: 0..1, how sure the detector was.  unseen_frames: frames since it last saw the face.  roll_deg: how far the head
    was taken to lean, clockwise as seen, when the network was asked: in steps, 0 for what is nearly upright.
    """

    track_id: int
    box_px: Box
    crop_px: Region
    landmarks_px: Float32Array = field(repr=False)
    score: float
    unseen_frames: int = 0
    roll_deg: int = 0

    @property
    def crop_from_frame(self) -> Float64Array:
        """(2, 3) affine: frame pixels (centres at .5) to the unit square of the crop."""
        x0, y0, x1, _ = self.crop_px
        scale = 1.0 / (x1 - x0)
        return np.array([[scale, 0, -x0 * scale], [0, scale, -y0 * scale]])


@dataclass(frozen=True, eq=False)
class Cutout:
    """A frame with its heads cut out.

    frame: the picture it belongs to; matte and frame never part.  heads: those in the matte; empty means none was found.
    region_px: x0, y0, x1, y1 around all that is not transparent; (0, 0, 0, 0) for nothing.
    region_alpha: (y1 - y0, x1 - x0) uint8.  foreground: the region's colours with the background's spill taken out of
    the soft edge, as Planes or (h, w, 3) uint8 like the frame, or None where the frame's own are to be used.
    Raises ValueError where these do not fit the frame.
    """

    frame: Frame
    heads: tuple[Head, ...] = ()
    region_px: Region = (0, 0, 0, 0)
    region_alpha: UInt8Array = field(default_factory=lambda: np.zeros((0, 0), np.uint8), repr=False)
    foreground: Planes | UInt8Array | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.region_px
        width, height = self.frame.size_px
        if not (0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height):
            raise ValueError(f"region {self.region_px} does not lie in a {width}x{height} frame")
        if self.region_alpha.shape != (y1 - y0, x1 - x0) or self.region_alpha.dtype != np.uint8:
            raise ValueError(f"region_alpha must be {(y1 - y0, x1 - x0)} uint8, got {_kind(self.region_alpha)}")
        if isinstance(self.foreground, Planes):
            fits = self.foreground.size_px == (x1 - x0, y1 - y0)
        else:
            fits = self.foreground is None or self.foreground.shape == (y1 - y0, x1 - x0, 3)
        if not fits:
            raise ValueError(f"foreground must be as large as the region, {x1 - x0}x{y1 - y0}")

    @property
    def alpha(self) -> UInt8Array:
        """(H, W) uint8: the whole frame's matte, made at each call."""
        width, height = self.frame.size_px
        full = np.zeros((height, width), np.uint8)
        x0, y0, x1, y1 = self.region_px
        full[y0:y1, x0:x1] = self.region_alpha
        return full

    def region_rgb(self) -> UInt8Array:
        """(h, w, 3) uint8: the region's colours, spill taken out."""
        from headstream.shared.colour import rgb_from_planes

        x0, y0, x1, y1 = self.region_px
        if x1 == x0 or y1 == y0:
            return np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
        if self.foreground is None:
            planes = self.frame.planes
            return self.frame.rgb[y0:y1, x0:x1] if planes is None else rgb_from_planes(planes.region(self.region_px))
        return rgb_from_planes(self.foreground) if isinstance(self.foreground, Planes) else self.foreground

    def rgba(self) -> UInt8Array:
        """(H, W, 4) uint8, straight (not premultiplied) alpha; black where fully transparent."""
        width, height = self.frame.size_px
        out = np.zeros((height, width, 4), np.uint8)
        x0, y0, x1, y1 = self.region_px
        if x1 > x0 and y1 > y0:
            part = out[y0:y1, x0:x1]
            part[..., :3] = self.region_rgb()
            part[..., 3] = self.region_alpha
            part[self.region_alpha == 0] = 0
        return out


@runtime_checkable
class Source(Protocol):
    """Makes frames. Iterating raises SourceError when the input fails; it never ends early in silence.

    size_px: displayed width and height.  rate: frames a second, nominal.  live: True if frames are lost when not taken.
    """

    @property
    def size_px(self) -> tuple[int, int]: ...
    @property
    def rate(self) -> Fraction: ...
    @property
    def live(self) -> bool: ...
    def __iter__(self) -> Iterator[Frame]: ...
    def close(self) -> None:
        """Free everything. Safe to call again, and from another thread than the one iterating."""


@runtime_checkable
class Segmenter(Protocol):
    """Says which pixels of a crop belong to the head in its middle.

    What ``predict`` answers is checked: a wrong shape, NaN or values beyond 0..1 are a ModelError.
    One that has ``parts``, the names of what it knows, is asked for nothing else; others are asked for "head", too. It may
    also have ``name``, for messages; ``side``, the size in pixels of the crops that suit it (else 256); and ``at_once``, how many
    of a film's crops it likes together (else one). What ours have beside is segment/places.py's affair.
    """

    def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
        """(N, H, W, 3) uint8 -> alpha (N, H, W) float32, 0..1. Any N and size; the picture is the crop."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Takes cut-outs, in order, from one thread."""

    def write(self, cutout: Cutout) -> None:
        """Take one cut-out. Raises SinkError; after that only ``close`` may be called."""

    def close(self) -> None:
        """Flush and free. Safe to call again. What was written so far is complete and readable afterwards."""
