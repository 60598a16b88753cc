"""HDR pictures as a standard screen would show them: what networks and detectors were taught with, and people look at.

Only looked at, never written: outputs keep the film's own code values. And standard pictures put behind HDR films, as HDR.
Source: ITU-R BT.2100-2, tables 4 (PQ) and 5 (HLG, on a
screen of 1000 cd/m2); BT.2408-7: diffuse white lies at 203 cd/m2; BT.2087-0: BT.2020 primaries as BT.709.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from headstream.types import Colour, Float32Array, Planes, UInt8Array

_PQ, _HLG = 16, 18  # code points of ITU-T H.273
HDR_TRANSFERS = frozenset({_PQ, _HLG})
_BT2020 = 9
_WHITE = 203.0  # cd/m2 of diffuse white
_KNEE = 0.8  # of diffuse white: what is brighter is pressed into the rest
_GAMMA = 2.4
_709_FROM_2020 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
_STEPS, _TOP = 1 << 14, 2.0  # the table from light to code values, and the light at its end


def is_hdr(picture: Planes | UInt8Array) -> bool:
    """Whether a picture's code values are tagged as PQ or HLG."""
    return isinstance(picture, Planes) and picture.colour.transfer_code in HDR_TRANSFERS


def as_shown(rgb: UInt8Array, picture: Planes | UInt8Array) -> UInt8Array:
    """R'G'B' (h, w, 3) taken from ``picture``, for a standard screen; the very array where that is no HDR."""
    return _toned(rgb, picture.colour) if isinstance(picture, Planes) and is_hdr(picture) else rgb


def as_filmed(rgb: UInt8Array, colour: Colour) -> UInt8Array:
    """R'G'B' (h, w, 3) of a standard picture, in the code values of a film with these tags; the very array where that is no HDR:
    a white wall behind an HDR film is as bright as paper, not as the sun."""
    if colour.transfer_code not in HDR_TRANSFERS:
        return rgb
    light = np.power(np.arange(256, dtype=np.float32) / 255, np.float32(_GAMMA))[rgb]
    if colour.primaries_code == _BT2020:
        light = cv2.transform(light, np.linalg.inv(_709_FROM_2020))
    # No standard white is as bright as the last code value.
    return np.searchsorted(_light(colour.transfer_code), light).astype(np.uint8)


def _toned(rgb: UInt8Array, colour: Colour) -> UInt8Array:
    light = _light(colour.transfer_code)[rgb]
    if colour.primaries_code == _BT2020:
        light = cv2.transform(light, _709_FROM_2020)
    steps = np.clip(light * np.float32((_STEPS - 1) / _TOP), 0, _STEPS - 1).astype(np.uint16)
    shown: UInt8Array = _codes()[steps]
    return shown


@lru_cache(maxsize=2)
def _light(transfer_code: int) -> Float32Array:
    """(256,) light of each code value, diffuse white 1."""
    code: Any = np.arange(256) / 255
    if transfer_code == _PQ:
        m1, m2, c1, c2, c3 = 1305 / 8192, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128
        power = code ** (1 / m2)
        light = 10000 / _WHITE * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
        light = 1000 / _WHITE * scene**1.2
    return np.asarray(light, np.float32)


@lru_cache(maxsize=1)
def _codes() -> UInt8Array:
    """(_STEPS,) uint8: the code value of each step of light, highlights pressed together."""
    light = np.linspace(0, _TOP, _STEPS)
    over = np.maximum(light - _KNEE, 0) / (1 - _KNEE)
    pressed = np.where(light < _KNEE, light, _KNEE + (1 - _KNEE) * (1 - np.exp(-over)))
    return np.rint(255 * pressed ** (1 / _GAMMA)).astype(np.uint8)
