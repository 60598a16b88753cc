"""Pictures in files, by OpenCV. Its own functions for that fail on Windows where a name is not ASCII, and say nothing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from headstream.errors import SinkError, SourceError
from headstream.types import UInt8Array


def read_image(path: Path, *, grey: bool = False) -> UInt8Array:
    """(H, W, 3) uint8 R'G'B' of any picture OpenCV reads; (H, W) where ``grey``. Raises SourceError."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR) if len(data) else None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    if picture is None:
        raise SourceError(f"{path}: is not a picture that can be read")
    return picture if grey else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def write_image(path: Path, picture: UInt8Array, *, quality: int = 95) -> None:
    """Write (H, W, 3) uint8 R'G'B' or (H, W) grey, as the name's ending says. quality: of JPEG, 0..100. Raises SinkError."""
    bgr = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    try:
        jpeg = path.suffix.lower() in {".jpg", ".jpeg"}  # other formats do not know the option, and say so on stderr
        _, data = cv2.imencode(path.suffix, bgr, [cv2.IMWRITE_JPEG_QUALITY, quality] if jpeg else [])
        path.write_bytes(data.tobytes())
    except cv2.error as error:
        raise SinkError(f"{path}: no picture can be written as {path.suffix or 'a file without ending'}") from error
    except OSError as error:
        raise SinkError(f"{path}: cannot be written: {error.strerror}") from error
