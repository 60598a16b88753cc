"""``cut_image`` and ``cut_video``: their words, what they keep between calls, and a network of one's own."""

from __future__ import annotations

import io
import itertools
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstream
from headstream import kept
from headstream.cli import main
from headstream.errors import ModelError, SourceError, UsageError
from headstream.segment.crops import CropSegmenter
from headstream.segment.registry import find_model
from headstream.sinks.memory import CountingSink
from headstream.types import Float32Array, Part, UInt8Array


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is loaded, from nothing kept; the real thing."""
    made: list[str] = []
    network, finder = kept.load_segmenter, kept.FaceFinder

    def load(name: str, **options: Any) -> CropSegmenter:
        made.append(name)
        return network(name, **options)

    def find(models: Path) -> Any:
        made.append("finder")
        return finder(models)

    monkeypatch.setattr(kept, "load_segmenter", load)
    monkeypatch.setattr(kept, "FaceFinder", find)
    monkeypatch.setattr(kept, "_here", kept._Kept())
    yield made
    kept._here.close()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The shipped network as a file of one's own."""
    card = find_model("lite")
    shutil.copy(card.file, tmp_path / "lite.onnx")
    shutil.copy(card.file.with_suffix(".json"), tmp_path / "lite.json")
    return tmp_path / "lite.onnx"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"part": "hiar"}, "part is 'hiar'; expected one of head, hair, face"),
        ({"part": "nose"}, "model .* knows head, hair, not 'nose'"),
        ({"heads": "larget"}, "heads is 'larget'; expected 'largest', 'all' or"),
        ({"heads": 0}, "heads is 0"),
        ({"heads": -1}, "heads is -1"),
        ({"heads": True}, "heads is True"),
        ({"heads": 1.5}, "heads is 1.5"),
        ({"heads": np.array([1, 2])}, "heads is array"),
        ({"hair_color": "purple"}, "hair_color purple: a colour is written '#rrggbb'"),
        ({"hair_color": (1, 2, 3)}, r"hair_color \(1, 2, 3\): a colour is written"),
        ({"model": 5}, "a name, a path or a segmenter, got int"),
        ({"model": "x" * 300}, "cannot be looked for: |is not known"),
        ({"model": "~nobody-of-that-name/x"}, "nothing can have such a name"),
        ({"device": []}, r"device is \[\]; expected a word"),
    ],
)
def test_words_that_are_not_known(words: dict[str, Any], told: str, portrait: UInt8Array, head_clip: Path) -> None:
    with pytest.raises(UsageError, match=told):
        headstream.cut_image(portrait, **words)
    with pytest.raises(UsageError, match=told):
        next(headstream.cut_video(head_clip, **words))


def test_hair_of_another_colour(portrait: UInt8Array, head_clip: Path, tmp_path: Path) -> None:
    """As the command line gives it, in photos and films."""
    Image.fromarray(portrait).save(tmp_path / "me.png")
    asked = ["image", str(tmp_path / "me.png"), "--out", str(tmp_path / "o.png"), "--hair-color", "#8a2be2"]
    assert main(asked) == 0
    (dyed,) = headstream.cut_image(portrait, hair_color="#8a2be2")
    with Image.open(tmp_path / "o.png") as written:
        assert np.array_equal(np.asarray(written), dyed.rgba())
    plain, purple = (next(headstream.cut_video(head_clip, hair_color=colour)) for colour in (None, "#8a2be2"))
    assert np.array_equal(plain.alpha, purple.alpha)
    other = (plain.rgba() != purple.rgba()).any(axis=2) & (plain.alpha == 255)
    assert 0.05 < other.sum() / (plain.alpha == 255).sum() < 0.95
    frame = headstream.Frame(plain.frame.rgb)
    assert not np.array_equal(
        headstream.head_cutter(hair_color="#8a2be2").cut(frame).rgba(), headstream.head_cutter().cut(frame).rgba()
    )
    with pytest.raises(UsageError, match="leave out hq or hair_color"):
        headstream.cut_image(portrait, hair_color="#8a2be2", hq=True)


def test_a_loan_may_end_while_a_network_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a forgotten ``cut_video`` is collected as garbage meanwhile, by the thread that loads."""
    here = kept._Kept()
    loan = here.finder()
    loan.__enter__()
    monkeypatch.setattr(kept, "load_segmenter", lambda *args, **options: loan.__exit__(None, None, None))
    loading = threading.Thread(target=lambda: here.network("lite", "cpu", fast=False), daemon=True)
    loading.start()
    loading.join(timeout=20)
    assert not loading.is_alive()
    here.close()


def test_a_video_is_refused_when_asked_for_not_when_begun() -> None:
    with pytest.raises(UsageError, match="heads is 'larget'"):
        headstream.cut_video("missing.mp4", heads="larget")  # type: ignore[arg-type]


def test_a_segmenter_and_a_sink_are_known_as_such() -> None:
    """As a source is."""
    assert isinstance(headstream.load_segmenter("tiny"), headstream.Segmenter)
    assert isinstance(CountingSink(), headstream.Sink)
    assert not isinstance(CountingSink(), headstream.Segmenter)


def test_a_head_by_number(portrait: UInt8Array) -> None:
    assert len(headstream.cut_image(portrait, heads=1)) == 1
    assert len(headstream.cut_image(portrait, heads=np.int64(1))) == 1
    assert headstream.cut_image(portrait, heads=2) == []


def test_cut_outs_are_compared_kept_in_sets_and_shown(portrait: UInt8Array, head_clip: Path) -> None:
    for cut in (
        lambda: headstream.cut_image(portrait)[0],
        lambda: next(headstream.cut_video(head_clip)),
    ):
        one, other = cut(), cut()
        assert one == one
        assert one != other
        assert one in [other, one]
        assert one.heads[0] != other.heads[0]
        assert len({one, other, one}) == 2
        assert len({one.heads[0], other.heads[0]}) == 2
        assert "array" not in repr((one, one.frame.planes))


@pytest.mark.parametrize("name", ["a\0b.png", "https://example.com/a.png"])
def test_names_no_file_can_have(name: str) -> None:
    with pytest.raises(SourceError, match="no file can have such a name|nothing is downloaded here"):
        headstream.cut_image(name)
    with pytest.raises(SourceError, match="no file can have such a name|nothing is downloaded here"):
        next(headstream.cut_video(name))


@pytest.mark.parametrize("shape", [(0, 0, 3), (0, 7, 3), (7, 0, 4)])
def test_pictures_without_a_pixel(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="at least one pixel"):
        headstream.cut_image(np.zeros(shape, np.uint8))
    with pytest.raises(UsageError, match="at least one pixel"):
        headstream.cut_image(Image.new("RGB", (shape[1], shape[0])))


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 5000, 3), (5000, 1, 4)])
def test_pictures_too_small_for_a_head_hold_none(shape: tuple[int, ...]) -> None:
    assert headstream.cut_image(np.zeros(shape, np.uint8)) == []


def test_what_is_no_path(head_clip: Path, portrait: UInt8Array, tmp_path: Path) -> None:
    class Named:
        def __init__(self, path: Path) -> None:
            self.path = path

        def __fspath__(self) -> str:
            return str(self.path)

    for wrong in (None, 3, b"talk.mp4", [head_clip], portrait):
        with pytest.raises(UsageError, match=f"a video is a path, got {type(wrong).__name__}"):
            headstream.cut_video(wrong)  # type: ignore[arg-type]
    assert next(headstream.cut_video(Named(head_clip))).heads
    Image.fromarray(portrait).save(tmp_path / "p.png")
    assert len(headstream.cut_image(Named(tmp_path / "p.png"))) == 1


class TestKept:
    def test_the_second_call_loads_nothing(self, loads: list[str], portrait: UInt8Array, head_clip: Path) -> None:
        first, second = headstream.cut_image(portrait), headstream.cut_image(portrait)
        assert loads == ["default", "finder"]
        assert np.array_equal(first[0].alpha, second[0].alpha)
        for _ in range(2):
            assert len(list(headstream.cut_video(head_clip))) == 30
        assert loads == ["default", "finder", "default"]  # for films, the weights in 8 bits

    def test_a_file_that_changes_is_loaded_again(self, loads: list[str], portrait: UInt8Array, copy: Path) -> None:
        for _ in range(2):
            headstream.cut_image(portrait, model=copy)
        assert loads.count(str(copy)) == 1
        card = copy.with_suffix(".json")
        card.write_text(card.read_text() + "\n")
        headstream.cut_image(portrait, model=str(copy))
        assert loads.count(str(copy)) == 2
        copy.unlink()
        with pytest.raises(UsageError, match="no such file"):
            headstream.cut_image(portrait, model=copy)

    def test_no_more_than_two_networks_stay(self, loads: list[str], portrait: UInt8Array, copy: Path) -> None:
        for model in ("default", "lite", str(copy)):
            headstream.cut_image(portrait, model=model)
        assert len(kept._here._networks) == 2
        headstream.cut_image(portrait)
        assert loads.count("default") == 2

    def test_threads_get_a_finder_each_and_all_stay(self, loads: list[str], portrait: UInt8Array) -> None:
        (expected,) = headstream.cut_image(portrait)
        together = threading.Barrier(3)
        wrong: list[Any] = []

        def work() -> None:
            with kept.finder():
                together.wait(60)  # all three are lent at once
            for _ in range(3):
                (found,) = headstream.cut_image(portrait)
                if not np.array_equal(found.alpha, expected.alpha):
                    wrong.append(found)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert loads.count("default") == 1
        assert loads.count("finder") == 3
        assert len(kept._here._idle) == 3

    @pytest.mark.skipif(sys.platform == "win32", reason="forks")
    @pytest.mark.parametrize("model", ["'default'", "headstream.load_segmenter()"])
    def test_a_forked_process_loads_its_own_and_ends(self, model: str) -> None:
        code = f"""
import os, signal, sys, threading, headstream
from headstream.demo import PORTRAIT
def cut(model):
    assert len(headstream.cut_image(PORTRAIT, model=model)) == 1
model = {model}
thread = threading.Thread(target=cut, args=(model,))
thread.start()
thread.join()
child = os.fork()
if not child:
    signal.alarm(60)
    cut("default")
    sys.exit(0)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


class TestOnesOwnSegmenter:
    def test_a_loaded_one(
        self, loads: list[str], segmenter: CropSegmenter, portrait: UInt8Array, head_clip: Path
    ) -> None:
        (cutout,) = headstream.cut_image(portrait, model=segmenter)
        assert np.array_equal(cutout.alpha, headstream.cut_image(portrait)[0].alpha)
        assert next(headstream.cut_video(head_clip, model=segmenter)).heads
        assert loads.count("default") == 1
        headstream.cut_image(portrait, model=segmenter, device=segmenter.device)
        with pytest.raises(UsageError, match="device is 'cuda', but the segmenter was loaded before"):
            headstream.cut_image(portrait, model=segmenter, device="cuda")

    def test_nothing_but_predict(self, segmenter: CropSegmenter, portrait: UInt8Array, head_clip: Path) -> None:
        class Mine:
            def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
                return segmenter.predict(rgb, part)

        (cutout,) = headstream.cut_image(portrait, model=Mine())
        assert cutout.alpha[100:160, 200:260].mean() > 250
        assert next(headstream.cut_video(head_clip, model=Mine())).heads

    @pytest.mark.parametrize(
        ("name", "wrong"), [("side", 0), ("side", 1.5), ("side", None), ("side", 8), ("parts", 0), ("parts", "head")]
    )
    def test_what_it_says_of_itself_is_checked(self, portrait: UInt8Array, name: str, wrong: object) -> None:
        class Mine:
            def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
                raise AssertionError

        setattr(Mine, name, wrong)
        with pytest.raises(UsageError, match=f"the segmenter's {name}"):
            headstream.cut_image(portrait, model=Mine())
        with pytest.raises(UsageError, match=f"the segmenter's {name}"):
            headstream.head_cutter(model=Mine())

    @pytest.mark.parametrize(
        ("answer", "told"),
        [
            (lambda alpha: alpha * np.float32(255), "answers 0 to 255; expected alpha, 0 to 1"),
            (lambda alpha: np.where(alpha > 0.5, np.nan, alpha), "answers nan to nan"),
            (lambda alpha: alpha[:, None], r"answers \(\d, 1, 256, 256\) to \d crops"),
            (lambda alpha: list(alpha), "answers list to"),
            (lambda alpha: alpha.astype(str), "answers <U32; expected an array of numbers"),
            (lambda alpha: alpha.astype(object), "answers object; expected"),
            (lambda alpha: alpha.astype(complex), "answers complex128; expected"),
        ],
    )
    def test_what_is_no_alpha_is_told(
        self, segmenter: CropSegmenter, portrait: UInt8Array, answer: Callable[[Any], Any], told: str
    ) -> None:
        class Mine:
            def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
                wrong: Float32Array = answer(segmenter.predict(rgb, part))
                return wrong

        with pytest.raises(ModelError, match=f"Mine.predict {told}"):
            headstream.cut_image(portrait, model=Mine())

    def test_one_buffer_for_all_answers_and_answers_that_are_read_only(
        self, segmenter: CropSegmenter, head_clip: Path
    ) -> None:
        class Mine:
            buffer = np.zeros((4, 256, 256), np.float32)

            def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
                self.buffer.flags.writeable = True
                self.buffer[: len(rgb)] = segmenter.predict(rgb, part)
                self.buffer.flags.writeable = False
                return self.buffer[: len(rgb)]

        mine, expected = headstream.cut_video(head_clip, model=Mine()), headstream.cut_video(head_clip, model=segmenter)
        for one, other in itertools.islice(zip(mine, expected, strict=True), 4):
            assert np.array_equal(one.alpha, other.alpha)

    def test_numpys_own_floats_will_do(self, segmenter: CropSegmenter, portrait: UInt8Array) -> None:
        class Mine:
            def predict(self, rgb: UInt8Array, part: Part = "head") -> Any:
                return segmenter.predict(rgb, part).astype(np.float64)

        (cutout,) = headstream.cut_image(portrait, model=Mine())
        assert np.array_equal(cutout.alpha, headstream.cut_image(portrait, model=segmenter)[0].alpha)


class TestPictures:
    def test_grey_arrays_bytes_and_files(self, portrait: UInt8Array) -> None:
        grey = portrait.mean(axis=2).astype(np.uint8)
        written = io.BytesIO()
        Image.fromarray(portrait).save(written, "PNG")
        (expected,) = headstream.cut_image(portrait)
        for picture in (written.getvalue(), io.BytesIO(written.getvalue()), bytearray(written.getvalue())):
            assert np.array_equal(headstream.cut_image(picture)[0].alpha, expected.alpha)
        (flat,) = headstream.cut_image(grey)
        assert np.array_equal(flat.alpha, headstream.cut_image(grey[..., None])[0].alpha)
        assert flat.alpha[100:160, 200:260].mean() > 250

    def test_a_damaged_upload_is_a_source_error(self, portrait: UInt8Array) -> None:
        written = io.BytesIO()
        Image.fromarray(portrait).save(written, "JPEG")
        half = written.getvalue()[: len(written.getvalue()) // 2]
        for picture in (half, io.BytesIO(half), Image.open(io.BytesIO(half))):
            with pytest.raises(SourceError, match="cannot be read"):
                headstream.cut_image(picture)
        for upload in (b"not a picture", b"", memoryview(b"not a picture")[::2]):
            with pytest.raises(SourceError, match=r"^not a photo headstream can read \(JPEG, [^<]*$"):
                headstream.cut_image(upload)
        with pytest.raises(UsageError, match="one open as text"):
            headstream.cut_image(io.StringIO("root:x:0:0"))
        with pytest.raises(SourceError, match="200 megapixels"):
            headstream.cut_image(Image.new("1", (20_000, 10_000)))
        with pytest.raises(UsageError, match="255 \\* x"):
            headstream.cut_image(portrait / 255)


class TestFramesOfOnesOwn:
    def test_as_cut_video_does(self, head_clip: Path) -> None:
        cutter = headstream.head_cutter()
        for expected in itertools.islice(headstream.cut_video(head_clip), 6):
            cutout = cutter.cut(headstream.Frame(planes=expected.frame.planes, pts=expected.frame.pts))
            assert np.array_equal(cutout.alpha, expected.alpha)

    def test_an_array_is_no_frame(self, portrait: UInt8Array) -> None:
        with pytest.raises(UsageError, match=r"got ndarray; wrap it: headstream.Frame\(array, pts=seconds\)"):
            headstream.head_cutter().cut(portrait)  # type: ignore[arg-type]

    def test_its_words_are_checked(self) -> None:
        with pytest.raises(UsageError, match="heads is 'larget'"):
            headstream.head_cutter(heads="larget")  # type: ignore[arg-type]


@pytest.mark.parametrize("end", ["", "raise SystemExit(0)", "raise RuntimeError('mine')"])
def test_a_program_may_end_with_a_film_half_cut(head_clip: Path, end: str) -> None:
    code = f"import headstream\nframes = headstream.cut_video({str(head_clip)!r})\nassert next(frames).heads\n{end}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == (1 if "mine" in end else 0), done.stderr
    assert ("RuntimeError: mine" in done.stderr) == ("mine" in end)
    assert "FATAL" not in done.stderr


def test_ctrl_c_while_the_detector_is_loaded_leaves_it_loadable() -> None:
    code = """
import importlib.abc, sys, headstream
from headstream.demo import PORTRAIT

class Interrupts(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "mediapipe.tasks":
            sys.meta_path.remove(self)
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupts())
try:
    headstream.cut_image(PORTRAIT)
except KeyboardInterrupt:
    assert len(headstream.cut_image(PORTRAIT)) == 1
else:
    raise SystemExit("was not interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
