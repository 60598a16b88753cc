"""What ends one input of many: in a person's words, and whether the others can fare better."""

from __future__ import annotations

import errno

from headstream.errors import HeadstreamError, ModelError, SinkError, UsageError

_FULL = {errno.ENOSPC, errno.EDQUOT}


class NoSuchNetworkError(UsageError):
    """A model or device was asked for that there is not: wrong for one input, and for all others."""


def causes(error: BaseException) -> list[BaseException]:
    """An error and what it was raised from, each once: nothing keeps errors from going round in a circle."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and all(cause is not known for known in chain):
        chain.append(cause)
        cause = cause.__cause__
    return chain


def ends_all(error: BaseException) -> type[HeadstreamError] | None:
    """What to raise where other inputs cannot fare better: no network, or a full disk."""
    if isinstance(error, NoSuchNetworkError):
        return UsageError
    if isinstance(error, ModelError):
        return ModelError
    return SinkError if any(getattr(cause, "errno", None) in _FULL for cause in causes(error)) else None


def in_words(error: BaseException, input: str) -> str:
    """An input's failure in a person's words, with its name."""
    if isinstance(error, HeadstreamError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"{input}: not enough memory for it"
    if isinstance(error, OSError):
        return f"{input}: {error.strerror or error}"
    return f"{input}: internal error: {type(error).__name__}: {error}"
