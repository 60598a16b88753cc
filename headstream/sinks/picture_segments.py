"""A sequence of PNG files in segments: whoever goes on keeps the files of those that were finished."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstream.shared.disk import remove, sync
from headstream.sinks.clipfile import incomplete_name, numbered, without_place
from headstream.sinks.encode import ClipInfo
from headstream.sinks.formats import OutputFormat, frames_from, names_frames, sequence_place
from headstream.sinks.partial import PartialFolder, sink_error
from headstream.sinks.segments import SegmentSink


class PictureSegments(SegmentSink):
    """A sequence of PNG files: each is whole in itself, so that joining is giving their folder its name."""

    def __init__(self, path: Path, kind: OutputFormat, clip: ClipInfo, folder: Path, **options: Any) -> None:
        super().__init__(path, kind, clip, folder, **options)
        final, self._pattern = sequence_place(path)
        self._part = PartialFolder(final, fresh=False)
        self._container: Any = None
        if self._what == "cutout":
            self.notes += without_place(kind, clip.path)

    @property
    def final_path(self) -> Path:
        """Where the output goes."""
        return self._part.final / self._pattern if names_frames(self.path) else self._part.final

    def incomplete(self) -> None:
        """What will be joined is not all that was asked for: it goes under another name."""
        self._part.final = incomplete_name(self._part.final)

    def _begin(self, first_frame: int) -> Any:
        import av

        self._part.path.mkdir(parents=True, exist_ok=True)
        if self._container is None:  # what was broken off is no part of any segment
            for place in frames_from(self._part.path, self._pattern, first_frame + 1):
                place.unlink()
        options = {"start_number": str(first_frame + 1)}
        self._container = av.open(numbered(self._part.path, self._pattern), "w", format="image2", options=options)
        return self._container

    def _place(self, number: int) -> Path:
        return self._part.path / (self._pattern % number)

    def _places(self, name: str) -> list[Path]:
        first, end = map(int, name.split("-"))
        return [self._place(number) for number in range(first + 1, end + 1)]

    def _put(self, packets: list[Any]) -> None:
        for packet in packets:
            self._container.mux(packet)

    def _end(self, name: str) -> int:
        self._container.close()
        places = self._places(name)
        for place in places:
            sync(place)
        sync(self._part.path)
        return sum(place.stat().st_size for place in places)

    def _abort(self) -> None:
        self._container.close()

    def holds(self, name: str, size: int) -> bool:
        """Whether a segment is there, of that many bytes."""
        places = self._places(name)
        return all(place.is_file() for place in places) and sum(place.stat().st_size for place in places) == size

    def join(self, names: Sequence[str], *, whole: bool) -> None:
        """Give the folder its name; or, to go on later, its files a second name in the final folder."""
        if whole:
            self._part.keep()
            return
        try:
            self._part.final.mkdir(parents=True, exist_ok=True)
            for place in itertools.chain.from_iterable(map(self._places, names)):
                _second_name(place, self._part.final / place.name)
        except OSError as error:
            raise sink_error(self.path, error) from error

    def forget(self, names: Sequence[str]) -> None:
        """Remove segments."""
        for place in itertools.chain.from_iterable(map(self._places, names)):
            remove(place)

    def wipe(self) -> None:
        """Remove all there is."""
        self._part.discard()


def _second_name(place: Path, other: Path) -> None:
    other.unlink(missing_ok=True)
    try:
        os.link(place, other)
    except OSError:  # a file system without links
        shutil.copyfile(place, other)
