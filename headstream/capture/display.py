"""What decoded pictures of HDR films tell of the screen they were made on."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any

from headstream.shared.mastering import Mastering

# libavutil's AVMasteringDisplayMetadata (red, green, blue and white, least and most luminance as fractions, and which of them are
# there), and AVContentLightMetadata.
_DISPLAY, _LIGHT = struct.Struct("=16i4i2i"), struct.Struct("=2I")


def mastering_of(picture: Any) -> Mastering | None:
    """What a decoded picture tells; None where it tells nothing, or nothing that can be."""
    primaries = luminance = light = None
    try:
        sides = list(picture.side_data)
    except ValueError:  # as in ``orientation``: one kind that PyAV has no name for hides all
        return None
    for told in sides:
        data = bytes(told)
        if told.type.name == "MASTERING_DISPLAY_METADATA" and len(data) >= _DISPLAY.size:
            values = _DISPLAY.unpack_from(data)
            if 0 not in values[1:20:2]:
                parts = [Fraction(*values[k : k + 2]) for k in range(0, 20, 2)]
                points = [(parts[k], parts[k + 1]) for k in range(0, 8, 2)]
                if values[20] and all(0 <= part < 1 for part in parts[:8]):
                    primaries = (points[0], points[1], points[2], points[3])
                if values[21] and 0 <= parts[8] < parts[9] <= 10_000:
                    luminance = parts[8], parts[9]
        elif told.type.name == "CONTENT_LIGHT_LEVEL" and len(data) >= _LIGHT.size:
            brightest, mean = _LIGHT.unpack_from(data)
            light = (brightest, mean) if 0 < max(brightest, mean) < 1 << 16 else None
    return Mastering(primaries, luminance, light) if primaries or luminance or light else None
