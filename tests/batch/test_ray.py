"""Batches on Ray: a cluster of two nodes on this machine, one of which is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headstream.batch.job import BatchJob, BatchProgress, Wish
from headstream.batch.run import run_batch
from headstream.cli import main
from headstream.errors import UsageError
from tests.batch.conftest import copies, there

RAY_REQUIRED = "HEADSTREAM_REQUIRE_RAY"  # set where a missing Ray must fail instead of skip


@pytest.fixture(scope="module")
def ray() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        if os.environ.get(RAY_REQUIRED):
            pytest.fail(f"{RAY_REQUIRED} is set but Ray is not installed")
        pytest.skip("Ray is not installed: pip install 'headstream[cluster]'")
    return ray


@pytest.fixture
def cluster(ray: Any) -> Iterator[Any]:
    """A running cluster: a node to talk to without a CPU for workers, and two of one CPU each."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    made = Cluster(initialize_head=True, head_node_args=node)
    nodes = [made.add_node(num_cpus=1, object_store_memory=80 * 2**20) for _ in range(2)]
    made.wait_for_nodes()
    yield made, nodes
    ray.shutdown()
    made.shutdown()


def results(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*.png")}


@pytest.mark.slow
def test_a_lost_node_costs_nothing(cluster: Any, clip: Path, long_clip: Path, photo: Path, tmp_path: Path) -> None:
    running, nodes = cluster
    copies(clip, tmp_path / "in", *[f"clip{k}.mp4" for k in range(6)])
    copies(long_clip, tmp_path / "in", "long1.mp4", "long2.mp4")
    copies(photo, tmp_path / "in", "p.jpg")
    (tmp_path / "in" / "bad.mp4").write_text("words")
    lost: list[Any] = []

    def lose_a_node(now: BatchProgress) -> None:
        if now.done >= 5 and not lost:
            lost.append(nodes.pop())
            running.remove_node(lost[0], allow_graceful=False)

    wish = Wish(format="png")
    out = tmp_path / "ray"
    job = BatchJob((str(tmp_path / "in"),), str(out), wish, ray=running.address)
    report = run_batch(job, lose_a_node)
    assert lost
    assert report.workers == 2
    assert [o.input for o in report.outcomes if o.state != "done"] == [str(tmp_path / "in" / "bad.mp4")]
    run_batch(BatchJob(job.inputs, str(tmp_path / "local"), wish, workers=1))
    assert results(out) == results(tmp_path / "local")
    assert len(results(out)) == 6 * 4 + 2 * 40 + 3


@pytest.mark.slow
def test_a_film_in_pieces(cluster: Any, film: Path, tmp_path: Path) -> None:
    running, nodes = cluster
    lost: list[Any] = []
    out = tmp_path / "ray"

    def lose_a_node(now: BatchProgress) -> None:
        if not lost and there(out, ".packets"):
            lost.append(nodes.pop())
            running.remove_node(lost[0], allow_graceful=False)

    job = BatchJob((str(film),), str(out), Wish(format="mkv"), ray=running.address, split_s=2.0)
    report = run_batch(job, lose_a_node)
    assert lost
    assert report.workers == 2
    assert "put together from 3 pieces" in report.outcomes[0].notes
    run_batch(BatchJob(job.inputs, str(tmp_path / "local"), job.wish, workers=1, split_s=2.0))
    assert (out / "film.mkv").read_bytes() == (tmp_path / "local" / "film.mkv").read_bytes()
    assert not (out / ".headstream" / "pieces").exists()


@pytest.mark.slow
def test_a_lost_node_is_not_told_on_stdout(cluster: Any, long_clip: Path, tmp_path: Path) -> None:
    """Where one JSON object belongs. In a process of its own, that has not yet imported Ray."""
    running, nodes = cluster
    copies(long_clip, tmp_path / "in", *[f"long{k}.mp4" for k in range(6)])
    command = [sys.executable, "-m", "headstream", "batch", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    command += ["--format", "mkv", "--ray", running.address, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not there(tmp_path / "out", ".mkv"):
        time.sleep(0.05)
    running.remove_node(nodes.pop(), allow_graceful=False)
    out, err = process.communicate(timeout=200)
    assert (process.returncode, len(err.splitlines())) == (0, 1), err
    assert json.loads(out)["done"] == 6


@pytest.mark.slow
def test_what_is_broken_off_leaves_no_work(cluster: Any, long_clip: Path, tmp_path: Path) -> None:
    """Actors end in their own time, and what they were at goes when they are gone."""
    running, _ = cluster
    copies(long_clip, tmp_path / "in", "a.mp4", "b.mp4", "c.mp4")
    out = tmp_path / "out"

    def stop(now: BatchProgress) -> None:
        if now.done == 1 and there(out, ".part.mkv"):
            raise KeyboardInterrupt

    job = BatchJob((str(tmp_path / "in"),), str(out), Wish(format="mkv"), ray=running.address)
    assert run_batch(job, stop).interrupted
    assert sorted(path.name for path in (out / ".headstream").iterdir()) == ["results"]


@pytest.mark.slow
def test_on_this_machine_alone(ray: Any, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copies(clip, tmp_path / "in", "a.mp4", "b.mp4")
    command = ["batch", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--format", "mkv", "--ray", "local"]
    for _ in range(2):  # a cluster that is gone does not stand in the next one's way
        assert main([*command, "--workers", "1", "--json", "--no-resume"]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["done"] == 2
        assert len(err.splitlines()) == 1, err
        assert not ray.is_initialized()
    assert not (tmp_path / "out" / ".headstream" / "work").exists()


@pytest.mark.slow
def test_on_this_machine_nothing_reaches_for_the_network(ray: Any, clip: Path, tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    log = tmp_path / "calls"
    command = ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(log), sys.executable, "-m", "headstream"]
    command += ["batch", str(clip), "--out", str(tmp_path / "out"), "--format", "mkv", "--ray", "local"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    if "PTRACE" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    calls = [line for line in log.read_text().splitlines() if "AF_INET" in line]
    assert [c for c in calls if not re.search(r'"(::ffff:)?127\.|"::1?"', c)] == []


@pytest.mark.slow
def test_a_cluster_that_can_never_cut_is_not_waited_for(
    cluster: Any, ray: Any, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    job = BatchJob((str(clip),), str(out), Wish(format="mkv"), ray=cluster[0].address, gpus=0.5)
    words = r"no room for a worker, which takes 1 CPU and 0\.5 GPU: there are 2 CPUs and 0 GPUs; name the --workers"
    with pytest.raises(UsageError, match=words):
        run_batch(job)
    monkeypatch.setattr(ray, "__version__", "2.0.0")
    with pytest.raises(UsageError, match=r"no cluster can be joined there: Version mismatch"):
        run_batch(replace(job, gpus=None))
    assert not ray.is_initialized()
    assert not out.exists()


@pytest.mark.slow
def test_a_gpu_this_machine_has_not_is_not_waited_for(ray: Any, clip: Path, tmp_path: Path) -> None:
    job = BatchJob((str(clip),), str(tmp_path / "out"), Wish(format="mkv"), ray="local", gpus=1000, workers=1)
    with pytest.raises(UsageError, match="--ray local: no room for a worker, which takes 1 CPU and 1000 GPU"):
        run_batch(job)
    assert not ray.is_initialized()


@pytest.mark.parametrize("gpus", [-1, 1.5, float("nan"), float("inf")])
def test_shares_of_a_gpu_that_ray_has_not(gpus: float, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a share of a GPU, 0 to 1, or a whole number of them"):
        run_batch(BatchJob((str(clip),), str(tmp_path / "out"), Wish(format="mkv"), ray="local", gpus=gpus))


def test_nobody_at_the_address(ray: Any, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--ray 127.0.0.1:1: no cluster answers there"):
        run_batch(BatchJob((str(clip),), str(tmp_path / "out"), Wish(format="mkv"), ray="127.0.0.1:1"))
    assert not (tmp_path / "out").exists()


def test_memory_is_out_of_other_machines_reach(clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(UsageError, match="memory:// is out of reach"):
        run_batch(BatchJob((str(clip),), "memory://out", Wish(format="mkv"), ray="local"))


def test_without_ray_the_message_says_what_to_install(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    command = ["batch", str(clip), "--out", str(tmp_path), "--format", "mkv", "--ray", "local"]
    assert main(command) == 2
    assert "pip install 'headstream[cluster]'" in capsys.readouterr().err
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
