"""Head clips out of films and back: nothing moves, nothing is lost, what was not touched is the film's own."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from headstream.capture.file import FileSource
from headstream.cli import main
from headstream.dub.blend import ColourShift, blended, like_film
from headstream.dub.pairing import Length, Paired, pairing_rule
from headstream.dub.path import Square, head_path
from headstream.dub.regions import region_mask, tightened
from headstream.dub.trackfile import TrackedFrame, TrackedHead, TrackReader
from headstream.dub.warp import clip_frame, covered, put_back, region_of
from headstream.errors import SinkError, SourceError, UsageError
from headstream.films.alongtrack import TrackMattes, check_sound, open_sinks, partly
from headstream.films.cropping import CropJob, crop_film
from headstream.films.dubbing import PasteJob, paste_film
from headstream.films.tracks import track_file
from headstream.segment.crops import CropSegmenter
from headstream.shared.regions import laid_over
from headstream.shared.turned import turned
from headstream.sinks.formats import output_format
from headstream.sinks.lock import locked
from headstream.timing import StageTimes
from headstream.types import Colour, Cutout, Float32Array, Frame, Planes, UInt8Array
from tests.conftest import moving_portrait
from tests.media import decoded, frame_times, needs_ffmpeg, probe, sound_nobody_knows, tone, video_stream, write_video

pytestmark = pytest.mark.usefixtures("answers_kept")


def scene(seed: int, size: tuple[int, int] = (160, 120)) -> UInt8Array:
    """(H, W) uint8: smooth blobs."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8), np.uint8)
    return cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)


def film_frame(bits: int = 8, sub: tuple[int, int] = (2, 2)) -> Frame:
    shift = bits - 8
    kind: Any = np.uint8 if bits == 8 else np.uint16
    y = (scene(1).astype(np.uint16) // 2 + 50).astype(kind) << shift
    chroma = (160 // sub[0], 120 // sub[1])
    u, v = ((scene(k, chroma).astype(np.uint16) // 2 + 60).astype(kind) << shift for k in (2, 3))
    return Frame(planes=Planes(y, u, v, Colour("bt709", False, 1, 1, 1), bits, *sub), index=7, pts=Fraction(1, 3))


def tracked(centre: tuple[float, float] = (80.0, 60.0), side: float = 60.0, roll: float = 0.0) -> TrackedHead:
    x, y = centre
    points = np.array([[x - 10, y - 8], [x + 10, y - 8], [x, y], [x, y + 10], [x - 20, y], [x + 20, y]], np.float64)
    return TrackedHead(1, (x - 16, y - 16, x + 16, y + 16), points, centre, side, roll, 0.9, True)


SQUARES = [Square((80.0, 60.0), 64.0), Square((71.3, 58.9), 51.7, 23.0), Square((30.2, 20.1), 90.4, -160.0)]


@pytest.mark.parametrize("square", SQUARES)
@pytest.mark.parametrize("size", [64, 128, 256])
def test_there_and_back_is_the_same_place(square: Square, size: int) -> None:
    frame = film_frame()
    clip = clip_frame(frame, square, size).planes
    assert clip is not None
    assert clip.y.shape == (size, size)
    assert clip.u.shape == (size // 2, size // 2)
    region = region_of(square, frame.size_px)
    x0, y0, x1, y1 = region
    back = put_back(clip.y.astype(np.float32), square, region, (1, 1))
    mask = covered(square, region, size) > 0.999
    inner = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert frame.planes is not None
    own = frame.planes.y[y0:y1, x0:x1].astype(np.float32)
    if size >= square.side:
        assert np.abs(back - own)[inner].mean() < 2
    shifted = [np.abs(np.roll(back, d, axis) - own)[inner].mean() for d, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1))]
    assert np.abs(back - own)[inner].mean() < 0.5 * min(shifted)  # nothing moved by half a pixel


def test_luma_and_chroma_stay_together() -> None:
    ramp = np.tile(np.arange(40, 1000, 6, dtype=np.uint16), (120, 1))
    # Chroma sited on every other luma column sees that column's value.
    half = np.ascontiguousarray(ramp[::2, ::2])
    clip = clip_frame(Frame(planes=Planes(ramp, half, half, bits=10)), Square((77.7, 61.1), 50.0), 100).planes
    assert clip is not None
    luma = clip.y[20:80:2, 20:80:2].astype(int)
    assert abs((clip.u[10:40, 10:40].astype(int) - luma).mean()) < 1  # a sixth of a pixel


@pytest.mark.parametrize(("bits", "sub"), [(8, (2, 2)), (10, (2, 2)), (8, (1, 1)), (10, (2, 1)), (8, (1, 2))])
def test_an_untouched_clip_changes_nothing(bits: int, sub: tuple[int, int]) -> None:
    frame = film_frame(bits, sub)
    square = SQUARES[1]
    region = region_of(square, frame.size_px)
    mask = np.ones((region[3] - region[1], region[2] - region[0]), np.float32)
    assert blended(frame, clip_frame(frame, square, 48), square, region, mask) is frame


def edited(clip: Frame, change: int) -> Frame:
    assert clip.planes is not None
    y = clip.planes.y.copy()
    size = y.shape[0]
    part = y[size // 2 :, : size // 2]
    part[:] = np.clip(part.astype(int) + change, 0, 255)
    return Frame(planes=Planes(y, clip.planes.u, clip.planes.v, clip.planes.colour))


@pytest.mark.parametrize("change", [6, 60])
def test_what_was_edited_comes_back_and_the_rest_stays_bit_for_bit(change: int) -> None:
    frame = film_frame()
    assert frame.planes is not None
    square = Square((80.0, 60.0), 64.0)
    region = region_of(square, frame.size_px)
    x0, y0, x1, y1 = region
    mask = np.ones((y1 - y0, x1 - x0), np.float32)
    mask[:, :4] = 0
    result = blended(frame, edited(clip_frame(frame, square, 256), change), square, region, mask, grain=False)
    assert (result.index, result.pts) == (7, Fraction(1, 3))
    assert result.planes is not None
    moved = result.planes.y.astype(int) - frame.planes.y
    assert abs(moved[66:86, 56:74].mean() - change) < 1
    assert not moved[:y0].any()
    assert not moved[y1:].any()
    assert not moved[:, : x0 + 4].any()  # outside of the mask
    assert not moved[:54, :].any()  # the half of the square nobody touched
    assert not moved[:, 88:].any()
    assert np.array_equal(result.planes.u[:27], frame.planes.u[:27])


def test_rgb_films_take_clips_too() -> None:
    rgb = np.dstack([scene(k) for k in (1, 2, 3)]) // 2 + 60
    frame = Frame(rgb.astype(np.uint8))
    square, region = SQUARES[1], region_of(SQUARES[1], (160, 120))
    mask = np.ones((region[3] - region[1], region[2] - region[0]), np.float32)
    clip = clip_frame(frame, square, 128)
    changed = clip.rgb.copy()
    changed[40:90, 40:90, 0] = np.minimum(changed[40:90, 40:90, 0].astype(int) + 60, 255)
    for grain in (False, True):
        made = blended(frame, Frame(changed), square, region, mask, grain=grain)
        moved = made.rgb.astype(int) - frame.rgb
        assert moved[50:66, 62:80, 0].mean() > 40
        assert not moved[:30].any()


@pytest.mark.parametrize("size", [96, 200, 512])
@pytest.mark.parametrize(
    "square", [Square((80.0, 60.0), 70.0, 20.0), Square((80.3, 20.7), 64.0), Square((10.0, 60.0), 64.0)]
)
def test_no_rim_at_the_square_or_the_films_border(square: Square, size: int) -> None:
    flat = np.full((120, 160), 120, np.uint8)
    grey = np.full((60, 80), 128, np.uint8)
    frame = Frame(planes=Planes(flat, grey, grey))
    region = region_of(square, frame.size_px)
    mask = np.ones((region[3] - region[1], region[2] - region[0]), np.float32)
    clip = clip_frame(frame, square, size).planes
    assert clip is not None
    brighter = Frame(planes=Planes(clip.y + np.uint8(60), clip.u, clip.v, clip.colour))
    made = blended(frame, brighter, square, region, mask, grain=False).planes
    assert made is not None
    assert made.y.min() >= 120
    assert made.y.max() <= 181
    assert np.abs(made.u.astype(int) - 128).max() <= 1
    middle = (int(square.centre[1]), max(0, int(square.centre[0])))
    assert made.y[middle] == 180
    if square.centre[1] < 32:
        assert made.y[0, 80] >= 178  # the film's first row takes the clip in full


def test_lost_grain_comes_back() -> None:
    frame = film_frame()
    assert frame.planes is not None
    rng = np.random.default_rng(5)
    noisy = np.clip(frame.planes.y + rng.normal(0, 5, frame.planes.y.shape), 0, 255).astype(np.uint8)
    noisy_frame = Frame(planes=Planes(noisy, frame.planes.u, frame.planes.v, frame.planes.colour))
    square = Square((80.0, 60.0), 64.0)
    region = region_of(square, frame.size_px)
    mask = np.ones((region[3] - region[1], region[2] - region[0]), np.float32)
    clip = clip_frame(noisy_frame, square, 256)
    assert clip.planes is not None
    flat = Frame(planes=Planes(np.full_like(clip.planes.y, 150), clip.planes.u, clip.planes.v, clip.planes.colour))

    def grain(*, wanted: bool) -> float:
        made = blended(noisy_frame, flat, square, region, mask, grain=wanted)
        assert made.planes is not None
        return float(made.planes.y[40:80, 60:100].astype(float).std())

    assert grain(wanted=False) < 1
    assert 3 < grain(wanted=True) < 7


def test_masks_stay_within_the_matte_and_fade_inwards() -> None:
    region = (40, 20, 120, 100)
    matte = np.zeros((80, 80), np.uint8)
    cv2.circle(matte, (40, 40), 30, 255, -1)
    masks = {
        part: region_mask(tracked(roll=roll), part, region, matte, 6)  # type: ignore[arg-type]
        for part, roll in (("head", 0.0), ("face", 0.0), ("mouth", 20.0))
    }
    for mask in masks.values():
        assert mask.max() > 0.9
        assert (mask[matte == 0] == 0).all()
    assert masks["head"].sum() > masks["face"].sum() > masks["mouth"].sum()
    assert masks["mouth"][:30].max() < 0.1  # no eyes
    whole = region_mask(tracked(), "head", region, matte, 0)
    assert np.allclose(whole, matte / 255)
    smaller, part = tightened(region, masks["mouth"])
    assert part.sum() == pytest.approx(masks["mouth"].sum())
    assert all(corner % 2 == 0 for corner in smaller)
    empty: Float32Array = np.zeros((80, 80), np.float32)
    assert tightened(region, empty)[1].size == 0


def frames_with(*heads: tuple[int, TrackedHead | None], cuts: tuple[int, ...] = ()) -> list[TrackedFrame]:
    return [
        TrackedFrame(index, Fraction(time, 10), index in cuts, () if head is None else (head,))
        for index, (time, head) in enumerate(heads)
    ]


def test_paths_bridge_short_gaps_and_hold_what_they_are_asked_to() -> None:
    frames = frames_with(
        (0, tracked((50, 50), 40, 5)),
        (1, None),
        (2, tracked((70, 50), 60, 15)),
        (30, None),
        (31, tracked((90, 60), 30)),
        (32, tracked((20, 60), 30)),
        cuts=(5,),
    )
    full = [placed.square for placed in head_path(frames, 1, "full")]
    assert full[1] == Square((60.0, 50.0), 50.0, 10.0)
    bridge = head_path(frames, 1, "full")[1].head
    assert bridge is not None  # what was cropped there is pasted there
    assert bridge.box == (44.0, 34.0, 76.0, 66.0)
    assert full[3] is None
    assert full[4] == Square((90, 60), 30)
    place = [placed.square for placed in head_path(frames, 1, "position")]
    assert place[0] == Square((50, 50), 60)  # the largest of its stay, upright
    assert place[4] == Square((90, 60), 30)
    still = [placed.square for placed in head_path(frames, 1, "none")]
    assert still[0] == still[1] == still[2] == Square((65.0, 50.0), 70.0)
    assert still[4] == Square((90, 60), 30)  # the cut ends a stay


def test_frames_are_paired_by_number_or_by_time() -> None:
    film = Length(10, Fraction(1))
    assert pairing_rule(film, Length(10, Fraction(3)), Path("c")) == "frame by frame"
    assert pairing_rule(film, Length(5, Fraction(1)), Path("c")) == "by time"
    with pytest.raises(UsageError, match=r"5 frames in 0.50 s.* repeat its last frame 5 times"):
        pairing_rule(film, Length(5, Fraction(1, 2)), Path("c"))
    with pytest.raises(UsageError, match="leave out the last 4"):
        pairing_rule(film, Length(14, Fraction(14, 10)), Path("c"))
    with pytest.raises(UsageError, match="the last 4, or the first where they are the same"):
        pairing_rule(film, Length(14, Fraction(14, 10)), Path("c"))
    clip = [Frame(np.zeros((2, 2, 3), np.uint8), index=k, pts=Fraction(k, 5)) for k in range(5)]
    paired = Paired(iter(clip), "by time", Path("c"))
    assert [paired.frame(k, Fraction(k, 10)).index for k in range(10)] == [0, 1, 1, 2, 2, 3, 3, 4, 4, 4]
    paired = Paired(iter(clip), "frame by frame", Path("c"))
    assert [paired.frame(k, Fraction(0)).index for k in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(SourceError, match="ends before the film"):
        paired.frame(5, Fraction(0))


@pytest.fixture(scope="module")
def film(head_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A film and its track."""
    track = tmp_path_factory.mktemp("dub") / "track.json"
    track_file(head_clip, track)
    return head_clip, track


def assert_same_pictures(one: Path, other: Path) -> None:
    assert np.array_equal(decoded(one, "rgb24"), decoded(other, "rgb24"))
    assert_same_times(one, other)


def assert_same_times(one: Path, other: Path) -> None:
    first, second = (np.array(frame_times(path)) for path in (one, other))
    assert np.allclose(first - first[0], second - second[0], atol=1e-3)


def sound_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]


def test_a_round_trip_gives_the_film_back(film: tuple[Path, Path], tmp_path: Path) -> None:
    source, track = film
    clip, final = tmp_path / "clip.mkv", tmp_path / "final.mkv"
    report = crop_film(CropJob(source, track, clip, alpha=True, size=200))
    assert (report.frames, report.with_head, report.head) == (30, 30, 1)
    info = video_stream(clip)
    assert (info["width"], info["height"], info["pix_fmt"]) == (200, 200, "yuva420p")
    assert_same_times(source, clip)
    assert sound_of(clip) == sound_of(source)[1:]  # the first is the encoder's own, before the picture
    report = paste_film(PasteJob(source, track, clip, final))
    assert report.changed == 0
    assert_same_pictures(source, final)
    assert sound_of(final) == sound_of(source)


@pytest.mark.parametrize("quarters", [1, 3])
def test_a_head_on_its_side_is_cut_like_the_head_upright(
    film: tuple[Path, Path], portrait: UInt8Array, segmenter: CropSegmenter, tmp_path: Path, quarters: int
) -> None:
    pictures = [turned(picture, quarters) for picture in moving_portrait(portrait, 8)]
    source, track = write_video(tmp_path / "lying.mp4", pictures, options={"crf": "12"}), tmp_path / "lying.json"
    track_file(source, track)
    upright, lying = mattes_along(*film, segmenter), mattes_along(source, track, segmenter)
    for one, other in zip(upright, (turned(alpha, -quarters) for alpha in lying), strict=False):
        assert np.minimum(one, other).sum(dtype=int) > 0.96 * np.maximum(one, other).sum(dtype=int)


def mattes_along(source: Path, track: Path, segmenter: CropSegmenter) -> list[UInt8Array]:
    """The mattes that a clip is made with, of whole frames."""
    path, mattes = head_path(TrackReader(track), 1, "full"), TrackMattes(segmenter, StageTimes())
    with FileSource(source) as film:
        layers = [mattes.update(frame, placed) for frame, placed in zip(film, path, strict=True)]
        return [laid_over(layer.alpha, layer.region_px, (0, 0, *film.size_px)) for layer in layers]


@pytest.mark.parametrize("name", ["o.mkv", "o.mov", "o.webm", "o.mp4"])
def test_a_clip_with_transparency_of_more_bits_than_the_film(
    film: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    source, track = film
    clip = tmp_path / "clip.mov"
    crop_film(CropJob(source, track, clip, alpha=True, size=96))
    report = paste_film(PasteJob(source, track, clip, tmp_path / name))
    assert report.frames == len(frame_times(tmp_path / name)) == 30


@pytest.mark.parametrize("name", ["c.mkv", "c.mp4", "c.mov", "c.webm"])
def test_a_clip_begins_with_its_picture(film: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    """AAC begins before its own first moment; what moves the picture for that makes others read its first frame twice."""
    source, track = film
    crop_film(CropJob(source, track, tmp_path / name, size=96))
    with av.open(str(tmp_path / name)) as container:
        ticks = [packet.pts for packet in container.demux(container.streams.video[0]) if packet.size]
        starts = [stream.start_time * stream.time_base for stream in container.streams]
    assert (min(ticks), len(ticks)) == (0, 30)
    assert starts[0] == 0 <= starts[1] < 0.03
    needs_ffmpeg()
    frames = tmp_path / "frames"
    frames.mkdir()
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / name, frames / "%03d.png"], check=True)
    assert len(list(frames.glob("*.png"))) == 30
    if name == "c.mkv":
        shutil.copy(frames / "030.png", frames / "031.png")
        report = paste_film(PasteJob(source, track, frames, tmp_path / "o.mkv"))
        assert any("30: each" in note and "twice, lips are late" in note for note in report.notes)


def test_a_clip_of_a_film_whose_picture_comes_late_has_the_sound_from_there(
    portrait: UInt8Array, tmp_path: Path
) -> None:
    source = write_video(
        tmp_path / "late.mkv", moving_portrait(portrait, 20), pts=[500 + 40 * k for k in range(20)], sound=True
    )
    subtitled = tmp_path / "film.mkv"
    (tmp_path / "s.srt").write_text(
        "1\n00:00:00,100 --> 00:00:00,300\nOver\n\n2\n00:00:00,400 --> 00:00:00,900\nStill\n"
    )
    needs_ffmpeg()
    inputs = ["-i", str(source), "-i", str(tmp_path / "s.srt")]
    subprocess.run(["ffmpeg", "-v", "error", *inputs, "-map", "0", "-map", "1", "-c", "copy", subtitled], check=True)
    track_file(subtitled, tmp_path / "t.json")
    crop_film(CropJob(subtitled, tmp_path / "t.json", tmp_path / "c.mkv", size=96))
    with av.open(str(subtitled)) as whole, av.open(str(tmp_path / "c.mkv")) as clip:
        begins_s = next(whole.decode(video=0)).time
        whole.seek(0)
        expected = [bytes(p) for p in whole.demux(audio=0) if p.size and float(p.pts * p.time_base) >= begins_s]
        assert [float(p.pts * p.time_base) for p in clip.demux(video=0) if p.size] == pytest.approx(
            [k / 25 for k in range(20)]
        )
        clip.seek(0)
        lines = [
            (bytes(p), float(p.pts * p.time_base), float(p.duration * p.time_base))
            for p in clip.demux(subtitles=0)
            if p.size
        ]
    assert sound_of(tmp_path / "c.mkv") == expected
    assert [line[0] for line in lines] == [b"Still"]
    assert lines[0][1:] == pytest.approx((0, 0.9 - begins_s), abs=2e-3)


def test_a_round_trip_of_uneven_times(portrait: UInt8Array, uneven_pts: list[int], tmp_path: Path) -> None:
    source = write_video(tmp_path / "vfr.mp4", moving_portrait(portrait, 10), pts=uneven_pts)
    track_file(source, tmp_path / "t.json")
    crop_film(CropJob(source, tmp_path / "t.json", tmp_path / "c.mkv", size=128))
    report = paste_film(PasteJob(source, tmp_path / "t.json", tmp_path / "c.mkv", tmp_path / "f.mkv"))
    assert report.changed == 0
    assert_same_pictures(source, tmp_path / "f.mkv")


def red_mouth(clip: Path, out: Path) -> Path:
    """The clip, a red block in its middle, by another program's codec and container."""
    with av.open(str(clip)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for rgb in frames:
        rgb[100:140, 80:120] = (220, 30, 30)
    return write_video(out, frames, colour=(1, 1, 1, 1), options={"crf": "8"})


def test_a_changed_clip_changes_the_head_alone(film: tuple[Path, Path], tmp_path: Path) -> None:
    source, track = film
    crop_film(CropJob(source, track, tmp_path / "c.mp4", size=200, stabilise="position"))
    clip = red_mouth(tmp_path / "c.mp4", tmp_path / "dubbed.mp4")
    sound = tmp_path / "new.wav"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48000, layout="mono")
        for piece in tone(1.2):
            container.mux(stream.encode(piece.reformat("s16") if hasattr(piece, "reformat") else piece))
        container.mux(stream.encode(None))
    job = PasteJob(
        source, track, clip, tmp_path / "f.mkv", stabilise="position", audio=sound, old_audio=True, match_colour=True
    )
    steps: list[tuple[int, int]] = []
    report = paste_film(job, lambda done, total: steps.append((done, total)))
    assert report.changed == report.frames == 30
    assert steps == [(k, 60) for k in range(1, 61)]  # the colours are looked at first
    kinds = [s["codec_name"] for s in probe(tmp_path / "f.mkv")["streams"] if s["codec_type"] == "audio"]
    assert kinds == ["pcm_s16le", "aac"]
    before, after = decoded(source, "rgb24").astype(int), decoded(tmp_path / "f.mkv", "rgb24").astype(int)
    moved = np.abs(after - before).max(axis=3)
    red = (after[..., 0] - after[..., 1] > 120) & (moved > 60)
    assert (red.sum(axis=(1, 2)) > 100).all()
    matte = tmp_path / "m.mkv"
    assert main(["video", str(source), "--out", str(tmp_path / "cut.mkv"), "--matte", str(matte)]) == 0
    far = cv2.dilate(np.moveaxis(decoded(matte, "gray")[..., 0], 0, 2), np.ones((9, 9), np.uint8)) < 8
    assert not moved[np.moveaxis(far, 2, 0)].any()


def wav(path: Path, seconds: float, *, late_s: float = 0.0) -> Path:
    """A tone; in a transport stream that starts late where the name says so."""
    with av.open(str(path), "w") as container:
        codec = "pcm_s16le" if path.suffix == ".wav" else "aac"
        stream = container.add_stream(codec, rate=48000, layout="mono")
        resampler = av.AudioResampler("s16" if codec == "pcm_s16le" else "fltp", "mono", 48000)
        for piece in tone(seconds):
            piece.pts += round(late_s * 48000)
            for part in resampler.resample(piece):
                container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mkv", "pcm_s16le"), (".mov", "pcm_s16le"), (".mp4", "aac"), (".webm", "opus")]
)
def test_new_sound_is_the_one_that_plays(film: tuple[Path, Path], tmp_path: Path, suffix: str, codec: str) -> None:
    source, track = film
    crop_film(CropJob(source, track, tmp_path / "c.mkv", size=96))
    out = tmp_path / f"f{suffix}"
    sound = wav(tmp_path / "new.wav", 1.2)
    paste_film(PasteJob(source, track, tmp_path / "c.mkv", out, audio=sound, old_audio=True))
    sounds = [s for s in probe(out)["streams"] if s["codec_type"] == "audio"]
    assert sounds[0]["codec_name"] == codec
    assert [s["disposition"]["default"] for s in sounds] == [1, 0]
    assert float(sounds[0]["start_time"]) < 0.05


def test_new_sound_begins_with_its_own_first_moment(film: tuple[Path, Path], tmp_path: Path) -> None:
    source, track = film
    crop_film(CropJob(source, track, tmp_path / "c.mkv", size=96))
    sound = wav(tmp_path / "new.ts", 1.2, late_s=1.4)
    paste_film(PasteJob(source, track, tmp_path / "c.mkv", tmp_path / "f.mkv", audio=sound))
    only = next(s for s in probe(tmp_path / "f.mkv")["streams"] if s["codec_type"] == "audio")
    assert float(only["start_time"]) < 0.05


def begins_s(path: Path) -> tuple[float, float]:
    """Where the first picture is, and where the first sound can be heard."""
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0)).time
    with av.open(str(path)) as container:  # anew: looking for pictures' beginning would leave earlier sound out
        for piece in container.decode(audio=0):
            loud = np.flatnonzero(np.abs(piece.to_ndarray().astype(float)).max(0) > 0.05)
            if len(loud):
                return picture, piece.time + loud[0] / piece.sample_rate
    raise AssertionError("no sound")


@pytest.mark.parametrize("late_ms", [0, 300])
@pytest.mark.parametrize("name", ["f.mkv", "f.mp4"])
def test_new_sound_begins_with_the_picture(portrait: UInt8Array, tmp_path: Path, name: str, late_ms: int) -> None:
    """As the clip does, for which it was made; the film's own stays where it was."""
    ticks = [late_ms + 40 * k for k in range(20)]
    source = write_video(tmp_path / f"s{name[1:]}", moving_portrait(portrait, 20), pts=ticks, sound=True)
    track, clip, out = tmp_path / "t.json", tmp_path / "c.mkv", tmp_path / name
    track_file(source, track)
    crop_film(CropJob(source, track, clip, size=96))
    paste_film(PasteJob(source, track, clip, out, audio=wav(tmp_path / "new.wav", 0.8), old_audio=True))
    picture_s, sound_s = begins_s(out)
    assert sound_s == pytest.approx(picture_s, abs=0.03)
    streams = probe(out)["streams"]
    starts = [float(stream["start_time"]) for stream in streams]
    assert [stream["codec_type"] for stream in streams] == ["video", "audio", "audio"]
    assert starts[0] - starts[2] == pytest.approx(late_ms / 1000, abs=0.03)


def test_ctrl_c_keeps_what_is_done_and_no_more_sound(film: tuple[Path, Path], tmp_path: Path) -> None:
    source, track = film
    report = crop_film(CropJob(source, track, tmp_path / "c.mkv", size=96), interrupted_at(10))
    assert report.interrupted
    assert len(frame_times(tmp_path / "c.mkv")) == report.frames == 10
    assert float(probe(tmp_path / "c.mkv")["format"]["duration"]) < 0.6


def test_a_film_that_breaks_off_leaves_what_was_done(portrait: UInt8Array, tmp_path: Path) -> None:
    options = {"g": "8", "crf": "6", "tune": "zerolatency"}
    front = {"movflags": "faststart"}
    whole = write_video(tmp_path / "whole.mp4", moving_portrait(portrait, 40), options=options, container_options=front)
    track_file(whole, tmp_path / "t.json")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.7)])
    with pytest.raises(SourceError, match=r"frames before that are in .*c\.partial\.mkv"):
        crop_film(CropJob(cut, tmp_path / "t.json", tmp_path / "c.mkv", size=96))
    assert 5 < len(frame_times(tmp_path / "c.partial.mkv")) < 40
    assert not (tmp_path / "c.mkv").exists()


def test_a_clip_of_an_untagged_film_tells_its_matrix(portrait: UInt8Array, tmp_path: Path) -> None:
    film = write_video(tmp_path / "hd.mp4", moving_portrait(portrait, 3, (1280, 720)))
    track_file(film, tmp_path / "t.json")
    crop_film(CropJob(film, tmp_path / "t.json", tmp_path / "c.mp4", size=96))
    assert video_stream(tmp_path / "c.mp4")["color_space"] == "bt709"


def test_bits_that_are_lost_are_told(portrait: UInt8Array, tmp_path: Path) -> None:
    film = write_video(tmp_path / "deep.mkv", moving_portrait(portrait, 3), codec="ffv1", pix_fmt="gbrp10le")
    track, clip = tmp_path / "t.json", tmp_path / "c.mkv"
    track_file(film, track)
    lost = "the picture of deep.mkv has 10 bits, of which 8 are kept"
    assert lost in crop_film(CropJob(film, track, clip, size=96)).notes
    assert lost in paste_film(PasteJob(film, track, clip, tmp_path / "f.mkv")).notes
    assert lost not in paste_film(PasteJob(film, track, clip, tmp_path / "f.mp4")).notes


def test_what_a_film_has_and_an_output_has_not_is_told(portrait: UInt8Array, tmp_path: Path) -> None:
    needs_ffmpeg()
    bare, film, track = tmp_path / "bare.mp4", tmp_path / "f.mp4", tmp_path / "t.json"
    fields = {"x264-params": "tff=1"}
    write_video(bare, moving_portrait(portrait, 3), pix_fmt="yuv444p", colour=(9, 1, 9, 18), options=fields)
    cover = tmp_path / "cover.png"
    cv2.imwrite(str(cover), portrait)
    maps = ["-i", str(cover), "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:1", "attached_pic"]
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(bare), *maps, str(film)], check=True)
    track_file(film, track)
    crop_film(CropJob(film, track, tmp_path / "c.mkv", size=96))
    told = {}
    for name in ("o.mkv", "o.webm", "frames"):
        told[name] = " ".join(paste_film(PasteJob(film, track, tmp_path / "c.mkv", tmp_path / name)).notes)
    fields_told = hasattr(av.VideoCodecContext, "field_order")  # PyAV 17 does not tell the source's
    assert ("interlaced" in told["o.mkv"]) == (not fields_told)
    assert "interlaced, which the output does not tell" in told["o.webm"]
    assert ["cover art left out" in told[name] for name in told] == [True, True, False]
    assert ["HDR, which" in told[name] for name in told] == [False, False, True]


def test_transparency_of_a_film_that_cannot_be_read_is_told(film: tuple[Path, Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.webm"
    assert main(["video", str(film[0]), "--out", str(cut)]) == 0
    crop_film(CropJob(cut, film[1], tmp_path / "c.mkv", size=96))
    notes = paste_film(PasteJob(cut, film[1], tmp_path / "c.mkv", tmp_path / "o.mkv")).notes
    assert "the film's own transparency is left out" in notes


def test_a_clip_that_tells_no_times(film: tuple[Path, Path], tmp_path: Path) -> None:
    source, track = film
    clip = write_video(tmp_path / "c.h264", [np.zeros((96, 96, 3), np.uint8)] * 30)
    report = paste_film(PasteJob(source, track, clip, tmp_path / "o.mkv"))
    assert (report.frames, report.changed) == (30, 30)
    short = write_video(tmp_path / "s.h264", [np.zeros((96, 96, 3), np.uint8)] * 20)
    with pytest.raises(UsageError, match=r"20 frames in 0\.80 s"):
        paste_film(PasteJob(source, track, short, tmp_path / "o.mkv"))


@pytest.mark.parametrize("name", ["c.mov", "c.webm", "c.mp4", "frames"])
def test_clips_in_every_format(film: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    source, track = film
    out = tmp_path / name
    arguments = ["crop", str(source), "--track", str(track), "--out", str(out), "--size", "96", "--json"]
    if name != "c.mp4":
        arguments.append("--alpha")
    assert main([*arguments, "--matte", str(tmp_path / "m.mp4")]) == 0
    if name == "frames":
        assert len(list(out.glob("*.png"))) == 30
        return
    assert len(frame_times(out)) == 30
    assert len(frame_times(tmp_path / "m.mp4")) == 30


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".webm"])
def test_films_in_every_format(film: tuple[Path, Path], tmp_path: Path, suffix: str) -> None:
    source, track = film
    crop_film(CropJob(source, track, tmp_path / "c.mkv", size=96))
    out = tmp_path / f"f{suffix}"
    paste_film(PasteJob(source, track, tmp_path / "c.mkv", out))
    assert "a" not in video_stream(out)["pix_fmt"].removeprefix("yuv")
    far = np.abs(decoded(out, "rgb24").astype(int) - decoded(source, "rgb24")).mean()
    assert far < 3
    assert_same_times(source, out)


def usage(*arguments: object, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([str(a) for a in arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_bad_input_is_one_clear_line(
    film: tuple[Path, Path], plain_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, track = film
    out = tmp_path / "o.mkv"
    base = ("crop", source, "--track", track, "--out")
    assert "expected an even number" in usage(*base, out, "--size", "31", capsys=capsys)
    assert "expected full, position, none" in usage(*base, out, "--stabilise", "half", capsys=capsys)
    assert "no such head" in usage(*base, out, "--head", "9", capsys=capsys)
    said = usage(*base, tmp_path / "o.mp4", "--alpha", capsys=capsys)
    assert "no transparency; use .mov, .webm or .mkv, or leave out --alpha" in said
    assert "must be different" in usage(*base, source, capsys=capsys)
    assert "a film is written as" in usage(*base, tmp_path / "o.gif", capsys=capsys)
    films = "use .mkv, .mov, .mp4, .webm, a folder or %06d.png"
    assert usage(*base, tmp_path / "o.avi", capsys=capsys).endswith(films)
    assert usage(*base, out, "--matte", tmp_path / "m.avi", capsys=capsys).endswith(films)
    said = usage(*base, tmp_path / "o.avi", "--alpha", capsys=capsys)
    assert said.endswith("use .mov, .mkv, .webm, a folder or %06d.png")
    assert "cannot be read" in usage("crop", source, "--track", tmp_path / "no", "--out", out, capsys=capsys)
    assert "is no track" in usage("crop", source, "--track", plain_clip, "--out", out, capsys=capsys)
    assert "is a track of a film of 320x240" in usage("crop", plain_clip, "--track", track, "--out", out, capsys=capsys)
    paste = ("paste", source, "--track", track, "--out", out, "--clip")
    assert "a head clip is square" in usage(*paste, plain_clip, capsys=capsys)
    assert "is a folder without numbered pictures" in usage(*paste, tmp_path, capsys=capsys)
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((96, 96, 3), np.uint8))
    assert "is one picture; a clip is" in usage(*paste, tmp_path / "1.png", capsys=capsys)
    crop_film(CropJob(source, track, tmp_path / "c.mkv", size=96))
    assert "expected head, face, mouth" in usage(*paste, tmp_path / "c.mkv", "--region", "nose", capsys=capsys)
    assert "only means something with --audio" in usage(*paste, tmp_path / "c.mkv", "--keep-audio", capsys=capsys)
    assert "expected 0 to 500" in usage(*paste, tmp_path / "c.mkv", "--feather", "-1", capsys=capsys)
    assert "not a sound file" in usage(*paste, tmp_path / "c.mkv", "--audio", track, capsys=capsys)
    assert usage(*paste, tmp_path / "c.mkv", "--audio", "no.wav", "--match-color", capsys=capsys).endswith(
        "no.wav: no such file"
    )
    assert "name it .json" in usage("track", source, "--out", tmp_path / "o.mkv", capsys=capsys)
    short = write_video(tmp_path / "s.mp4", [np.zeros((96, 96, 3), np.uint8)] * 5)
    assert "must be as long as the film" in usage(*paste, short, capsys=capsys)
    assert not out.exists()
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_sound_file_nobody_can_decode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no sound"):
        check_sound(sound_nobody_knows(tmp_path / "s.m4a"))
    check_sound(sound_nobody_knows(tmp_path / "t.m4a", known=1))


def test_a_track_of_another_film_leaves_no_output(film: tuple[Path, Path], tmp_path: Path) -> None:
    source, track = film
    lines = track.read_text().splitlines()
    for changed, message in (
        (lines[:-3], "does not fit"),
        ([*lines, lines[-1].replace('"frame":29', '"frame":30')], "knows 31"),
    ):
        other = tmp_path / "t.json"
        other.write_text("\n".join(changed) + "\n")
        with pytest.raises(UsageError, match=message):
            crop_film(CropJob(source, other, tmp_path / "o.mkv", size=96))
        assert [p.name for p in tmp_path.iterdir()] == ["t.json"]
    empty = [json.loads(line) for line in lines]
    for entry in empty[1:]:
        entry["heads"] = []
    other.write_text("\n".join(map(json.dumps, empty)))
    with pytest.raises(UsageError, match="no head in this track"):
        crop_film(CropJob(source, other, tmp_path / "o.mkv", size=96))


def test_a_track_that_is_cut_off_is_the_one_to_blame(film: tuple[Path, Path], tmp_path: Path) -> None:
    source, track = film
    clip, short = tmp_path / "c.mkv", tmp_path / "short.json"
    crop_film(CropJob(source, track, clip, size=96))
    short.write_text("".join(track.read_text().splitlines(keepends=True)[:13]))
    with pytest.raises(UsageError, match=r"short\.json: knows 12 frames, but .*head\.mp4 has 30; it is cut off"):
        paste_film(PasteJob(source, short, clip, tmp_path / "f.mkv"))
    crop_film(CropJob(source, track, clip, size=96), interrupted_at(10))
    with pytest.raises(UsageError, match=r"c\.mkv: 10 frames"):
        paste_film(PasteJob(source, track, clip, tmp_path / "f.mkv"))


def interrupted_at(frame: int) -> Callable[[int, int], None]:
    """A progress that is Ctrl-C there."""

    def progress(done: int, total: int) -> None:
        if done == frame:
            raise KeyboardInterrupt

    return progress


def test_one_at_a_time_for_an_output(film: tuple[Path, Path], tmp_path: Path) -> None:
    source, track = film
    clip, final = tmp_path / "clip.mkv", tmp_path / "final.mkv"
    crop_film(CropJob(source, track, clip, size=96))
    before = clip.read_bytes()
    with locked([clip, final]):
        with pytest.raises(SinkError, match=r"clip\.mkv: process \d+ is making it"):
            crop_film(CropJob(source, track, clip, size=64))
        with pytest.raises(SinkError, match=r"final\.mkv: process \d+ is making it"):
            paste_film(PasteJob(source, track, clip, final))
    assert clip.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]


@pytest.mark.parametrize("fields", [True, False])
def test_a_clip_that_is_resampled_has_no_fields(tmp_path: Path, fields: bool) -> None:
    source = tmp_path / "s.mp4"
    write_video(source, [np.full((64, 96, 3), 90, np.uint8)] * 3, options={"x264-params": "tff=1"})
    out = tmp_path / "o.mov"
    kind = output_format(out)
    with FileSource(source) as film:
        (sink,) = open_sinks(film, [(out, kind, "clip")], (96, 64), own=not fields)
        for frame in film:
            sink.write(Cutout(frame))
        sink.close()
    told = hasattr(av.VideoCodecContext, "field_order")  # PyAV 17 does not tell the source's
    assert (video_stream(out).get("field_order") == "tb") == (fields and told)


def test_a_full_place_is_told(film: tuple[Path, Path], tmp_path: Path) -> None:
    source, track = film
    with pytest.raises(SinkError):
        crop_film(CropJob(source, track, Path("/proc/clip.mkv"), size=96))
    shutil.copy(source, tmp_path / "copy.mp4")
    with pytest.raises(SourceError, match="cut off|can read"):
        (tmp_path / "copy.mp4").write_bytes(source.read_bytes()[:-4000])
        crop_film(CropJob(tmp_path / "copy.mp4", track, tmp_path / "o.mkv", size=96))
    assert not (tmp_path / "o.mkv").exists()


def test_frames_with_the_head_are_those_it_is_in(film: tuple[Path, Path], tmp_path: Path) -> None:
    source, track = film
    told = [json.loads(line) for line in track.read_text().splitlines()]
    for entry in told[1:6]:
        entry["heads"] = []
    late = tmp_path / "late.json"
    late.write_text("\n".join(map(json.dumps, told)) + "\n")
    report = crop_film(CropJob(source, late, tmp_path / "c.mkv", size=96))
    assert (report.frames, report.with_head) == (30, 25)


def test_two_passes_over_a_film_are_one_way() -> None:
    told: list[tuple[int, int]] = []
    for number in (0, 1):
        way = partly(lambda done, total: told.append((done, total)), number, 2)
        for done in (1, 10):
            way(done, 10)
    assert told == [(1, 20), (10, 20), (11, 20), (20, 20)]


def deep_white(value: int, square: Square, **more: Any) -> Any:
    """The luma of a deep, grey film with a clip of one value in it."""
    frame = film_frame(10)
    clip = clip_frame(frame, square, 128).planes
    assert clip is not None
    flat = Frame(planes=replace(clip, y=np.full_like(clip.y, value)))
    region = region_of(square, frame.size_px)
    mask = np.ones((region[3] - region[1], region[2] - region[0]), np.float32)
    made = blended(frame, flat, square, region, mask, grain=False, **more).planes
    assert made is not None
    return made.y


def test_deep_films_keep_their_lights_and_their_shift_of_colour() -> None:
    square = Square((80.0, 60.0), 64.0)
    assert abs(int(deep_white(940, square)[60, 80]) - 940) <= 1
    brighter = ColourShift((100.0, 128.0, 128.0), (120.0, 128.0, 128.0), (1.0, 1.0, 1.0))
    assert abs(int(deep_white(400, square, shift=brighter)[60, 80]) - 480) <= 1  # 20 of 255, four times as many here


def test_grain_is_the_same_each_time_and_never_wild() -> None:
    rng = np.random.default_rng(5)
    grey = np.full((60, 80), 128, np.uint8)
    wild = np.clip(128 + rng.normal(0, 40, (120, 160)), 0, 255).astype(np.uint8)
    frame, square = Frame(planes=Planes(wild, grey, grey)), Square((80.0, 60.0), 64.0)
    region = region_of(square, frame.size_px)
    mask = np.ones((region[3] - region[1], region[2] - region[0]), np.float32)
    clip = clip_frame(frame, square, 128).planes
    assert clip is not None
    flat = Frame(planes=replace(clip, y=np.full_like(clip.y, 128)))
    once, again = (blended(frame, flat, square, region, mask).planes for _ in range(2))
    assert once is not None
    assert again is not None
    assert np.array_equal(once.y, again.y)
    assert 3 < once.y[45:75, 65:95].astype(float).std() < 9


def test_a_clip_that_tells_no_colours_has_those_of_its_film() -> None:
    frame = film_frame(10)
    own = film_frame().planes
    assert own is not None
    for colour in (Colour("bt601"), own.colour):
        planes = like_film(Frame(planes=replace(own, colour=colour)), frame).planes
        assert planes is not None
        assert (planes.bits, planes.colour.matrix) == (10, "bt709")
        assert np.array_equal(planes.y, own.y.astype(np.uint16) << 2)
