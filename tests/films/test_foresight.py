"""Several frames in one run of the network come out as one at a time does, whatever happens in the film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from headstream.errors import SourceError
from headstream.films.foresight import BatchCutter, file_cutter
from headstream.films.video import Tools, VideoJob, cut_video_file
from headstream.pipeline import CutOptions, HeadCutter
from headstream.segment.crops import CropSegmenter
from headstream.segment.load import load_segmenter
from headstream.shared.turned import turned
from headstream.stream import cut_stream
from headstream.track.faces import Face
from headstream.track.finder import FaceFinder
from headstream.types import Cutout, Float32Array, Frame, Head, Part, Region, UInt8Array
from tests.conftest import moving_portrait
from tests.test_pipeline import ListSource, two_people

pytestmark = pytest.mark.usefixtures("answers_kept")  # of crops alone, and of each lot of them by itself


@dataclass
class Counted:
    """A segmenter, and how many crops each run of it was for."""

    inner: CropSegmenter
    runs: list[int] = field(default_factory=list)

    @property
    def side(self) -> int:
        return self.inner.side

    def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
        return self.predict_parts(rgb, (part,))[0]

    def predict_parts(self, rgb: UInt8Array, parts: Sequence[Part]) -> Float32Array:
        self.runs.append(len(rgb))
        return self.inner.predict_parts(rgb, parts)


def cut_at_once(cutter: HeadCutter, frames: list[Frame]) -> list[Cutout]:
    """The cut-outs of one lot of frames."""
    return [cutter.given(begun, cutter.finish(begun)) for begun in cutter.begin_together(frames)]


@dataclass
class Watched:
    """A finder, and where it looked."""

    inner: FaceFinder
    looks: list[tuple[int, Region | None]] = field(default_factory=list)

    def scan(self, frame: Frame) -> list[Face]:
        self.looks.append((frame.index, None))
        return self.inner.scan(frame)

    def look(self, frame: Frame, region: Region) -> list[Face]:
        self.looks.append((frame.index, region))
        return self.inner.look(frame, region)


def heads_words(head: Head) -> Any:
    landmarks = head.landmarks_px.tobytes()
    return head.track_id, head.box_px, head.crop_px, landmarks, head.score, head.unseen_frames


def painted(cutout: Cutout) -> Any:
    """The colours of a cut-out that are not the frame's own."""
    kept = cutout.foreground
    return None if kept is None else np.asarray(kept).tobytes()


def told(cutouts: Sequence[Cutout]) -> list[Any]:
    """All that a cut-out says, comparable."""
    return [
        (c.frame.index, c.region_px, c.alpha.tobytes(), painted(c), [heads_words(h) for h in c.heads]) for c in cutouts
    ]


def hidden(pictures: list[UInt8Array], frames: range) -> list[UInt8Array]:
    """A board passes before the lower face."""
    for k in frames:
        pictures[k] = pictures[k].copy()
        pictures[k][90:, 40:280] = (60, 90, 120)
    return pictures


def films(portrait: UInt8Array) -> dict[str, list[UInt8Array]]:
    moving = moving_portrait(portrait, 36)
    empty: UInt8Array = np.full_like(moving[0], 120)
    small = [cv2.resize(p, (160, 120), interpolation=cv2.INTER_AREA) for p in moving]
    far = [cv2.copyMakeBorder(p, 60, 60, 120, 40, cv2.BORDER_CONSTANT, value=(40, 60, 40)) for p in small]
    square = moving_portrait(portrait, 24, (240, 240))
    lying = [turned(picture, 1) for picture in square[:12]]
    growing = []
    for k in range(24):
        matrix = cv2.getRotationMatrix2D((150, 110), 2.0 * k, 1.0 + 0.03 * k)
        growing.append(cv2.warpAffine(moving[0], matrix, (320, 240), borderValue=(110, 110, 110)))
    return {
        "moving": moving,
        "nobody": [empty] * 20,
        "comes and goes": [*[empty] * 5, *moving[:13], *[empty] * 11, *moving[20:27]],
        "cuts": [*moving[:11], *far[:10], *moving[::-1][:9]],
        "hidden": hidden(moving_portrait(portrait, 36), range(14, 23)),
        "turns and grows": growing,
        "jumps": [moving[(7 * k) % 36] for k in range(20)],
        "lies and gets up": [*lying, *square],
        "one frame": moving[:1],
    }


@pytest.fixture(scope="module")
def made(portrait: UInt8Array) -> dict[str, list[UInt8Array]]:
    return films(portrait)


class TestSame:
    @pytest.mark.parametrize("name", films(np.zeros((512, 512, 3), np.uint8)))
    @pytest.mark.parametrize("heads", ["largest", "all"])
    def test_as_one_frame_at_a_time(
        self,
        made: dict[str, list[UInt8Array]],
        segmenter: CropSegmenter,
        finder: FaceFinder,
        name: str,
        heads: Any,
    ) -> None:
        film, options = ListSource(made[name]), CutOptions(heads=heads)
        single = list(cut_stream(film, HeadCutter(segmenter, finder, options)))
        counted = Counted(segmenter)
        cutter = BatchCutter(counted, finder, options, at_once=8)
        assert told(list(cut_stream(film, cutter))) == told(single)
        assert cutter.asked == sum(counted.runs)
        with_head = sum(bool(c.heads) for c in single)
        assert with_head <= cutter.asked <= 2 * with_head + 8

    def test_in_fewer_runs_and_with_no_more_looks(
        self, portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
    ) -> None:
        film = ListSource(moving_portrait(portrait, 40))
        watched = Watched(finder)
        list(cut_stream(film, HeadCutter(segmenter, watched)))
        counted, again = Counted(segmenter), Watched(finder)
        list(cut_stream(film, BatchCutter(counted, again, at_once=8)))
        assert len(counted.runs) <= 8
        assert max(counted.runs) == 8
        assert len(again.looks) <= len(watched.looks) + 2
        assert len(set(again.looks)) == len(again.looks)

    def test_two_people_and_the_hair(self, portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder) -> None:
        film = ListSource([two_people(portrait, k) for k in range(20)])
        options = CutOptions(heads="all", part="hair")
        counted = Counted(segmenter)
        single = list(cut_stream(film, HeadCutter(segmenter, finder, options)))
        assert told(list(cut_stream(film, BatchCutter(counted, finder, options, at_once=5)))) == told(single)
        assert max(counted.runs) >= 10

    def test_a_run_is_never_for_more_crops_than_a_device_holds(
        self, portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
    ) -> None:
        counted = Counted(segmenter)
        film = ListSource([two_people(portrait, k) for k in range(25)])
        cutter = BatchCutter(counted, finder, CutOptions(heads="all"), at_once=20)
        assert len(list(cut_stream(film, cutter))) == 25
        assert 24 <= max(counted.runs) <= 32

    def test_a_snapshot_amid_a_lot_is_of_the_frames_that_came_out(
        self, portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
    ) -> None:
        pictures = moving_portrait(portrait, 24)
        single = told(list(cut_stream(ListSource(pictures), HeadCutter(segmenter, finder))))
        cutter = BatchCutter(segmenter, finder, at_once=8)
        stream = cut_stream(ListSource(pictures), cutter, settled=lambda frame: frame.index == 10)
        for _ in range(11):
            next(stream)
        snapshot = cutter.snapshot()
        stream.close()
        other = BatchCutter(segmenter, finder, at_once=8)
        other.restore(snapshot)
        frames = list(ListSource(pictures))
        assert told(cut_at_once(other, frames[11:])) == single[11:]

    def test_frame_by_frame_it_is_a_cutter_like_others(
        self, portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
    ) -> None:
        """Frames that nobody holds may come to lie where others lay."""

        def alone(cutter: HeadCutter) -> list[Any]:
            return [told([cutter.cut(Frame(p.copy(), index=k, pts=Fraction(k, 25)))]) for k, p in enumerate(pictures)]

        pictures = moving_portrait(portrait, 24)
        cutter = BatchCutter(segmenter, finder, at_once=8)
        assert alone(cutter) == alone(HeadCutter(segmenter, finder))
        assert len(cutter._told) == 1

    def test_nothing_is_kept_of_a_lot_that_is_done(
        self, portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
    ) -> None:
        cutter = BatchCutter(segmenter, finder, at_once=4)
        frames = list(ListSource(moving_portrait(portrait, 12)))
        most = 0
        for k in (0, 4, 8):
            for _ in cutter.begin_together(frames[k : k + 4]):
                most = max(most, len(cutter._told))
            assert not cutter._told
            assert not cutter._seen._found
            assert not cutter._lot
        assert 2 <= most <= 8

    def test_someone_takes_over_amid_a_lot(
        self, portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
    ) -> None:
        """Whoever becomes much larger is cut a second later, counted once, not again for each guess."""
        pictures = []
        for k in range(44):
            frame: UInt8Array = np.full((270, 560, 3), 110, np.uint8)
            frame[60:190, 20:150] = cv2.resize(portrait[:400, 60:460], (130, 130), interpolation=cv2.INTER_AREA)
            side = min(90 + 12 * k, 250)
            frame[10 : 10 + side, 260 : 260 + side] = cv2.resize(portrait[:400, 60:460][:, ::-1], (side, side))
            pictures.append(frame)
        single = list(cut_stream(ListSource(pictures), HeadCutter(segmenter, finder)))
        assert len({head.track_id for c in single for head in c.heads}) == 2
        assert told(list(cut_stream(ListSource(pictures), BatchCutter(segmenter, finder, at_once=8)))) == told(single)


class TestFailures:
    def test_what_came_before_a_break_comes_out(
        self, portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
    ) -> None:
        got: list[Cutout] = []
        film = ListSource(moving_portrait(portrait, 12), fail_at=5)
        with pytest.raises(SourceError, match="unplugged"):
            for cutout in cut_stream(film, BatchCutter(segmenter, finder, at_once=8)):
                got.append(cutout)
        assert len(got) == 5

    def test_a_network_that_fails_leaves_nothing_running(self, portrait: UInt8Array, finder: FaceFinder) -> None:
        class Broken:
            side = 256

            def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
                raise RuntimeError("out of memory")

        cutter = BatchCutter(Broken(), finder, at_once=4)
        with pytest.raises(RuntimeError, match="out of memory"):
            list(cut_stream(ListSource(moving_portrait(portrait, 12)), cutter))
        assert not cutter._told
        assert not cutter._lot

    def test_one_at_least(self, segmenter: CropSegmenter, finder: FaceFinder) -> None:
        with pytest.raises(ValueError, match="at least 1, got 0"):
            BatchCutter(segmenter, finder, at_once=0)


class TestFiles:
    def test_answers_that_tests_keep_are_of_one_finish(self, portrait: UInt8Array) -> None:
        """Photos and films share a file of weights: what one test was told of a photo is no answer of another's film."""
        crop = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)[None]
        for_photos, for_films = (load_segmenter(name).predict(crop) for name in ("lite-photo-int8", "lite-int8"))
        assert np.abs(for_photos - for_films).max() > 0.1

    def test_the_segmenter_says_how_many(
        self, segmenter: CropSegmenter, finder: FaceFinder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert type(file_cutter(segmenter, finder)) is HeadCutter
        monkeypatch.setattr(segmenter, "at_once", 6)
        cutter = file_cutter(segmenter, finder)
        assert isinstance(cutter, BatchCutter)
        assert cutter.at_once == 6

    def test_a_film_in_segments_is_the_same_file(
        self,
        head_clip: Path,
        tmp_path: Path,
        segmenter: CropSegmenter,
        finder: FaceFinder,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        written = []
        for at_once in (1, 8):
            monkeypatch.setattr(segmenter, "at_once", at_once)
            out = tmp_path / f"{at_once}.mkv"
            job = VideoJob(head_clip, out, segment_s=float(Fraction(11, 25)), look_ahead=False)
            report = cut_video_file(job, tools=Tools(segmenter, finder))
            assert report.frames_out == 30
            assert ("foresee" in report.stages_ms) == (at_once == 8)
            written.append(out.read_bytes())
        assert written[0] == written[1]
