"""Weights, their cards, and what the shipped network says of a real face."""

from __future__ import annotations

import json
import math
import os
import shutil
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from headstream import cut_image, doctor
from headstream.apart import model_files
from headstream.batch.ledger import model_identity
from headstream.errors import ModelError, UsageError
from headstream.segment import onnx
from headstream.segment.crops import CropSegmenter
from headstream.segment.load import load_segmenter
from headstream.segment.registry import (
    DEFAULT_FAST_MODEL,
    DEFAULT_MODEL,
    find_model,
    models_dir,
    read_card,
    shipped_models,
)
from headstream.segment.runtime import load_cuda
from headstream.shared.digest import file_sha256
from headstream.types import UInt8Array

CROP = (83, 0, 371, 288)  # of the portrait: 2.4 face boxes


@pytest.fixture
def crop(portrait: UInt8Array) -> UInt8Array:
    x0, y0, x1, y1 = CROP
    return cv2.resize(portrait[y0:y1, x0:x1], (256, 256), interpolation=cv2.INTER_AREA)


def test_every_shipped_file_matches_its_card() -> None:
    cards = shipped_models()
    assert {c.kind for c in cards} == {"segmenter", "face-detector"}
    for card in cards:
        card.check()
        assert card.licence
        assert card.details.keys() >= {"source", "use"}


def test_the_shipped_weights_stay_small() -> None:
    assert sum(p.stat().st_size for p in models_dir().iterdir()) < 12e6


def test_the_head_is_where_it_is_and_the_body_is_not(segmenter: CropSegmenter, crop: UInt8Array) -> None:
    alpha = segmenter.predict(crop[None])[0]
    assert alpha.shape == (256, 256)
    assert alpha.dtype == np.float32
    assert 0 <= alpha.min() <= alpha.max() <= 1
    assert alpha[60:140, 95:160].mean() > 0.97  # face and hair
    assert alpha[230:].mean() < 0.05  # the suit
    assert alpha[:, :30].mean() < 0.03  # the flag


def test_hair_is_part_of_the_head(segmenter: CropSegmenter, crop: UInt8Array) -> None:
    head, hair = (segmenter.predict(crop[None], part)[0] for part in ("head", "hair"))
    assert hair[30:60, 100:150].mean() > 0.8
    assert hair[115:150, 115:140].mean() < 0.2  # the face
    assert (hair > head + 0.3).mean() < 0.01


@pytest.mark.parametrize("size", [(256, 256), (100, 180), (31, 33), (512, 512)])
def test_any_size_in_same_size_out(segmenter: CropSegmenter, crop: UInt8Array, size: tuple[int, int]) -> None:
    picture = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    alpha = segmenter.predict(np.stack([picture, picture]))
    assert alpha.shape == (2, size[1], size[0])


def test_a_batch_is_what_its_pictures_are_alone(segmenter: CropSegmenter, crop: UInt8Array) -> None:
    batch = np.stack([crop, crop[:, ::-1], np.zeros_like(crop)])
    together = segmenter.predict(batch)
    for k in range(3):
        assert np.abs(together[k] - segmenter.predict(batch[k : k + 1])[0]).max() < 1e-4
    assert segmenter.predict(batch[:0]).shape == (0, 256, 256)


def test_no_more_threads_than_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0}, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert load_segmenter().threads == 1
    assert load_segmenter(threads=2).threads == 2


@pytest.mark.parametrize("threads", ["2", 1.5, 0, -1, 257, 100_000, True])
def test_threads_are_a_number_of_them(threads: Any) -> None:
    with pytest.raises(UsageError, match=f"threads is {threads!r}; expected a whole number from 1 to 256, or None"):
        load_segmenter(threads=threads)


def test_several_threads_may_ask_at_once(segmenter: CropSegmenter, crop: UInt8Array) -> None:
    expected = segmenter.predict(crop[None])
    wrong: list[float] = []

    def ask() -> None:
        for _ in range(5):
            wrong.append(float(np.abs(segmenter.predict(crop[None]) - expected).max()))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(wrong) < 1e-4


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((256, 256, 3), np.uint8),
        np.zeros((1, 8, 8, 4), np.uint8),
        np.zeros((1, 8, 8, 3)),
        np.zeros((1, 0, 8, 3), np.uint8),
        [[1]],
    ],
)
def test_other_shapes_are_refused(segmenter: CropSegmenter, bad: Any) -> None:
    with pytest.raises(UsageError, match=r"\(N, H, W, 3\) uint8") as refused:
        segmenter.predict(bad)
    assert isinstance(refused.value, ValueError)


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"'nothing' is not known; shipped: .*lite"):
        find_model("nothing")
    with pytest.raises(UsageError, match="'' is not known"):
        load_segmenter("")  # not the folder one is in
    with pytest.raises(UsageError, match="no such file"):
        find_model("nowhere/net.onnx")


def test_a_device_that_is_not_here_is_an_error() -> None:
    with pytest.raises(ModelError, match="'cuda' is not here: this ONNX Runtime offers .*CPUExecutionProvider"):
        load_segmenter(device="cuda")
    with pytest.raises(UsageError, match="'abacus' is not known"):
        load_segmenter(device="abacus")


def test_a_gpu_that_is_offered_and_does_not_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, crop: UInt8Array, segmenter: CropSegmenter
) -> None:
    """As with onnxruntime-gpu on a machine whose driver is missing; here the very provider is, and the session says so."""
    import onnxruntime

    offered = ["CUDAExecutionProvider", *onnxruntime.get_available_providers()]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    own = load_segmenter()
    assert own.device == "cpu"
    assert np.array_equal(own.predict(crop[None]), segmenter.predict(crop[None]))
    assert [r.getMessage() for r in caplog.records] == [
        "going on on the CPU: device 'cuda' did not start (driver or library missing); use --device cpu"
    ]
    caplog.clear()
    with pytest.raises(ModelError, match="'cuda' did not start"):
        load_segmenter(device="cuda")
    assert not caplog.records
    (found,) = [f for f in doctor._devices() if f.name == "cuda" and "ONNX" in f.note]
    assert found.state == "missing"
    assert "did not start" in found.note


def test_a_device_that_runs_nothing_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that starts and takes no node of any network: the one for a cloud, which is on every system."""
    import onnxruntime

    if not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
        pytest.skip("this ONNX Runtime does not tell what runs where")
    monkeypatch.setitem(onnx.PROVIDERS, "coreml", "AzureExecutionProvider")
    with pytest.raises(ModelError, match="device 'coreml' runs nothing of model lite-photo-int8; use --device cpu"):
        load_segmenter(device="coreml")


def test_a_device_that_runs_little_of_the_network_is_told(caplog: pytest.LogCaptureFixture) -> None:
    def part(provider: str, *names: str) -> Any:
        return SimpleNamespace(ep_name=provider, get_nodes=lambda: [SimpleNamespace(op_type=name) for name in names])

    for count, told in ((2, False), (3, True)):
        parts = [
            part("CoreMLExecutionProvider", "Conv", "Conv", "Relu"),
            part("CPUExecutionProvider", *["Conv"] * count),
        ]
        session = SimpleNamespace(get_provider_graph_assignment_info=lambda parts=parts: parts)
        onnx._check_used(session, find_model("lite"), "coreml")
        assert (
            caplog.messages == ["device 'coreml' runs 2 of 5 convolutions of model lite; others run the rest"]
        ) == told


@pytest.mark.parametrize(
    ("device", "behind"), [("cuda", ["CPU"]), ("tensorrt", ["CUDA", "CPU"]), ("directml", ["CPU"])]
)
def test_what_stands_behind_a_device_and_how_it_is_asked(
    device: str,
    behind: list[str],
    monkeypatch: pytest.MonkeyPatch,
    crop: UInt8Array,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As ONNX Runtime for GPUs is asked; the CPU answers in its place."""
    import onnxruntime

    asked: list[tuple[list[str], list[int]]] = []
    here = onnxruntime.InferenceSession
    runs = threading.Semaphore()  # how many may run at once on DirectML

    class Session:
        def __init__(self, file: str, options: Any, providers: Any, enable_fallback: int) -> None:
            asked.append(([name for name, _ in providers], []))
            self._real = here(file, options, providers=["CPUExecutionProvider"])

        def __getattr__(self, name: str) -> Any:
            if name == "get_provider_graph_assignment_info":
                raise AttributeError(name)
            return getattr(self._real, name)

        def get_providers(self) -> list[str]:
            return asked[0][0]

        def run(self, outputs: Any, fed: Any) -> Any:
            asked[0][1].append(len(next(iter(fed.values()))))
            alone = runs.acquire(blocking=False)
            assert alone or device != "directml"
            try:
                return self._real.run(outputs, fed)
            finally:
                if alone:
                    runs.release()

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(onnx.PROVIDERS.values()))
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcudnn"), raising=False)
    load_cuda.cache_clear()
    own = load_segmenter(device=device)
    providers, sizes = asked[0]
    assert [name.removesuffix("ExecutionProvider") for name in providers[1:]] == behind
    with ThreadPoolExecutor(3) as pool:
        for _ in pool.map(own.predict, [np.stack([crop] * count) for count in (2, 3, 1, 2)]):
            pass
    assert set(sizes) == ({1, 2, 3} if device == "cuda" else {1})
    assert capsys.readouterr().out == ""


def test_unknown_parts_are_refused(segmenter: CropSegmenter, crop: UInt8Array) -> None:
    with pytest.raises(ModelError, match="knows head, hair"):
        segmenter.predict(crop[None], "nose")


def copied(folder: Path) -> Path:
    card = find_model("default")
    shutil.copy(card.file, folder / "net.onnx")
    raw = dict(card.details) | {"file": "net.onnx"}
    (folder / "net.json").write_text(json.dumps(raw))
    return folder / "net.onnx"


def test_a_file_of_ones_own_with_its_card(tmp_path: Path, segmenter: CropSegmenter, crop: UInt8Array) -> None:
    own = load_segmenter(str(copied(tmp_path)))
    assert np.abs(own.predict(crop[None]) - segmenter.predict(crop[None])).max() < 1e-6


def test_shipped_weights_come_before_a_folder_of_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("default", "lite-int8"):
        (tmp_path / name).mkdir()
        assert load_segmenter(name).card.file.parent == models_dir()


def test_a_file_without_a_card_or_with_a_broken_one(tmp_path: Path) -> None:
    path = copied(tmp_path)
    (tmp_path / "net.json").write_text("{}")
    with pytest.raises(ModelError, match="not a model card"):
        read_card(tmp_path / "net.json")
    (tmp_path / "net.json").unlink()
    with pytest.raises(UsageError, match="has no card"):
        load_segmenter(str(path))


def test_damaged_weights_are_noticed(tmp_path: Path) -> None:
    path = copied(tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="are damaged"):
        load_segmenter(str(path))


def test_what_may_not_be_read_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("n.onnx", "n.json", "run.pt"):
        (tmp_path / name).write_text('{"kind": "segmenter", "file": "n.onnx", "side": 16, "outputs": ["head"]}')
    for closed, asked in (("n.onnx", "n.onnx"), ("n.onnx", "n.json"), ("n.json", "n.onnx"), ("run.pt", "run.pt")):
        with monkeypatch.context() as patch:
            patch.setattr(os, "access", lambda path, mode, closed=closed: Path(path).name != closed)
            with pytest.raises(UsageError, match=rf"{closed}: no permission to read it"):
                load_segmenter(tmp_path / asked)


def brightness_net(
    folder: Path,
    card: Mapping[str, object],
    *,
    planes: int = 2,
    batch: str | int = "n",
    half: bool = False,
    stride: int = 1,
    planes_last: bool = False,
) -> Path:
    """Someone's network: NCHW float in, logits of (dark, bright) out, written with nothing but onnx."""
    library = pytest.importorskip("onnx")
    helper, kinds = library.helper, library.TensorProto
    kind = kinds.FLOAT16 if half else kinds.FLOAT
    weights = np.zeros((planes, 3, 1, 1), np.float16 if half else np.float32)
    weights[-1] = 2.0
    out = [batch, planes, 16 // stride, 16 // stride]
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], strides=[stride, stride])]
    if planes_last:
        out = [out[0], *out[2:], planes]
        nodes = [nodes[0], helper.make_node("Transpose", ["y"], ["z"], perm=[0, 2, 3, 1])]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("x", kind, [batch, 3, 16, 16])],
        [helper.make_tensor_value_info(nodes[-1].output[0], kind, out)],
        [library.numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    library.save(model, str(folder / "b.onnx"))
    (folder / "b.json").write_text(json.dumps({"kind": "segmenter", "file": "b.onnx", "side": 16} | dict(card)))
    return folder / "b.onnx"


@pytest.mark.parametrize(
    ("activation", "planes", "outputs"),
    [("softmax", 2, ["background", "head"]), ("sigmoid", 1, ["head"])],
)
def test_someone_elses_network_by_a_small_card(
    tmp_path: Path, activation: str, planes: int, outputs: list[str]
) -> None:
    card = {"outputs": outputs, "activation": activation, "mean": [127.5] * 3, "std": [127.5] * 3}
    path = brightness_net(tmp_path, card, planes=planes)
    rgb = np.zeros((2, 16, 16, 3), np.uint8)
    rgb[0] = 255
    alpha = load_segmenter(str(path)).predict(rgb)
    assert alpha[0] == pytest.approx(1 / (1 + np.exp(-6.0)), abs=1e-5)
    assert alpha[1] == pytest.approx(1 / (1 + np.exp(6.0)), abs=1e-5)
    assert load_segmenter(str(path)).predict(np.zeros((1, 40, 30, 3), np.uint8)).shape == (1, 40, 30)


@pytest.mark.parametrize("built", [{"half": True}, {"planes_last": True}, {"planes_last": True, "planes": 3}])
def test_networks_in_half_precision_and_with_planes_last(tmp_path: Path, built: dict[str, Any]) -> None:
    outputs = ["background", "hair", "head"] if "planes" in built else CARD["outputs"]
    rgb = np.zeros((1, 16, 16, 3), np.uint8)
    rgb[:, :4] = 255
    (alpha,) = load_segmenter(brightness_net(tmp_path, CARD | SPREAD | {"outputs": outputs}, **built)).predict(rgb)
    assert alpha.dtype == np.float32
    assert (alpha[:4] > 0.9).all()
    assert (alpha[4:] < 0.1).all()


def test_a_mask_of_another_size_than_its_picture(tmp_path: Path, portrait: UInt8Array) -> None:
    path = brightness_net(tmp_path, CARD | SPREAD, stride=4)
    rgb = np.zeros((2, 16, 16, 3), np.uint8)
    rgb[0, :, 8:] = 255
    alpha = load_segmenter(path).predict(rgb)
    assert alpha.shape == (2, 16, 16)
    assert (alpha[0, :, 12:] > 0.9).all()
    assert (alpha[0, :, :4] < 0.1).all()
    assert (alpha[1] < 0.1).all()
    for cutout in cut_image(portrait, model=str(path)):
        assert cutout.alpha.shape == portrait.shape[:2]


def test_a_card_that_does_not_fit_its_network(tmp_path: Path) -> None:
    path = brightness_net(tmp_path, {"outputs": ["head"], "mean": [0] * 3, "std": [1] * 3})
    with pytest.raises(ModelError, match=r"answers \(1, 2, 16, 16\); its card promises \(n, 1, height, width\)"):
        load_segmenter(str(path))
    brightness_net(tmp_path, {"outputs": ["head"], "activation": "relu"})
    with pytest.raises(ModelError, match="activation is 'relu', expected one of none, sigmoid, softmax"):
        load_segmenter(str(path))


CARD: dict[str, object] = {"outputs": ["background", "head"], "activation": "softmax", "mean": [0] * 3, "std": [1] * 3}
SPREAD = {"mean": [127.5] * 3, "std": [127.5] * 3}  # black is sure, too


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"side": None}, "side is missing"),
        ({"side": 0}, "side is 0, expected the pixels"),
        ({"side": "512"}, "side is '512'"),
        ({"side": True}, "side is True"),
        ({"file": 5}, "file is 5, expected text"),
        ({"sha256": 5}, "sha256 is 5, expected text"),
        ({"outputs": ["head", 3]}, r"outputs is \['head', 3\]"),
        ({"outputs": None}, "outputs is missing"),
        ({"outputs": "head"}, "outputs is 'head', expected the names"),
        ({"outputs": ["background"]}, r"outputs is \['background'\]"),
        ({"std": None}, "std is missing"),
        ({"mean": [1.0]}, r"mean is \[1.0\], expected three"),
        ({"mean": [0, math.nan, 0]}, r"mean is \[0, nan, 0\], expected three numbers"),
        ({"mean": [10**400, 0, 0]}, "too large"),
        ({"std": [1, 0, 1]}, r"std is \[1, 0, 1\], expected numbers above 0"),
        ({"std": [1, math.inf, 1]}, r"std is \[1, inf, 1\], expected three numbers"),
        ({"finish": {"gain": math.nan}}, "finish is {'gain': nan}, expected numbers by name"),
        ({"kind": "face-detector", "finish": [1]}, r"finish is \[1\], expected numbers by name"),
        ({"kind": "face-detector", "side": math.inf}, "infinity"),
        ({"file": None, "kind": None}, "kind, file are missing"),
    ],
)
def test_a_card_that_lacks_something_says_what_and_shows_one(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    path = brightness_net(tmp_path, CARD)
    raw = json.loads(path.with_suffix(".json").read_text()) | change
    path.with_suffix(".json").write_text(json.dumps({key: value for key, value in raw.items() if value is not None}))
    with pytest.raises(ModelError, match=words + '.*; one that is: {"kind": "segmenter", "file": "x.onnx"'):
        load_segmenter(str(path))
    path.with_suffix(".json").write_text("[]")
    with pytest.raises(ModelError, match="holds a list, not an object"):
        load_segmenter(str(path))


def test_a_card_of_endless_brackets(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[" * 100_000)
    with pytest.raises(ModelError, match=r"x.json is not a model card"):
        read_card(tmp_path / "x.json")


def test_a_card_that_cannot_be_of_a_segmenter(tmp_path: Path) -> None:
    for change, words in (
        ({"kind": "face-detector"}, "kind is 'face-detector', expected 'segmenter'"),
        ({"side": 10**7}, "side is 10000000, expected 1 to 4096 pixels"),
        ({"file": "c.onnx"}, r"c\.onnx are missing$"),
    ):
        with pytest.raises(ModelError, match=words):
            load_segmenter(str(brightness_net(tmp_path, CARD | change)))


def test_the_example_of_a_card_is_one(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ModelError) as told:
        read_card(tmp_path / "x.json")
    (tmp_path / "x.json").write_text(str(told.value).partition("one that is: ")[2])
    assert read_card(tmp_path / "x.json").outputs == ("background", "head")


def test_logits_are_not_taken_for_alpha(tmp_path: Path) -> None:
    path = brightness_net(tmp_path, CARD | {"activation": "none"})
    with pytest.raises(ModelError, match=r'model b answers 0 to .*not 0 to 1; .*its card needs "activation"'):
        load_segmenter(str(path))


def test_what_rounding_puts_past_the_ends_is_taken_off(tmp_path: Path) -> None:
    path = brightness_net(tmp_path, CARD | {"activation": "none", "std": [6 * 255 * 0.99] * 3})
    alpha = load_segmenter(str(path)).predict(np.full((1, 16, 16, 3), 255, np.uint8))
    assert alpha.max() == 1


def test_a_network_that_takes_something_else_than_its_card_says(tmp_path: Path) -> None:
    for change in ({"layout": "nhwc"}, {"side": 20}):
        with pytest.raises(ModelError, match="model b on cpu does not run as its card says: "):
            load_segmenter(str(brightness_net(tmp_path, CARD | change)))


def test_several_cards_of_one_file(tmp_path: Path, portrait: UInt8Array) -> None:
    """Of the shipped network, with firmer edges; as documented."""
    told = json.loads((models_dir() / "lite-int8.json").read_text())
    marks, alphas = set(), []
    for gain in (1.0, 4.0):
        card = tmp_path / f"firm{gain:.0f}.json"
        finish = {"gain": gain, "against_body": 1.0}
        card.write_text(json.dumps(told | {"file": str(models_dir() / told["file"]), "finish": finish}))
        marks.add(model_identity(str(card), fast=False))
        alphas.append(load_segmenter(card).predict(cv2.resize(portrait, (256, 256))[None]))
        assert model_files(str(card)) == [card, models_dir() / told["file"]]
    assert len(marks) == 2
    soft = [np.mean((alpha > 0.1) & (alpha < 0.9)) for alpha in alphas]
    assert soft[1] < 0.8 * soft[0]
    told |= {"file": str(models_dir() / "lite.onnx"), "sha256": "", "finish": {}}
    card.write_text(json.dumps(told))
    assert model_identity(str(card), fast=False) == find_model("lite").sha256
    with pytest.raises(UsageError, match=r"model .*gone\.json: no such file"):
        load_segmenter(tmp_path / "gone.json")


def test_a_network_that_takes_so_many_at_a_time_and_no_other_number(tmp_path: Path) -> None:
    card = {"outputs": ["background", "head"], "activation": "softmax", "mean": [127.5] * 3, "std": [127.5] * 3}
    network = load_segmenter(str(brightness_net(tmp_path, card, batch=2)))
    for count in (1, 2, 5):
        rgb = np.zeros((count, 16, 16, 3), np.uint8)
        rgb[::2] = 255
        assert [bool(alpha.mean() > 0.9) for alpha in network.predict(rgb)] == [k % 2 == 0 for k in range(count)]


def test_what_is_scaled_down_is_averaged(tmp_path: Path) -> None:
    card = {"outputs": ["background", "head"], "activation": "softmax", "mean": [127.5] * 3, "std": [127.5] * 3}
    checks = (np.indices((32, 32)).sum(axis=0) % 2 * 255).astype(np.uint8)
    alpha = load_segmenter(str(brightness_net(tmp_path, card))).predict(np.dstack([checks] * 3)[None])
    assert np.abs(alpha - 0.5).max() < 0.02


def test_a_network_that_is_very_sure_is_sure(tmp_path: Path) -> None:
    card = {"outputs": ["background", "head"], "activation": "softmax", "mean": [0] * 3, "std": [0.1] * 3}
    alpha = load_segmenter(str(brightness_net(tmp_path, card))).predict(np.full((1, 16, 16, 3), 255, np.uint8))
    assert (alpha == 1).all()


def test_rows_and_columns_stay_what_they_are(tmp_path: Path) -> None:
    card = {"outputs": ["background", "head"], "activation": "softmax", "mean": [127.5] * 3, "std": [127.5] * 3}
    rgb = np.zeros((1, 16, 16, 3), np.uint8)
    rgb[:, :4] = 255
    (alpha,) = load_segmenter(str(brightness_net(tmp_path, card))).predict(rgb)
    assert (alpha[:4] > 0.9).all()
    assert (alpha[4:] < 0.1).all()


def test_the_same_weights_finished_otherwise_are_others() -> None:
    card = find_model("default")
    marks = {replace(card, finish=finish).mark(file_sha256) for finish in ({}, {"gain": 1.0}, {"gain": 2.0})}
    assert len(marks) == 3
    assert replace(card, finish={}).mark(file_sha256) == card.sha256


@pytest.mark.parametrize(
    "change",
    [
        SPREAD,
        {"std": [2] * 3},
        {"activation": "sigmoid"},
        {"outputs": ["head", "background"]},
        {"layout": "nhwc"},
        {"side": 32},
    ],
)
def test_the_same_weights_fed_or_read_otherwise_are_others(change: dict[str, object], tmp_path: Path) -> None:
    """Whoever corrects a card after a look at the first results has the batch done again."""
    path, marks = str(brightness_net(tmp_path, CARD)), set()
    for card in (CARD, CARD, CARD | change):
        (tmp_path / "b.json").write_text(json.dumps({"kind": "segmenter", "file": "b.onnx", "side": 16} | card))
        marks.add(model_identity(path, fast=False))
    assert len(marks) == 2


@pytest.mark.parametrize("names", [{"location": "b.onnx.data"}, {"all_tensors_to_one_file": False}])
@pytest.mark.parametrize("promised", [True, False])
def test_weights_beside_the_file_are_weights(names: dict[str, Any], promised: bool, tmp_path: Path) -> None:
    """As most exporters write large ones; the file itself is the same whatever is in them."""
    library = pytest.importorskip("onnx")
    path = brightness_net(tmp_path, CARD)
    model = library.load(str(path))
    library.save(model, str(path), save_as_external_data=True, size_threshold=0, **names)
    if promised:
        (tmp_path / "b.json").write_text(
            json.dumps(read_card(tmp_path / "b.json").details | {"sha256": file_sha256(path)})
        )
    (data,) = (file for file in tmp_path.iterdir() if file.suffix not in {".onnx", ".json"})
    before = model_identity(str(path), fast=False)
    assert load_segmenter(path).predict(np.full((1, 16, 16, 3), 255, np.uint8)).min() > 0.9
    assert model_identity(str(path), fast=False) == before
    data.write_bytes(bytes(data.stat().st_size))
    assert model_identity(str(path), fast=False) != before


def test_photos_and_films_have_each_their_own_default() -> None:
    assert [find_model("default", fast=fast).name for fast in (False, True)] == [DEFAULT_MODEL, DEFAULT_FAST_MODEL]
    assert DEFAULT_MODEL != DEFAULT_FAST_MODEL
