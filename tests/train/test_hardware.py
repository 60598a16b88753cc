"""What a run computes on, and what it does when that is not enough."""

from __future__ import annotations

import dataclasses
import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from headstream.errors import ModelError, SourceError, UsageError  # noqa: E402
from headstream.nets.checkpoint import load_checkpoint  # noqa: E402
from headstream.nets.device import choose_device  # noqa: E402
from headstream.train.config import TrainConfig, load_config  # noqa: E402
from headstream.train.hardware import Hardware, _precision, hardware, out_of_memory  # noqa: E402
from headstream.train.loop import Trainer  # noqa: E402
from headstream.train.losses import below_loss, matte_loss  # noqa: E402
from headstream.train.sets import open_data  # noqa: E402
from headstream.train.start import rate_factor  # noqa: E402
from tests.train.made import CONFIG  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_curves")


def test_a_device_that_is_not_here_is_an_error() -> None:
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(UsageError, match="'abacus' is not known to torch; known: auto, cpu"):
        choose_device("abacus")
    for wanted in ("cpu:x", "cpu:-2"):
        with pytest.raises(UsageError, match=f"{wanted!r} is none: expected cpu, or cpu:0"):
            choose_device(wanted)
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="'cuda' is not here: torch .* found cpu"):
            choose_device("cuda")


def test_a_gpu_of_a_number_that_is_not_here_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for wanted, chosen in (("auto", "cuda"), ("cuda", "cuda"), ("cuda:1", "cuda:1")):
        assert str(choose_device(wanted)) == chosen
    with pytest.raises(ModelError, match=r"'cuda:2' is not here: torch .* found cuda:0, cuda:1; use --device cpu"):
        choose_device("cuda:2")


def test_precision_by_device() -> None:
    with hardware("cpu", "auto") as on:
        assert on.precision is None
        assert not on.scaler().is_enabled()
    with hardware("cpu", "bf16") as on, on.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    assert Hardware(torch.device("cpu"), torch.float16).scaler().is_enabled()


def test_fp16_where_bf16_is_only_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the driver tells of a V100 beside an A100."""
    cards = {"cuda:0": (7, 0), "cuda:1": (8, 0)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: cards[str(device)])
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    for wanted, precision in (("cuda:0", torch.float16), ("cuda:1", torch.bfloat16)):
        assert _precision("auto", torch.device(wanted)) == precision


def test_several_processes_are_started_by_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"RANK": "0", "LOCAL_RANK": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    monkeypatch.setenv("WORLD_SIZE", "4")
    for missing in ("RANK", "MASTER_PORT"):
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv(missing)
        said = f"WORLD_SIZE is set, but not {missing}: start it by torchrun"
        with pytest.raises(UsageError, match=said), hardware("cpu"):
            pass
    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with (
        pytest.raises(UsageError, match="process 2 .* no GPU of its own: torchrun --nproc-per-node 2"),
        hardware("cuda"),
    ):
        pass


def test_the_others_wait_for_what_the_first_process_does_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    given: list[Any] = []
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend, timeout: given.append(timeout))
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: None)
    with hardware("cpu"):
        assert given[0].total_seconds() > 3600 * 12


def trainer(sets: Path, config: Path, **changes: Any) -> Trainer:
    settings = dataclasses.replace(load_config(config), **changes)
    return Trainer(settings, data_root=sets, config_dir=config.parent, out=config.parent / "run")


@pytest.mark.parametrize("net", ["lite", "custom-cnn"])
def test_reduced_precision_trains(sets: Path, config: Path, net: str) -> None:
    settings = dataclasses.replace(load_config(config), net=net, steps=2, plane_weights=())
    with hardware("cpu", "bf16") as on:
        run = Trainer(settings, data_root=sets, config_dir=config.parent, out=config.parent / net, on=on)
        run.run()
    assert run.step == 2
    assert all(torch.isfinite(v).all() for v in run.ema.state_dict().values())


def test_accumulated_batches_weigh_as_one(sets: Path, config: Path) -> None:
    """Without batch statistics in between, two halves and a whole would agree exactly; with them, nearly."""
    losses: dict[int, list[float]] = {1: [], 2: []}
    for accumulate, seen in losses.items():
        run = trainer(sets, config, accumulate=accumulate, steps=1)
        run.run(lambda progress, seen=seen: seen.append(progress.loss))  # type: ignore[misc]
    assert losses[2][0] == pytest.approx(losses[1][0], rel=0.1)


def test_it_stops_early_when_nothing_gets_better(sets: Path, config: Path) -> None:
    run = trainer(sets, config, evaluate_every=1, patience=2, steps=50, encoder_lr=0.0, decoder_lr=0.0)
    run.state.best = 2.0  # no score will ever beat it
    run.run()
    assert run.step == 2
    again = trainer(sets, config, evaluate_every=1, patience=2, steps=50, encoder_lr=0.0, decoder_lr=0.0)
    assert again.resume()
    again.run()
    assert again.step == 2  # it has ended, and is not lengthened by asking again


def test_it_does_not_stop_early_where_nothing_is_scored(sets: Path, config: Path) -> None:
    data = tuple(dataclasses.replace(entry, validate="") for entry in load_config(config).data)
    run = trainer(sets, config, data=data, evaluate_every=1, patience=1, steps=3)
    run.run()
    assert run.step == 3


def test_running_out_of_memory_is_saved_and_explained(
    sets: Path,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = trainer(sets, config)
    whole = run._train_step

    def short(given: Any, weights: Any) -> float:
        if run.step == 3:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried")
        return whole(given, weights)

    monkeypatch.setattr(run, "_train_step", short)
    with pytest.raises(ModelError, match=r"step 3 with batches of 4 at 32 px on cpu.*set accumulate = 2"):
        run.run()
    again = trainer(sets, config)
    assert again.resume()
    assert again.step == 3
    assert out_of_memory(torch.OutOfMemoryError("x"))
    assert out_of_memory(MemoryError())
    assert not out_of_memory(RuntimeError("another"))
    for words in (
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "Unable to find a valid cuDNN algorithm to run convolution",
        "GET was unable to find an engine to execute this computation",
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate",
    ):
        assert out_of_memory(RuntimeError(words))
    monkeypatch.setattr(again, "_train_step", short)
    again.on = dataclasses.replace(again.on, rank=1)  # which saves nothing, and does not say so
    before = (again.out / "last.pt").read_bytes()
    with pytest.raises(ModelError, match=r"step 3 with batches of 4 at 32 px on cpu: set accumulate = 2"):
        again.run()
    assert (again.out / "last.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("batch", "accumulate", "world", "advice"),
    [
        (6, 2, 1, "accumulate = 3 "),
        (16, 1, 1, "accumulate = 2 "),
        (12, 1, 4, "accumulate = 3 "),
        (4, 4, 1, "a smaller"),
    ],
)
def test_advice_that_can_be_followed(
    sets: Path,
    config: Path,
    batch: int,
    accumulate: int,
    world: int,
    advice: str,
) -> None:
    run = trainer(sets, config, batch=batch, accumulate=accumulate)
    run.on = dataclasses.replace(run.on, rank=1, world=world)
    assert f": set {advice}" in run._memory_advice()


def test_a_worker_that_is_ended_is_saved_and_explained(
    sets: Path,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = trainer(sets, config, workers=1, steps=50, evaluate_every=100)
    whole = run._train_step

    def ending(given: Any, weights: Any) -> float:
        loss = whole(given, weights)
        if run.step == 2:
            for worker in multiprocessing.active_children():
                worker.kill()
        return loss

    monkeypatch.setattr(run, "_train_step", ending)
    with pytest.raises(
        ModelError, match=r"makes samples was ended at step .*set fewer workers than 1, or a smaller cache_mb"
    ):
        run.run()
    assert run.saved_step == (run.step if run._whole else None)  # it may be told in the middle of a step


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),  # while it handed a batch over
        EOFError(),
    ],
)
def test_a_worker_that_is_gone_while_it_is_waited_for(
    error: Exception,
    sets: Path,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ended(*arguments: Any, **more: Any) -> Iterator[Any]:
        raise error
        yield

    monkeypatch.setattr("headstream.train.loop.batches", ended)
    waiting = trainer(sets, config)
    with pytest.raises(ModelError, match="goes on from step 0: set fewer"):
        waiting.run()
    assert load_checkpoint(waiting.out / "last.pt")["step"] == waiting.saved_step == 0


@pytest.mark.parametrize(
    "told",
    [
        "unable to allocate shared memory(shm) for file </torch_7_42_0>: No space left on device (28)",
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared "
        "memory. Please try to raise your shared memory limit.",
    ],
)
def test_no_room_to_hand_samples_over_is_saved_and_explained(
    told: str, sets: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **more: Any) -> Iterator[Any]:
        raise RuntimeError(told)
        yield

    monkeypatch.setattr("headstream.train.loop.batches", full)
    run = trainer(sets, config)
    with pytest.raises(ModelError, match=r"room in /dev/shm\) .* goes on from step 0: make it larger .* workers = 0"):
        run.run()
    assert run.saved_step == 0


def test_a_picture_that_fails_on_the_way_leaves_no_process(sets: Path, config: Path, tmp_path: Path) -> None:
    """Python would wait for it at its end, for ever."""
    sets = Path(shutil.copytree(sets, tmp_path / "sets"))
    run = trainer(sets, config, workers=1, steps=50, evaluate_every=100)
    for picture in sets.glob("*/images/*"):
        picture.write_bytes(b"damaged")
    with pytest.raises(SourceError, match="at step 0 a picture failed"):
        run.run()
    assert not multiprocessing.active_children()


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_a_worker_of_whose_end_is_heard_while_the_state_is_saved(
    sets: Path,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its connection is gone at once, and the signal of its end may come later."""

    def as_torch_does(number: int, frame: Any) -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    def ended(*arguments: Any, **more: Any) -> Iterator[Any]:
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        yield

    def slow(*arguments: Any, **more: Any) -> None:
        signal.raise_signal(signal.SIGCHLD)
        save(*arguments, **more)

    save, before = torch.save, signal.signal(signal.SIGCHLD, as_torch_does)
    try:
        monkeypatch.setattr("headstream.train.loop.batches", ended)
        monkeypatch.setattr(torch, "save", slow)
        run = trainer(sets, config)
        with pytest.raises(ModelError, match="goes on from step 0: set fewer"):
            run.run()
        assert load_checkpoint(run.out / "last.pt")["step"] == 0
        assert signal.getsignal(signal.SIGCHLD) is as_torch_does
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_one_cycle_goes_up_and_down() -> None:
    settings = TrainConfig(steps=100, schedule="one-cycle")
    rates = [rate_factor(step, settings) for step in range(101)]
    top = rates.index(max(rates))
    assert 25 <= top <= 31
    assert max(rates) == pytest.approx(1.0)
    assert rates[0] < 0.1
    assert rates[100] == pytest.approx(0.0)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    with pytest.raises(UsageError, match="schedule"):
        TrainConfig(schedule="linear")  # type: ignore[arg-type]


@pytest.mark.parametrize(("target", "count"), [("head", 1), ("hair", 1), ("face", 1), ("parts", 18)])
def test_every_target_trains(sets: Path, config: Path, target: str, count: int) -> None:
    run = trainer(sets, config, net="custom-cnn", target=target, plane_weights=(), steps=1)
    run.run()
    assert len(run.spec.outputs) == count


def test_every_picture_counts_the_same_below_the_head() -> None:
    logits = torch.full((2, 3, 20, 20), 3.0)
    target = torch.zeros(2, 3, 20, 20)
    target[0, 2, 10:] = 1  # 200 pixels of body
    target[1, 2, 19] = 1  # 20
    known = torch.ones_like(target)
    wrong = float(torch.nn.functional.softplus(torch.tensor(3.0)))
    assert float(below_loss(logits, target, known)) == pytest.approx(wrong, rel=1e-5)
    logits[0, 0, 10:] = -30.0
    assert float(below_loss(logits, target, known)) == pytest.approx(wrong / 2, rel=1e-5)
    known[1, 2] = 0
    assert float(below_loss(logits, target, known)) == pytest.approx(0, abs=1e-5)
    known[1, 2] = 1
    target[1, 1, 19, :10] = 1  # hair over half of the second body
    assert float(below_loss(logits, target, known)) == pytest.approx(wrong / 2, rel=1e-5)
    target[1, 1, 19] = 1
    assert float(below_loss(logits, target, known)) == pytest.approx(0, abs=1e-5)
    weights = torch.ones(3)
    target[1, 1] = 0
    plain = matte_loss(logits, target, torch.ones_like(target), weights)
    assert float(matte_loss(logits, target, torch.ones_like(target), weights, neck_weight=2.0) - plain) > 1.0


@pytest.mark.slow
def test_two_processes_train_as_one(sets: Path, tmp_path: Path) -> None:
    """torchrun with gloo: batch statistics differ a little, the pictures seen and the files written do not."""
    done = torchrun(sets, tmp_path, CONFIG.format(steps=4), looking=True)
    assert done.stderr.count("step 4/4") == 1
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert state["step"] == 4
    card = json.loads((tmp_path / "run" / "model.json").read_text())
    assert card["outputs"] == ["head", "hair"]


@pytest.mark.slow
def test_two_processes_stop_early_together(sets: Path, tmp_path: Path) -> None:
    """Scores get better at first, which one of them alone sees."""
    done = torchrun(sets, tmp_path, "patience = 1\nencoder_lr = 0.0\ndecoder_lr = 0.0\n" + CONFIG.format(steps=400))
    last = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert 4 <= last["best_step"] == last["step"] - 4 < 396, done.stderr[-500:]


ENDS = """
import os, signal
from headstream.errors import SourceError
from headstream.train.loader import SampleDataset

draw = SampleDataset.__getitem__

def ends(data, index):
    if index == 3 * 4 + 2:  # the second process's, at step 3
        {how}
    return draw(data, index)

SampleDataset.__getitem__ = ends

from headstream.cli import run
run()
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["raise SourceError('x.png: is damaged')", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_where_the_second_process_ends_the_first_saves(sets: Path, tmp_path: Path, how: str) -> None:
    (tmp_path / "ends.py").write_text(ENDS.format(how=how))
    settings = CONFIG.format(steps=400).replace("evaluate_every = 4", "evaluate_every = 100")
    done = torchrun(sets, tmp_path, settings, program=[str(tmp_path / "ends.py")], status=1)
    assert load_checkpoint(tmp_path / "run" / "last.pt")["step"] == 3
    assert "internal error" not in done.stderr
    if "raise" in how:
        assert "headstream: at step 3 a picture failed: x.png: is damaged\n" in done.stderr


def torchrun(
    root: Path,
    folder: Path,
    settings: str,
    *,
    program: Sequence[str] = ("-m", "headstream"),
    status: int = 0,
    looking: bool = False,
) -> subprocess.CompletedProcess[str]:
    """A run of two processes, by gloo. looking: each of them looks for the faces; else they were found before."""
    (folder / "held.txt").write_text("04\n05\n")
    (folder / "c.toml").write_text(settings)
    if not looking:
        open_data(load_config(folder / "c.toml"), root, folder, folder / "run")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [*program, "train", "--config", str(folder / "c.toml"), "--device", "cpu"]
    command += ["--data", str(root), "--out", str(folder / "run")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)
    assert done.returncode == status, done.stderr[-2000:]
    return done
