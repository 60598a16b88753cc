"""The life of a frame, with the real detectors and the real network; and what happens when a room fails."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import headstream
from headstream.capture.file import FileSource
from headstream.errors import SourceError, UsageError
from headstream.films.video import VideoJob, check_job, cut_video_file
from headstream.pipeline import CutOptions, HeadCutter
from headstream.segment.crops import CropSegmenter
from headstream.stream import cut_stream
from headstream.track.faces import Face
from headstream.track.finder import FaceFinder
from headstream.types import Cutout, Float32Array, Frame, Part, Region, UInt8Array
from tests.conftest import moving_portrait
from tests.media import alpha_of, frame_times, needs_ffmpeg, pattern, write_video
from tests.test_looks import Filmed, Reds, painted


class ListSource:
    """Frames from a list; may fail at one of them."""

    live = False
    rate = Fraction(25)

    def __init__(self, pictures: list[UInt8Array], fail_at: int | None = None) -> None:
        self.pictures, self.fail_at, self.closed = pictures, fail_at, False
        self.size_px = (pictures[0].shape[1], pictures[0].shape[0])

    def __iter__(self) -> Iterator[Frame]:
        for index, picture in enumerate(self.pictures):
            if index == self.fail_at:
                raise SourceError("the camera was unplugged")
            yield Frame(picture, index=index, pts=Fraction(index, 25))

    def close(self) -> None:
        self.closed = True


def test_every_frame_comes_out_with_its_head(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    cutter = HeadCutter(segmenter, finder)
    pictures = moving_portrait(portrait, 24)
    cutouts = list(cut_stream(ListSource(pictures), cutter))
    assert [c.frame.index for c in cutouts] == list(range(24))
    assert all(len(c.heads) == 1 and c.heads[0].track_id == 1 for c in cutouts)
    assert set(cutter.times.mean_ms()) == {"decode", "track", "crop", "segment", "matte"}
    for cutout in cutouts:
        x0, y0, x1, y1 = cutout.heads[0].box_px
        alpha = cutout.alpha.astype(float) / 255
        middle = alpha[int(y0 + 8) : int(y1 - 12), int(x0 + 12) : int(x1 - 12)]
        assert middle.mean() > 0.93
        assert alpha[200:].mean() < 0.03  # the body
        assert alpha[:, 240:].mean() < 0.03  # nobody


def test_the_matte_belongs_to_its_own_frame(portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder) -> None:
    """Its middle moves with the picture, 1.5 px a frame, and fits no other frame better."""
    pictures = moving_portrait(portrait, 40)
    cutouts = list(cut_stream(ListSource(pictures), HeadCutter(segmenter, finder)))
    middles = [float((c.alpha.sum(axis=0) @ np.arange(320)) / c.alpha.sum()) for c in cutouts]
    steps = np.diff(middles[5:])
    assert np.abs(steps.mean() - 1.5) < 0.1
    alphas = [c.alpha.astype(float) for c in cutouts]
    still = alphas[20]
    fit = {
        k: np.abs(
            cv2.warpAffine(alphas[20 + k], np.array([[1, 0, -1.5 * k], [0, 1, 0]], np.float64), (320, 240)) - still
        ).mean()
        for k in (-2, -1, 1, 2)
    }
    assert max(fit.values()) < 2.0


def test_frames_without_anybody_are_empty_not_errors(segmenter: CropSegmenter, finder: FaceFinder) -> None:
    cutouts = list(cut_stream(ListSource([pattern(320, 240, i) for i in range(6)]), HeadCutter(segmenter, finder)))
    assert len(cutouts) == 6
    assert all(c.heads == () and not c.alpha.any() for c in cutouts)


def test_hair_alone_is_less_than_the_head(portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder) -> None:
    pictures = moving_portrait(portrait, 3)
    head, hair = (
        list(cut_stream(ListSource(pictures), HeadCutter(segmenter, finder, CutOptions(part=part))))[-1]
        for part in ("head", "hair")
    )
    assert head.heads
    assert hair.heads
    assert 0.15 < hair.alpha.sum() / head.alpha.sum() < 0.75


def two_people(portrait: UInt8Array, index: int) -> UInt8Array:
    frame: UInt8Array = np.full((240, 480, 3), 110, np.uint8)
    small = cv2.resize(portrait, (230, 230), interpolation=cv2.INTER_AREA)
    frame[10:240, 0:230] = small
    large = cv2.resize(portrait[:400], (250, 195), interpolation=cv2.INTER_AREA)[:, ::-1]
    frame[20:215, 230:480] = np.clip(large.astype(int) * (0.75, 0.85, 1.0), 0, 255).astype(np.uint8)
    return frame


@pytest.mark.parametrize(("heads", "count"), [("largest", 1), ("all", 2), (2, 1), (7, 0)])
def test_choice_of_heads(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder, heads: Any, count: int
) -> None:
    pictures = [two_people(portrait, i) for i in range(4)]
    cutouts = list(cut_stream(ListSource(pictures), HeadCutter(segmenter, finder, CutOptions(heads=heads))))
    assert len(cutouts[-1].heads) == count
    columns = cutouts[-1].alpha.max(axis=0) > 128
    assert int(columns[:200].any()) + int(columns[260:].any()) == count
    if heads == 2:
        assert cutouts[-1].heads[0].track_id == 2


def test_a_source_that_fails_half_way_says_so_after_its_frames(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    got: list[Cutout] = []
    with pytest.raises(SourceError, match="unplugged"):
        for cutout in cut_stream(ListSource(moving_portrait(portrait, 8), fail_at=5), HeadCutter(segmenter, finder)):
            got.append(cutout)
    assert len(got) == 5


def test_a_stage_that_fails_stops_the_grab_thread(portrait: UInt8Array, finder: FaceFinder) -> None:
    class Broken:
        side = 256

        def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        list(cut_stream(ListSource(moving_portrait(portrait, 30)), HeadCutter(Broken(), finder)))


def test_stopping_early_stops_the_grab_thread(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    stream = cut_stream(ListSource(moving_portrait(portrait, 30)), HeadCutter(segmenter, finder))
    next(stream)
    assert "headstream-grab" in {thread.name for thread in threading.enumerate()}
    stream.close()
    assert "headstream-grab" not in {thread.name for thread in threading.enumerate()}


class TestVideoFile:
    def test_all_at_once(self, head_clip: Path, tmp_path: Path) -> None:
        calls = []
        job = VideoJob(head_clip, tmp_path / "o.mov", matte=tmp_path / "m.mkv")
        report = cut_video_file(job, lambda done, total: calls.append((done, total)))
        assert (report.frames_in, report.frames_out, report.frames_with_head) == (30, 30, 30)
        assert calls[-1] == (30, 30)
        assert report.outputs == [tmp_path / "o.mov", tmp_path / "m.mkv"]
        assert report.heads == {1: 30}
        assert "audio 1: aac copied" in report.notes
        alpha = alpha_of(tmp_path / "o.mov")
        assert (alpha[15] > 200).mean() > 0.03
        assert frame_times(tmp_path / "m.mkv")[-1] == pytest.approx(29 / 25, abs=0.002)

    def test_the_same_command_gives_the_same_picture(self, head_clip: Path, tmp_path: Path) -> None:
        for name in ("a.mkv", "b.mkv"):
            cut_video_file(VideoJob(head_clip, tmp_path / name))
        assert (alpha_of(tmp_path / "a.mkv") == alpha_of(tmp_path / "b.mkv")).all()

    def test_an_interrupt_leaves_a_playable_file(self, head_clip: Path, tmp_path: Path) -> None:
        def interrupt(done: int, total: int) -> None:
            if done == 12:
                raise KeyboardInterrupt

        report = cut_video_file(VideoJob(head_clip, tmp_path / "o.mov"), interrupt)
        assert report.interrupted
        assert report.frames_out == 12
        assert len(frame_times(tmp_path / "o.mov")) == 12

    def test_a_film_whose_clock_starts_late_keeps_its_pace(self, head_clip: Path, tmp_path: Path) -> None:
        """A transport stream starts at 1.4 s and more; no frame may be squeezed into its first moments."""
        late = tmp_path / "late.ts"
        needs_ffmpeg()
        subprocess.run(["ffmpeg", "-v", "error", "-i", head_clip, "-c", "copy", late], check=True)
        cut_video_file(VideoJob(late, tmp_path / "o.mkv"))
        times = frame_times(tmp_path / "o.mkv")
        assert times == pytest.approx([times[0] + k / 25 for k in range(30)], abs=0.002)

    def test_a_broken_source_leaves_what_there_was_under_another_name(self, head_clip: Path, tmp_path: Path) -> None:
        noisy = [np.random.default_rng(i).integers(0, 256, (96, 128, 3), np.uint8) for i in range(60)]
        whole = write_video(tmp_path / "w.mp4", noisy, container_options={"movflags": "+faststart"}).read_bytes()
        (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(SourceError, match=r"cut off.*frames before that are in .*o\.partial\.mkv"):
            cut_video_file(VideoJob(tmp_path / "cut.mp4", tmp_path / "o.mkv"))
        assert not (tmp_path / "o.mkv").exists()
        assert len(frame_times(tmp_path / "o.partial.mkv")) > 5

    def test_wrong_requests_are_refused_before_anything_is_opened(self, tmp_path: Path) -> None:
        missing = tmp_path / "none.mp4"
        with pytest.raises(UsageError, match="no transparency"):
            check_job(VideoJob(missing, tmp_path / "o.mp4"))
        with pytest.raises(UsageError, match="different files"):
            check_job(VideoJob(tmp_path / "o.mov", tmp_path / "o.mov"))
        with pytest.raises(UsageError, match="opaque output"):
            check_job(VideoJob(missing, tmp_path / "o.mov", background="#ffffff"))
        with pytest.raises(UsageError, match="matte is written as"):
            check_job(VideoJob(missing, tmp_path / "o.mov", matte=tmp_path / "m.gif"))


class TestPythonInterface:
    def test_cut_image(self, portrait: UInt8Array, tmp_path: Path) -> None:
        from PIL import Image

        Image.fromarray(portrait).save(tmp_path / "p.png")
        for picture in (portrait, Image.fromarray(portrait), tmp_path / "p.png", str(tmp_path / "p.png")):
            (cutout,) = headstream.cut_image(picture)
            assert cutout.rgba().shape == (512, 512, 4)
            assert cutout.alpha[100:160, 200:260].mean() > 250
        assert headstream.cut_image(pattern(320, 240, 0)) == []
        with pytest.raises(UsageError, match="got float64|uint8, got"):
            headstream.cut_image(np.zeros((4, 4, 3)))
        with pytest.raises(UsageError, match="got int"):
            headstream.cut_image(5)

    def test_an_alpha_channel_is_respected(self, portrait: UInt8Array) -> None:
        rgba = np.dstack([portrait, np.full((512, 512), 255, np.uint8)])
        rgba[:, :230, 3] = 0
        (cutout,) = headstream.cut_image(rgba)
        assert not cutout.alpha[:, :230].any()
        assert cutout.alpha[100:160, 235:260].mean() > 240

    def test_cut_video(self, head_clip: Path) -> None:
        cutouts = list(headstream.cut_video(head_clip))
        assert len(cutouts) == 30
        assert all(c.heads for c in cutouts)
        stream = headstream.cut_video(head_clip)
        next(stream)
        stream.close()

    def test_cut_stream_of_ones_own_frames(self, portrait: UInt8Array, finder: FaceFinder) -> None:
        segmenter = headstream.load_segmenter("default", device="cpu")
        frames = ListSource(moving_portrait(portrait, 2))
        assert all(c.heads for c in headstream.cut_stream(frames, headstream.HeadCutter(segmenter, finder)))

    def test_source_protocol(self, head_clip: Path) -> None:
        with FileSource(head_clip) as source:
            assert isinstance(source, headstream.Source)


def test_what_no_output_takes_over_is_told(tmp_path: Path) -> None:
    """Cover art, a second camera's picture; not the track of the timecode, which is carried."""
    needs_ffmpeg()
    film = write_video(tmp_path / "f.mp4", [pattern(64, 48, k) for k in range(4)])
    cover = tmp_path / "c.jpg"
    cv2.imwrite(str(cover), pattern(32, 32, 0))
    both = tmp_path / "b.mov"
    maps = [word for number in range(3) for word in ("-map", str(number))]
    ffmpeg: list[str | Path] = ["ffmpeg", "-v", "error", "-i", film, "-i", film, "-i", cover, *maps, "-c", "copy"]
    told = ["-disposition:v:2", "attached_pic", "-timecode", "01:00:00:00"]
    subprocess.run([*ffmpeg, *told, "-f", "mp4", both], check=True)
    for name in ("o.mkv", "o.webm"):
        notes = cut_video_file(VideoJob(both, tmp_path / name)).notes
        assert [note for note in notes if "left out" in note] == [
            "video 1: another picture left out",
            next(note for note in notes if "cover art left out" in note),
        ]


@pytest.mark.slow
def test_two_real_faces_keep_their_numbers_through_a_crossing(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    """One walks right, in front; the other, who looks different, walks left and is hidden for a while."""
    near = cv2.resize(portrait[0:300, 100:360], (156, 180), interpolation=cv2.INTER_AREA)
    far = np.clip(near[:, ::-1].astype(int) * (0.45, 0.6, 1.0) * 0.8, 0, 255).astype(np.uint8)
    frames = []
    for k in range(90):
        frame: UInt8Array = np.full((270, 640, 3), 120, np.uint8)
        for picture, x in ((far, 460 - 5 * k), (near, 20 + 5 * k)):
            left, right = max(0, x), min(640, x + 156)
            frame[60:240, left:right] = picture[:, left - x : right - x]
        frames.append(frame)
    cutter = HeadCutter(segmenter, finder, CutOptions(heads="all"))
    seen: list[dict[str, int]] = []
    for k, cutout in enumerate(cut_stream(ListSource(frames), cutter)):
        places = {"near": 20 + 5 * k + 63, "far": 460 - 5 * k + 93}
        who = {}
        for head in cutout.heads:
            middle = (head.box_px[0] + head.box_px[2]) / 2
            who[min(places, key=lambda name: abs(places[name] - middle))] = head.track_id
        seen.append(who)
    assert seen[25] == seen[85]
    assert set(seen[25]) == {"near", "far"}
    assert max(i for who in seen for i in who.values()) == 2


@pytest.mark.parametrize(("part", "shown"), [("hair", 0), ("head", 255)])
def test_what_hair_surrounds_is_filled_in_a_head_alone(part: Part, shown: int) -> None:
    class Around:
        """Takes what is red for hair, and what it surrounds, too, for head."""

        side = 128
        parts: tuple[Part, ...] = ("head", "hair")

        def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
            red = ((rgb[..., 0] > 150) & (rgb[..., 1] < 100)).astype(np.float32)
            if part == "hair":
                return red
            return np.stack([cv2.morphologyEx(plane, cv2.MORPH_CLOSE, np.ones((61, 61))) for plane in red])

    picture = painted(220)
    picture[125:190, 175:225] = (200, 170, 150)
    alpha = HeadCutter(Around(), Filmed(), CutOptions(part=part)).cut(Frame(picture)).alpha
    assert (alpha[110, 200], alpha[155, 200]) == (255, shown)


def test_who_was_away_comes_back_without_what_they_looked_like_before() -> None:
    """Mattes are not carried from before, nor mixed with new ones."""

    class Leaves(Filmed):
        away = False

        def scan(self, frame: Frame) -> list[Face]:
            return [] if self.away else super().scan(frame)

        def look(self, frame: Frame, region: Region) -> list[Face]:
            return self.scan(frame)

    network, finder = Reds(), Leaves()
    cutter = HeadCutter(network, finder)
    for k, pts in enumerate((0, 1 / 30, 5, 10, 15)):
        finder.away = k in {2, 3}
        called = network.calls
        cutout = cutter.cut(Frame(painted(220), index=k, pts=Fraction(pts)), carry=k > 0)
        assert [head.track_id for head in cutout.heads] == ([] if finder.away else [1])
        assert (network.calls > called) == (k in {0, 4})


def test_a_head_that_is_suddenly_larger_is_looked_at_where_mattes_are_carried() -> None:
    class Nears(Filmed):
        half = 40.0

        def scan(self, frame: Frame) -> list[Face]:
            box = (200 - self.half, 150 - self.half, 200 + self.half, 150 + self.half)
            return [Face(box, np.full((6, 2), (200.0, 150.0), np.float32), 0.9)]

        def look(self, frame: Frame, region: Region) -> list[Face]:
            return self.scan(frame)

    network, finder = Reds(), Nears()
    cutter = HeadCutter(network, finder)
    for k in range(4):
        called = network.calls
        finder.half = 40.0 if k < 3 else 80.0
        cutout = cutter.cut(Frame(painted(220), index=k, pts=Fraction(2 * k)), carry=k > 0)
        assert len(cutout.heads) == 1
        assert (network.calls > called) == (k in {0, 3})


def test_a_newcomer_that_was_believed_stays_so_however_faint_in_a_better_crop() -> None:
    class Fades(Reds):
        def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
            return super().predict(rgb, part) * np.float32(0.4 if self.calls > 1 else 1)

    network = Fades()
    cutter = HeadCutter(network, Filmed())
    for k in range(3):
        assert len(cutter.cut(Frame(painted(220), index=k, pts=Fraction(k, 30))).heads) == 1
        assert network.calls == k + 2  # the newcomer was looked at twice
