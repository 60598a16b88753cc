"""Scripts that measure, run as a maintainer runs them, for a moment and on the CPU."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

import headstream
from headstream.demo import PORTRAIT
from headstream.errors import UsageError
from headstream.segment.registry import models_dir
from headstream.types import UInt8Array
from tests.conftest import moving_portrait
from tests.media import write_video
from tests.waiting import wait_until

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such permissions")
def test_all_can_be_run_by_name() -> None:
    assert [script.name for script in SCRIPTS.glob("*.py") if not os.access(script, os.X_OK)] == []


@pytest.mark.slow
def test_bench_gpu_measures_whatever_device_there_is(
    portrait: UInt8Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    clip = write_video(tmp_path / "clip.mp4", moving_portrait(portrait, 3))
    command = [str(SCRIPTS / "bench_gpu.py"), "--device", "cpu", "--nets", "lite", "--batches", "1,2"]
    command += ["--seconds", "0.05", "--video", str(clip), "--shipped", "--json"]
    monkeypatch.setattr("sys.argv", command)
    runpy.run_path(command[0], run_name="__main__")
    told = json.loads(capsys.readouterr().out)
    assert told["card"]["matrix_tflops"] > 0
    assert [row["batch"] for row in told["nets"]] == [1, 2]
    assert all(0 < row["roofline_share"] < 1.5 and row["gflop"] > 1 for row in told["nets"])
    assert told["videos"][0]["frames"] > 0
    assert [row["net"] for row in told["shipped"]] == ["lite", "lite-int8", "lite-photo-int8", "tiny"]
    assert all(row["times_faster"] > 0 for row in told["shipped"])


@pytest.mark.slow
def test_networks_trained_for_the_same_time_make_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("jinja2")
    rng = np.random.default_rng(1)
    for folder in ("images", "labels"):
        (tmp_path / "celebamask" / folder).mkdir(parents=True)
    for index in range(6):
        label = np.zeros((96, 96), np.uint8)
        cv2.circle(label, (48, 40 + index), 24, 1, -1)
        label[70:, 30:66] = 17
        rgb = np.where(label[..., None] > 0, 200, 60).astype(np.uint8) + rng.integers(0, 30, (96, 96, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "celebamask" / "images" / f"{index}.jpg"), rgb)
        cv2.imwrite(str(tmp_path / "celebamask" / "labels" / f"{index}.png"), label)
    (tmp_path / "held.txt").write_text("4\n5\n")
    command = [str(SCRIPTS / "compare_nets.py"), "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    command += ["--held-out", str(tmp_path / "held.txt"), "--minutes", "0.001", "--side", "64", "--workers", "0"]
    command += ["--nets", "lite-from-scratch,custom-cnn"]
    monkeypatch.setattr("sys.argv", command)
    runpy.run_path(command[0], run_name="__main__")
    rows = json.loads((tmp_path / "out" / "table.json").read_text())
    assert [row["net"] for row in rows] == ["lite-from-scratch", "custom-cnn", "lite-as-shipped"]
    assert all(row["pictures"] >= 96 and row["parameters"] > 1e5 and 0 <= row["iou"] <= 1 for row in rows[:2])
    size = (models_dir() / "lite.onnx").stat().st_size
    assert rows[2]["file_mb"] == pytest.approx(size / 1e6, abs=0.01)
    table = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert len(table) == 2 + 3
    assert len({line.count("|") for line in table}) == 1
    assert "custom-cnn" in (tmp_path / "out" / "report.html").read_text()
    runpy.run_path(command[0], run_name="__main__")  # nothing is trained twice
    assert json.loads((tmp_path / "out" / "table.json").read_text())[0]["iou"] == rows[0]["iou"]


def test_soft_labels_are_of_head_hair_and_body_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A teacher may know them in another order, and more; not less, and none that nothing taught it."""
    pytest.importorskip("torch")
    from headstream.nets.zoo import NetSpec, build
    from headstream.train.saving import save_trained

    def teacher(*outputs: str, untaught: tuple[str, ...] = ()) -> str:
        spec = NetSpec("custom-cnn", outputs, side=64, untaught=untaught)
        net = build(spec).eval()
        last = [parameter for name, parameter in net.named_parameters() if name.endswith("bias")][-1]
        for index, plane in enumerate(outputs):  # sure of what it says
            last.data[index] = {"head": 20.0, "hair": -20.0, "body": 20.0}.get(plane, -20.0)
        save_trained(net, spec, {"trained_steps": 1}, tmp_path / "teacher.pt")
        return str(tmp_path / "teacher.pt")

    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.jpg").symlink_to(PORTRAIT)
    command = [str(SCRIPTS / "soft_labels.py"), "--data", str(tmp_path), "--out", str(tmp_path / "out")]

    def run(path: str, entry: str) -> None:
        monkeypatch.setattr("sys.argv", [*command, "--teacher", path, entry])
        runpy.run_path(command[0], run_name="__main__")

    run(teacher("hair", "face", "body", "head"), "pictures:set")
    label = cv2.cvtColor(cv2.imread(str(tmp_path / "out" / "set" / "a.png")), cv2.COLOR_BGR2RGB)
    assert label.reshape(-1, 3).max(axis=0).tolist() == [255, 0, 255]
    for outputs, entry, words in (
        (("head", "hair"), "pictures:set", "cannot label body: it knows head, hair"),
        (("head", "hair", "body"), "set", "set: expected KIND:FOLDER"),
    ):
        with pytest.raises(SystemExit):
            run(teacher(*outputs), entry)
        assert words in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(teacher("head", "hair", "body", untaught=("hair", "body")), "pictures:set")
    assert "cannot label body, hair: it knows head" in capsys.readouterr().err


def test_who_watches_a_soak_goes_when_the_overlay_closes() -> None:
    for package in ("starlette", "uvicorn", "websockets"):
        pytest.importorskip(package)
    from headstream.web.overlay import OverlaySink

    watch = runpy.run_path(str(SCRIPTS / "soak_live.py"))["watch"]
    overlay = OverlaySink(0)
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch, overlay.url, threading.Event())
        wait_until(lambda: overlay._stage._watchers)
        overlay.close()
        assert watching.exception(timeout=30) is None


@pytest.mark.slow
def test_hair_is_scored_strand_by_strand(portrait: UInt8Array, tmp_path: Path) -> None:
    portrait = np.ascontiguousarray(portrait[:300, 80:370])  # a tenth of it is hair
    head, hair = headstream.cut_image(portrait)[0].alpha, headstream.cut_image(portrait, part="hair")[0].alpha
    labels = np.where(hair > 127, 13, np.where(head > 127, 1, 0)).astype(np.uint8)
    for folder in ("celebamask/images", "celebamask/labels", "fullbody/images"):
        (tmp_path / folder).mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "celebamask/images/p.jpg"), cv2.cvtColor(portrait, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(tmp_path / "celebamask/labels/p.png"), labels)
    street = np.random.default_rng(1).integers(0, 255, (90, 60, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "fullbody/images/s.jpg"), cv2.resize(street, (600, 900)))
    command = [sys.executable, str(SCRIPTS / "hair_strands.py"), "--data", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["pictures"] == 3
    assert 0 < told["image --hq"]["gradient"] < told["image"]["gradient"] < 100
    assert 0 < told["image --hq"]["error"] < 200


def test_the_hard_pictures_go_on_one_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = PORTRAIT.with_suffix("")
    (tmp_path / "list.txt").write_text(f"{picture.name}\tfor the test\n")
    command = [sys.executable, str(SCRIPTS / "hard_pictures.py"), "--data", str(picture.parent)]
    command += ["--list", str(tmp_path / "list.txt"), "--out", str(tmp_path / "sheet.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    left, right = sheet[:192, :192], sheet[:192, 192:384]
    assert (left != right).any(axis=2).mean() > 0.4  # the background is gone
    (tmp_path / "list.txt").write_text("nobody\tnot there\n")
    monkeypatch.setattr("sys.argv", command[1:])
    with pytest.raises(UsageError, match="is there neither as .jpg nor as .png"):
        runpy.run_path(command[1], run_name="__main__")
