"""Weights as others save them: written here in their very format, read by the real path, checked against arithmetic."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")
pytest.importorskip("diffusers")

from torch.nn import functional as F  # noqa: E402

from headstream.errors import ModelError, UsageError  # noqa: E402
from headstream.nets.checkpoint import load_checkpoint  # noqa: E402
from headstream.nets.formats import load_network  # noqa: E402
from headstream.nets.head_unet import HeadUNet  # noqa: E402
from headstream.segment.load import load_segmenter  # noqa: E402

CONFIG = {
    "_class_name": "HeadSegmentationModel",
    "_diffusers_version": "0.30.0",
    "encoder_depth": 5,
    "in_channels": 3,
    "input_resolution": 64,
    "out_channels": 2,
}
State = dict[str, Any]


@pytest.fixture(scope="module")
def state() -> State:
    """Weights of the published layout, a narrow decoder; batch norms with statistics of their own."""
    torch.manual_seed(3)
    net = HeadUNet(2, width=64)
    for name, value in net.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    return {k: v.contiguous() for k, v in net.state_dict().items()}


@pytest.fixture
def folder(tmp_path: Path, state: State) -> Path:
    """A folder as diffusers saves it."""
    where = tmp_path / "head-segmentation"
    where.mkdir()
    (where / "config.json").write_text(json.dumps(CONFIG))
    safetensors.save_file(state, where / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    return where


@pytest.fixture
def picture() -> Any:
    return np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)


def conv_norm(x: Any, state: State, conv: str, norm: str, *, stride: int = 1, padding: int = 1) -> Any:
    """One convolution and its batch normalisation, by the formula."""
    x = F.conv2d(x, state[f"{conv}.weight"], stride=stride, padding=padding)
    mean, var, gain, shift = (state[f"{norm}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
    scale = gain / torch.sqrt(var + 1e-5)
    return x * scale[None, :, None, None] + (shift - mean * scale)[None, :, None, None]


def recomputed(state: State, rgb: Any) -> Any:
    """The published network's logits, layer by layer from its weights alone."""
    x = torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (x - mean[None, :, None, None]) / std[None, :, None, None]
    x = conv_norm(x, state, "encoder.conv1", "encoder.bn1", stride=2, padding=3).relu()
    skips = [x]
    x = F.max_pool2d(x, 3, 2, 1)
    for layer, depth in enumerate((3, 4, 6, 3), 1):
        for block in range(depth):
            at = f"encoder.layer{layer}.{block}"
            stride = 2 if layer > 1 and block == 0 else 1
            y = conv_norm(x, state, f"{at}.conv1", f"{at}.bn1", stride=stride).relu()
            y = conv_norm(y, state, f"{at}.conv2", f"{at}.bn2")
            if stride == 2:
                x = conv_norm(x, state, f"{at}.downsample.0", f"{at}.downsample.1", stride=2, padding=0)
            x = (x + y).relu()
        skips.append(x)
    skips.pop()
    for block in range(5):
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        if skips:
            x = torch.cat([x, skips.pop()], 1)
        for conv in ("conv1", "conv2"):
            at = f"decoder.blocks.{block}.{conv}"
            x = conv_norm(x, state, f"{at}.0", f"{at}.1").relu()
    return F.conv2d(x, state["segmentation_head.0.weight"], state["segmentation_head.0.bias"], padding=1)


def expected_alpha(state: State, rgb: Any) -> Any:
    logits = recomputed(state, rgb)
    return torch.sigmoid(logits[:, 1] - logits[:, 0]).numpy()  # two exclusive classes


def test_a_diffusers_folder(folder: Path, state: State, picture: Any) -> None:
    segmenter = load_segmenter(str(folder), device="cpu")
    assert (segmenter.side, segmenter.card.outputs, segmenter.device) == (64, ("background", "head"), "cpu")
    assert np.abs(segmenter.predict(picture) - expected_alpha(state, picture)).max() < 1e-4
    with pytest.raises(ModelError, match="knows head, not 'hair'"):
        segmenter.predict(picture, "hair")


def test_a_diffusers_folder_of_another_width_than_its_resolution(folder: Path, state: State, picture: Any) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIG | {"input_resolution": 128}))
    segmenter = load_segmenter(str(folder), device="cpu")
    assert segmenter.side == 128
    big = np.kron(picture, np.ones((1, 2, 2, 1), np.uint8))
    assert np.abs(segmenter.predict(big) - expected_alpha(state, big)).max() < 1e-3


def test_a_configuration_that_tells_nothing_is_that_of_the_published_network(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    network = load_network(str(folder))
    assert (network.side, network.spec.outputs) == (512, ("background", "head"))


def test_a_bare_safetensors_file(folder: Path, state: State, picture: Any) -> None:
    network = load_network(str(folder / "diffusion_pytorch_model.safetensors"))
    assert network.side == 512
    big = np.kron(picture, np.ones((1, 8, 8, 1), np.uint8))
    alpha = load_segmenter(str(folder / "diffusion_pytorch_model.safetensors"), device="cpu").predict(big)
    assert np.abs(alpha - expected_alpha(state, big)).max() < 1e-3


def test_a_lightning_checkpoint_of_the_original_project(tmp_path: Path, state: State, picture: Any) -> None:
    checkpoint = {
        "epoch": 23,
        "global_step": 1000,
        "pytorch-lightning_version": "1.2.10",
        "state_dict": {f"neural_net.{k}": v for k, v in state.items()} | {"criterion.weight": torch.ones(2), 5: 5},
        "hparams_name": "kwargs",
        "hyper_parameters": {
            "lr": 1e-4,
            "encoder_name": "resnet34",
            "encoder_depth": 5,
            "pretrained": True,
            "nn_image_input_resolution": 64,
        },
    }
    torch.save(checkpoint, tmp_path / "head.ckpt")
    segmenter = load_segmenter(str(tmp_path / "head.ckpt"), device="cpu")
    assert segmenter.side == 64
    assert np.abs(segmenter.predict(picture) - expected_alpha(state, picture)).max() < 1e-4
    checkpoint["hyper_parameters"]["encoder_name"] = "mobilenet_v2"  # type: ignore[index]
    torch.save(checkpoint, tmp_path / "other.ckpt")
    with pytest.raises(ModelError, match="encoder mobilenet_v2; only resnet34"):
        load_network(str(tmp_path / "other.ckpt"))
    torch.save(checkpoint | {"hyper_parameters": {"nn_image_input_resolution": "big"}}, tmp_path / "other.ckpt")
    with pytest.raises(ModelError, match="nn_image_input_resolution is 'big', expected pixels"):
        load_network(str(tmp_path / "other.ckpt"))


def test_a_lightning_checkpoint_that_tells_little(tmp_path: Path, state: State) -> None:
    path, own = tmp_path / "head.ckpt", {f"neural_net.{k}": v for k, v in state.items()}
    settings: list[State] = [{}, {"hyper_parameters": None}, {"hyper_parameters": {"lr": 1e-4}}]
    for more in settings:
        torch.save({"state_dict": own} | more, path)
        assert load_network(str(path)).side == 512
    wrong: list[tuple[State, str]] = [
        ({"weights": own}, "is not a Lightning checkpoint: no state_dict"),
        ({"state_dict": own | {"neural_net.segmentation_head.0.weight": 5}}, "hold a head-segmentation U-Net: 'int'"),
    ]
    for told, words in wrong:
        torch.save(told, path)
        with pytest.raises(ModelError, match=words):
            load_network(str(path))


def test_a_network_of_the_head_alone(folder: Path, state: State, picture: Any) -> None:
    alone = state | {k: v[1:] for k, v in state.items() if k.startswith("segmentation_head")}
    (folder / "config.json").write_text(json.dumps(CONFIG | {"out_channels": 1}))
    safetensors.save_file(alone, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    segmenter = load_segmenter(str(folder), device="cpu")
    assert segmenter.card.outputs == ("head",)
    assert np.abs(segmenter.predict(picture) - torch.sigmoid(recomputed(alone, picture)[:, 0]).numpy()).max() < 1e-4


def test_of_a_folder_no_pickle_is_read(folder: Path, state: State) -> None:
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(state, folder / "diffusion_pytorch_model.bin")
    with pytest.raises(ModelError, match=r"does not load: .*safetensors"):
        load_network(str(folder))


def test_what_diffusers_and_torch_say_besides_is_not_shown(
    folder: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIG | {"encoder_name": "resnet34"}))
    load_network(str(folder))
    (folder / "old.ckpt").write_bytes(pickle.dumps({"state_dict": Bomb()}, protocol=4))
    with pytest.raises(ModelError, match="cannot be loaded safely"):
        load_network(str(folder / "old.ckpt"))
    assert [record.getMessage() for record in caplog.records] == []
    assert [str(warning.message) for warning in recwarn] == []


def test_a_diffusers_folder_of_another_purpose_is_told(folder: Path, state: State) -> None:
    """Of three classes nobody can say which is the head."""
    last = {k: torch.cat([v, v[:1]]) for k, v in state.items() if k.startswith("segmentation_head")}
    for change, weights, words in (
        ({"out_channels": 3}, state | last, "has 3 outputs; expected head, or background and head"),
        ({"input_resolution": None}, state, "its input_resolution is None, expected pixels"),
        ({"input_resolution": True}, state, "its input_resolution is True, expected pixels"),
        ({"encoder_depth": 4}, state, "in_channels 3 and encoder_depth 4 are not 3 and 5"),
        ({"input_resolution": 0}, state, "its input_resolution is 0, expected pixels"),
    ):
        (folder / "config.json").write_text(json.dumps(CONFIG | change))
        safetensors.save_file(weights, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ModelError, match=words):
            load_network(str(folder))


@pytest.mark.parametrize("config", ['"owner/name"', "[1]", "5", "null"])
def test_a_configuration_that_is_none_is_asked_of_nobody(
    config: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a bare word diffusers asks the hub for the configuration of that name."""
    asked: list[Any] = []

    def refuse(*where: Any, **more: Any) -> None:
        asked.append(where)
        raise OSError("refused")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    (folder / "config.json").write_text(config)
    with pytest.raises(ModelError, match="does not load: its config.json is no JSON object"):
        load_network(str(folder))
    assert asked == []


def test_weights_in_several_files_are_known_by_their_folder(folder: Path, state: State) -> None:
    """So that a film that is resumed notices other ones."""
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    where: dict[str, str] = {}
    for number, names in enumerate((list(state)[:100], list(state)[100:]), 1):
        file = f"diffusion_pytorch_model-{number:05d}-of-00002.safetensors"
        safetensors.save_file({name: state[name] for name in names}, folder / file, metadata={"format": "pt"})
        where |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": 1}, "weight_map": where}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    assert load_network(str(folder)).file == folder


class Bomb:
    """Runs a command when it is unpickled the usual way."""

    def __reduce__(self) -> Any:
        return os.system, ("touch exploded",)


def test_a_pickle_with_code_in_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Bomb()}, "bomb.ckpt")
    Path("bare.pt").write_bytes(pickle.dumps(Bomb()))
    for name in ("bomb.ckpt", "bare.pt"):
        with pytest.raises(ModelError, match="cannot be loaded safely"):
            load_network(name)
    assert not Path("exploded").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_that_is_cut_off_is_told(zipped: bool, tmp_path: Path) -> None:
    """Wherever that is, and as torch wrote them before they were zip files, too."""
    whole = tmp_path / "whole.pt"
    torch.save({"ema": {"a": torch.ones(3)}, "spec": {}}, whole, _use_new_zipfile_serialization=zipped)
    raw = whole.read_bytes()
    for size in range(1, len(raw) - 8, 7):
        (tmp_path / "cut.pt").write_bytes(raw[:size])
        with pytest.raises(ModelError, match=r"cut\.pt cannot be loaded safely"):
            load_checkpoint(tmp_path / "cut.pt")


def test_what_does_not_fit_is_named(tmp_path: Path, folder: Path, state: State) -> None:
    weights = folder / "diffusion_pytorch_model.safetensors"
    safetensors.save_file({k: v for k, v in state.items() if "layer3.0.conv1" not in k}, weights)
    with pytest.raises(ModelError, match=r"layer3\.0\.conv1"):
        load_network(str(folder))
    with pytest.raises(ModelError, match=r"layer3\.0\.conv1"):
        load_network(str(weights))
    safetensors.save_file(state | {"aux.weight": torch.zeros(1)}, weights)
    with pytest.raises(ModelError, match=r"is not a head-segmentation U-Net: aux\.weight do not fit"):
        load_network(str(folder))
    weights.write_bytes(b"not tensors at all")
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_network(str(weights))
    with pytest.raises(ModelError):
        load_network(str(folder))
    safetensors.save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match="does not hold a head-segmentation U-Net"):
        load_network(str(tmp_path / "x.safetensors"))
    with pytest.raises(UsageError, match="no such file"):
        load_network(str(tmp_path / "none.ckpt"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"config\.json"):
        load_network(str(tmp_path / "empty"))


def in_cache(cache: Path, folder: Path, name: str, revision: str) -> None:
    """Put a folder where the hub's client keeps what it fetched."""
    home = cache / ("models--" + name.replace("/", "--"))
    snapshot = home / "snapshots" / revision
    snapshot.mkdir(parents=True)
    for file in folder.iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(revision)


def test_a_hub_name_is_read_from_the_cache_without_asking_anyone(
    tmp_path: Path, folder: Path, state: State, picture: Any
) -> None:
    """In a process of its own: the client reads its environment when it is imported. Any connection is refused."""
    in_cache(tmp_path / "hub", folder, "okaris/head-segmentation", "a" * 40)
    names = ["okaris/head-segmentation", "okaris/head-segmentation@" + "a" * 40]
    np.save(tmp_path / "picture.npy", picture)
    code = f"""
import socket, numpy as np
def refuse(*a, **k): raise SystemExit("a connection was tried")
socket.socket.connect = refuse; socket.getaddrinfo = refuse
from headstream import load_segmenter
picture = np.load({str(tmp_path / "picture.npy")!r})
np.save({str(tmp_path / "alphas.npy")!r}, [load_segmenter(name, device="cpu").predict(picture) for name in {names}])
"""
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=200)
    assert done.returncode == 0, done.stderr
    alphas = np.load(tmp_path / "alphas.npy")
    assert len(alphas) == 2
    for alpha in alphas:
        assert np.abs(alpha - expected_alpha(state, picture)).max() < 1e-4


def test_without_cache_and_network_it_says_what_to_do(tmp_path: Path) -> None:
    code = "from headstream.cli import main; raise SystemExit(main(['bench', 'model', '--model', 'okaris/head-segmentation']))"
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=200)
    assert done.returncode == 1
    assert "HF_HUB_OFFLINE is set; fetch it once without, or name a folder" in done.stderr
    assert "Traceback" not in done.stderr
