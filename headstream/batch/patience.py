"""What may be otherwise in a moment, and trying it again."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from headstream.errors import HeadstreamError, SinkError, SourceError
from headstream.failures import causes

_T = TypeVar("_T")
_TRIES = 3
# What may be otherwise in a moment. A full disk or a missing permission will not.
_PASSING_NAMES = (
    "EIO ESTALE EAGAIN EBUSY EINTR ETIMEDOUT ECONNRESET ECONNABORTED ECONNREFUSED ENETDOWN ENETUNREACH EHOSTDOWN "
    "EHOSTUNREACH ENETRESET EPIPE ENOTCONN ENOBUFS EREMOTEIO"
)
_PASSING = {getattr(errno, name) for name in _PASSING_NAMES.split(" ") if hasattr(errno, name)}


class PassingSourceError(SourceError):
    """A store did not hand out an input just now; it may in a moment."""


class PassingSinkError(SinkError):
    """A store did not take a result just now; it may in a moment."""


def may_pass(error: BaseException) -> bool:
    """Whether another try makes sense: an error of input, output or network, not of what is in the file."""
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno in _PASSING:
            return True
        if isinstance(cause, (TimeoutError, ConnectionError, PassingSourceError, PassingSinkError)):
            return True
    return False


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
