"""Video outputs, read back by ffprobe and ffmpeg: times, sizes, alpha, colours, sound, and what happens when it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from headstream.backdrop import backdrop
from headstream.capture.file import FileSource
from headstream.capture.survey import survey
from headstream.errors import SinkError, SourceError, UsageError
from headstream.films.outputs import clip_of, open_outputs
from headstream.films.video import VideoJob, cautions
from headstream.segment.crops import CropSegmenter
from headstream.shared.colour import planes_from_rgb, rgb_from_planes
from headstream.sinks.background import parse_background
from headstream.sinks.behind import FixedPicture
from headstream.sinks.formats import film_format, output_format
from headstream.sinks.partial import neighbour
from headstream.sinks.picture_segments import PictureSegments
from headstream.sinks.video import ClipInfo, VideoSink
from headstream.types import Colour, Cutout, Frame, Region, UInt8Array
from tests.conftest import seconds
from tests.media import (
    alpha_of,
    decoded,
    files_of_at_most,
    frame_times,
    needs_ffmpeg,
    pattern,
    probe,
    video_stream,
    write_video,
)

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
REGION: Region = (20, 10, 60, 42)


def matte(index: int = 0) -> UInt8Array:
    """(32, 40) uint8: opaque in the middle, half-way around it, nothing at the border."""
    alpha = np.zeros((32, 40), np.uint8)
    alpha[2:-2, 2:-2] = 128
    alpha[8:-8, 8 + index % 4 : -8] = 255
    return alpha


def cutouts(ticks: list[int] | None = None, size: tuple[int, int] = (96, 64), **planes: Any) -> Iterator[Cutout]:
    for index, pts in enumerate(seconds(ticks or [40 * i for i in range(8)])):
        rgb = pattern(*size, index)
        frame = (
            Frame(planes=planes_from_rgb(rgb, **planes), index=index, pts=pts)
            if planes
            else Frame(rgb, index=index, pts=pts)
        )
        yield Cutout(frame, (), REGION, matte(index))


def clip(size: tuple[int, int] = (96, 64), **more: Any) -> ClipInfo:
    return ClipInfo(size, Fraction(25), Fraction(1, 12800), **more)


@pytest.mark.parametrize(
    ("name", "segment_s", "error"), [("folder.mp4", 0, SinkError), ("o.mp4", 0.2, FileNotFoundError)]
)
def test_an_output_that_cannot_be_made_leaves_no_background_open(
    name: str,
    segment_s: float,
    error: type[Exception],
    plain_clip: Path,
    segmenter: CropSegmenter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a folder that has its name; of a film that goes before segments are begun, which are of that very film."""
    films: list[FileSource] = []

    def opened(path: Path, **more: Any) -> FileSource:
        films.append(FileSource(path, **more))
        return films[-1]

    monkeypatch.setattr("headstream.backdrop.FileSource", opened)
    (tmp_path / "folder.mp4").mkdir()
    job = VideoJob(tmp_path / "gone.mp4", tmp_path / name, background=str(plain_clip), segment_s=segment_s)
    with FileSource(plain_clip) as source, pytest.raises(error, match=r"is a folder|gone\.mp4"):
        open_outputs(job, source, segmenter, (output_format(job.out, transparent=False), None), lead=0)
    assert [next(iter(film), None) for film in films] == [None]  # closed


def write(path: Path, items: Iterator[Cutout], info: ClipInfo, background: str | None = None, **more: Any) -> VideoSink:
    behind = backdrop(background) if background else None
    codec = more.pop("codec", None)
    kind = output_format(path, codec=codec, transparent=behind is None and more.get("what") != "matte")
    with VideoSink(path, kind, info, background=behind, **more) as sink:
        for item in items:
            sink.write(item)
    return sink


YUV420: dict[str, Any] = {"colour": Colour("bt709", False, 1, 1, 1), "sub": (2, 2)}


@pytest.mark.parametrize("suffix", [".mov", ".webm", ".mkv"])
@pytest.mark.parametrize("size", [(96, 64), (97, 65), (81, 64)])
def test_alpha_video_keeps_frames_times_and_size(
    tmp_path: Path, suffix: str, size: tuple[int, int], uneven_pts: list[int]
) -> None:
    path = tmp_path / f"o{suffix}"
    write(path, cutouts(uneven_pts, size, **YUV420), clip(size))
    stream = video_stream(path)
    assert (stream["width"], stream["height"]) == size
    times = frame_times(path)
    expected = [float(s) for s in seconds(uneven_pts)]
    assert np.allclose(np.array(times) - times[0], expected, atol=0.0015)
    alpha = alpha_of(path)
    assert alpha.shape == (10, size[1], size[0])
    tolerance = 12 if suffix == ".webm" else 1
    full = np.zeros((size[1], size[0]))
    full[10:42, 20:60] = matte(3)
    assert np.abs(alpha[3].astype(int) - full).mean() <= tolerance
    assert alpha[:, :8].max() <= 2


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
@pytest.mark.parametrize(("code", "matrix", "full"), [(1, "bt709", False), (5, "bt601", False), (1, "bt709", True)])
@pytest.mark.parametrize(("bits", "sub"), [(8, (2, 2)), (10, (2, 1)), (8, (1, 1))])
def test_colours_inside_do_not_shift_and_are_tagged(
    tmp_path: Path, suffix: str, code: int, matrix: Any, full: bool, bits: int, sub: tuple[int, int]
) -> None:
    path = tmp_path / f"o{suffix}"
    colour = Colour(matrix, full, code, code, code)
    items = list(cutouts(colour=colour, bits=bits, sub=sub))
    write(path, iter(items), clip())
    stream = video_stream(path)
    names = {1: "bt709", 5: "bt470bg"}
    assert stream["color_space"] == names[code]
    assert stream["color_primaries"] == names[code]
    assert stream["color_range"] == ("pc" if full and suffix == ".mkv" else "tv")
    with FileSource(path) as source:
        got = list(source)
    inside = np.s_[20:32, 34:48]  # opaque
    for item, frame in zip(items, got, strict=True):
        error = np.abs(frame.rgb[inside].astype(int) - item.frame.rgb[inside])
        assert error.mean() < 1.5
    outside = rgb_from_planes(got[0].planes)[:8] if got[0].planes is not None else got[0].rgb[:8]
    assert outside.max() <= 2  # black where nothing can be seen


@pytest.mark.parametrize("suffix", [".mov", ".webm", ".mkv", ".mp4"])
@pytest.mark.parametrize("bits", [8, 10, 16])
@pytest.mark.parametrize("full", [False, True])
def test_a_source_with_its_own_transparency_at_any_depth(tmp_path: Path, suffix: str, bits: int, full: bool) -> None:
    """What an output's bits are not those of; its alpha is the matte's, which has the source's in it."""

    def items() -> Iterator[Cutout]:
        for item in cutouts([0, 40], colour=Colour("bt709", full, 1, 1, 1), bits=bits, sub=(2, 2)):
            planes = item.frame.planes
            assert planes is not None
            own = np.full_like(planes.y, (1 << bits) - 1)
            yield replace(item, frame=item.frame.showing(planes=replace(planes, alpha=own)))

    path = tmp_path / f"o{suffix}"
    write(path, items(), clip(), background="#ffffff" if suffix == ".mp4" else None)
    assert len(frame_times(path)) == 2
    if suffix != ".mp4":
        assert np.abs(alpha_of(path)[0][20:32, 34:48].astype(int) - 255).max() <= 12
    with FileSource(path) as source:
        first, behind = next(iter(source)), next(items()).frame.rgb
    assert np.abs(first.rgb[20:32, 34:48].astype(int) - behind[20:32, 34:48]).mean() < 8


@pytest.mark.parametrize("sub", [(2, 2), (2, 1), (1, 1)])
@pytest.mark.parametrize("bits", [12, 16])
def test_deep_planes_are_read_by_older_programs(tmp_path: Path, bits: int, sub: tuple[int, int]) -> None:
    """FFmpeg 5 knows no FFV1 of yuva422p12 and yuva444p12."""
    write(tmp_path / "o.mkv", cutouts(colour=Colour("bt709", False, 1, 1, 1), bits=bits, sub=sub), clip())
    assert video_stream(tmp_path / "o.mkv")["pix_fmt"].endswith("p16le")
    alpha = alpha_of(tmp_path / "o.mkv")
    assert alpha.shape == (8, 64, 96)
    assert np.abs(alpha[3, 10:42, 20:60].astype(int) - matte(3)).max() <= 1


def test_ffv1_copies_the_sources_planes(tmp_path: Path) -> None:
    items = list(cutouts(**YUV420))
    write(tmp_path / "o.mkv", iter(items), clip())
    with FileSource(tmp_path / "o.mkv") as source:
        got = list(source)
    for item, frame in zip(items, got, strict=True):
        assert item.frame.planes is not None
        assert frame.planes is not None
        assert (frame.planes.y[20:32, 34:48] == item.frame.planes.y[20:32, 34:48]).all()
        assert (frame.planes.u[10:16, 17:24] == item.frame.planes.u[10:16, 17:24]).all()
        assert (frame.planes.alpha == item.alpha).all()  # type: ignore[union-attr]


def rgb_film(path: Path, pix_fmt: str, primaries: int, transfer: int) -> Path:
    with av.open(str(path), "w") as film:
        stream = film.add_stream("ffv1", rate=25, width=96, height=64)
        stream.pix_fmt = pix_fmt
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc = 0, primaries, transfer
        for index in range(3):
            picture = av.VideoFrame.from_ndarray(pattern(96, 64, index), format="rgb24").reformat(format=pix_fmt)
            picture.pts, picture.time_base = index, Fraction(1, 25)
            film.mux(stream.encode(picture))
        film.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("what", ["cutout", "film"])
@pytest.mark.parametrize("name", ["o.mov", "o.mkv", "o.webm", "o.mp4"])
@pytest.mark.parametrize(
    ("pix_fmt", "codes", "told"),
    [
        ("bgr0", (2, 2), ("bt709", "iec61966-2-1")),
        ("bgr0", (1, 1), ("bt709", "bt709")),
        ("gbrp10le", (12, 2), ("smpte432", "iec61966-2-1")),
        ("gbrp10le", (9, 16), ("bt2020", "smpte2084")),
        ("bgr0", (9, 18), ("bt2020", "arib-std-b67")),
    ],
)
def test_an_rgb_film_keeps_its_tags(
    tmp_path: Path, pix_fmt: str, codes: tuple[int, int], told: tuple[str, str], name: str, what: Any
) -> None:
    if what == "film" and name == "o.webm":
        pytest.skip("it is for films with transparency alone")
    behind = FixedPicture(np.zeros((1, 1, 3), np.uint8)) if name == "o.mp4" else None
    kind = (
        film_format(tmp_path / name) if what == "film" else output_format(tmp_path / name, transparent=behind is None)
    )
    with FileSource(rgb_film(tmp_path / "a.mkv", pix_fmt, *codes)) as source:
        with VideoSink(tmp_path / name, kind, clip_of(source), background=behind, what=what) as sink:
            for frame in source:
                sink.write(Cutout(frame, (), REGION, matte()))
        assert source.hdr == (codes[1] in {16, 18})
        notes = cautions(source, output_format(tmp_path / "f"))
        assert any(".mov and .mkv keep it" in note for note in notes) == source.hdr
    stream = video_stream(tmp_path / name)
    assert (stream["color_primaries"], stream["color_transfer"]) == told
    assert stream["color_space"] == ("bt2020nc" if codes[1] in {16, 18} else "gbr" if name == "o.mkv" else "bt709")


@pytest.mark.parametrize("bits", [8, 9, 10, 12])
def test_ffv1_copies_full_range_at_every_depth(tmp_path: Path, bits: int) -> None:
    """ProRes has the pixel format of one of these, and knows no full range."""
    items = list(cutouts(colour=Colour("bt709", True, 1, 1, 1), bits=bits, sub=(1, 1)))
    write(tmp_path / "o.mkv", iter(items), clip())
    with FileSource(tmp_path / "o.mkv") as source:
        planes = next(iter(source)).planes
    assert planes is not None
    own = items[0].frame.planes
    assert own is not None
    assert planes.colour.full_range
    error = np.abs(planes.y[20:32, 34:48] / (2**planes.bits - 1) - own.y[20:32, 34:48] / (2**bits - 1))
    assert error.max() < 1e-3


def test_transparency_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for name, told in (("o.webm", True), ("o.mkv", False)):
        write(tmp_path / name, cutouts(**YUV420), clip())
        with FileSource(tmp_path / name) as source:
            notes = cautions(source, output_format(tmp_path / "next.mkv"))
        assert any("cannot be read here: it is cut as if it were opaque" in note for note in notes) == told


def test_an_rgb_source_stays_rgb_in_ffv1(tmp_path: Path) -> None:
    items = list(cutouts())
    write(tmp_path / "o.mkv", iter(items), clip())
    assert video_stream(tmp_path / "o.mkv")["pix_fmt"] == "bgra"
    assert (decoded(tmp_path / "o.mkv", "rgba")[2] == items[2].rgba()).all()
    with av.open(str(tmp_path / "o.mkv")) as container:
        assert (container.streams.video[0].codec_context.color_range, int(next(container.decode()).colorspace)) == (
            2,
            0,
        )


@pytest.mark.parametrize(("name", "folder"), [("%06d.png", "here"), (".", "here"), ("..", ""), ("below/..", "here")])
def test_png_sequences_in_folders_without_a_name_of_their_own(
    name: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "below").mkdir(parents=True)
    (tmp_path / "here" / "mine.txt").write_text("stays")
    monkeypatch.chdir(tmp_path / "here")
    sink = write(Path(name), cutouts(), clip())
    assert sorted(path.name for path in (tmp_path / folder).glob("*.png")) == [f"{i:06d}.png" for i in range(1, 9)]
    assert sink.final_path == tmp_path / folder / ("%06d.png" if "%" in name else "")
    assert (tmp_path / "here" / "mine.txt").exists()
    assert not [path for path in tmp_path.rglob(".*") if path.name.endswith(".part")]


def test_what_is_made_lies_where_it_can_be_renamed_from(tmp_path: Path) -> None:
    assert neighbour(tmp_path / "new", ".new.part") == tmp_path / ".new.part"
    assert neighbour(tmp_path, ".part") == tmp_path.parent / ".part"
    assert neighbour(Path("/"), ".part") == Path("/.part")
    if sys.platform == "linux":  # where this is another file system than /
        assert neighbour(Path("/proc"), ".part") == Path("/proc/.part")
        (tmp_path / "link").symlink_to("/proc")
        assert neighbour(tmp_path / "link", ".part") == tmp_path / "link" / ".part"


@pytest.mark.skipif(ROOT or sys.platform == "win32", reason="needs a folder that cannot be written to")
def test_a_folder_whose_parent_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    tmp_path.chmod(0o555)
    try:
        write(tmp_path / "frames", cutouts(), clip())
    finally:
        tmp_path.chmod(0o755)
    assert len(list((tmp_path / "frames").iterdir())) == 8


def test_png_sequence(tmp_path: Path) -> None:
    from PIL import Image

    items = list(cutouts())
    sink = write(tmp_path / "frames", iter(items), clip())
    files = sorted((tmp_path / "frames").iterdir())
    assert [f.name for f in files] == [f"{i:06d}.png" for i in range(1, 9)]
    assert (np.asarray(Image.open(files[4])) == items[4].rgba()).all()
    assert not sink.notes or "left out" in sink.notes[0]
    write(tmp_path / "named" / "head_%04d.png", iter(items), clip())
    assert (tmp_path / "named" / "head_0001.png").exists()


@pytest.mark.parametrize("name", ["%d.png", "a%03d.png", "50%/frames"])
def test_names_of_png_sequences(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    sink = write(out, cutouts(), clip())
    files = sorted(path.name for path in (out.parent if "%" in out.name else out).iterdir())
    assert files == [(out.name if "%" in out.name else "%06d.png") % number for number in range(1, 9)]
    assert sink.final_path == out


@pytest.mark.parametrize("name", ["100%.mkv", "100%", "50% off.png/frames"])
def test_a_percentage_in_a_name_numbers_nothing(tmp_path: Path, name: str) -> None:
    sink = write(tmp_path / name, cutouts(), clip())
    assert sink.final_path == tmp_path / name
    assert sink.final_path.exists()


@pytest.mark.parametrize("shape", [Fraction(4, 3), Fraction(10, 11)])
@pytest.mark.parametrize("name", ["o.mov", "o.mkv", "o.webm", "o.mp4", "%d.png"])
def test_pixels_that_are_not_square(tmp_path: Path, name: str, shape: Fraction) -> None:
    """As those of HDV and DV. Of .mkv and .webm the muxer does not write it by itself."""
    path, size = tmp_path / name, (1320, 60)
    behind = "#000000" if name == "o.mp4" else None
    write(path, cutouts(size=size, **YUV420), clip(size, sample_aspect_ratio=shape), behind)
    stream = video_stream(tmp_path / "1.png" if name == "%d.png" else path)
    assert (stream["width"], stream["height"]) == size
    assert stream["sample_aspect_ratio"] == f"{shape.numerator}:{shape.denominator}"
    if name in {"o.mkv", "o.webm"}:
        command = ["ffmpeg", "-v", "warning", "-err_detect", "crccheck", "-i", str(path), "-f", "null", "-"]
        assert not subprocess.run(command, capture_output=True, check=True).stderr
        assert len(frame_times(path)) == 8


def test_pixels_that_are_not_square_are_told_where_the_file_cannot(tmp_path: Path) -> None:
    sink = write(tmp_path / "o.webp", cutouts(), clip(sample_aspect_ratio=Fraction(4, 3)))
    assert any("(4:3)" in note and "128x64" in note for note in sink.notes)


@pytest.mark.parametrize(
    ("name", "time"), [("o.mov", "01:02:03:04"), ("o.mp4", "10:00:00:00"), ("o.mkv", "01:02:03:04")]
)
def test_the_cameras_timecode_is_kept(tmp_path: Path, name: str, time: str) -> None:
    """In a track of its own where there is one for it: editors line takes up by it. The matte's, too."""
    with av.open(str(tmp_path / "s.mov"), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=96, height=64)
        stream.metadata["timecode"] = time
        frame = av.VideoFrame.from_ndarray(pattern(96, 64, 0), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with FileSource(tmp_path / "s.mov") as source:
        info = clip_of(source)
    behind = "#000000" if name == "o.mp4" else None
    write(tmp_path / name, cutouts(), info, behind)
    write(tmp_path / f"m{name}", cutouts(), info, what="matte")
    for path in (tmp_path / name, tmp_path / f"m{name}"):
        streams = probe(path)["streams"]
        tags = {key.lower(): value for key, value in streams[0]["tags"].items()}
        assert tags["timecode"] == time
        assert name == "o.mkv" or streams[-1]["codec_tag_string"] == "tmcd"


@pytest.mark.parametrize(("name", "rate", "kept"), [("o.mov", 256, False), ("o.mov", 255, True), ("o.mkv", 300, True)])
def test_a_timecode_of_more_frames_a_second_than_one_byte_counts(
    tmp_path: Path, name: str, rate: int, kept: bool
) -> None:
    with av.open(str(tmp_path / "s.mkv"), "w") as container:
        container.metadata["timecode"] = "01:02:03:04"
        stream = container.add_stream("ffv1", rate=rate, width=96, height=64)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pattern(96, 64, 0), format="rgb24")))
        container.mux(stream.encode(None))
    with FileSource(tmp_path / "s.mkv") as source:
        info = clip_of(source)
    assert (info.timecode, info.rate) == ("01:02:03:04", Fraction(rate))
    sink = write(tmp_path / name, cutouts(), info)
    write(tmp_path / f"m{name}", cutouts(), info, what="matte")
    assert sink.notes == ([] if kept else [f"timecode left out: .mov has none for {rate} frames a second"])
    tags = {key.lower() for stream in probe(tmp_path / name)["streams"] for key in stream["tags"]}
    assert ("timecode" in tags) == kept


@pytest.mark.parametrize("suffix", [".webp", ".apng", ".gif"])
def test_animated_pictures(tmp_path: Path, suffix: str) -> None:
    from PIL import Image

    path = tmp_path / f"o{suffix}"
    items = list(cutouts())
    write(path, iter(items), clip())
    image = Image.open(path)
    assert image.n_frames == 8  # type: ignore[attr-defined]
    assert image.size == (96, 64)
    image.seek(3)
    rgba = np.asarray(image.convert("RGBA"))
    assert rgba[0, 0, 3] == 0
    assert rgba[26, 40, 3] == 255
    assert np.abs(rgba[26, 40, :3].astype(int) - items[3].rgba()[26, 40, :3]).max() < 30


@pytest.mark.parametrize("rate", [50, 60, 240])
def test_a_gif_is_no_slower_than_its_film(tmp_path: Path, rate: int) -> None:
    """Browsers show a frame that is to stay for a hundredth of a second for a tenth."""
    from PIL import Image

    info = ClipInfo((96, 64), Fraction(rate), Fraction(1, rate))
    frames = (Frame(pattern(96, 64, k), index=k, pts=Fraction(k, rate)) for k in range(rate))
    sink = write(tmp_path / "o.gif", (Cutout(frame, (), REGION, matte(frame.index)) for frame in frames), info)
    lengths_ms = []
    with Image.open(tmp_path / "o.gif") as image:
        for k in range(image.n_frames):
            image.seek(k)
            lengths_ms.append(image.info["duration"])
    assert min(lengths_ms) >= 20
    assert sum(lengths_ms) == pytest.approx(1000, abs=20)
    assert any(f"{rate - len(lengths_ms)} of {rate} frames left out" in note for note in sink.notes) == (rate > 50)


@pytest.mark.parametrize("size", [(96, 64), (97, 65)])
@pytest.mark.parametrize("background", ["#00b140", "blur", "picture", "video"])
def test_mp4_over_a_background(tmp_path: Path, size: tuple[int, int], background: str) -> None:
    from PIL import Image

    wanted = background
    if background == "picture":
        wanted = str(tmp_path / "b.png")
        Image.new("RGB", (30, 20), (10, 20, 200)).save(wanted)
    if background == "video":
        blue: UInt8Array = np.full((48, 64, 3), (10, 20, 200), np.uint8)
        wanted = str(write_video(tmp_path / "b.mp4", [blue] * 3, colour=(1, 1, 1, 1)))
    items = list(cutouts(size=size, **YUV420))
    write(tmp_path / "o.mp4", iter(items), clip(size), wanted)
    stream = video_stream(tmp_path / "o.mp4")
    assert (stream["width"], stream["height"]) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    got = decoded(tmp_path / "o.mp4", "rgb24")
    assert len(got) == 8
    assert np.abs(got[5][22:30, 36:46].astype(int) - items[5].frame.rgb[22:30, 36:46]).mean() < 8
    corner = got[5][:6, :6].reshape(-1, 3).mean(axis=0)
    expected = {"#00b140": (0, 177, 64), "picture": (10, 20, 200), "video": (10, 20, 200)}
    if background in expected:
        assert np.abs(corner - expected[background]).max() < 8


def test_a_white_wall_behind_an_hdr_film_is_as_bright_as_paper(tmp_path: Path) -> None:
    """Code value 235 of PQ is 10,000 cd/m2."""
    pq = Colour("bt2020", False, 9, 9, 16)
    background = backdrop("#ffffff")
    assert background is not None
    frame = Frame(planes=planes_from_rgb(np.full((48, 64, 3), 90, np.uint8), pq, bits=10, sub=(2, 2)))
    behind = background.behind(Cutout(frame))
    signal = (behind.y.astype(float) - 16) / 219
    assert signal.min() == pytest.approx(0.58, abs=0.01)  # BT.2408: 203 cd/m2
    assert np.abs(behind.u.astype(int) - 128).max() <= 2
    assert frame.planes is not None
    plain = background.behind(Cutout(Frame(planes=replace(frame.planes, colour=Colour("bt709", False, 1, 1, 1)))))
    assert plain.y.min() == 235


def test_a_video_behind_is_converted_once_for_each_of_its_frames(tmp_path: Path) -> None:
    colours = [(200, 30, 30), (30, 200, 30)]
    pictures: list[UInt8Array] = [np.full((48, 64, 3), colour, np.uint8) for colour in (*colours, colours[0])]
    behind = backdrop(str(write_video(tmp_path / "b.mp4", pictures, rate=5)))
    assert behind is not None
    items = list(cutouts([40 * k for k in range(10)], **YUV420))
    shown = [behind.behind(item) for item in items]
    assert [item is shown[5 * (k // 5)] for k, item in enumerate(shown)] == [True] * 10
    assert shown[0] is not shown[5]
    for planes, colour in zip((shown[0], shown[5]), colours, strict=True):
        assert np.abs(rgb_from_planes(planes)[20, 20].astype(int) - colour).max() < 20
    other = behind.behind(next(cutouts([360], (64, 64), **YUV420)))
    assert other.size_px == (64, 64)
    behind.close()


@pytest.mark.parametrize(("count", "first"), [(4, 0), (4, 10), (1, 0)])
def test_a_video_behind_shows_every_frame_in_turn_and_begins_again(tmp_path: Path, count: int, first: int) -> None:
    pictures: list[UInt8Array] = [np.full((48, 64, 3), 60 * k, np.uint8) for k in range(count)]
    times = [200 * (k + first) for k in range(count)]
    behind = backdrop(str(write_video(tmp_path / "b.mkv", pictures, pts=times)))
    assert behind is not None
    items = cutouts([100 * k for k in range(20)], **YUV420)
    shown = [round(float(rgb_from_planes(behind.behind(item)).mean()) / 60) for item in items]
    assert shown == [k // 2 % count for k in range(20)]
    behind.close()


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_picture_behind_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.png").write_bytes(content)
    with pytest.raises(SourceError, match="not a photo headstream can read|is empty"):
        backdrop(str(tmp_path / "b.png"))


def test_the_matte_as_its_own_video(tmp_path: Path) -> None:
    items = list(cutouts(**YUV420))
    for name in ("m.mkv", "m.mov", "m.mp4", "m.webm"):
        write(tmp_path / name, iter(items), clip(), what="matte")
        got = decoded(tmp_path / name, "gray")[..., 0]
        assert np.abs(got[3].astype(int) - items[3].alpha).mean() < 6, name
        assert video_stream(tmp_path / name)["color_range"] == ("pc" if name == "m.mkv" else "tv")


def test_a_head_that_comes_late(tmp_path: Path) -> None:
    frames = [Frame(pattern(96, 64, i), index=i, pts=Fraction(i, 25)) for i in range(6)]
    items = [Cutout(f) if i < 3 else Cutout(f, (), REGION, matte(i)) for i, f in enumerate(frames)]
    for name in ("o.mov", "o.webm", "o.mkv"):
        write(tmp_path / name, iter(items), clip())
        alpha = alpha_of(tmp_path / name)
        assert alpha[:3].max() <= 2
        assert alpha[3:].max() > 240


class TestRefusedBeforeWork:
    def refusal(self, name: str, **more: Any) -> str:
        with pytest.raises(UsageError) as raised:
            output_format(Path(name), **more)
        return str(raised.value)

    def test_alpha_in_mp4(self) -> None:
        assert "no transparency; use .mov, .webm or .mkv, or choose a --background" in self.refusal("o.mp4")

    def test_unknown_suffix(self) -> None:
        assert "no output format is called '.flv'; use .mov, .webm" in self.refusal("o.flv")

    def test_numbered_jpegs(self) -> None:
        assert "written as PNG" in self.refusal("f/%06d.jpg")

    @pytest.mark.parametrize(
        "name", ["50%.png", "100%.png", "a%b.png", "%s.png", "%06d-%06d.png", "%d-%d.png", "%%.png", "%3d.png", "%.png"]
    )
    def test_numbers_that_are_none(self, name: str) -> None:
        assert "name it like frames/%06d.png" in self.refusal(f"f/{name}")

    @pytest.mark.parametrize("name", ["out 100%.mov", "50% off.webm", "a%b.mkv"])
    def test_a_percent_sign_in_a_films_name(self, name: str) -> None:
        assert output_format(Path(name)).container == output_format(Path(f"o{Path(name).suffix}")).container

    @pytest.mark.parametrize("name", ["/", "/%06d.png"])
    def test_frames_all_over_the_root(self, name: str) -> None:
        assert "name one, like frames/%06d.png" in self.refusal(name)

    def test_codecs(self) -> None:
        assert "unknown; known: prores" in self.refusal("o.mov", codec="wmv")
        assert "takes vp9" in self.refusal("o.webm", codec="prores")
        assert output_format(Path("o.mkv"), codec="vp9").codec == "libvpx-vp9"

    def test_backgrounds(self, tmp_path: Path) -> None:
        for text in ("#12", "#gggggg", "no-such-file.png", "x" * 300 + ".png", str(tmp_path)):
            with pytest.raises(UsageError, match="--background"):
                parse_background(text)
        assert parse_background("#fff") == (255, 255, 255)


class TestFailures:
    def test_nothing_under_the_final_name_until_it_is_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "o.mkv"
        path.write_text("an older result")
        with VideoSink(path, output_format(path), clip()) as sink:
            for item in cutouts():
                sink.write(item)
                assert path.read_text() == "an older result"
        assert path.stat().st_size > 100
        assert [p.name for p in tmp_path.iterdir()] == ["o.mkv"]

    def test_an_error_leaves_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError), VideoSink(tmp_path / "o.mov", output_format(Path("o.mov")), clip()) as sink:
            sink.write(next(cutouts()))
            raise RuntimeError("something else went wrong")
        assert list(tmp_path.iterdir()) == []

    def test_closing_without_a_frame_or_twice(self, tmp_path: Path) -> None:
        sink = VideoSink(tmp_path / "o.mov", output_format(Path("o.mov")), clip())
        sink.close()
        sink.close()
        assert list(tmp_path.iterdir()) == []

    def test_an_incomplete_output_gets_another_name(self, tmp_path: Path) -> None:
        sink = VideoSink(tmp_path / "o.mkv", output_format(Path("o.mkv")), clip())
        for item in cutouts():
            sink.write(item)
        sink.incomplete()
        sink.close()
        assert [p.name for p in tmp_path.iterdir()] == ["o.partial.mkv"]
        assert len(frame_times(tmp_path / "o.partial.mkv")) == 8

    @pytest.mark.skipif(ROOT, reason="root may write everywhere")
    def test_no_permission(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        with pytest.raises(SinkError, match="no permission"):
            VideoSink(tmp_path / "o.mov", output_format(Path("o.mov")), clip())

    def test_a_file_in_the_way_of_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("x")
        with pytest.raises(SinkError):
            VideoSink(tmp_path / "f" / "o.mov", output_format(Path("o.mov")), clip())
        with pytest.raises(SinkError, match="is a file"):
            VideoSink(tmp_path / "f", output_format(Path("f")), clip())

    @pytest.mark.skipif(sys.platform == "win32", reason="needs setrlimit")
    @pytest.mark.parametrize("suffix", [".mkv", ".mov", ".webm"])
    def test_a_file_that_may_grow_no_more_is_said_and_removed(self, tmp_path: Path, suffix: str) -> None:
        """A limit on file size stands in for a full disk: the write fails part-way in the same place."""
        path, rng = tmp_path / f"o{suffix}", np.random.default_rng(0)
        with pytest.raises(SinkError, match="grew past|cannot be written"), files_of_at_most(60_000):
            with VideoSink(path, output_format(path), ClipInfo((320, 240), Fraction(25))) as sink:
                for i in range(60):
                    frame = Frame(rng.integers(0, 256, (240, 320, 3), np.uint8), index=i, pts=Fraction(i, 25))
                    sink.write(Cutout(frame, (), (0, 0, 320, 240), np.full((240, 320), 255, np.uint8)))
        assert list(tmp_path.iterdir()) == []


def source_with(path: Path, count: int = 20) -> Path:
    return write_video(path, [pattern(96, 64, i) for i in range(count)], sound=True)


def info_of(source: FileSource) -> ClipInfo:
    return ClipInfo(
        source.size_px,
        source.rate,
        source.time_base,
        video_start_s=source.first_pts_s - source.start_s,
        path=source.path,
        start_s=source.start_s,
    )


def cut_all(source_path: Path, out: Path) -> VideoSink:
    with FileSource(source_path) as source:
        frames = list(source)
        return write(out, iter([Cutout(f, (), REGION, matte(f.index)) for f in frames]), info_of(source))


def packet_bytes(path: Path, stream: str) -> bytes:
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", stream, "-c", "copy", "-f", "data", "-"]
    return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.mark.parametrize("suffix", [".mov", ".mkv", ".mp4"])
def test_sound_is_copied_byte_for_byte(tmp_path: Path, suffix: str) -> None:
    source = source_with(tmp_path / "s.mp4")
    out = tmp_path / f"o{suffix}"
    if suffix == ".mp4":
        with FileSource(source) as opened:
            frames = list(opened)
            items = [Cutout(f, (), REGION, matte(f.index)) for f in frames]
            sink = write(out, iter(items), info_of(opened), "#000000")
    else:
        sink = cut_all(source, out)
    assert "audio 1: aac copied" in sink.notes
    assert packet_bytes(out, "0:a:0") == packet_bytes(source, "0:a:0")


def test_sound_becomes_opus_in_webm_and_keeps_its_length(tmp_path: Path) -> None:
    sink = cut_all(source_with(tmp_path / "s.mp4", 50), tmp_path / "o.webm")
    assert any("aac -> opus" in note for note in sink.notes)
    streams = probe(tmp_path / "o.webm")["streams"]
    assert [s["codec_name"] for s in streams] == ["vp9", "opus"]
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(tmp_path / "o.webm"), "-f", "f32le", "-ac", "1", "-ar", "48000", "-"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    samples = np.frombuffer(raw, np.float32)
    assert abs(len(samples) / 48000 - 2.04) < 0.06
    spectrum = np.abs(np.fft.rfft(samples[4800:52800]))
    assert abs(int(spectrum.argmax()) - 440) <= 2  # the tone that went in


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize(
    ("sound", "chapters", "said"),
    [
        (False, 0, []),
        (True, 0, ["sound left out: PNG sequence has no place for it"]),
        (False, 2, ["chapters left out: PNG sequence has no place for them"]),
        (True, 2, ["sound and chapters left out: PNG sequence has no place for them"]),
    ],
)
def test_what_has_no_place_is_told_where_there_is_any(
    tmp_path: Path, sound: bool, chapters: int, said: list[str], segments: bool
) -> None:
    source = write_video(tmp_path / "s.mov", [pattern(96, 64, 0)], sound=sound)
    with av.open(str(source)) as given, av.open(str(tmp_path / "s.mkv"), "w") as container:
        copies = {stream.index: container.add_stream_from_template(stream) for stream in given.streams}
        spans = [{"id": k, "start": k, "end": k + 1, "time_base": Fraction(1), "metadata": {}} for k in range(chapters)]
        container.set_chapters(spans)
        for packet in given.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                container.mux(packet)
    info, out = clip(path=tmp_path / "s.mkv"), tmp_path / "frames"
    sink: PictureSegments | VideoSink
    if segments:
        sink = PictureSegments(out, output_format(out), info, tmp_path)
        sink.close()
    else:
        sink = write(out, cutouts(), info)
    assert sink.notes == said


def test_subtitles_chapters_tags_and_several_languages(tmp_path: Path) -> None:
    base = source_with(tmp_path / "s.mp4", 50)
    (tmp_path / "t.srt").write_text(
        "1\n00:00:00,200 --> 00:00:01,000\nHello <i>there</i>\n\n2\n00:00:01,200 --> 00:00:01,900\nBye\n"
    )
    (tmp_path / "c.txt").write_text(
        ";FFMETADATA1\ntitle=A talk\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1000\ntitle=One\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=1000\nEND=2000\ntitle=Two\n"
    )
    rich = tmp_path / "rich.mkv"
    command = ["ffmpeg", "-v", "error", "-y", "-i", base, "-i", tmp_path / "t.srt", "-i", tmp_path / "c.txt"]
    command += ["-map", "0:v", "-map", "0:a", "-map", "0:a", "-map", "1", "-map_metadata", "2", "-map_chapters", "2"]
    command += ["-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=fra", "-c", "copy", "-c:s", "srt", rich]
    needs_ffmpeg()
    subprocess.run([str(part) for part in command], check=True)
    for suffix, text in ((".mkv", "subrip"), (".mov", "mov_text"), (".webm", "webvtt")):
        out = tmp_path / f"o{suffix}"
        cut_all(rich, out)
        info = probe(out)
        kinds = [s["codec_type"] for s in info["streams"]]
        assert kinds.count("audio") == 2, suffix
        assert [s["codec_name"] for s in info["streams"] if s["codec_type"] == "subtitle"] == [text]
        languages = [s["tags"].get("language") for s in info["streams"] if s["codec_type"] == "audio"]
        assert languages == ["eng", "fra"]
        assert [c["tags"]["title"] for c in info["chapters"]] == ["One", "Two"]
        assert float(info["chapters"][1]["start_time"]) == pytest.approx(1.0, abs=0.01)
        tags = {k.lower(): v for k, v in info["format"]["tags"].items()}
        assert tags["title"] == "A talk"
        shown = subprocess.run(
            ["ffmpeg", "-v", "error", "-i", str(out), "-map", "0:s:0", "-f", "srt", "-"], capture_output=True, text=True
        ).stdout
        assert "there" in shown
        assert "00:00:01,2" in shown


@pytest.mark.parametrize("suffix", [".mov", ".webm"])
def test_a_line_that_is_not_utf8_costs_no_film(tmp_path: Path, suffix: str) -> None:
    base = source_with(tmp_path / "s.mp4", 50)
    needs_ffmpeg()
    told = "1\n00:00:00,200 --> 00:00:00,900\nGrüße\n\n2\n00:00:01,200 --> 00:00:01,900\nBye\n"
    (tmp_path / "t.srt").write_text(told, encoding="latin-1")
    rich, out = tmp_path / "rich.mkv", tmp_path / f"o{suffix}"
    command = ["ffmpeg", "-v", "error", "-i", base, "-i", tmp_path / "t.srt", "-c", "copy", rich]
    subprocess.run([str(part) for part in command], check=True)
    cut_all(rich, out)
    assert len(frame_times(out)) == 50
    command = ["ffmpeg", "-v", "error", "-i", out, "-map", "0:s:0", "-f", "srt", "-"]
    shown = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True).stdout
    assert "00:00:01,2" in shown
    assert "Bye" in shown


def test_a_late_picture_stays_in_step_with_the_sound(tmp_path: Path) -> None:
    """In a transport stream nothing starts at 0; picture and sound keep their distance."""
    base = source_with(tmp_path / "s.mp4", 30)
    needs_ffmpeg()
    late = tmp_path / "late.ts"
    command = ["ffmpeg", "-v", "error", "-y", "-itsoffset", "0.5", "-i", base, "-i", base, "-map", "0:v", "-map", "1:a"]
    subprocess.run([*map(str, command), "-c", "copy", str(late)], check=True)

    def gap(path: Path) -> float:
        streams = {s["codec_type"]: float(s["start_time"]) for s in probe(path)["streams"]}
        return streams["video"] - streams["audio"]

    for suffix in (".mkv", ".mov"):
        cut_all(late, tmp_path / f"o{suffix}")
        assert gap(tmp_path / f"o{suffix}") == pytest.approx(gap(late), abs=0.03)
        assert len(frame_times(tmp_path / f"o{suffix}")) == 30


@pytest.mark.parametrize(
    ("name", "codec"), [("o.mov", None), ("o.mkv", None), ("o.mp4", None), ("o.mov", "h264"), ("o.mkv", "h264")]
)
def test_interlaced_pictures_are_told(tmp_path: Path, name: str, codec: str | None) -> None:
    """In the file and in each frame, with the lines where they were; progressive ones are not."""
    written = {}
    behind = "#203040" if codec or name == "o.mp4" else None
    for order, told in ((True, {"tb", "tt"}), (False, {"bt", "bb"}), (None, {"unknown", "progressive"})):
        path = tmp_path / f"{order}-{name}"
        write(path, cutouts(size=(96, 64), **YUV420), clip(top_field_first=order), behind, codec=codec)
        marks = {(f["interlaced_frame"], f["top_field_first"]) for f in probe(path)["frames"]}
        assert marks == ({(0, 0)} if order is None else {(1, int(order))})
        assert video_stream(path).get("field_order", "unknown") in told
        written[order] = decoded(path, "rgba").astype(int)
    for order in (True, False):
        assert np.abs(written[order] - written[None]).mean() < 1


@pytest.mark.parametrize(
    ("name", "codec", "height", "told"),
    [("o.webm", None, 64, False), ("o.mkv", "vp9", 64, False), ("o.mp4", None, 66, False), ("o.mp4", None, 64, True)],
)
def test_a_note_tells_where_an_output_cannot_tell_of_fields(
    tmp_path: Path, name: str, codec: str | None, height: int, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    film, path, size = tmp_path / "s.mkv", tmp_path / name, (96, height)
    write(film, cutouts(size=size, **YUV420), clip(size, top_field_first=True))
    write(
        path,
        cutouts(size=size),
        clip(size, top_field_first=True),
        "#203040" if path.suffix == ".mp4" else None,
        codec=codec,
    )
    assert video_stream(path)["height"] == height
    assert {frame["interlaced_frame"] for frame in probe(path)["frames"]} == {int(told)}
    monkeypatch.setattr(FileSource, "top_field_first", True)  # PyAV 17 does not tell the source's
    with FileSource(film) as source:
        notes = cautions(source, output_format(path, codec=codec, transparent=False))
    (note,) = (note for note in notes if "interlaced" in note)
    assert ("which the output does not tell" in note) != told


def test_ffv1_has_the_name_that_all_players_know(tmp_path: Path) -> None:
    path = tmp_path / "o.mkv"
    write(path, cutouts(size=(90, 63), **YUV420), clip((90, 63), sample_aspect_ratio=Fraction(16, 15)))
    assert b"V_MS/VFW/FOURCC" in path.read_bytes()[:2000]
    stream = video_stream(path)
    assert (stream["codec_name"], stream["width"], stream["height"]) == ("ffv1", 90, 63)
    assert stream["sample_aspect_ratio"] == "16:15"  # which finds room in the file's head, too
    assert frame_times(path) == pytest.approx([0.04 * i for i in range(8)])
    with FileSource(path) as source:
        assert [frame.pts for frame in source] == seconds([40 * i for i in range(8)])


@pytest.mark.parametrize("size", [(96, 63), (95, 64), (95, 63), (97, 65), (426, 239)])
@pytest.mark.parametrize("planes", [{"sub": (2, 2)}, {"sub": (2, 1)}, {"sub": (2, 2), "bits": 10}])
def test_ffv1_takes_every_odd_size(tmp_path: Path, size: tuple[int, int], planes: dict[str, Any]) -> None:
    made = list(cutouts([0, 40], size, colour=YUV420["colour"], **planes))
    write(tmp_path / "o.mkv", iter(made), clip(size))
    x0, y0, x1, y1 = REGION
    for alpha, cutout in zip(alpha_of(tmp_path / "o.mkv"), made, strict=True):
        assert np.abs(alpha[y0:y1, x0:x1].astype(int) - cutout.region_alpha).max() <= 1


def test_frames_are_encoded_side_by_side_as_far_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstream.sinks.formats.cores_here", lambda: 64)
    kind = output_format(Path("o.mov"))
    threads = [dict(kind.for_size(size).options)["threads"] for size in ((64, 64), (3840, 2160), (15360, 8640))]
    assert threads == ["8", "4", "1"]
    assert kind.with_threads(1).for_size((64, 64)).options == kind.with_threads(1).options
    assert kind.for_size((63, 64)).codec == "prores_ks"
    webm = output_format(Path("o.webm"))
    assert webm.for_size((63, 64)) is webm


@pytest.mark.parametrize("name", ["o.mov", "o.mkv", "o.webm"])
def test_the_last_frame_is_shown_for_as_long_as_in_the_film(tmp_path: Path, name: str) -> None:
    frames = [
        Frame(pattern(96, 64, k), index=k, pts=Fraction(k, 25), duration_s=Fraction(length, 25))
        for k, length in enumerate((1, 1, 100))
    ]
    write(tmp_path / name, (Cutout(frame, (), REGION, matte()) for frame in frames), clip())
    with FileSource(tmp_path / name) as source:
        assert list(source)[-1].duration_s == Fraction(100, 25)
        assert source.warnings == []  # nothing is missing
    assert survey(tmp_path / name).fault == ""
    assert float(probe(tmp_path / name)["format"]["duration"]) == pytest.approx(102 / 25, abs=0.01)


@pytest.mark.parametrize("name", ["m.mov", "m.mp4"])
@pytest.mark.parametrize("full", [False, True])
def test_a_matte_is_grey_from_black_to_white_whatever_its_film_is(tmp_path: Path, name: str, full: bool) -> None:
    alpha = np.zeros((64, 96), np.uint8)
    alpha[:, 32:64], alpha[:, 64:] = 128, 255
    films = cutouts([0, 40], colour=Colour("bt709", full, 1, 1, 1), sub=(2, 2))
    items = (Cutout(item.frame, (), (0, 0, 96, 64), alpha) for item in films)
    write(tmp_path / name, items, clip(), what="matte")
    with FileSource(tmp_path / name) as source:
        rgb = next(iter(source)).rgb[32, [16, 48, 80]]
    assert np.abs(rgb.astype(int) - np.array([[0], [128], [255]])).max() <= 4


def test_each_colour_tag_has_its_place_in_a_prores_frame(tmp_path: Path) -> None:
    """Those of 625 lines, of which the middle one differs."""
    items = list(cutouts([0], colour=Colour("bt601", False, 5, 5, 6), sub=(2, 2)))
    write(tmp_path / "o.mov", iter(items), clip())
    stream = video_stream(tmp_path / "o.mov")
    tags = [stream[name] for name in ("color_primaries", "color_transfer", "color_space")]
    assert tags == ["bt470bg", "smpte170m", "bt470bg"]
    with av.open(str(tmp_path / "o.mov")) as container:
        packet = next(container.demux(video=0))
    assert bytes(packet)[22:25] == bytes((5, 6, 5))


def test_a_film_that_is_stopped_ends_its_sound_with_the_last_picture(tmp_path: Path) -> None:
    with FileSource(source_with(tmp_path / "s.mp4", 75)) as source:
        info, out = info_of(source), tmp_path / "o.mov"
    with VideoSink(out, output_format(out), info) as sink:
        for item in cutouts([40 * k for k in range(10)]):
            sink.write(item)
        sink.stop()
    lengths = [float(stream["duration"]) for stream in probe(out)["streams"]]
    assert lengths == pytest.approx([0.4, 0.4], abs=0.03)


@pytest.mark.parametrize("fails", [False, True])
def test_a_background_is_closed_with_its_film(tmp_path: Path, fails: bool) -> None:
    class Counted(FixedPicture):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    behind, out = Counted(np.zeros((1, 1, 3), np.uint8)), tmp_path / "o.mp4"
    kind = output_format(out, transparent=False)
    with suppress(RuntimeError), VideoSink(out, kind, clip(), background=behind) as sink:
        sink.write(next(cutouts()))
        if fails:
            raise RuntimeError("something else went wrong")
    assert behind.closed == 1
