"""Outputs made in segments, each by an encoder of its own and safe on the disk once finished, and joined at the end.

An output is the same, to the byte, however many times its making was broken off between segments.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstream.sinks.behind import Background, VideoBackground
from headstream.sinks.encode import ClipInfo, Picture, PictureEncoder, What
from headstream.sinks.formats import OutputFormat
from headstream.sinks.partial import sink_error
from headstream.types import Cutout


class SegmentSink(ABC):
    """One output in segments. ``write`` cut-outs; ``finish`` at the end of each segment; at last ``join``, then ``close``.

    folder: where segments are kept until they are joined.  notes: what became of sound, subtitles and chapters.
    """

    def __init__(
        self,
        path: Path,
        kind: OutputFormat,
        clip: ClipInfo,
        folder: Path,
        *,
        background: Background | None = None,
        what: What = "cutout",
    ) -> None:
        self.path, self._folder = path, folder
        self._kind, self._clip, self._what, self._background = kind, clip, what, background
        self._encoder = PictureEncoder(path, kind, clip, background=background, what=what)
        self._open = False
        self.notes: list[str] = []

    def snapshot(self) -> Any:
        """What the next segment has to know of those before it."""
        picture = self._encoder.picture
        behind = self._background.snapshot() if isinstance(self._background, VideoBackground) else None
        return (picture and (picture.pix_fmt, picture.tags), self._encoder.last_pts, behind)

    def restore(self, snapshot: Any) -> None:
        """Go on with the segment after a ``snapshot``."""
        picture, self._encoder.last_pts, behind = snapshot
        self._encoder.picture = picture and Picture(*picture)
        if isinstance(self._background, VideoBackground):
            self._background.restore(behind)

    def skip(self, cutout: Cutout) -> None:
        """A cut-out of the output that somebody else writes; times go on after it."""
        self._encoder.tick(cutout.frame.pts + self._clip.video_start_s)

    def write(self, cutout: Cutout) -> None:
        """Encode one cut-out into the current segment. Raises SinkError; then only ``drop`` and ``close`` may follow."""
        import av

        try:
            if not self._open:
                self._encoder.begin(
                    self._begin(cutout.frame.index), self._encoder.picture or self._encoder.settle(cutout)
                )
                self._open = True
            self._put(self._encoder.packets(cutout, cutout.frame.pts + self._clip.video_start_s))
        except (av.error.FFmpegError, OSError) as error:
            raise sink_error(self.path, error) from error

    def finish(self, name: str) -> int:
        """End the current segment: it is on the disk for good, as ``name``. Returns its bytes."""
        import av

        try:
            self._put(self._encoder.flush())
            size = self._end(name)
        except (av.error.FFmpegError, OSError) as error:
            raise sink_error(self.path, error) from error
        self._ended()
        return size

    def drop(self) -> None:
        """Forget the current segment. Safe to call again."""
        if self._open:
            self._abort()
        self._ended()

    def _ended(self) -> None:
        self._encoder.end()
        self._open = False

    def close(self) -> None:
        """Forget the current segment and free everything. Safe to call again."""
        self.drop()
        if self._background is not None:
            self._background.close()

    @property
    @abstractmethod
    def final_path(self) -> Path:
        """Where the output goes."""

    @abstractmethod
    def incomplete(self) -> None:
        """What will be joined is not all that was asked for: it goes under another name."""

    @abstractmethod
    def holds(self, name: str, size: int) -> bool:
        """Whether a segment is there, of that many bytes."""

    @abstractmethod
    def forget(self, names: Sequence[str]) -> None:
        """Remove segments."""

    @abstractmethod
    def wipe(self) -> None:
        """Remove all there is outside of ``folder``."""

    @abstractmethod
    def join(self, names: Sequence[str], *, whole: bool) -> None:
        """Put these segments together under the final name. Raises SinkError; then nothing appears there, and they stay.

        whole: whether they are all there will be; they are gone then. Otherwise they stay for the making to go on.
        """

    @abstractmethod
    def _begin(self, first_frame: int) -> Any:
        """Open the next segment; returns the container its stream is added to."""

    @abstractmethod
    def _put(self, packets: list[Any]) -> None: ...
    @abstractmethod
    def _end(self, name: str) -> int: ...
    @abstractmethod
    def _abort(self) -> None: ...
