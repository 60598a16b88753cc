"""What a cut remembers survives being put away to the bit: values, and a whole cut taken up again at any frame."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from headstream.matte.refine import MatteOptions
from headstream.pipeline import CutOptions, HeadCutter
from headstream.segment.crops import CropSegmenter
from headstream.shared.state import Packed, load, pack, unpack
from headstream.track.finder import FaceFinder
from headstream.types import Cutout, Frame, UInt8Array
from tests.conftest import moving_portrait

pytestmark = pytest.mark.usefixtures("answers_kept")


@dataclass(frozen=True)
class Thing:
    """A class of one's own."""

    name: str
    inner: Any = None


def back(value: Any, path: Path) -> Any:
    pack(value, [Thing]).save(path)
    return unpack(load(path), [Thing])


class TestValues:
    def test_what_is_not_known_is_refused(self, tmp_path: Path) -> None:
        for value in (object(), {1, 2}, Thing("x"), np.array([object()])):
            with pytest.raises(TypeError, match="cannot be put away"):
                pack(value)
        with pytest.raises(ValueError, match="not a state"):
            unpack(pack(Thing("x"), [Thing]))
        with pytest.raises(ValueError, match="not a state"):
            unpack(Packed({"array": "7"}))
        with pytest.raises(ValueError, match="not a state"):
            unpack(Packed({"fraction": [1, 0]}))

    def test_files_that_are_not_states(self, tmp_path: Path) -> None:
        (tmp_path / "words").write_text("words")
        np.savez(tmp_path / "other.npz", a=np.zeros(3))
        np.save(tmp_path / "pickled.npy", np.array([{}], object), allow_pickle=True)
        for name in ("words", "other.npz", "pickled.npy"):
            with pytest.raises(ValueError, match="not a saved state"):
                load(tmp_path / name)
        with pytest.raises(OSError, match="missing"):
            load(tmp_path / "missing")

    @pytest.mark.parametrize(
        ("whole", "damaged"),
        [
            (rb"(?s)(PK\x01\x02.{6})\0\0", b"\\1c\0"),  # a compression nobody knows
            (rb"\(3,\)", rb"(((,"),
            (rb"\(3,\), } {16}", rb"(30000000000000000,), }"),  # more than any memory
        ],
    )
    def test_damage_is_told_as_such(self, tmp_path: Path, whole: bytes, damaged: bytes) -> None:
        pack([np.zeros(3)]).save(tmp_path / "state.npz")
        data, count = re.subn(whole, damaged, (tmp_path / "state.npz").read_bytes())
        assert count
        (tmp_path / "state.npz").write_bytes(data)
        with pytest.raises(ValueError, match="not a saved state"):
            load(tmp_path / "state.npz")

    def test_want_of_memory_is_no_damage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was cut is not thrown away for it. But a damaged header may ask for more than there is anywhere."""

        def none_left(*args: object, **options: object) -> None:
            raise MemoryError("no memory")

        monkeypatch.setattr(np, "load", none_left)
        pack([np.zeros(3)]).save(tmp_path / "s.npz")
        with pytest.raises(MemoryError):
            load(tmp_path / "s.npz")
        data = (tmp_path / "s.npz").read_bytes()
        (tmp_path / "s.npz").write_bytes(data.replace(b"(3,)", b"(9,)"))
        with pytest.raises(ValueError, match="not a saved state"):
            load(tmp_path / "s.npz")

    def test_everything_comes_back_as_it_was(self, tmp_path: Path) -> None:
        value: dict[Any, Any] = {
            "plain": [None, True, 3, -0.1, float("inf"), "häß", [], {}],
            7: (Fraction(1001, 30000), ((),)),
            ("key", 1): {"tuple": 1, "object": "not one"},
            "things": [Thing("a", Thing("b", np.float64(0.1)))],
        }
        again = back(value, tmp_path / "s.npz")
        assert again == value
        assert type(again["things"][0].inner.inner) is np.float64

    @pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64, np.bool_, np.int64])
    def test_arrays_keep_type_shape_and_bits(self, kind: Any, tmp_path: Path) -> None:
        array = (np.random.default_rng(0).normal(size=(3, 5)) * 100).astype(kind)
        for given in (array, array[:, ::2], array[:0], np.array(array[0, 0])):
            again = back(given, tmp_path / "s.npz")
            assert (again.dtype, again.shape) == (given.dtype, given.shape)
            assert again.tobytes() == np.ascontiguousarray(given).tobytes()

    def test_what_is_put_away_does_not_change_with_the_original(self) -> None:
        value: list[Any] = [np.zeros(3), {"k": [1]}]
        put = pack(value)
        value[0] += 1
        assert (unpack(put)[0] == 0).all()


def eventful(portrait: UInt8Array) -> list[UInt8Array]:
    """One person moves, leaves, comes back; then another shot, with somebody else beside them."""
    moving = moving_portrait(portrait, 14)
    empty = moving[7].copy()
    empty[:150, 40:190] = 110  # the body stays: it is the same shot
    other = cv2.resize(portrait[:400], (190, 150), interpolation=cv2.INTER_AREA)[:, ::-1]
    other = np.clip(other.astype(int) * (0.6, 0.75, 1.0), 0, 255).astype(np.uint8)
    both = []
    for k in range(10):
        frame = np.ascontiguousarray(cv2.resize(moving[k][:, :220], (160, 175), interpolation=cv2.INTER_AREA))
        shot: UInt8Array = np.full((240, 320, 3), 30, np.uint8)
        shot[20 + k : 195 + k, :160] = frame
        shot[60:210, 130 + 2 * k : 320] = other[:, : 190 - 2 * k]
        both.append(shot)
    return [*moving[:8], *[empty] * 14, *moving[8:], *both]


@pytest.mark.parametrize(
    "options",
    [CutOptions(), CutOptions(heads="all", matte=MatteOptions(hair_color=(138, 43, 226)))],
    ids=["largest", "all-tinted"],
)
def test_a_cut_taken_up_again_is_the_same_to_the_bit(
    options: CutOptions, portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder, tmp_path: Path
) -> None:
    frames = [Frame(rgb, index=k, pts=Fraction(k, 25)) for k, rgb in enumerate(eventful(portrait))]
    cutter = HeadCutter(segmenter, finder, options)
    whole: list[Cutout] = []
    cuts: list[bool] = []
    for frame in frames:
        cutter.snapshot().save(tmp_path / f"{frame.index}.npz")
        whole.append(cutter.cut(frame))
        cuts.append(cutter.cut_before)
    assert {len(c.heads) for c in whole} >= {0, 1}
    assert cuts.count(True) == 1  # the second shot
    for border in (0, 3, 9, 21, 23, 28, 30):
        resumed = HeadCutter(segmenter, finder, options)
        resumed.restore(load(tmp_path / f"{border}.npz"))
        for frame in frames[border:]:
            cutout, before = resumed.cut(frame), whole[frame.index]
            assert [h.track_id for h in cutout.heads] == [h.track_id for h in before.heads]
            assert cutout.region_px == before.region_px
            assert (cutout.region_alpha == before.region_alpha).all()
            assert (cutout.rgba() == before.rgba()).all()
            assert all(
                (a.box_px, a.crop_px) == (b.box_px, b.crop_px) for a, b in zip(cutout.heads, before.heads, strict=True)
            )
            assert resumed.cut_before == cuts[frame.index]
        assert resumed.people
        resumed.restore(load(tmp_path / f"{border}.npz"))
        assert resumed.people == ()


def test_what_is_no_snapshot_is_refused(segmenter: CropSegmenter, finder: FaceFinder) -> None:
    with pytest.raises(ValueError, match="state|unpack"):
        HeadCutter(segmenter, finder).restore(pack((1, 2)))
