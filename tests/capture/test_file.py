"""Video files: every frame with its own time, upright, in its own colours; and files that are no such thing."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from headstream.capture.file import FileSource
from headstream.capture.survey import survey
from headstream.capture.unpack import Orientation, colour_of, frame_from_video, kept_bits
from headstream.errors import SourceError
from headstream.shared.channel import Producer
from headstream.sinks.pack import film_pixels
from headstream.types import Colour, Frame
from tests.conftest import seconds
from tests.media import needs_ffmpeg, pattern, tone, write_video

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def frames_of(count: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    return [pattern(width, height, i) for i in range(count)]


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "tolerance"),
    [
        ("a.mp4", "libx264", "yuv420p", 12),
        ("a.mkv", "libx265", "yuv420p", 12),
        ("a.mkv", "libx265", "yuv420p10le", 12),
        ("a.webm", "libvpx-vp9", "yuv420p", 16),
        ("a.mkv", "libsvtav1", "yuv420p", 16),
        ("a.mov", "prores_ks", "yuv422p10le", 10),
        ("a.avi", "mjpeg", "yuvj420p", 14),
        ("a.ts", "libx264", "yuv420p", 12),
        ("a.mkv", "ffv1", "yuv444p", 4),
        ("a.mkv", "ffv1", "bgr0", 0),
        ("a.mkv", "ffv1", "gray", 255),
        ("a.gif", "gif", "rgb8", 60),
    ],
)
def test_codecs_and_containers(tmp_path: Path, name: str, codec: str, pix_fmt: str, tolerance: int) -> None:
    pictures = frames_of(8, 96, 64)
    options = {"libx265": {"log-level": "none", "x265-params": "log-level=none"}}.get(codec, {})
    base = Fraction(1, 100) if codec == "gif" else Fraction(1, 25) if name.endswith(".avi") else Fraction(1, 1000)
    path = write_video(tmp_path / name, pictures, codec=codec, pix_fmt=pix_fmt, time_base=base, options=options)
    with FileSource(path) as source:
        got = list(source)
        assert source.size_px == (96, 64)
    assert len(got) == 8
    assert [f.index for f in got] == list(range(8))
    assert all(abs(f.pts - Fraction(i, 25)) <= Fraction(1, 90) for i, f in enumerate(got))
    assert np.abs(got[5].rgb.astype(int) - pictures[5]).mean() <= tolerance


def test_variable_rate_and_late_start_keep_every_time(tmp_path: Path, uneven_pts: list[int]) -> None:
    path = write_video(tmp_path / "v.mkv", frames_of(len(uneven_pts)), pts=uneven_pts)
    with FileSource(path) as source:
        assert [f.pts for f in source] == seconds(uneven_pts)


def test_b_frames_come_in_display_order(tmp_path: Path) -> None:
    path = write_video(tmp_path / "b.mp4", frames_of(20), options={"bf": "3", "g": "20", "crf": "5"})
    with FileSource(path) as source:
        got = list(source)
    times = [f.pts for f in got]
    assert times == sorted(times)
    assert times[0] == 0
    squares = [float(np.nonzero(f.rgb.min(axis=2) > 235)[1].mean()) for f in got[:12]]
    assert (np.diff(squares) > 2).all()  # the square moves right, 4 px a frame


def test_b_frames_of_an_avi_come_a_tick_each(tmp_path: Path) -> None:
    """It has no place for when they are shown."""
    needs_ffmpeg()
    film = write_video(tmp_path / "b.mp4", frames_of(20), options={"bf": "3", "g": "20"})
    path = tmp_path / "b.avi"
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(film), "-c", "copy", str(path)], check=True)
    with FileSource(film) as expected, FileSource(path) as source:
        for frame, other in zip(source, expected, strict=True):
            assert frame.pts == Fraction(frame.index, 25)
            assert (frame.rgb == other.rgb).all()
        assert source.first_pts_s == 0
        assert source.warnings == []


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "bits"),
    [
        ("png", "rgb48be", (16, 8)),
        ("ffv1", "gbrp10le", (10, 8)),
        ("png", "rgb24", (8, 8)),
        ("ffv1", "yuv420p16le", (16, 16)),
        ("rawvideo", "y210le", (10, 10)),
        ("ffv1", "gray12le", (12, 12)),
    ],
)
def test_how_many_bits_frames_keep_is_known(tmp_path: Path, codec: str, pix_fmt: str, bits: tuple[int, int]) -> None:
    path = write_video(tmp_path / "d.nut", frames_of(2, 64, 48), codec=codec, pix_fmt=pix_fmt)
    with FileSource(path) as source:
        assert source.bits == bits
        for frame in source:
            assert (8 if frame.planes is None else frame.planes.bits) == bits[1]


def interleaved(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.stack([first, second], -1).reshape(len(first), -1)


def planes_lying_as(pix_fmt: str, y: np.ndarray, u: np.ndarray, v: np.ndarray) -> list[np.ndarray]:
    """Y, U and V as a format has them that is not planar."""
    if pix_fmt.endswith("be"):
        return [plane.astype(">u2") for plane in (y, u, v)]
    if pix_fmt[0] in "np":
        shift = 16 - int(pix_fmt[2:4]) if pix_fmt[0] == "p" else 0
        return [y << shift, interleaved(*((v, u) if pix_fmt == "nv21" else (u, v))) << shift]
    y = np.pad(y, ((0, 0), (0, y.shape[1] % 2)))
    chroma = interleaved(*((v, u) if pix_fmt == "yvyu422" else (u, v)))
    packed = interleaved(chroma, y) if pix_fmt == "uyvy422" else interleaved(y, chroma)
    return [packed << 6 if pix_fmt == "y210le" else packed]


@pytest.mark.parametrize("size", [(64, 48), (65, 47), (1282, 34)])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("pix_fmt", "planar"),
    [
        ("uyvy422", "yuv422p"),
        ("yuyv422", "yuv422p"),
        ("yvyu422", "yuv422p"),
        ("nv16", "yuv422p"),
        ("nv12", "yuv420p"),
        ("nv21", "yuv420p"),
        ("p010le", "yuv420p10le"),
        ("p012le", "yuv420p12le"),
        ("p210le", "yuv422p10le"),
        ("y210le", "yuv422p10le"),
        ("yuv420p10be", "yuv420p10le"),
    ],
)
def test_what_lies_otherwise_than_in_planes_is_kept_as_it_is(
    pix_fmt: str, planar: str, full: bool, size: tuple[int, int]
) -> None:
    (width, height), bits = size, int(planar[7:9] or 8)
    sub_w, sub_h = 2, 2 if "420" in planar else 1
    shapes = [(height, width)] + 2 * [(-(-height // sub_h), -(-width // sub_w))]
    random = np.random.default_rng(0)
    y, u, v = (random.integers(0, 1 << bits, shape).astype(np.uint8 if bits == 8 else np.uint16) for shape in shapes)
    decoded = av.VideoFrame(width, height, pix_fmt)
    for plane, values in zip(decoded.planes, planes_lying_as(pix_fmt, y, u, v), strict=True):
        rows = np.frombuffer(plane, values.dtype).reshape(len(values), -1)
        rows[:, : values.shape[1]] = values
    decoded.color_range, decoded.colorspace = 2 if full else 1, 1
    got = frame_from_video(decoded, Orientation()).planes
    assert got is not None
    assert (got.bits, got.sub_w, got.sub_h, got.colour.full_range) == (bits, sub_w, sub_h, full)
    assert kept_bits(decoded) == (bits, bits)
    for plane, values in zip((got.y, got.u, got.v), (y, u, v), strict=True):
        np.testing.assert_array_equal(plane, values)
    assert film_pixels(Frame(planes=got), "ffv1") == planar


@pytest.mark.parametrize(
    ("pix_fmt", "bits"), [("gbrp10le", (10, 10)), ("gbrap12le", (12, 10)), ("rgb24", (8, 8)), ("bgra", (8, 8))]
)
@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_in_rgb_has_planes_that_tell_it(pix_fmt: str, bits: tuple[int, int], transfer: int) -> None:
    """Of BT.2020-2, within a half of a code value of 10 bits."""
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 4), np.uint8)
    decoded = av.VideoFrame.from_ndarray(rgb, format="rgba").reformat(format=pix_fmt)
    decoded.colorspace, decoded.color_range, decoded.color_primaries, decoded.color_trc = 0, 2, 9, transfer
    assert kept_bits(decoded) == bits
    got = frame_from_video(decoded, Orientation(flip_x=True)).planes
    assert got is not None
    assert (got.colour, got.bits) == (colour_of(decoded), 10)
    assert got.colour == Colour("bt2020", False, 9, 9, transfer)
    own = decoded.to_ndarray(format="rgba64le" if bits[0] > 8 else "rgba")[:, ::-1]
    r, g, b = (own[..., k] / np.iinfo(own.dtype).max for k in range(3))
    y = 0.2627 * r + 0.6780 * g + 0.0593 * b
    for plane, values in (
        (got.y, 64 + 876 * y),
        (got.u, 512 + 896 * (b - y) / 1.8814),
        (got.v, 512 + 896 * (r - y) / 1.4746),
    ):
        assert np.abs(plane - values).max() < 0.52
    assert (got.alpha is not None) == ("a" in pix_fmt)
    if got.alpha is not None:
        assert np.abs(got.alpha / 1023 - own[..., 3] / np.iinfo(own.dtype).max).max() <= 0.5 / 1023


def turned(path: Path, degrees: int, out: Path) -> Path:
    """The file with a display matrix, written into the track header: the way phones do it."""
    matrices = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
    a, b, c, d = (v << 16 for v in matrices[degrees])
    data = path.read_bytes()
    at = data.index(b"tkhd") + 4 + 40
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    out.write_bytes(data[:at] + matrix + data[at + 36 :])
    return out


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_display_rotation_is_applied(tmp_path: Path, degrees: int) -> None:
    needs_ffmpeg()
    flat = write_video(tmp_path / "flat.mp4", frames_of(3, 64, 48), options={"crf": "5"})
    path = turned(flat, degrees, tmp_path / "turned.mp4")
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
        capture_output=True,
        check=True,
    ).stdout
    with FileSource(path) as source:
        got = list(source)
        width, height = source.size_px
    assert (width, height) == ((48, 64) if degrees != 180 else (64, 48))
    expected = np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)
    assert np.abs(got[1].rgb.astype(int) - expected[1]).mean() < 4


@pytest.mark.parametrize("size", [(63, 47), (65, 48), (64, 33), (2, 2)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write_video(tmp_path / "o.mkv", frames_of(3, *size), codec="ffv1")
    with FileSource(path) as source:
        got = list(source)
        assert source.size_px == size
    assert got[0].rgb.shape == (size[1], size[0], 3)


@pytest.mark.parametrize(("code", "matrix"), [(1, "bt709"), (5, "bt601"), (9, "bt2020"), (2, "bt601")])
@pytest.mark.parametrize("full", [False, True])
def test_colour_tags(tmp_path: Path, code: int, matrix: str, full: bool) -> None:
    rgb = frames_of(2, 96, 64)
    colour = (code if code != 2 else 5, 2 if full else 1, 1, 1)
    path = write_video(tmp_path / "c.mkv", rgb, codec="ffv1", pix_fmt="yuv444p", colour=colour)
    if code == 2:
        path = write_video(tmp_path / "c.mkv", rgb, codec="ffv1", pix_fmt="yuv444p")
    with FileSource(path) as source:
        frame = next(iter(source))
    assert frame.planes is not None
    assert frame.planes.colour.matrix == matrix
    if code != 2:
        assert frame.planes.colour.full_range == full
        assert np.abs(frame.rgb.astype(int) - rgb[0]).mean() < 2


def test_untagged_high_definition_is_read_as_players_read_it(tmp_path: Path) -> None:
    path = write_video(tmp_path / "hd.mp4", [pattern(1280, 720, 0)])
    with FileSource(path) as source:
        frame = next(iter(source))
    assert frame.planes is not None
    assert frame.planes.colour.matrix == "bt709"
    assert frame.planes.colour.matrix_code == 2  # and passed on as untold


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "peak"),
    [
        ("a.mkv", "ffv1", "yuva444p", 255),
        ("a.mkv", "ffv1", "yuva444p10le", 1023),
        ("a.mov", "png", "ya8", 255),
        ("a.mov", "png", "ya16be", 255),
    ],
)
def test_transparency_of_the_source_is_kept(tmp_path: Path, name: str, codec: str, pix_fmt: str, peak: int) -> None:
    import av

    rgba = np.zeros((48, 64, 4), np.uint8)
    rgba[:, :32] = (200, 50, 50, 255)
    rgba[:, :16, 3] = 128
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, width=64, height=48)
        stream.pix_fmt = pix_fmt
        frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=pix_fmt)
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with FileSource(path) as source:
        got = next(iter(source))
    assert (got.planes is None) == (codec == "png")  # grey and all: a PNG is RGB
    alpha = got.alpha if got.planes is None else got.planes.alpha
    assert alpha is not None
    assert np.abs(alpha[0, ::16] * (255 / peak) - [128, 255, 0, 0]).max() < 2


def test_of_several_pictures_the_one_that_players_show(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "v.mkv"), "w") as container:
        streams = [container.add_stream("ffv1", rate=25, width=width, height=48) for width in (32, 64, 96)]
        for stream, chosen in zip(streams, (False, True, False), strict=True):
            stream.pix_fmt = "yuv420p"
            stream.disposition = av.stream.Disposition.default if chosen else 0
        for stream in streams:
            frame = av.VideoFrame.from_ndarray(pattern(stream.width, 48, 0), format="rgb24")
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    with FileSource(tmp_path / "v.mkv") as source:
        assert source.size_px == (64, 48)


class TestRefused:
    """What is no video says so in one line, before any work."""

    def refusal(self, path: Path) -> str:
        with pytest.raises(SourceError) as raised:
            FileSource(path)
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)
        return str(raised.value)

    def test_missing(self, tmp_path: Path) -> None:
        assert "no such file" in self.refusal(tmp_path / "none.mp4")

    def test_folder(self, tmp_path: Path) -> None:
        assert "is a folder" in self.refusal(tmp_path)

    def test_empty(self, tmp_path: Path) -> None:
        (tmp_path / "e.mp4").touch()
        assert "is empty" in self.refusal(tmp_path / "e.mp4")

    def test_text(self, tmp_path: Path) -> None:
        (tmp_path / "t.mp4").write_text("this is not a film\n" * 50)
        assert "not a video file" in self.refusal(tmp_path / "t.mp4")

    @pytest.mark.parametrize("ending", [".txt", ".bin", ".nfo"])
    def test_text_of_a_kind_that_ffmpeg_draws(self, tmp_path: Path, ending: str) -> None:
        (tmp_path / f"t{ending}").write_text("this is not a film\n" * 2000)
        assert "not a video file" in self.refusal(tmp_path / f"t{ending}")

    def test_random_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "r.mp4").write_bytes(np.random.default_rng(0).bytes(50_000))
        assert re.search("not a video file|no video|cannot be decoded", self.refusal(tmp_path / "r.mp4"))

    def test_index_missing(self, tmp_path: Path) -> None:
        whole = write_video(tmp_path / "w.mp4", frames_of(30)).read_bytes()
        (tmp_path / "m.mp4").write_bytes(whole[: whole.index(b"moov") - 4])
        assert "is cut off: its index, which stands at the end, is missing" in self.refusal(tmp_path / "m.mp4")

    def test_sound_only(self, tmp_path: Path) -> None:
        import av

        from tests.media import tone

        with av.open(str(tmp_path / "s.m4a"), "w", format="mp4") as container:
            stream = container.add_stream("aac", rate=48000, layout="mono")
            for piece in tone(0.5):
                container.mux(stream.encode(piece))
            container.mux(stream.encode(None))
        assert "holds audio but no video" in self.refusal(tmp_path / "s.m4a")

    def test_photo(self, tmp_path: Path) -> None:
        from PIL import Image

        Image.fromarray(pattern(64, 48, 0)).save(tmp_path / "p.jpg")
        assert "headstream image" in self.refusal(tmp_path / "p.jpg")

    def test_animated_webp(self, tmp_path: Path) -> None:
        from PIL import Image

        pictures = [Image.fromarray(pattern(64, 48, k)) for k in range(3)]
        pictures[0].save(tmp_path / "x.webp", save_all=True, append_images=pictures[1:])
        assert "animated WebP" in self.refusal(tmp_path / "x.webp")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name")
    def test_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "x.mp4")
        assert "save it to a file" in self.refusal(tmp_path / "x.mp4")

    def test_a_name_no_file_can_have(self, tmp_path: Path) -> None:
        assert "cannot be read: File name too long" in self.refusal(tmp_path / ("x" * 300 + ".mp4"))

    @pytest.mark.skipif(ROOT, reason="root may read everything")
    def test_no_permission(self, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        path = write_video(tmp_path / "sub" / "w.mp4", frames_of(2))
        path.chmod(0)
        assert "no permission" in self.refusal(path)
        path.parent.chmod(0)
        assert "no permission" in self.refusal(path)
        path.parent.chmod(0o700)


def test_a_file_cut_in_the_middle_raises_after_its_frames(tmp_path: Path) -> None:
    whole = write_video(
        tmp_path / "w.mp4", [np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8) for i in range(60)],
        container_options={"movflags": "+faststart"},
    )  # fmt: skip
    data = whole.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    count = 0
    with FileSource(tmp_path / "cut.mp4") as source, pytest.raises(SourceError, match="cut off"):
        for _ in source:
            count += 1
    assert 5 < count < 55


def test_a_file_that_lacks_a_little_of_its_end_is_told(tmp_path: Path) -> None:
    """Of a long film that may be many frames, and less than an index may have too much."""
    whole = write_video(
        tmp_path / "w.mp4", frames_of(1000), options={"g": "25"}, container_options={"movflags": "+faststart"}
    )
    with av.open(str(whole)) as container:
        last = [packet.pos for packet in container.demux(video=0) if packet.size][980]
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:last])
    for path, told in (
        (whole, []),
        (tmp_path / "cut.mp4", ["video ends at 39.2 s of 40.0 s; the file may be cut off"]),
    ):
        with FileSource(path) as source:
            assert 978 < len(list(source)) <= 1000
            assert source.warnings == told
        assert survey(path).fault == ("the file is cut off" if told else "")


@pytest.mark.parametrize("name", ["late.mkv", "late.flv"])
def test_a_film_that_starts_late_is_whole(tmp_path: Path, name: str) -> None:
    late = write_video(tmp_path / name, frames_of(10), pts=[5000 + 40 * k for k in range(10)])
    with FileSource(late) as source:
        assert len(list(source)) == 10
        assert source.warnings == []
    assert survey(late).fault == ""


@pytest.mark.parametrize("name", ["w.mkv", "w.webm", "w.flv"])
def test_half_a_file_without_an_index_is_told(tmp_path: Path, name: str) -> None:
    frames = [np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8) for i in range(50)]
    kind: dict[str, Any] = {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}
    whole = write_video(tmp_path / name, frames, rate=5, **kind if name == "w.webm" else {"sound": True})
    data = whole.read_bytes()
    half = tmp_path / f"half{whole.suffix}"
    half.write_bytes(data[: len(data) // 2])
    with FileSource(half) as source:
        assert 10 < len(list(source)) < 40
        assert [re.sub(r"[\d.]+ s", "X", told) for told in source.warnings] == [
            "video ends at X of X; the file may be cut off"
        ]
    assert survey(half).fault == "the file is cut off"
    with FileSource(whole) as source:
        assert len(list(source)) == 50
        assert source.warnings == []
    assert survey(whole).fault == ""


@pytest.mark.parametrize(
    "gone", [False, pytest.param(True, marks=pytest.mark.skipif(os.name == "nt", reason="is open"))]
)
def test_sound_that_goes_on_longer_than_the_picture_is_no_loss(tmp_path: Path, gone: bool) -> None:
    with av.open(str(tmp_path / "a.flv"), "w") as container:
        picture, sound = container.add_stream("flv1", rate=5), container.add_stream("aac", rate=48000, layout="mono")
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        for rgb in frames_of(10):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        for piece in tone(8):
            container.mux(sound.encode(piece))
        for stream in (picture, sound):
            container.mux(stream.encode(None))
    with FileSource(tmp_path / "a.flv") as source:
        frames = iter(source)
        next(frames)
        if gone:  # whether all of it ends early cannot be told then
            (tmp_path / "a.flv").unlink()
        assert len(list(frames)) == 9
        assert source.warnings == []


def test_damage_inside_is_survived_and_told(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "w.mkv", frames_of(40, 160, 120), codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(whole.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 600] = bytes(600)
    (tmp_path / "d.mkv").write_bytes(data)
    with FileSource(tmp_path / "d.mkv") as source:
        assert len(list(source)) >= 35


def test_a_damaged_picture_of_a_film_of_pngs_costs_that_picture_alone(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "w.mov", frames_of(12, 160, 120), codec="png", pix_fmt="rgb24")
    data = bytearray(whole.read_bytes())
    starts = [k for k in range(len(data)) if data.startswith(b"IDAT", k)]
    for k in range(200):
        data[starts[len(starts) // 2] + 40 + k] ^= 0x5A  # zlib's own error, which is not "invalid data"
    (tmp_path / "d.mov").write_bytes(data)
    with FileSource(tmp_path / "d.mov") as source:
        assert 9 <= len(list(source)) < 12
        assert any("damaged" in warning for warning in source.warnings)


def test_closing_twice_and_early(tmp_path: Path) -> None:
    path = write_video(tmp_path / "w.mp4", frames_of(10))
    source = FileSource(path)
    frame = next(iter(source))
    descriptors = Path("/proc/self/fd")
    for _ in range(2):
        source.close()
        if descriptors.exists():
            assert str(path) not in {str(link.readlink()) for link in descriptors.iterdir() if link.is_symlink()}
    assert frame.rgb.shape == (48, 64, 3)  # what was taken stays whole


def test_a_failed_open_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "t.mp4").write_text("no film")
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("needs /proc")
    before = len(list(descriptors.iterdir()))
    for _ in range(5):
        with pytest.raises(SourceError):
            FileSource(tmp_path / "t.mp4")
    assert len(list(descriptors.iterdir())) <= before + 1
    shutil.copy(write_video(tmp_path / "w.mp4", frames_of(2)), tmp_path / "t.mp4")
    with FileSource(tmp_path / "t.mp4") as source:
        assert len(list(source)) == 2


def test_closing_while_another_thread_reads_ends_its_reading(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", frames_of(40))
    for _ in range(10):
        source = FileSource(path)
        with Producer(source, name="headstream-grab", capacity=1) as frames:
            next(iter(frames))
            source.close()
            assert len(list(frames)) < 40
        source.close()


def test_a_film_trimmed_by_an_edit_list_is_whole(tmp_path: Path) -> None:
    needs_ffmpeg()
    path = write_video(tmp_path / "v.mp4", frames_of(50), options={"g": "50"})
    trimmed = tmp_path / "trimmed.mp4"
    subprocess.run(["ffmpeg", "-v", "error", "-ss", "0.6", "-i", str(path), "-c", "copy", str(trimmed)], check=True)
    with FileSource(trimmed) as source:
        assert 30 <= len(list(source)) <= 40
        assert source.warnings == []


def test_a_film_that_an_edit_list_ends_early_is_whole(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", frames_of(50), options={"g": "10"})
    data = bytearray(path.read_bytes())
    entry = data.index(b"elst") + 12  # behind version, flags and count: how long the only entry is, in milliseconds
    (length,) = struct.unpack(">I", data[entry : entry + 4])
    data[entry : entry + 4] = struct.pack(">I", length // 2)
    path.write_bytes(data)
    with FileSource(path) as source:
        assert len(list(source)) == 25
        assert source.warnings == []


@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4"])
def test_dropped_frames_of_an_avi_are_no_loss(tmp_path: Path, codec: str) -> None:
    ticks = [k for k in range(50) if not 10 < k < 30 and k % 3 != 1]
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = write_video(
        tmp_path / "v.avi", frames_of(len(ticks)), codec=codec, pix_fmt=pix_fmt, pts=ticks, time_base=Fraction(1, 25)
    )
    with FileSource(path) as source:
        assert [frame.pts * 25 for frame in source] == [tick - ticks[0] for tick in ticks]
        assert source.warnings == []
    assert survey(path).fault == ""


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="Linux")
def test_films_made_for_tests_leave_the_thread_its_priority(tmp_path: Path) -> None:
    before = os.sched_getscheduler(0)
    write_video(tmp_path / "a.mkv", [pattern(160, 120, k) for k in range(3)], codec="libsvtav1")
    assert os.sched_getscheduler(0) == before


def test_lengths_beyond_all_files_are_told_as_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    ftyp = struct.pack(">I4s4sI4s", 20, b"ftyp", b"isom", 0, b"isom")
    path.write_bytes(ftyp + struct.pack(">I4sQ", 1, b"mdat", (1 << 64) - 1) + bytes(64))
    with pytest.raises(SourceError, match="is cut off|not a video"):
        FileSource(path)


def test_a_picture_that_is_repeated_is_no_damage(tmp_path: Path) -> None:
    """Theora has an empty packet for it."""
    needs_ffmpeg()
    path = tmp_path / "s.ogv"
    made = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=96x64:rate=10:duration=0.5"]
    made += ["-r", "30", "-c:v", "libtheora", str(path)]
    if subprocess.run(made, capture_output=True).returncode:
        pytest.skip("this ffmpeg has no encoder of Theora")
    with av.open(str(path)) as container:
        assert any(packet.pts is not None and not packet.size for packet in container.demux(video=0))
    with FileSource(path) as source:
        assert list(source)
        assert not source.warnings


def test_dv_has_its_lower_field_first(tmp_path: Path) -> None:
    """It does not tell: no other is allowed (IEC 61834-2)."""
    film = [pattern(720, 576, k) for k in range(2)]
    write_video(tmp_path / "s.avi", film, codec="dvvideo", time_base=Fraction(1, 25))
    with FileSource(tmp_path / "s.avi") as source:
        assert source.interlaced
        assert source.top_field_first is False


def test_a_turned_picture_keeps_its_colours_where_they_are_half_as_wide(tmp_path: Path) -> None:
    """They are half as high then."""
    flat = write_video(tmp_path / "flat.mov", frames_of(3), codec="prores_ks", pix_fmt="yuv422p10le")
    with FileSource(turned(flat, 90, tmp_path / "turned.mov")) as source:
        got = list(source)
    planes = got[1].planes
    assert planes is not None
    assert (planes.sub_w, planes.sub_h) == (1, 2)
    assert np.abs(got[1].rgb.astype(int) - np.rot90(pattern(64, 48, 1), -1)).mean() < 6


@pytest.mark.parametrize(
    ("size", "matrix"),
    [((960, 720), "bt709"), ((1280, 544), "bt709"), ((958, 718), "bt601"), ((1278, 718), "bt601")],
)
def test_untagged_colours_are_those_of_television_of_that_size(
    tmp_path: Path, size: tuple[int, int], matrix: str
) -> None:
    path = write_video(tmp_path / "a.mkv", frames_of(1, *size), codec="ffv1")
    with FileSource(path) as source:
        (frame,) = source
    assert frame.planes is not None
    assert frame.planes.colour.matrix == matrix
