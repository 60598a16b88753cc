"""The order of the house: who may import whom, what an import costs, and that nothing is sent anywhere."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import headstream
from tests.sealed import CAN_SEAL

ROOT = Path(__file__).parents[1]
PACKAGE = Path(headstream.__file__).parent
ROOMS = {"capture", "track", "segment", "matte", "sinks"}
SHARED = {"types", "errors", "timing", "shared"}
LAB_COMMANDS = {"cli/train.py", "cli/pack.py", "cli/evaluate.py", "cli/export.py"}
HEAVY = (
    "ray",
    "fsspec",
    "torch",
    "mediapipe",
    "av",
    "cv2",
    "onnxruntime",
    "PIL",
    "typer",
    "rich",
    "matplotlib",
    "numpy",
)


def imports(path: Path) -> set[str]:
    """Names below headstream that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("headstream"):
            parts = str(node.module).split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("headstream.")}
    return found


def modules(*folders: str) -> list[Path]:
    """The package's files, or those of some of its folders."""
    found = {folder: sorted((PACKAGE / folder).rglob("*.py")) for folder in folders or (".",)}
    assert all(found.values()), found
    return [path for paths in found.values() for path in paths]


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_rooms_import_only_what_is_shared(room: str) -> None:
    # The networks are torch modules without a life of their own; only the torch back-end builds them.
    allowed = SHARED | {room} | ({"nets"} if room == "segment" else set())
    for path in modules(room):
        assert imports(path) <= allowed, f"{path.name} imports {imports(path) - allowed}"


def test_shared_modules_import_no_room() -> None:
    for path in [*modules("shared"), *(PACKAGE / f"{name}.py" for name in SHARED - {"shared"})]:
        assert imports(path) <= SHARED, path


def test_what_finishes_cutouts_knows_no_pipeline() -> None:
    """Between cutting and writing: takes cut-outs, gives cut-outs."""
    for path in [*modules("fixes", "review"), PACKAGE / "films" / "lookahead.py"]:
        assert imports(path) <= SHARED | {"matte", "track", "sinks", "review", "fixes"}, path


def test_nothing_at_run_time_imports_training() -> None:
    for path in modules():
        inside = path.relative_to(PACKAGE).parts[0]
        if inside in {"train", "evaluate"} or str(path.relative_to(PACKAGE)) in LAB_COMMANDS:
            continue
        assert not imports(path) & {"train", "evaluate"}, path


def test_rooms_do_not_know_who_runs_them() -> None:
    """Batches, like the pipeline, stand above the rooms; only the command line stands above batches."""
    for path in modules():
        inside = path.relative_to(PACKAGE).parts[0]
        assert inside in {"batch", "cli"} or "batch" not in imports(path), path
        assert inside != "batch" or not imports(path) & {"cli", "web", "live", "train", "evaluate"}, path


@pytest.mark.parametrize(
    ("package", "home"),
    [
        ("fsspec", "batch/places.py"),
        ("ray", "batch/ray_pool.py"),
        ("mediapipe", "track/faces.py"),
        ("onnxruntime", "segment/runtime.py"),
        ("PIL.Image", "capture/photo.py"),
        ("pyvirtualcam", "sinks/vcam.py"),
        ("sounddevice", "capture/microphone.py"),
    ],
)
def test_optional_or_heavy_packages_have_one_home(package: str, home: str) -> None:
    name = package.split(".")[0]
    users = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(
            line.strip().startswith((f"import {name}", f"from {name}"))
            for line in path.read_text(encoding="utf-8").splitlines()
        )
    }
    assert home in users
    others = {user for user in users if not user.startswith("train/")}  # label maps are pictures too
    assert others <= {home, "doctor.py", "sinks/photo.py", "web/wire.py", "shared/imagefile.py"}


def test_importing_headstream_imports_nothing_heavy() -> None:
    code = f"import sys, headstream; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_detectors_bring_no_plotting_along() -> None:
    """MediaPipe imports matplotlib for drawings of its own, which those who want them still get."""
    code = """
import sys
from headstream.segment.registry import models_dir
from headstream.track.finder import FaceFinder
FaceFinder(models_dir()).close()
print("matplotlib" in sys.modules)
import mediapipe
print(mediapipe.tasks.vision.drawing_utils.DrawingSpec().thickness > 0, "matplotlib" in sys.modules)
print(type(mediapipe.tasks.vision.drawing_styles.get_default_hand_landmarks_style()).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["False", "True", "True", "dict"], done.stderr


def test_public_names_exist() -> None:
    for name in headstream.__all__:
        assert getattr(headstream, name) is not None
    assert set(headstream.__all__) == set(dir(headstream))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = headstream.no_such_name


def test_cutting_opens_no_socket(head_clip: Path, tmp_path: Path) -> None:
    """By Python's own sockets; those of the libraries are the seal's."""
    code = f"""
import socket, sys
opened = []
class Refused(socket.socket):
    def connect(self, address):
        opened.append(address)
        raise OSError("refused by the test")
    connect_ex = connect
socket.socket = Refused
sys.argv = ["headstream"]
from headstream.cli import main
status = main(["video", {str(head_clip)!r}, "--out", {str(tmp_path / "o.mkv")!r}])
print(status, opened)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "0 []", done.stderr


@pytest.mark.skipif(not CAN_SEAL, reason="the seal is a filter of Linux on x86-64")
@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
def test_the_seal_holds(family: str) -> None:
    code = "from tests.sealed import seal; import socket; seal(); socket.socket(socket.AF_UNIX); print('local', flush=True)"
    code += f"; socket.socket(socket.{family})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.stdout, done.returncode) == ("local\n", -signal.SIGSYS), done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not CAN_SEAL, reason="the seal is a filter of Linux on x86-64")
def test_cutting_lives_without_sockets(sealed_cut: subprocess.Popen[str]) -> None:
    """Whoever opens one of the internet, the libraries in C++ too, is ended by the kernel."""
    _, said = sealed_cut.communicate(timeout=240)
    assert sealed_cut.returncode == 0, said


def test_telemetry_is_off_before_its_library_loads() -> None:
    code = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            print(os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Watch())
import headstream
headstream.load_segmenter()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["1"], done.stderr
