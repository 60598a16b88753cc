"""What can go wrong, one class per thing a caller can do about it."""

from __future__ import annotations


class HeadstreamError(Exception):
    """Base of every error headstream raises on purpose; its text is one line meant for a person."""


class UsageError(HeadstreamError):
    """The request itself makes no sense (alpha in an .mp4, an unknown option value). Nothing was done."""


class SourceError(HeadstreamError):
    """An input cannot be read, or stopped being readable half-way."""


class ModelError(HeadstreamError):
    """A weight file is missing, damaged or of the wrong kind, or its device is not here."""


class SinkError(HeadstreamError):
    """An output cannot be written: no permission, disk full, a codec that refuses."""
