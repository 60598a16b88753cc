"""How large a film's pictures may be: the decoder itself keeps to it, as any picture may tell a size of its own."""

from __future__ import annotations

from typing import Any

MAX_PIXELS = 8192 * 8192
_CODED = MAX_PIXELS * 9 // 8  # decoders round sides up to whole blocks, and some need an edge beyond them


def limit(stream: Any) -> None:
    """Have the decoder of a film that has just been opened refuse what is larger."""
    stream.codec_context.options = {"max_pixels": str(_CODED)}


def is_too_large(stream: Any, error: Exception) -> bool:
    """Whether a decoder has refused a picture for its size. Some then tell none, some that one; dav1d has an error of its own."""
    import av

    told = stream.codec_context.width * stream.codec_context.height
    return not 0 < told <= _CODED or isinstance(error, av.error.OverflowError)
