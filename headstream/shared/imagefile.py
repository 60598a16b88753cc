"""Pictures in files, by OpenCV. Its own functions for that fail on Windows where a name is not ASCII, and say nothing."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from headstream.errors import SinkError, SourceError
from headstream.shared.muted import muted
from headstream.types import UInt8Array

MOST_PIXELS = 178_000_000  # of any picture; Pillow's own limit against decompression bombs


def read_image(path: Path, *, grey: bool = False) -> UInt8Array:
    """(H, W, 3) uint8 R'G'B' of any picture OpenCV reads; (H, W) where ``grey``. Raises SourceError."""
    picture = decoded(path, cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
    return picture if grey else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def decoded(path: Path, flags: int) -> Any:
    """What OpenCV makes of a picture, by its ``cv2.IMREAD_...``. Raises SourceError, also for more than ``MOST_PIXELS``."""
    try:
        data = path.read_bytes()
        _check_header(data, path)
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except cv2.error:  # of a kind that Pillow does not know, beyond OpenCV's own limit
        picture = None
    if picture is None:
        raise SourceError(f"{path}: is not a picture that can be read")
    return picture


def _check_header(data: bytes, path: Path) -> None:
    """OpenCV tells the size only of what it has decoded."""
    from PIL import Image

    try:
        with muted("PIL"), Image.open(io.BytesIO(data)) as image:
            size = image.size
    except Image.DecompressionBombError as error:
        raise SourceError(beyond_most(path)) from error
    except Exception:  # damaged, or of another kind: OpenCV says so, or reads it
        return
    check_most(size, path)


def check_most(size: tuple[int, int], path: Path | str) -> None:
    """Raise SourceError for a picture of more than ``MOST_PIXELS``."""
    width, height = size
    if width * height > MOST_PIXELS:
        raise SourceError(
            f"{path}: {width}x{height} is {width * height / 1e6:.0f} megapixels; "
            f"the most headstream takes is {MOST_PIXELS / 1e6:.0f}; make it smaller first"
        )


def beyond_most(path: Path) -> str:
    """What is said where Pillow has refused a picture for its size, and tells none."""
    return f"{path}: is more than {MOST_PIXELS / 1e6:.0f} megapixels, the most headstream takes; make it smaller first"


def image_bytes(picture: UInt8Array, ending: str, *, quality: int = 95) -> bytes:
    """(H, W, 3) uint8 R'G'B' or (H, W) grey as a file of that ending holds it, such as ".png". quality: of JPEG, 0..100. Raises
    SinkError."""
    bgr = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    try:
        jpeg = ending.lower() in {".jpg", ".jpeg"}  # other formats do not know the option, and say so on stderr
        _, data = cv2.imencode(ending, bgr, [cv2.IMWRITE_JPEG_QUALITY, quality] if jpeg else [])
    except cv2.error as error:
        raise SinkError(f"no picture can be written as {ending or 'a file without ending'}") from error
    return data.tobytes()


def write_image(path: Path, picture: UInt8Array) -> None:
    """Write a picture as ``image_bytes`` takes it, as the name's ending says. Raises SinkError."""
    try:
        path.write_bytes(image_bytes(picture, path.suffix))
    except OSError as error:
        raise SinkError(f"{path}: cannot be written: {error.strerror}") from error
