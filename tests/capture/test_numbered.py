"""Numbered pictures as a film: which they are, how fast, upright and in their colours; and rows that are none."""

from __future__ import annotations

import os
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

import headstream
from headstream.apart import check_apart
from headstream.capture import limits
from headstream.capture.file import FileSource
from headstream.capture.numbered import numbered_pictures, parse_rate
from headstream.cli import main
from headstream.errors import SourceError, UsageError
from headstream.films.cropping import CropJob, crop_film
from headstream.films.dubbing import PasteJob, paste_film
from headstream.films.tracks import plot_track, track_file
from headstream.films.video import VideoJob, VideoReport, cut_video_file
from headstream.types import UInt8Array
from tests.conftest import moving_portrait
from tests.media import frame_times, pattern

RATE = Fraction(24000, 1001)


def written(folder: Path, names: list[str], **options: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for index, name in enumerate(names):
        Image.fromarray(pattern(96, 64, index)).save(folder / name, **options)
    return folder


@pytest.fixture(scope="module")
def shot(portrait: UInt8Array, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 PNGs, numbered from 86 on."""
    folder = tmp_path_factory.mktemp("shots") / "shot 100%"
    folder.mkdir()
    for number, rgb in enumerate(moving_portrait(portrait, 24), start=86):
        Image.fromarray(rgb).save(folder / f"f.{number:04d}.png", compress_level=1)
    return folder


@pytest.mark.parametrize(
    ("names", "pattern_of"),
    [
        (["000007.png", "000008.png", "000009.png"], "%06d.png"),
        (["a 9.PNG", "a 10.PNG", "a 11.PNG"], "a %d.PNG"),
        (["s1.0099.left.tif", "s1.0100.left.tif"], "s1.%04d.left.tif"),
        (["0.jpg", "1.jpg"], "%d.jpg"),
        (["099.webp", "100.webp"], "%03d.webp"),
        (["99.bmp", "100.bmp", "101.bmp"], "%d.bmp"),
    ],
)
def test_a_folder_or_a_pattern_is_a_film(tmp_path: Path, names: list[str], pattern_of: str) -> None:
    folder = written(tmp_path / "50% of %d", names)
    (folder / "notes.txt").write_text("other files do not matter")
    (folder / ".hidden.png").write_text("nor do hidden ones")
    lossy = pattern_of.endswith(("jpg", "webp"))
    for path in (folder, folder / pattern_of):
        with FileSource(path, rate=RATE) as source:
            frames = list(source)
            assert (source.size_px, source.rate, source.frames_expected) == ((96, 64), RATE, len(names))
        assert [frame.pts for frame in frames] == [k / RATE for k in range(len(names))]
        for index, frame in enumerate(frames):
            far = np.abs(frame.rgb.astype(int) - pattern(96, 64, index)).mean()
            assert far < 16 if lossy else far == 0


@pytest.mark.parametrize(
    ("names", "asked", "told"),
    [
        (["1.png", "2.png", "4.png", "7.png"], "", r"3.png and 2 more of 1.png to 7.png is missing"),
        (["01.png", "03.png"], "%02d.png", r"02.png of 01.png to 03.png is missing"),
        (["01.png", "02.png"], "%03d.png", "there are no pictures with such names"),
        (["01.png", "02.png", "poster.png"], "", r"more in it than one row of numbered pictures; name pictures like"),
        (["1.png", "02.png"], "", "more in it than one row"),
        (["a1.png", "a2.png", "b1.png", "b2.png"], "", "more in it than one row"),
        (["1.png"], "", "is a folder with one picture in it; for photos: headstream image"),
        ([], "", "without numbered pictures; name a video file"),
        ([], "no/%d.png", "no: no such folder"),
    ],
)
def test_what_is_no_row_is_told(tmp_path: Path, names: list[str], asked: str, told: str) -> None:
    written(tmp_path, names)
    with pytest.raises(SourceError, match=told):
        FileSource(tmp_path / asked)


def test_pictures_beside_the_row_do_not_matter_where_it_is_named(tmp_path: Path) -> None:
    written(tmp_path, ["f1.png", "f2.png", "f2b.png", "f03.png", "poster.png"])
    pictures = numbered_pictures(tmp_path / "f%d.png")
    assert pictures is not None
    assert [name for name, _, _ in pictures.files] == ["f1.png", "f2.png"]


def test_a_picture_that_is_empty_or_goes_is_told(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (256, 384, 3), np.uint8)  # more than is read when it is opened
    for number in range(40):
        Image.fromarray(noise).save(tmp_path / f"{number}.png", compress_level=0)
    with FileSource(tmp_path) as source:
        (tmp_path / "35.png").write_bytes(b"")
        with pytest.raises(SourceError, match=r"35.png: is empty"):
            list(source)
    with pytest.raises(SourceError, match=r"35.png: is empty"):
        FileSource(tmp_path)
    shutil.copy(tmp_path / "0.png", tmp_path / "35.png")
    with FileSource(tmp_path) as source:
        (tmp_path / "35.png").unlink()
        with pytest.raises(SourceError, match="failed part-way"):
            list(source)


@pytest.mark.parametrize("damaged", [1, 3, 6])
def test_a_damaged_picture_is_named(tmp_path: Path, damaged: int) -> None:
    """Left out, it would give all that follow the numbers of others."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    for number in range(1, 7):
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    path = tmp_path / f"{damaged}.png"
    path.write_bytes(path.read_bytes()[:20] + b"damaged" * 40)
    with (
        pytest.raises(SourceError, match=rf"/{damaged}.png: (cannot be decoded|is gone or damaged)"),
        FileSource(tmp_path) as source,
    ):
        list(source)


def test_a_picture_that_is_too_large_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 7):
        Image.fromarray(pattern(*((192, 128) if number == 4 else (96, 64)), 0)).save(tmp_path / f"{number}.png")
    monkeypatch.setattr(limits, "_CODED", 100 * 100)
    with pytest.raises(SourceError, match=r"/4.png: .*larger than 8192x8192"), FileSource(tmp_path) as source:
        list(source)


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    written(tmp_path, ["1.png", "2.png"])
    (tmp_path / "3.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(SourceError, match=r"3.png: cannot be read"):
        FileSource(tmp_path)
    assert main(["video", str(tmp_path), "--out", str(tmp_path / "o.mov")]) == 2


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("turn", [3, 6, 8])
def test_pictures_are_upright(tmp_path: Path, suffix: str, turn: int) -> None:
    exif = Image.Exif()
    exif[274] = turn
    written(tmp_path, [f"1{suffix}", f"2{suffix}"], exif=exif)
    with FileSource(tmp_path) as source:
        first = next(iter(source))
    with Image.open(tmp_path / f"1{suffix}") as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)
    assert np.abs(first.rgb - upright).mean() < 16


def test_hdr_pictures_are_upright(tmp_path: Path) -> None:
    exif, pq = Image.Exif(), PngImagePlugin.PngInfo()
    exif[274] = 6
    pq.add(b"cICP", bytes((9, 16, 0, 1)))  # BT.2020 primaries, PQ, R'G'B', full range
    written(tmp_path, ["1.png", "2.png"], exif=exif, pnginfo=pq)
    with FileSource(tmp_path) as source:
        assert source.hdr
        assert [frame.size_px for frame in source] == [(64, 96)] * 2


def test_each_picture_is_turned_as_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A phone that was turned on the way."""
    written(tmp_path, ["1.png", "2.png"])
    for name, turn in (("3.png", 3), ("4.png", 6)):
        exif = Image.Exif()
        exif[274] = turn
        Image.fromarray(pattern(96, 64, 0)).save(tmp_path / name, exif=exif)
    with FileSource(tmp_path) as source:
        frames = list(source)
        assert any("turned otherwise than the first" in line for line in source.warnings)
    assert [frame.size_px for frame in frames] == [(96, 64)] * 4
    assert np.abs(frames[2].rgb.astype(int) - pattern(96, 64, 0)[::-1, ::-1]).mean() < 1
    assert frames[3].rgb[:, :20].max() == 0  # before black
    assert np.abs(frames[3].rgb[:, 27:69].astype(int).mean() - pattern(96, 64, 0).mean()) < 3


def test_grey_and_see_through_pictures_among_others(tmp_path: Path) -> None:
    grey = np.tile(np.arange(96, dtype=np.uint8) * 2, (64, 1))
    clear = np.dstack([grey, grey, grey, np.full_like(grey, 100)])
    for number, array in enumerate((grey, np.dstack([grey] * 3), clear)):
        Image.fromarray(array).save(tmp_path / f"{number}.png")
    with FileSource(tmp_path) as source:
        frames = list(source)
    assert [frame.planes for frame in frames] == [None, None, None]
    assert all(np.array_equal(frame.rgb, np.dstack([grey] * 3)) for frame in frames)
    assert frames[2].alpha is not None
    assert (frames[2].alpha == 100).all()


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("24", Fraction(24)), ("24000/1001", RATE), ("23.976", RATE), ("23.98", RATE), ("29.97", Fraction(30000, 1001)),
        ("59.94", Fraction(60000, 1001)), ("12.5", Fraction(25, 2)), ("0.5", Fraction(1, 2)), ("1000", Fraction(1000)),
        ("1/300", Fraction(1, 300)), ("0.004", Fraction(1, 250)),
    ],
)  # fmt: skip
def test_rates(text: str, rate: Fraction) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["0", "-5", "fast", "1/0", "nan", "inf", "1001", ""])
def test_rates_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="expected pictures a second, like 24"):
        parse_rate(text)


def test_a_video_has_its_own_rate(head_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["video", str(head_clip), "--out", str(tmp_path / "o.mov"), "--rate", "24"]) == 2
    assert "has a rate of its own; --rate is for numbered pictures" in capsys.readouterr().err
    with pytest.raises(UsageError, match="rate of its own"):
        next(headstream.cut_video(head_clip, rate=24))
    with pytest.raises(SourceError, match="no such file"):
        next(headstream.cut_video(tmp_path / "no.mp4", rate=24))
    with pytest.raises(UsageError, match="--rate 0"):
        headstream.cut_video(head_clip, rate=0)


def test_they_are_cut(shot: Path, tmp_path: Path) -> None:
    report = cut_video_file(VideoJob(shot / "f.%04d.png", tmp_path / "o.mov", rate=RATE))
    assert report.frames_out == report.frames_with_head == 24
    assert frame_times(tmp_path / "o.mov") == pytest.approx([k / float(RATE) for k in range(24)], abs=1e-4)
    report = cut_video_file(VideoJob(shot, tmp_path / "o.mkv"))
    assert "assuming 25 pictures a second; set another with --rate" in report.notes
    assert frame_times(tmp_path / "o.mkv")[-1] == pytest.approx(23 / 25, abs=2e-3)
    assert len(list(headstream.cut_video(shot, rate=12))) == 24


def test_a_run_goes_on_unless_a_picture_has_changed(shot: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(shot, tmp_path / "shot"))

    def cut(stop_at: int = 0) -> VideoReport:
        def progress(done: int, total: int) -> None:
            if done == stop_at:
                raise KeyboardInterrupt

        return cut_video_file(VideoJob(copy, tmp_path / "o.mkv", segment_s=0.4, look_ahead=False), progress)

    cut()
    whole = (tmp_path / "o.mkv").read_bytes()
    cut(stop_at=13)
    assert cut().resumed_from_frame == 10
    assert (tmp_path / "o.mkv").read_bytes() == whole
    cut(stop_at=13)
    os.utime(copy / "f.0105.png")
    report = cut()
    assert report.resumed_from_frame == 0
    assert any("the source is another" in note for note in report.notes)


def test_they_are_not_written_over(shot: Path, tmp_path: Path) -> None:
    for read, out in ((shot, shot), (shot / "f.%04d.png", shot / "f.%06d.png"), (shot, shot / "f.%d.png")):
        with pytest.raises(UsageError, match="must be different"):
            check_apart([read], [out])
    check_apart([shot / "f.%04d.png"], [shot / "cut.%04d.png", tmp_path / "o.mov"])


def test_out_to_a_model_that_answers_in_pictures_and_back(shot: Path, tmp_path: Path) -> None:
    """Of a film of pictures as fast as the track tells."""
    track, clip, final = tmp_path / "t.json", tmp_path / "clip", tmp_path / "final.mkv"
    track_file(shot, track, rate=Fraction(30))
    plot_track(shot, track, tmp_path / "t.png")
    crop_film(CropJob(shot, track, clip, size=128))
    report = paste_film(PasteJob(shot, track, clip, final))
    assert (report.frames, report.with_head, report.changed) == (24, 24, 0)
    assert frame_times(final)[-1] == pytest.approx(23 / 30, abs=2e-3)
    (clip / "000024.png").unlink()
    report = paste_film(PasteJob(shot, track, clip, final))
    assert any(note.startswith("the clip has 23 frames, the film 24") for note in report.notes)


def test_pictures_get_the_sound_they_are_given(shot: Path, head_clip: Path, tmp_path: Path) -> None:
    track, clip, final = tmp_path / "t.json", tmp_path / "c.mkv", tmp_path / "final.mov"
    track_file(shot, track)
    crop_film(CropJob(shot, track, clip, size=128))
    report = paste_film(PasteJob(shot, track, clip, final, audio=head_clip))
    assert any("audio" in note and "copied" in note for note in report.notes)
    with av.open(str(final)) as container:
        assert len(container.streams.audio) == 1


def test_slow_rows_are_whole(tmp_path: Path) -> None:
    for k in range(5):
        Image.fromarray(pattern(64, 48, k)).save(tmp_path / f"{k}.png")
    with FileSource(tmp_path, rate=Fraction(1, 4)) as source:
        assert [float(frame.pts) for frame in source] == [0, 4, 8, 12, 16]
        assert source.warnings == []
