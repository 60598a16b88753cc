"""Tracks of films: written and read line by line, smoothed without lag, shots apart."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from headstream.cli import main
from headstream.dub.motion import Motion
from headstream.dub.smooth import smoothed
from headstream.dub.steady import Smoother, roll_deg
from headstream.dub.trackfile import TrackedFrame, TrackedHead, TrackHeader, TrackReader, TrackWriter
from headstream.errors import SinkError, SourceError, UsageError
from headstream.films.tracks import plot_track, track_file
from headstream.sinks.lock import locked
from headstream.types import Head, UInt8Array
from tests.media import write_video

pytestmark = pytest.mark.usefixtures("answers_kept")


def head(x: float = 100.0, id_: int = 1) -> TrackedHead:
    points = np.array([[x - 10, 50], [x + 10, 50], [x, 60], [x, 70], [x - 20, 55], [x + 20, 55]], np.float64)
    return TrackedHead(id_, (x - 25, 30, x + 25, 80), points, (x, 60.0), 120.0, 0.0, 0.9, True)


def moves(time_s: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Frame from portrait at a moment: swaying, leaning, nearing."""
    scale, lean = 1.5 * (1 + 0.12 * np.sin(1.3 * time_s)), np.radians(8 * np.sin(1.7 * time_s))
    turn = scale * np.array([[np.cos(lean), -np.sin(lean)], [np.sin(lean), np.cos(lean)]])
    to = np.array([640 + 150 * np.sin(1.1 * time_s), 330 + 40 * np.sin(2.3 * time_s)])
    return np.hstack([turn, (to - turn @ (230, 130))[:, None]])


@pytest.fixture(scope="module")
def swaying(portrait: UInt8Array, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 frames at 30 a second, 1280x720, the portrait moved as ``moves`` says, with noise."""
    grain = [np.dstack([g] * 3) for g in np.random.default_rng(0).normal(0, 3, (7, 720, 1280)).round().astype(np.int16)]
    frames: list[UInt8Array] = []
    for index in range(70):
        matrix = moves(index / 30)
        matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV's pixel centres lie at whole numbers
        sharp = cv2.warpAffine(portrait, matrix, (1280, 720), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        frames.append(cv2.add(sharp, grain[index % 7], dtype=cv2.CV_8U).astype(np.uint8, copy=False))
    path = tmp_path_factory.mktemp("films") / "sway.mp4"
    ticks = [round(k * 1000 / 30) for k in range(70)]
    return write_video(path, frames, rate=30, pts=ticks, options={"crf": "20", "preset": "ultrafast"})


@pytest.mark.slow
def test_points_stay_where_they_are_on_the_head_and_nothing_lags(swaying: Path, tmp_path: Path) -> None:
    report = track_file(swaying, tmp_path / "t.json")
    frames = list(TrackReader(tmp_path / "t.json"))
    assert report.frames == report.frames_with_head == len(frames) == 70
    assert report.heads == {1: 70}

    def spread(lag: int) -> float:
        """RMS distance, in frame pixels, of the features' middle from its mean on the head."""
        places = []
        for frame in frames:
            back = cv2.invertAffineTransform(moves((frame.index + lag) / 30))
            places.append(frame.heads[0].landmarks[:4].mean(axis=0) @ back[:, :2].T + back[:, 2])
        return float(1.5 * np.sqrt(((np.array(places) - np.mean(places, axis=0)) ** 2).sum(axis=1).mean()))

    assert spread(0) < 0.8
    assert spread(0) < min(spread(-1), spread(1))
    centres = [cv2.invertAffineTransform(moves(frame.index / 30)) @ (*frame.heads[0].centre, 1) for frame in frames]
    assert 1.5 * np.sqrt(np.var(centres, axis=0).sum()) < 1.5  # the crop stands still on the head
    leans = [frame.heads[0].roll_deg - 8 * np.sin(1.7 * frame.index / 30) for frame in frames]
    assert np.std(leans) < 0.6
    for frame in frames:
        one = frame.heads[0]
        corner = one.crop_from_frame @ (*one.centre, 1)
        assert np.allclose(corner, (0.5, 0.5))
        assert np.allclose(one.frame_from_crop @ (*corner, 1), one.centre)


def test_shots_are_told_apart_and_not_smoothed_together(portrait: UInt8Array, tmp_path: Path) -> None:
    left = cv2.warpAffine(portrait, np.array([[0.5, 0, 0], [0, 0.5, 0]]), (480, 240), borderValue=(90, 90, 90))
    right = cv2.warpAffine(portrait, np.array([[0.5, 0, 220], [0, 0.5, 0]]), (480, 240), borderValue=(240, 235, 250))
    film = write_video(tmp_path / "a.mp4", [left] * 12 + [right] * 12)
    report = track_file(film, tmp_path / "t.json")
    frames = list(TrackReader(tmp_path / "t.json"))
    assert [frame.index for frame in frames if frame.cut] == [12]
    assert report.cuts == 1
    middles = [frame.heads[0].centre[0] for frame in frames if frame.heads]
    assert len(middles) == 24
    assert np.ptp(middles[:12]) < 6  # the crop still finds its size
    assert np.ptp(middles[12:]) < 6
    assert middles[12] - middles[11] > 190


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    wanted = [
        TrackedFrame(0, Fraction(0), False, (head(), head(300.0, 2))),
        TrackedFrame(1, Fraction(1001, 30000), True),
    ]
    with path.open("w") as file:
        writer = TrackWriter(file, TrackHeader("a.mp4", (640, 360), Fraction(30000, 1001)))
        for frame in wanted:
            writer.write(frame)
    reader = TrackReader(path)
    assert reader.header == TrackHeader("a.mp4", (640, 360), Fraction(30000, 1001))
    for got, frame in zip(reader, wanted, strict=True):
        assert (got.index, got.time_s, got.cut) == (frame.index, frame.time_s, frame.cut)
        for one, other in zip(got.heads, frame.heads, strict=True):
            assert (one.id, one.box, one.centre, one.side, one.seen) == (
                other.id,
                other.box,
                other.centre,
                other.side,
                other.seen,
            )
            assert np.array_equal(one.landmarks, other.landmarks)


def test_an_error_leaves_no_file(head_clip: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(head_clip.read_bytes()[:-3000])
    with pytest.raises(SourceError):
        track_file(cut, tmp_path / "sub" / "t.json")
    assert list((tmp_path / "sub").iterdir()) == [] if (tmp_path / "sub").exists() else True
    with pytest.raises(SinkError):
        track_file(head_clip, Path("/proc/t.json"))


def test_one_at_a_time_for_an_output(head_clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.json"
    with locked([out]), pytest.raises(SinkError, match=r"process \d+ is making it"):
        track_file(head_clip, out)
    assert list(tmp_path.iterdir()) == []


def frame_line(count: int = 1, **told: object) -> str:
    plain = {"id": 1, "box": [0, 0, 1, 1], "landmarks": [[0, 0]] * 6, "centre": [1, 1], "side": 2, "roll_deg": 0}
    heads = [plain | {"score": 1, "seen": True} | told] * count
    return json.dumps({"frame": 0, "time_s": "0", "heads": heads})


FIRST = {"headstream_track": 1, "source": "a", "size_px": [2, 2], "rate": "25"}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "no track file"),
        (["not json"], "no track file"),
        (["{}"], "no track file"),
        ([json.dumps(FIRST | {"headstream_track": 2})], "version 2; this headstream reads 1"),
        ([json.dumps(FIRST | {"rate": "1/0"})], "no track file"),
        ([json.dumps(FIRST), "{}"], "line 2: is no frame"),
        ([json.dumps(FIRST), '{"frame":0,"time_s":"0","heads":[]}', '{"frame":1,"time_s":"x","heads":[]}'], "line 3"),
        ([json.dumps(FIRST), '{"frame":0,"time_s":"0","heads":[{"box":[1,2]}]}'], "line 2"),
        ([json.dumps(FIRST | {"rate": float("inf")})], "no track file"),
        ([json.dumps(FIRST | {"size_px": [float("inf"), 2]})], "no track file"),
        ([json.dumps(FIRST), "[" * 100_000], "line 2: is no frame"),
        ([json.dumps(FIRST), frame_line(roll_deg=float("nan"))], "line 2: .*all numbers finite"),
        ([json.dumps(FIRST | {"rate": "1e99999999"})], "no track file"),
        ([json.dumps(FIRST), '{"frame":0,"time_s":"1e99999999","heads":[]}'], "line 2: .*'1e99999999' is no fraction"),
        ([json.dumps(FIRST), frame_line(side=1e-6)], "line 2: .*sides must be 1 px or more"),
        ([json.dumps(FIRST), frame_line(side=1e9)], "far beyond the film's picture"),
        ([json.dumps(FIRST), frame_line(centre=[0, -1e15])], "far beyond the film's picture"),
        ([json.dumps(FIRST), frame_line(box=[1, 0, 0, 1])], "line 2: .*the wrong way round"),
        ([json.dumps(FIRST), frame_line(box=[0, 1, 1, 0])], "line 2: .*the wrong way round"),
        ([json.dumps(FIRST), "", frame_line(count=2)], "line 3: .*a head is in it twice"),
    ],
)
def test_hostile_track_files(tmp_path: Path, lines: list[str], words: str) -> None:
    path = tmp_path / "t.json"
    path.write_text("\n".join(lines))
    with pytest.raises(SourceError, match=words):
        list(TrackReader(path))


@pytest.mark.parametrize("at", [0, 1, 30, 59])
def test_smoothing_keeps_even_and_curved_motion(at: int) -> None:
    times = np.arange(60) / 30
    curve = np.stack([3 + 40 * times, 100 * times**2], axis=1)
    assert np.allclose(smoothed(times, curve, np.ones(60), at, 0.1), curve[at], atol=0.6 if at in {0, 59} else 0.15)


def test_what_editors_leave_in_a_file_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_bytes("\r\n".join(["\ufeff" + json.dumps(FIRST), "", frame_line(), "", ""]).encode())
    assert [frame.heads[0].side for frame in TrackReader(path)] == [2]


def test_smoothing_takes_out_noise_and_believes_what_weighs_more() -> None:
    times, rng = np.arange(60) / 30, np.random.default_rng(1)
    noisy = rng.normal(0, 1, (60, 1))
    assert np.std([smoothed(times, noisy, np.ones(60), k, 0.1) for k in range(10, 50)]) < 0.5
    values, weights = np.zeros((60, 1)), np.ones(60)
    values[30], weights[30] = 50, 0.01
    assert abs(float(smoothed(times, values, weights, 30, 0.1)[0])) < 1


def test_lean_is_clockwise() -> None:
    points = np.zeros((6, 2))
    points[1] = (10, 10)
    assert roll_deg(points) == pytest.approx(45)


def test_the_command(head_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, plot = tmp_path / "t.json", tmp_path / "t.png"
    assert main(["track", str(head_clip), "--out", str(out), "--plot", str(plot), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["frames"] == told["frames_with_head"] == 30
    assert told["heads"] == {"1": 30}
    with Image.open(plot) as picture:
        assert picture.size == (320, 240)
    steps: list[tuple[int, int]] = []
    plot_track(head_clip, out, plot, lambda done, total: steps.append((done, total)))
    assert steps == [(k, 30) for k in range(1, 31)]


def test_nobody_and_the_same_file(plain_clip: Path, tmp_path: Path) -> None:
    assert main(["track", str(plain_clip), "--out", str(tmp_path / "t.json")]) == 3
    with pytest.raises(UsageError, match="different files"):
        track_file(plain_clip, plain_clip)


def smoothed_track(heads: list[Head], motion: Motion) -> list[TrackedFrame]:
    """One head of a film of 25 frames a second; motion: from each frame to the next."""
    out: list[TrackedFrame] = []
    smoother = Smoother(out.append)
    for index, one in enumerate(heads):
        smoother.take(index, Fraction(index, 25), (one,), {1: motion} if index else {}, cut=False)
    smoother.finish()
    assert [frame.index for frame in out] == list(range(len(heads)))
    return out


def seen_at(x: float, side: float, unseen: int = 0) -> Head:
    half = round(side)
    box = (x - side / 2, 100 - side / 2, x + side / 2, 100 + side / 2)
    points = np.array([[x - side / 4, 90], [x + side / 4, 90], [x, 100], [x, 110], [x, 95], [x, 95]], np.float32)
    return Head(1, box, (round(x) - half, 100 - half, round(x) + half, 100 + half), points, 0.9, unseen)


def test_a_square_grows_with_the_head_that_comes_nearer() -> None:
    sides = [80 * 1.01**k for k in range(100)]
    zoom = np.diag([1.01, 1.01, 1.0])
    zoom[:2, 2] = 100 - 1.01 * 100  # around where the head is
    for frame, side in zip(smoothed_track([seen_at(100, side) for side in sides], zoom), sides, strict=True):
        assert frame.heads[0].side == pytest.approx(2 * side, rel=0.01)


def test_what_nobody_saw_counts_for_little() -> None:
    heads = [seen_at(140 if 20 <= k < 40 else 100, 80, k - 19 if 20 <= k < 40 else 0) for k in range(60)]
    track = smoothed_track(heads, np.eye(3))
    assert max(abs(frame.heads[0].centre[0] - 100) for frame in track) < 5
    assert [frame.heads[0].seen for frame in track] == [not 20 <= k < 40 for k in range(60)]


def test_the_transforms_lead_to_the_square_and_back() -> None:
    one = TrackedHead(1, (80.0, 20.0, 130.0, 70.0), head().landmarks, (110.0, 60.0), 120.0, 0.0, 0.9, True)
    for x, y, u, v in ((110, 60, 0.5, 0.5), (50, 0, 0, 0), (170, 120, 1, 1), (50, 120, 0, 1)):
        assert one.crop_from_frame @ (x, y, 1) == pytest.approx((u, v))
        assert one.frame_from_crop @ (u, v, 1) == pytest.approx((x, y))
