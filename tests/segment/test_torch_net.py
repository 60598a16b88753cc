"""The torch back-end's own ways on a device, on the device that is here: crops, recordings, batches."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from headstream.capture.photo import read_photo
from headstream.demo import PORTRAIT
from headstream.errors import ModelError
from headstream.films.foresight import BatchCutter, file_cutter
from headstream.nets.formats import Network
from headstream.nets.zoo import NetSpec, build
from headstream.segment.device_crops import DeviceCrops, plan, scaling
from headstream.segment.recorded import Net, Play, RecordedNet
from headstream.segment.torch_net import TorchSegmenter
from headstream.shared.colour import crop_resized, planes_from_rgb
from headstream.stream import cut_stream
from headstream.track.finder import FaceFinder
from headstream.types import Colour, Planes, UInt8Array
from tests.conftest import moving_portrait
from tests.test_pipeline import ListSource

HERE = torch.device("cpu")


@pytest.fixture(scope="module")
def photo() -> UInt8Array:
    return cv2.resize(read_photo(PORTRAIT).rgb, (900, 700), interpolation=cv2.INTER_AREA)


class Bright(torch.nn.Module):
    """What is bright, or green, is head: an answer that depends on all of the crop's colours."""

    def forward(self, x: Any) -> Any:
        green = x.mean(1, keepdim=True) + 0.3 * x[:, 1:2]
        return torch.cat([8 * green + 6, -8 * green - 6, -8 * green - 6], dim=1)


class TestPlan:
    def test_halvings_come_first_and_make_chroma_square(self) -> None:
        assert plan(512, 512, 256) == (2, 2, False)
        assert plan(640, 640, 256) == (2, 2, False)
        assert plan(1000, 1000, 256) == (2, 2, True)
        assert plan(1024, 512, 256) == (4, 2, False)  # 4:2:2
        assert plan(256, 512, 128) == (2, 4, False)  # 4:4:0
        assert plan(450, 225, 256) == (1, 1, False)  # what grows on one side cannot be averaged by area
        assert plan(450, 450, 256) == (1, 1, True)


class TestScaling:
    @pytest.mark.parametrize("length", [31, 40, 64, 100, 105, 300])
    @pytest.mark.parametrize("block", [1, 2, 4])
    @pytest.mark.parametrize("area", [False, True])
    def test_weights_of_a_pixel_sum_to_one(self, length: int, block: int, area: bool) -> None:
        weights = scaling(length * block, 64, block, area)
        assert weights.shape == (64, length * block)
        assert weights.min() >= 0
        assert weights.sum(axis=1) == pytest.approx(np.ones(64), abs=1e-5)

    def test_by_hand(self) -> None:
        assert scaling(4, 4, 1, False).tolist() == np.eye(4).tolist()
        assert scaling(4, 2, 2, False).tolist() == [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]
        assert scaling(2, 4, 1, False).tolist() == [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
        assert scaling(5, 2, 1, True) == pytest.approx(np.array([[0.4, 0.4, 0.2, 0, 0], [0, 0, 0.2, 0.4, 0.4]]))


class TestDeviceCrops:
    @pytest.mark.parametrize("sub", [(1, 1), (2, 1), (1, 2), (2, 2), None])
    @pytest.mark.parametrize("bits", [8, 10])
    @pytest.mark.parametrize("side", [100, 256, 300, 420, 450, 512, 514, 640, 1024])
    def test_are_those_of_the_cpu(self, photo: UInt8Array, sub: tuple[int, int] | None, bits: int, side: int) -> None:
        picture: Planes | UInt8Array = photo
        if sub is not None:
            picture = planes_from_rgb(photo, Colour("bt709"), bits=bits, sub=sub)
        region = (150, -50, 150 + side, -50 + side)
        (crop,) = DeviceCrops(HERE, 256)([(picture, region)])
        error = np.abs(crop.numpy().astype(int) - crop_resized(picture, region, 256))
        assert error.max() <= 4  # each rounds in other places, and colours are multiplied up to twofold
        assert error.mean() < 0.4

    def test_of_several_pictures_of_all_kinds(self, photo: UInt8Array) -> None:
        kinds: list[Any] = [
            planes_from_rgb(photo, Colour("bt709"), bits=10, sub=(2, 2)),
            photo,
            planes_from_rgb(photo, Colour("bt601", full_range=True)),
        ]
        regions = [(0, 0, 333 * 2, 666), (-200, -200, 56, 56), (1000, 1000, 1200, 1200)]
        make = DeviceCrops(HERE, 128)
        for order in ([0, 1, 2], [2, 0, 1, 1], [1]):
            places = [(kinds[k], regions[k]) for k in order]
            crops = make(places).numpy()
            assert crops.shape == (len(order), 128, 128, 3)
            for crop, (picture, region) in zip(crops, places, strict=True):
                assert np.abs(crop.astype(int) - crop_resized(picture, region, 128)).mean() < 0.5


class TestRecordedNet:
    """Played back by a stand-in for the device's own recordings, which keeps to their rule: one input, one output."""

    @staticmethod
    def record(net: Net, given: Any) -> Play:
        assert given.is_contiguous(memory_format=torch.channels_last)
        answer = net(given).clone()
        return lambda: answer.copy_(net(given))

    def test_any_number_of_pictures_is_answered_alike(self) -> None:
        called = []

        def net(x: Any) -> Any:
            called.append(len(x))
            return 2 * x[:, :1]

        recorded = RecordedNet(net, self.record)
        for count in [1, 3, 4, 3, 2, 8, 5, 7, 6, 1, 1, 1, 4, 3]:
            x = torch.rand(count, 3, 8, 8)
            assert torch.equal(recorded(x), 2 * x[:, :1])
        assert called[:4] == [1, 3, 4, 4]  # as they come, then filled up and recorded
        assert set(called[9:]) <= {1, 2, 4, 8, 5, 7}

    def test_a_size_is_recorded_once_and_not_for_a_photo(self) -> None:
        recordings = []

        def record(net: Net, given: Any) -> Play:
            recordings.append(len(given))
            return self.record(net, given)

        recorded = RecordedNet(lambda x: x + 1, record)
        recorded(torch.zeros(1, 3, 4, 4))
        recorded(torch.zeros(8, 3, 4, 4))
        assert not recordings
        for _ in range(5):
            recorded(torch.zeros(7, 3, 4, 4))
        assert recordings == [8]

    def test_where_nothing_can_be_recorded_it_is_called_as_it_is(self) -> None:
        tries = []

        def record(net: Net, given: Any) -> Play:
            tries.append(len(given))
            raise RuntimeError("operation not permitted when stream is capturing")

        recorded = RecordedNet(lambda x: x + 1, record)
        for _ in range(6):
            x = torch.rand(3, 3, 4, 4)
            assert torch.equal(recorded(x), x + 1)
        assert len(tries) == 1


class TestSegmenter:
    @pytest.fixture
    def segmenter(self) -> TorchSegmenter:
        torch.manual_seed(3)
        spec = NetSpec("lite")
        return TorchSegmenter(Network("lite", build(spec), spec, spec.side, Path("lite.pt")), device="cpu")

    def test_on_the_cpu_it_goes_the_cpus_way(self, segmenter: TorchSegmenter, finder: FaceFinder) -> None:
        assert (segmenter.at_once, segmenter.makes_crops) == (1, False)
        assert not isinstance(file_cutter(segmenter, finder), BatchCutter)

    def test_a_gpu_that_does_not_start(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, segmenter: TorchSegmenter
    ) -> None:
        """Torch finds it, and it has no kernels or no memory for the network; a device without memory stands for it."""
        spec = NetSpec("lite")
        network = Network("lite", build(spec), spec, spec.side, Path("lite.pt"))
        monkeypatch.setattr(
            "headstream.segment.torch_net.choose_device",
            lambda wanted: torch.device("cpu" if wanted == "cpu" else "meta"),
        )
        own = TorchSegmenter(network)
        assert (own.device, own.makes_crops, own.at_once) == ("cpu", False, 1)
        (told,) = [record.getMessage() for record in caplog.records]
        assert told.startswith("going on on the CPU: device 'meta' does not run lite: ")
        picture = np.full((1, 64, 64, 3), 99, np.uint8)
        assert np.array_equal(own.predict(picture), TorchSegmenter(network, device="cpu").predict(picture))
        with pytest.raises(ModelError, match="device 'meta' does not run lite: .*; use --device cpu"):
            TorchSegmenter(network, device="cuda")

    def test_what_is_no_number_is_refused(self, segmenter: TorchSegmenter, photo: UInt8Array) -> None:
        net: Any = segmenter._net
        next(net.parameters()).mul_(torch.nan)
        with pytest.raises(ModelError, match="model lite answers NaN on cpu; its weights are damaged$"):
            segmenter.predict(photo[None])
        with pytest.raises(ModelError, match="answers NaN"):
            segmenter.predict_places([(photo, (0, 0, 256, 256))], ("head",))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
    def test_a_forked_process_cuts_and_ends(self) -> None:
        code = """
import os, signal, sys
from pathlib import Path
import numpy as np
from headstream.nets.formats import Network
from headstream.nets.zoo import NetSpec, build
from headstream.segment.torch_net import TorchSegmenter
spec = NetSpec("lite")
segmenter = TorchSegmenter(Network("lite", build(spec), spec, spec.side, Path("lite.pt")), device="cpu")
crops = np.zeros((1, 256, 256, 3), np.uint8)
before = segmenter.predict(crops)
child = os.fork()
if not child:
    signal.alarm(60)
    assert np.allclose(segmenter.predict(crops), before, atol=1e-4)
    sys.exit(0)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
        threads = os.environ | {"OMP_NUM_THREADS": "2"}
        done = subprocess.run([sys.executable, "-c", code], env=threads, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr

    def test_places_are_answered_like_crops(self, segmenter: TorchSegmenter, photo: UInt8Array) -> None:
        planes = planes_from_rgb(photo, Colour("bt709"), sub=(2, 2))
        places: list[Any] = [
            (planes, (100, 50, 700, 650)),
            (photo, (0, 0, 256, 256)),
            (planes, (300, -20, 600, 280)),
        ] * 12
        crops, alphas = segmenter.predict_places(places, ("hair", "head"))
        assert (crops.shape, crops.dtype) == ((36, 256, 256, 3), np.uint8)
        assert (alphas.shape, alphas.dtype) == ((2, 36, 256, 256), np.float32)
        assert np.abs(alphas - segmenter.predict_parts(crops, ("hair", "head"))).max() < 1e-5
        nothing, silence = segmenter.predict_places([], ("head",))
        assert (nothing.shape, silence.shape) == ((0, 256, 256, 3), (1, 0, 256, 256))
        with pytest.raises(ModelError, match="knows head, hair"):
            segmenter.predict_places(places, ("head", "nose"))

    def test_recordings_answer_as_the_network_does(self, photo: UInt8Array) -> None:
        spec = NetSpec("lite")
        segmenter = TorchSegmenter(Network("bright", Bright(), spec, spec.side, Path("bright.pt")), device="cpu")
        places: list[Any] = [(photo, (k, k, 300 + k, 300 + k)) for k in range(70)]
        _, expected = segmenter.predict_places(places, ("head",))
        segmenter._net = RecordedNet(segmenter._net, TestRecordedNet.record)
        for _ in range(4):
            _, alphas = segmenter.predict_places(places, ("head",))
            assert np.abs(alphas - expected).max() < 1e-5

    def test_several_threads_get_their_own_answers(
        self, segmenter: TorchSegmenter, photo: UInt8Array, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upload = segmenter._crops.uploaded

        def slowly(planes: Any) -> Any:
            found = upload(planes)
            time.sleep(0.002)
            return found

        monkeypatch.setattr(segmenter._crops, "uploaded", slowly)
        segmenter._net = RecordedNet(segmenter._net, TestRecordedNet.record)
        places: list[Any] = [(photo, (40 * k, 0, 300 + 40 * k, 300)) for k in range(4)]
        alone = [segmenter.predict_places([place], ("head",)) for place in places]

        def asked(k: int) -> bool:
            answers = [segmenter.predict_places([places[k]], ("head",)) for _ in range(4)]
            crop, alpha = alone[k]
            return all(np.array_equal(c, crop) and np.abs(a - alpha).max() < 1e-5 for c, a in answers)

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(asked, range(4)))

    def test_a_film_by_crops_of_the_device(
        self, finder: FaceFinder, portrait: UInt8Array, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spec = NetSpec("lite")
        bright = TorchSegmenter(Network("bright", Bright(), spec, spec.side, Path("bright.pt")), device="cpu")
        film = ListSource(moving_portrait(portrait, 9))
        expected = list(cut_stream(film, file_cutter(bright, finder)))
        monkeypatch.setattr(bright, "makes_crops", True)
        monkeypatch.setattr(bright, "at_once", 4)
        cutter = file_cutter(bright, finder)
        assert isinstance(cutter, BatchCutter)
        cutouts = list(cut_stream(film, cutter))
        assert "crop" not in cutter.times.mean_ms()
        for cutout, other in zip(cutouts, expected, strict=True):
            assert cutout.heads
            assert cutout.alpha.std() > 20
            assert np.abs(cutout.alpha.astype(int) - other.alpha).mean() < 1
