"""Films whose frames are not all alike: in the shape and the colours of the first."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from headstream.capture.file import FileSource
from headstream.shared.colour import planes_from_rgb
from headstream.types import Colour, Frame, UInt8Array
from tests.media import pattern, write_video


@pytest.mark.parametrize("colours", [[(1, 1, 1, 1), (1, 2, 1, 1)], [(1, 2, 1, 1), (6, 1, 6, 6)]])
def test_another_coding_of_colours_on_the_way_changes_none(tmp_path: Path, colours: list[tuple[int, ...]]) -> None:
    pictures = [pattern(96, 64, index) for index in range(10)]
    path = tmp_path / "s.ts"
    parts = [write_video(tmp_path / f"{k}.ts", pictures, colour=c, pts=[40 * (10 * k + n) for n in range(10)])  # type: ignore[arg-type]
             for k, c in enumerate(colours)]  # fmt: skip
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with FileSource(path) as source:
        got = list(source)
        assert any("coding of colours" in warning for warning in source.warnings)
    assert len(got) == 20
    assert len({frame.planes.colour.full_range for frame in got if frame.planes is not None}) == 1
    for frame, picture in zip(got, pictures * 2, strict=True):
        assert np.abs(frame.rgb.astype(int) - picture).mean() < 12


def test_sizes_that_tell_how_colours_are_coded(tmp_path: Path) -> None:
    """Where no tag tells, a small picture is taken for BT.601 and a large one for BT.709, also when it is scaled to the small."""
    parts = []
    for k, (width, height) in enumerate(((320, 240), (1280, 720))):
        green: UInt8Array = np.full((height, width, 3), (20, 200, 40), np.uint8)
        parts.append(write_video(tmp_path / f"{k}.ts", [green] * 5, pts=[40 * (5 * k + n) for n in range(5)]))
    path = tmp_path / "s.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    seen = []
    for film in (*parts, path):
        with FileSource(film) as source:
            seen.append([frame.rgb[100, 100].astype(int) for frame in source])
    small, large, joined = seen
    assert np.abs(small[0] - large[0]).max() > 8
    assert np.abs(np.array(joined) - (small + large)).max() < 5


@pytest.mark.parametrize(
    ("size_px", "pixels", "shown"),
    [
        ((160, 120), None, None),  # scaled
        ((160, 90), None, (30, 0)),
        ((60, 160), None, (0, 115)),
        ((80, 120), Fraction(2), None),
        ((160, 120), Fraction(1, 2), (0, 80)),
        ((320, 240), Fraction(4, 3), None),  # told
    ],
)
@pytest.mark.parametrize("degrees", [0, 90])
def test_a_later_part_of_another_shape_is_not_stretched(
    tmp_path: Path, size_px: tuple[int, int], pixels: Fraction | None, shown: tuple[int, int] | None, degrees: int
) -> None:
    """shown: the rows above it, the columns left of it that are black, before it is turned."""
    parts = []
    for k, ((width, height), aspect) in enumerate((((320, 240), None), (size_px, pixels))):
        parts.append(tmp_path / f"{k}.ts")
        with av.open(str(parts[-1]), "w") as container:
            stream = container.add_stream("libx264", rate=25, width=width, height=height, options={"bf": "0"})
            stream.pix_fmt = "yuv420p"
            stream.codec_context.sample_aspect_ratio = aspect or Fraction(1)
            container.start_encoding()
            turning = av.BitStreamFilterContext(f"h264_metadata=display_orientation=insert:rotate={degrees}", stream)
            packets: list[Any] = []
            for index in range(5):
                frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 255, np.uint8), format="rgb24")
                frame.pts, frame.time_base = 5 * k + index, Fraction(1, 25)
                packets += stream.encode(frame)
            for packet in packets + stream.encode(None):
                container.mux(turning.filter(packet))
    (tmp_path / "s.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    with FileSource(tmp_path / "s.ts") as source:
        got = list(source)
        (warning,) = source.warnings
    assert ("fitted in" in warning) == (shown is not None)
    assert ("same size" in warning) == (size_px == (320, 240))
    assert {frame.size_px for frame in got} == {(240, 320) if degrees else (320, 240)}
    white = np.rot90(got[-1].rgb.min(axis=2) > 200, degrees // 90)
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    above, left = shown or (0, 0)
    assert (rows[0], rows[-1], columns[0], columns[-1]) == pytest.approx((above, 239 - above, left, 319 - left), abs=3)
    assert white[rows[0] + 3 : rows[-1] - 2, columns[0] + 3 : columns[-1] - 2].all()


def test_a_frame_turned_into_the_first_colours_keeps_its_alpha_and_its_length(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mkv", [pattern(64, 48, 0)], codec="ffv1")
    other = planes_from_rgb(pattern(64, 48, 0), Colour("bt709", full_range=True), sub=(2, 2))
    alpha: UInt8Array = np.full((48, 64), 90, np.uint8)
    frame = Frame(planes=replace(other, alpha=alpha), index=7, pts=Fraction(1, 3), duration_s=Fraction(1, 50))
    with FileSource(tmp_path / "a.mkv") as source:
        got = source._uniform._in_first_colours(frame, other.colour)
    assert got.planes is not None
    assert got.planes.colour.matrix == "bt601"
    assert np.array_equal(got.planes.alpha, alpha)  # type: ignore[arg-type]
    assert (got.index, got.pts, got.duration_s) == (7, frame.pts, frame.duration_s)
