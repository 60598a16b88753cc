"""What an HDR film tells of the screen it was made on comes along, read back by FFmpeg."""

from __future__ import annotations

import json
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from headstream.capture.display import mastering_of
from headstream.capture.file import FileSource
from headstream.films.outputs import clip_of
from headstream.shared.mastering import Mastering
from headstream.sinks.behind import FixedPicture
from headstream.sinks.formats import film_format, output_format
from headstream.sinks.video import VideoSink, What
from headstream.types import Cutout
from tests.media import needs_ffmpeg, tone

P3 = (Fraction(34000), 16000), (13250, 34500), (7500, 3000), (15635, 16450)
PRIMARIES: Any = tuple(tuple(Fraction(value, 50000) for value in point) for point in P3)
ALL = Mastering(PRIMARIES, (Fraction(1, 10000), Fraction(1000)), (1000, 400))
ASKED = {
    "display": "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)",
    "light": "max-cll=1000,400",
}


def hdr_film(path: Path, *asked: str, transfer: str = "smpte2084", more: bool = False) -> Path:
    """H.265 of 10 bits, 12 frames, that tells what it was made on. more: sound, chapters, tags and a large attachment."""
    params = ["log-level=none", "hdr-opt=1", "repeat-headers=1", "colorprim=bt2020", "colormatrix=bt2020nc"]
    params += [f"transfer={transfer}", *(ASKED[name] for name in asked)]
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx265", rate=25, options={"preset": "ultrafast", "x265-params": ":".join(params)})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        if more:
            audio = film.add_stream("aac", rate=48000, layout="mono")
            film.add_attachment("a.ttf", "application/x-truetype-font", bytes(3_000_000))
            film.metadata["title"], film.metadata["comment"] = "a film", "and what is said of it " * 30
            film.set_chapters(
                [{"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": {"title": "one"}}]
            )
        for k in range(12):
            frame = av.VideoFrame(64, 48, "yuv420p10le")
            for plane in frame.planes:
                plane.update(np.full(plane.buffer_size // 2, 400 + 20 * k, np.uint16).tobytes())
            frame.pts, frame.time_base = k, Fraction(1, 25)
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
        if more:
            film.mux([packet for piece in tone(0.48) for packet in audio.encode(piece)])
            film.mux(audio.encode(None))
    return path


def cut(film: Path, out: Path, what: What = "cutout", codec: str | None = None) -> VideoSink:
    """An output of every frame, all of it shown."""
    opaque = out.suffix == ".mp4" or codec == "h264"
    kind = film_format(out) if what == "film" else output_format(out, transparent=not opaque, codec=codec)
    behind = FixedPicture(np.zeros((1, 1, 3), np.uint8)) if opaque else None
    with FileSource(film) as source, VideoSink(out, kind, clip_of(source), background=behind, what=what) as sink:
        for frame in source:
            sink.write(Cutout(frame, (), (0, 0, 64, 48), np.full((48, 64), 255, np.uint8)))
    return sink


def told_in(path: Path) -> Mastering | None:
    """By the decoder's first picture; in steps of the units that files have."""
    with av.open(str(path)) as film:
        told = mastering_of(next(film.decode(video=0)))
    if told is None:
        return None
    points = told.primaries and tuple(
        tuple(Fraction(round(v * 50000), 50000) for v in point) for point in told.primaries
    )
    luminance = told.luminance and tuple(Fraction(round(v * 10000), 10000) for v in told.luminance)
    return Mastering(points, luminance, told.light)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["o.mov", "o.mkv", "o.webm"])
@pytest.mark.parametrize("more", [False, True])
def test_what_an_hdr_film_was_made_on_comes_along(tmp_path: Path, name: str, more: bool) -> None:
    film = hdr_film(tmp_path / ("a.mkv" if more else "a.mp4"), "display", "light", more=more)
    with FileSource(film) as source:
        assert source.mastering == ALL
    sink = cut(film, tmp_path / name)
    assert told_in(tmp_path / name) == ALL
    assert not [note for note in sink.notes if "HDR" in note]
    with av.open(str(tmp_path / name)) as made:
        assert not [key for key in made.metadata if "SPARE" in key.upper()]
        if name.endswith("mkv") or name.endswith("webm"):
            assert b"\x73\x73\x83\x63\xc0\x80" not in (tmp_path / name).read_bytes()  # a Tag with nothing in it
        assert [stream.type for stream in made.streams][:2] == (["video", "audio"] if more else ["video"])
        if more:
            assert made.metadata.get("title", made.metadata.get("TITLE")) == "a film"
            assert len(made.chapters()) == 1
        made.seek(400_000)
        assert float(next(made.decode(video=0)).time or 0) <= 0.4
        made.seek(0)
        assert len([frame for frame in made.decode(video=0)]) == 12


@pytest.mark.parametrize("name", ["o.mov", "o.mkv"])
@pytest.mark.parametrize("only", ["display", "light"])
def test_a_part_of_it_is_that_part(tmp_path: Path, name: str, only: str) -> None:
    film = hdr_film(tmp_path / "a.mp4", only, transfer="arib-std-b67")
    cut(film, tmp_path / name)
    expected = Mastering(ALL.primaries, ALL.luminance) if only == "display" else Mastering(light=ALL.light)
    assert told_in(tmp_path / name) == expected


@pytest.mark.parametrize("name", ["o.mov", "o.mkv"])
def test_a_whole_film_has_it_a_matte_and_a_standard_film_have_not(tmp_path: Path, name: str) -> None:
    film = hdr_film(tmp_path / "a.mp4", "display", "light")
    cut(film, tmp_path / name, "film")
    assert told_in(tmp_path / name) == ALL
    cut(film, tmp_path / f"matte_{name}", "matte")
    assert told_in(tmp_path / f"matte_{name}") is None
    standard = hdr_film(tmp_path / "b.mp4", "display", "light", transfer="bt709")
    cut(standard, tmp_path / f"b_{name}")
    assert told_in(tmp_path / f"b_{name}") is None


@pytest.mark.parametrize("name", ["o.mov", "o.mkv"])
def test_it_does_not_depend_on_the_codec(tmp_path: Path, name: str) -> None:
    sink = cut(hdr_film(tmp_path / "a.mp4", "display", "light"), tmp_path / name, codec="h264")
    assert not sink.notes
    assert told_in(tmp_path / name) == ALL


def test_where_it_cannot_be_told_that_is_told(tmp_path: Path) -> None:
    sink = cut(hdr_film(tmp_path / "a.mp4", "light"), tmp_path / "o.mp4")
    assert sink.notes == ["HDR: what screen the film was made on (mastering metadata) is not told in .mp4"]


@pytest.mark.parametrize("name", ["o.mov", "o.mkv", "o.webm"])
def test_other_programs_read_the_file(tmp_path: Path, name: str) -> None:
    needs_ffmpeg()
    cut(hdr_film(tmp_path / "a.mkv", "display", "light", more=True), tmp_path / name)
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(tmp_path / name)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    kinds = {told["side_data_type"] for told in json.loads(shown.stdout)["streams"][0]["side_data_list"]}
    assert {"Mastering display metadata", "Content light level metadata"} <= kinds
    assert not shown.stderr
    played = ["ffmpeg", "-v", "error", "-xerror", "-i", str(tmp_path / name), "-map", "0:v", "-f", "null", "-"]
    assert not subprocess.run(played, capture_output=True, text=True, check=True).stderr


class Told:
    """One piece of a picture's side data."""

    def __init__(self, name: str, data: bytes) -> None:
        self.type, self._data = type("Kind", (), {"name": name}), data

    def __bytes__(self) -> bytes:
        return self._data


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("MASTERING_DISPLAY_METADATA", [0] * 22),
        ("MASTERING_DISPLAY_METADATA", [1, 0] * 10 + [1, 1]),
        ("MASTERING_DISPLAY_METADATA", [-1, 2] * 8 + [5, 1, 3, 1] + [1, 1]),
        ("MASTERING_DISPLAY_METADATA", [9, 2] * 8 + [0, 1, 99_999, 1] + [1, 1]),
        ("MASTERING_DISPLAY_METADATA", [1, 2]),
        ("CONTENT_LIGHT_LEVEL", [0, 0]),
        ("CONTENT_LIGHT_LEVEL", [70_000, 400]),
        ("CONTENT_LIGHT_LEVEL", [1]),
        ("A53_CC", [1, 2, 3]),
    ],
)
def test_nonsense_is_told_to_nobody(name: str, values: list[int]) -> None:
    picture = type("Picture", (), {"side_data": [Told(name, np.array(values, np.int32).tobytes())]})
    assert mastering_of(picture) is None
