"""Cut-outs into a video file: alpha or composite, with the source's own times, colours, sound and chapters."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from headstream.sinks.behind import Background
from headstream.sinks.clipfile import ClipFile
from headstream.sinks.encode import ClipInfo, PictureEncoder, What
from headstream.sinks.formats import OutputFormat
from headstream.sinks.partial import sink_error
from headstream.types import Cutout

__all__ = ["ClipInfo", "VideoSink", "What"]


class VideoSink:
    """Writes cut-outs to a video file, an animated picture, or a folder of PNG files.

    Nothing appears under the final name until ``close``; what was written by then is complete and playable. After
    ``incomplete`` it goes under NAME.partial.EXT instead, after an error or ``discard`` nowhere.
    what: "cutout"; "matte" for the matte alone as a grey video; "film" for the frames as they are, opaque; "clip" for the
    frames as they are with the matte as their transparency.
    notes: what became of the source's sound, subtitles and chapters.
    """

    def __init__(
        self,
        path: Path,
        kind: OutputFormat,
        clip: ClipInfo,
        *,
        background: Background | None = None,
        what: What = "cutout",
    ) -> None:
        self.path, self._clip, self._background = path, clip, background
        self._encoder = PictureEncoder(path, kind, clip, background=background, what=what)
        self._file = self._begun_file(kind, what)
        self.frames = 0
        self._failed = self._closed = self._stopped = False
        self._end_s = Fraction(0)

    def _begun_file(self, kind: OutputFormat, what: What) -> ClipFile:
        return ClipFile(self.path, kind, self._clip, what)

    @property
    def notes(self) -> list[str]:
        """What became of the source's sound, subtitles and chapters."""
        return self._file.notes

    @property
    def final_path(self) -> Path:
        """Where ``close`` puts the output."""
        return self._file.final_path

    def write(self, cutout: Cutout) -> None:
        """Encode one cut-out at its own time."""
        import av

        if self._failed:
            return
        try:
            if self._encoder.stream is None:
                self._encoder.begin(self._file.container, self._encoder.settle(cutout))
                self._file.carry()
            when = cutout.frame.pts + self._clip.video_start_s
            self._file.mux(self._encoder.packets(cutout, when))
            self._file.advance(when)
            self._end_s = when + (cutout.frame.duration_s or 1 / self._clip.rate)
            self.frames += 1
        except (av.error.FFmpegError, OSError) as error:
            self._failed = True
            raise sink_error(self.path, error) from error

    def incomplete(self) -> None:
        """What was written is not all that was asked for: keep it under another name."""
        self._file.incomplete()

    def stop(self) -> None:
        """The source goes on, but no more is wanted: ``close`` ends what is carried with the last picture."""
        self._stopped = True

    def abandon(self) -> None:
        """Nothing is to be kept; what is still written goes nowhere. Safe from any thread, unlike ``discard``."""
        self._failed = True

    def discard(self) -> None:
        """Give up: nothing is kept."""
        self.abandon()
        self.close()

    def close(self) -> None:
        """Finish the file and give it its name. Safe to call again. Raises SinkError; then nothing is kept, unless the error
        tells where: what cannot have its name is not lost."""
        import av

        if self._closed:
            return
        self._closed = True
        try:
            if self._failed or not self.frames:
                self._file.discard()
                return
            self._file.mux(self._encoder.flush())
            if left_out := self._encoder.left_out:
                self.notes.append(f"{left_out} of {self.frames} frames left out: a GIF shows 50 a second at most")
            self._file.advance(self._end_s)  # the last picture may be shown for long
            self._file.keep(self._end_s if self._stopped else None)
        except (av.error.FFmpegError, OSError) as error:
            self._file.discard()
            raise sink_error(self.path, error) from error
        finally:
            if self._background is not None:
                self._background.close()

    def __enter__(self) -> VideoSink:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()
