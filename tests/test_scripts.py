"""Scripts that measure, run as a maintainer runs them, for a moment and on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.mark.slow
def test_bench_gpu_measures_whatever_device_there_is(head_clip: Path) -> None:
    pytest.importorskip("torch")
    command = [sys.executable, str(SCRIPTS / "bench_gpu.py"), "--device", "cpu", "--nets", "lite", "--batches", "1,2"]
    command += ["--seconds", "0.05", "--video", str(head_clip), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["card"]["matrix_tflops"] > 0
    assert [row["batch"] for row in told["nets"]] == [1, 2]
    assert all(0 < row["roofline_share"] < 1.5 and row["gflop"] > 1 for row in told["nets"])
    assert told["videos"][0]["frames"] > 0
