"""From places in pictures to what a network says of them, by any segmenter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstream.errors import ModelError
from headstream.shared.colour import crop_resized
from headstream.shared.straight import leaning, straightened
from headstream.shared.tone import as_shown, is_hdr
from headstream.timing import StageTimes
from headstream.types import Float32Array, Part, Planes, Region, Segmenter, UInt8Array

_SIDE = 256  # of crops for those that do not tell
Place = tuple[Planes | UInt8Array, Region]  # a picture, and a square of it


def side_of(segmenter: Segmenter) -> int:
    """Pixels of the crops that suit a segmenter."""
    return int(getattr(segmenter, "side", _SIDE))


def predicted(segmenter: Segmenter, crops: UInt8Array, parts: Sequence[Part]) -> dict[Part, Float32Array]:
    """Part -> alpha (N, S, S), in one run of the network where it can."""
    together = getattr(segmenter, "predict_parts", None)
    if together is not None:
        return dict(zip(parts, together(crops, parts), strict=True))
    return {part: _checked(segmenter.predict(crops, part), crops.shape[:3], segmenter) for part in parts}


def _checked(alpha: object, shape: tuple[int, ...], segmenter: Segmenter) -> Float32Array:
    """What somebody's own segmenter answers, as float32. Raises ModelError where it is not what ``Segmenter`` promises."""
    name = type(segmenter).__name__
    if not isinstance(alpha, np.ndarray) or alpha.shape != shape:
        told = f"{alpha.shape}" if isinstance(alpha, np.ndarray) else type(alpha).__name__
        raise ModelError(f"{name}.predict answers {told} to {shape[0]} crops; expected an array {shape}")
    if alpha.dtype.kind not in "fiub":
        raise ModelError(f"{name}.predict answers {alpha.dtype}; expected an array of numbers, alpha from 0 to 1")
    found = np.array(alpha, np.float32, order="C")  # a copy: it is changed in place, and may lie in a buffer used again
    low, high = float(found.min()), float(found.max())
    if not (low >= -0.02 and high <= 1.02):  # so is NaN
        raise ModelError(f"{name}.predict answers {low:.3g} to {high:.3g}; expected alpha, 0 to 1")
    return found


def looked_at(
    segmenter: Segmenter,
    places: Sequence[Place],
    parts: Sequence[Part],
    times: StageTimes,
    frames: int = 1,
    rolls_deg: Sequence[int] = (),
) -> tuple[UInt8Array, dict[Part, Float32Array]]:
    """Crops (N, S, S, 3) of squares of pictures, and part -> alpha (N, S, S); made where the network is, if it can.

    rolls_deg: how far each head leans; the network is shown it upright, crops and alphas are as the pictures are.
    HDR crops keep their own code values, as the matte compares them with the film's; the network sees them toned."""
    hdr = any(is_hdr(picture) for picture, _ in places)
    if getattr(segmenter, "makes_crops", False) and not hdr and not any(rolls_deg):
        with times.stage("segment", frames):
            crops, alphas = segmenter.predict_places(places, parts)  # type: ignore[attr-defined]
        return crops, dict(zip(parts, alphas, strict=True))
    side = side_of(segmenter)
    with times.stage("crop", frames):
        crops = seen = np.stack([crop_resized(picture, region, side) for picture, region in places])
        if hdr:
            seen = np.stack([as_shown(crop, picture) for crop, (picture, _) in zip(crops, places, strict=True)])
        if any(rolls_deg):
            seen = np.stack([straightened(crop, roll) for crop, roll in zip(seen, rolls_deg, strict=True)])
    with times.stage("segment", frames):
        planes = predicted(segmenter, seen, parts)
    if any(rolls_deg):
        planes = {
            part: np.stack([leaning(alpha, roll) for alpha, roll in zip(alphas, rolls_deg, strict=True)])
            for part, alphas in planes.items()
        }
    return crops, planes
