"""How frames travel between the page and here.

Page to server: a little-endian uint32 number of the page's own, then a JPEG. Server to page: ``HEADER`` (number, frame width
and height, the region's x0, y0, width and height, length of the JPEG), the region's RGBA bytes with straight alpha, then
a JPEG of the whole frame, which may be empty. On one machine raw bytes cost less than any picture format.
"""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np

from headstream.errors import SourceError
from headstream.shared.imagefile import image_bytes
from headstream.types import Cutout, Frame, UInt8Array

HEADER = struct.Struct("<IHHHHHHI")
NUMBER = struct.Struct("<I")
MAX_PIXELS = 1920 * 1088
MAX_MESSAGE = 4 << 20
_QUALITY = 85


def cutout_message(number: int, cutout: Cutout, picture: bytes = b"") -> bytes:
    """A cut-out as the page reads it. picture: the whole frame as a JPEG, where it is wanted."""
    x0, y0, x1, y1 = cutout.region_px
    width, height = cutout.frame.size_px
    head = HEADER.pack(number, width, height, x0, y0, x1 - x0, y1 - y0, len(picture))
    if x1 == x0:
        return head + picture
    rgba = np.dstack((cutout.region_rgb(), cutout.region_alpha))
    return head + rgba.tobytes() + picture


def frame_of(message: bytes) -> tuple[int, UInt8Array]:
    """A page's frame: its number and (H, W, 3) uint8 R'G'B'. Raises SourceError for anything else."""
    from PIL import Image, UnidentifiedImageError

    if not NUMBER.size < len(message) <= MAX_MESSAGE:
        raise SourceError(
            f"a frame of {len(message)} bytes; expected a number and a JPEG of at most {MAX_MESSAGE} bytes"
        )
    (number,) = NUMBER.unpack_from(message)
    data = message[NUMBER.size :]
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:  # reads the header only
            width, height = picture.size
    except Image.DecompressionBombError as error:
        raise SourceError("a frame that says it is larger than any camera's") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise SourceError("a frame that is no JPEG") from error
    if width * height > MAX_PIXELS or min(width, height) < 16:
        raise SourceError(f"a frame of {width}x{height}; expected 16x16 to 1920x1088")
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise SourceError("a JPEG that cannot be decoded")
    rgb: UInt8Array = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return number, rgb


def jpeg_of(frame: Frame) -> bytes:
    """The whole frame as a JPEG."""
    return image_bytes(frame.rgb, ".jpg", quality=_QUALITY)
