"""What may be otherwise in a moment, and trying it again; and what will be the same for all that is to come."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from headstream.errors import HeadstreamError, ModelError, SinkError, SourceError, UsageError

_T = TypeVar("_T")
_TRIES = 3
# What may be otherwise in a moment. A full disk or a missing permission will not.
_PASSING_NAMES = (
    "EIO ESTALE EAGAIN EBUSY EINTR ETIMEDOUT ECONNRESET ECONNABORTED ECONNREFUSED ENETDOWN ENETUNREACH EHOSTDOWN "
    "EHOSTUNREACH ENETRESET EPIPE ENOTCONN ENOBUFS EREMOTEIO"
)
_PASSING = {getattr(errno, name) for name in _PASSING_NAMES.split(" ") if hasattr(errno, name)}
_FULL = {errno.ENOSPC, errno.EDQUOT}


class PassingSourceError(SourceError):
    """A store did not hand out an input just now; it may in a moment."""


class PassingSinkError(SinkError):
    """A store did not take a result just now; it may in a moment."""


class NoSuchNetworkError(UsageError):
    """A model or device was asked for that there is not: wrong for one input, and for all others."""


def may_pass(error: BaseException) -> bool:
    """Whether another try makes sense: an error of input, output or network, not of what is in the file."""
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno in _PASSING:
            return True
        if isinstance(cause, (TimeoutError, ConnectionError, PassingSourceError, PassingSinkError)):
            return True
    return False


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


def patiently(action: Callable[[], _T], wait_s: float = 0.25) -> _T:
    """Do it, and again when it fails for what may pass, a little later each time."""
    for number in range(1, _TRIES):
        try:
            return action()
        except (HeadstreamError, OSError) as error:
            if not may_pass(error):
                raise
            time.sleep(wait_s * 4 ** (number - 1))
    return action()
