"""headstream cuts the head (face, hair, beard; no neck, no body) out of videos, webcams and photos.

    import headstream
    for cutout in headstream.cut_video("talk.mp4"):
        cutout.rgba()                      # (H, W, 4) uint8, straight alpha

Everything heavy is imported at the first use, so that importing this costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstream.api import cut_image, cut_video, head_cutter
    from headstream.errors import HeadstreamError, ModelError, SinkError, SourceError, UsageError
    from headstream.pipeline import CutOptions, HeadCutter
    from headstream.segment.load import load_segmenter
    from headstream.stream import cut_stream
    from headstream.types import Cutout, Frame, Head, Segmenter, Sink, Source

__version__ = "0.1.0"

_HOMES = {
    "headstream.api": ("cut_image", "cut_video", "head_cutter"),
    "headstream.errors": ("HeadstreamError", "ModelError", "SinkError", "SourceError", "UsageError"),
    "headstream.pipeline": ("CutOptions", "HeadCutter"),
    "headstream.segment.load": ("load_segmenter",),
    "headstream.stream": ("cut_stream",),
    "headstream.types": ("Cutout", "Frame", "Head", "Segmenter", "Sink", "Source"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "CutOptions",
    "Cutout",
    "Frame",
    "Head",
    "HeadCutter",
    "HeadstreamError",
    "ModelError",
    "Segmenter",
    "Sink",
    "SinkError",
    "Source",
    "SourceError",
    "UsageError",
    "__version__",
    "cut_image",
    "cut_stream",
    "cut_video",
    "head_cutter",
    "load_segmenter",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'headstream' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
