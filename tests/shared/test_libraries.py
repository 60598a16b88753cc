"""Libraries that do not load: every command says which, why and how to get it, and `headstream doctor` runs all the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headstream.shared.libraries import remedy

NO_GL = "libGL.so.1: cannot open shared object file: No such file or directory"
APT = "apt install libgl1 libegl1 libgles2 libglib2.0-0"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_without(tmp_path: Path) -> Run:
    """Runs a command in a process where a package raises what it is told to, as one on a bare machine does."""

    def run(package: str, raised: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        (tmp_path / "lacking").mkdir()
        (tmp_path / "lacking" / f"{package}.py").write_text(f"print('a chat on stdout')\nraise {raised}\n")
        path = os.pathsep.join([str(tmp_path / "lacking"), str(Path(__file__).resolve().parents[2])])
        command = [sys.executable, "-m", "headstream", *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": path}
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, cwd=tmp_path)

    return run


def test_the_doctor_says_what_is_missing_and_how_to_get_it(run_without: Run) -> None:
    done = run_without("cv2", f"ImportError({NO_GL!r})", "doctor", "--json")
    assert done.returncode == 1, done.stderr
    found = {row["name"]: row for row in json.loads(done.stdout)["findings"]}
    assert found["opencv-contrib-python"]["state"] == "broken"
    assert NO_GL in found["opencv-contrib-python"]["note"]
    assert APT in found["opencv-contrib-python"]["note"]
    assert found["portrait"]["note"] == "not tried without opencv-contrib-python"
    assert found["av"]["state"] == found["lite"]["state"] == "ok"


def test_without_numpy_the_doctor_still_runs(run_without: Run) -> None:
    done = run_without("numpy", "ModuleNotFoundError(\"No module named 'numpy'\", name='numpy')", "doctor")
    assert done.returncode == 1
    (row,) = (line for line in done.stdout.splitlines() if line.split()[:3] == ["broken", "package", "numpy"])
    assert "numpy does not load (No module named 'numpy'); pip install 'numpy" in row


def test_help_needs_nothing(run_without: Run) -> None:
    done = run_without("cv2", f"ImportError({NO_GL!r})", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "doctor" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("demo",),
        ("image", "a.jpg", "--out", "cut"),
        ("video", "a.mp4", "--out", "a.mov"),
        ("batch", "a.mp4", "--out", "cut"),
        ("live", "--camera", "a.mp4", "--record", "a.mov"),
        ("track", "a.mp4", "--out", "a.json"),
        ("bench", "model"),
    ],
)
def test_a_command_that_needs_it_ends_with_one_line(run_without: Run, arguments: tuple[str, ...]) -> None:
    done = run_without("cv2", f"ImportError({NO_GL!r})", *arguments)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"headstream: cv2 does not load ({NO_GL})")
    assert APT in line
    assert done.returncode == 1


def test_what_the_command_line_is_made_of_may_be_missing_too(run_without: Run) -> None:
    done = run_without("typer", "ModuleNotFoundError(\"No module named 'typer'\", name='typer')", "--help")
    (line,) = done.stderr.splitlines()
    assert "typer does not load (No module named 'typer'); pip install 'typer" in line
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), "cv2 does not load .*; pip install 'opencv-contrib-python"),
        (ModuleNotFoundError("No module named 'PIL'", name="PIL.Image"), "PIL does not load .*; pip install 'pillow"),
        (ImportError("libfoo.so.7: cannot open shared object file", name="av._core"), "holds libfoo.so.7$"),
        (ImportError("undefined symbol: _Z3foo", name="numpy.core"), r"--force-reinstall --no-deps 'numpy==\d[\w.]+'$"),
        (OSError("libEGL.so.1: cannot open shared object file"), f"{APT}$"),
        (ImportError("nobody knows"), "^a library does not load .*README says$"),
    ],
)  # fmt: skip
def test_each_has_its_own_remedy(error: Exception, words: str) -> None:
    assert re.search(words, remedy(error))
