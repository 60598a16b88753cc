"""A source through a cutter in several threads: the same as one frame after the other, whatever fails on the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from headstream.errors import ModelError, SourceError
from headstream.films.foresight import BatchCutter
from headstream.matte.refine import HeadMatte
from headstream.pipeline import CutOptions, HeadCutter
from headstream.segment.crops import CropSegmenter
from headstream.shared.channel import Policy
from headstream.stream import cut_stream
from headstream.track.finder import FaceFinder
from headstream.types import Cutout, Float32Array, Frame, Part, UInt8Array
from tests.conftest import moving_portrait
from tests.films.test_foresight import told
from tests.media import pattern
from tests.test_pipeline import ListSource, two_people

pytestmark = pytest.mark.usefixtures("answers_kept")


@pytest.mark.parametrize("heads", ["largest", "all"])
def test_the_cutouts_are_those_of_one_frame_after_the_other(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder, heads: str
) -> None:
    pictures = [two_people(portrait, k) for k in range(14)]
    options = CutOptions(heads=heads)  # type: ignore[arg-type]
    alone = HeadCutter(segmenter, finder, options)
    expected, cuts = [], []
    for frame in ListSource(pictures):
        expected.append(alone.cut(frame))
        cuts.append((alone.cut_before, [head.track_id for head in alone.people]))
    cutter = HeadCutter(segmenter, finder, options)
    got = []
    for cutout, cut in zip(cut_stream(ListSource(pictures), cutter), cuts, strict=True):
        got.append(cutout)
        assert (cutter.cut_before, [head.track_id for head in cutter.people]) == cut
    assert told(got) == told(expected)


class Slow:
    """A cutter's ``finish`` that waits until it is let go, and who is begun meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cutter: HeadCutter) -> None:
        self.begun: list[int] = []
        self.go = threading.Event()
        begin, finish = cutter.begin, cutter.finish

        def noted(frame: Frame) -> object:
            self.begun.append(frame.index)
            if len(self.begun) > 1:
                self.go.set()
            return begin(frame)

        def waits(begun: object) -> Cutout:
            assert self.go.wait(20)
            return finish(begun)  # type: ignore[arg-type]

        monkeypatch.setattr(cutter, "begin", noted)
        monkeypatch.setattr(cutter, "finish", waits)


def test_the_next_frame_is_begun_before_the_last_is_finished(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    cutter = HeadCutter(segmenter, finder)
    slow = Slow(monkeypatch, cutter)  # the first frame is not finished before the second is begun
    stream = cut_stream(ListSource(moving_portrait(portrait, 6)), cutter)
    assert next(stream).frame.index == 0
    assert slow.begun == [0, 1]
    with pytest.raises(RuntimeError, match="1 frames are under way"):
        cutter.snapshot()
    stream.close()
    assert not any(thread.name.startswith("headstream-") for thread in threading.enumerate())


def test_nothing_is_under_way_where_a_snapshot_is_wanted(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    pictures = moving_portrait(portrait, 12)
    expected = told(list(cut_stream(ListSource(pictures), HeadCutter(segmenter, finder))))
    cutter = HeadCutter(segmenter, finder)
    snapshots = {}
    for cutout in cut_stream(ListSource(pictures), cutter, settled=lambda frame: frame.index % 4 == 3):
        if cutout.frame.index % 4 == 3:
            snapshots[cutout.frame.index + 1] = cutter.snapshot()
    assert list(snapshots) == [4, 8, 12]
    for first in (4, 8):
        again = HeadCutter(segmenter, finder)
        again.restore(snapshots[first])
        assert told([again.cut(frame) for frame in list(ListSource(pictures))[first:]]) == expected[first:]


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_network_that_fails_half_way_costs_no_frame_before(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder, at_once: int
) -> None:
    class Breaks:
        side = 256
        runs = 0

        def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
            self.runs += 1
            if self.runs > 5:  # the first frame has two
                raise ModelError("the card fell off the bus")
            return segmenter.predict(rgb, part)

    cutter = BatchCutter(Breaks(), finder, at_once=at_once) if at_once > 1 else HeadCutter(Breaks(), finder)
    got: list[Cutout] = []
    with pytest.raises(ModelError, match="off the bus"):
        got.extend(cut_stream(ListSource(moving_portrait(portrait, 30)), cutter))
    assert [c.frame.index for c in got] == list(range(len(got)))
    assert len(got) == 4 if at_once == 1 else len(got) >= 4
    assert all(c.heads for c in got)


@pytest.mark.parametrize("error", [MemoryError("no room for the matte"), ModelError("no room for the matte")])
def test_a_matte_that_fails_is_raised_in_its_place_and_stops_the_threads(
    portrait: UInt8Array,
    segmenter: CropSegmenter,
    finder: FaceFinder,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    update, calls = HeadMatte.update, []

    def breaks(self: HeadMatte, *args: object) -> object:
        calls.append(1)
        if len(calls) == 4:
            raise error
        return update(self, *args)  # type: ignore[arg-type]

    got: list[int] = []
    cutter = HeadCutter(segmenter, finder)
    with monkeypatch.context() as patch:
        patch.setattr(HeadMatte, "update", breaks)
        with pytest.raises(type(error), match="no room"):
            got.extend(c.frame.index for c in cut_stream(ListSource(moving_portrait(portrait, 30)), cutter))
    assert got == [0, 1, 2]
    assert not any(thread.name.startswith("headstream-") for thread in threading.enumerate())
    cutter.snapshot()  # nothing is under way any more
    assert len(list(cut_stream(ListSource(moving_portrait(portrait, 3)), cutter))) == 3
    cutter.snapshot()


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_source_of_ones_own_that_fails_in_its_own_way_costs_no_frame_before(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder, at_once: int
) -> None:
    class Breaks(ListSource):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                if frame.index == 6:
                    raise OSError("the cable")
                yield frame

    got: list[int] = []
    source = Breaks(moving_portrait(portrait, 9))
    cutter = BatchCutter(segmenter, finder, at_once=at_once) if at_once > 1 else HeadCutter(segmenter, finder)
    with pytest.raises(OSError, match="the cable"):
        got.extend(cutout.frame.index for cutout in cut_stream(source, cutter))
    assert got == list(range(6))


def test_frames_without_a_head_do_not_count_among_the_mattes(segmenter: CropSegmenter, finder: FaceFinder) -> None:
    cutter = HeadCutter(segmenter, finder)
    assert not any(c.heads for c in cut_stream(ListSource([pattern(64, 48, k) for k in range(3)]), cutter))
    assert set(cutter.times.mean_ms()) == {"decode", "track"}


@pytest.mark.parametrize("policy", ["every", "newest"])
def test_each_comes_out_without_the_next_where_that_is_long_in_coming(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder, policy: Policy
) -> None:
    class Asked:
        """Gives each frame when the last one has come out; without that, none."""

        live = True
        rate = ListSource.rate

        def __init__(self, pictures: list[UInt8Array]) -> None:
            self.inner, self.out = ListSource(pictures), threading.Semaphore(1)
            self.size_px = self.inner.size_px

        def __iter__(self) -> Iterator[Frame]:
            for frame in self.inner:
                assert self.out.acquire(timeout=20)
                yield frame

        def close(self) -> None: ...

    source = Asked(moving_portrait(portrait, 5))
    seen = []
    for cutout in cut_stream(source, HeadCutter(segmenter, finder), policy=policy):
        seen.append(cutout.frame.index)
        source.out.release()
    assert seen == list(range(5))


def test_a_source_that_breaks_off_at_once_gives_nothing_but_its_error(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    with pytest.raises(SourceError, match="unplugged"):
        next(cut_stream(ListSource(moving_portrait(portrait, 2), fail_at=0), HeadCutter(segmenter, finder)))


@pytest.mark.parametrize("given", [None, "a picture"])
def test_a_source_that_gives_something_else_is_told(segmenter: CropSegmenter, finder: FaceFinder, given: Any) -> None:
    class Mine(ListSource):
        def __iter__(self) -> Iterator[Frame]:
            yield from super().__iter__()
            yield given

    pictures: list[UInt8Array] = [np.zeros((64, 64, 3), np.uint8)] * 3
    with pytest.raises(SourceError, match=f"Mine gives {type(given).__name__}, expected Frame"):
        list(cut_stream(Mine(pictures), HeadCutter(segmenter, finder)))
