"""What the doctor finds broken or missing, and that it looks at all there is."""

from __future__ import annotations

from typing import Any

import pytest

from headstream import doctor
from headstream.doctor import Finding
from headstream.errors import ModelError
from headstream.segment.registry import ModelCard


@pytest.mark.parametrize(("heads", "state"), [(0, "broken"), (1, "ok"), (2, "broken")])
def test_the_portrait_has_one_head(monkeypatch: pytest.MonkeyPatch, heads: int, state: str) -> None:
    monkeypatch.setattr("headstream.api.cut_image", lambda path: [None] * heads)
    assert [row.state for row in doctor._inference()] == [state]


def test_damaged_weights_are_broken_and_the_others_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(card: ModelCard) -> None:
        if card.name == "lite":
            raise ModelError("weights lite.onnx are damaged")

    monkeypatch.setattr(ModelCard, "check", check)
    rows = {row.name: row for row in doctor._models()}
    assert (rows["lite"].state, rows["lite"].note) == ("broken", "weights lite.onnx are damaged")
    assert {row.state for name, row in rows.items() if name != "lite"} == {"ok"}


@pytest.mark.parametrize("offered", [[], ["CUDAExecutionProvider"]])
def test_a_gpu_is_tried_where_there_may_be_one_else_it_is_told_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, offered: list[str]
) -> None:
    class Runtime:
        def get_available_providers(self) -> list[str]:
            return [*offered, "CPUExecutionProvider"]

    def refused(*model: str, device: str) -> Any:
        raise ModelError(f"device {device!r} did not start")

    monkeypatch.setattr(doctor, "onnx_runtime", Runtime)
    monkeypatch.setattr(doctor, "_torch_devices", list)
    monkeypatch.setattr("headstream.segment.load.load_segmenter", refused)
    cpu, cuda = doctor._devices()
    assert (cpu.name, cpu.state) == ("cpu", "ok")
    assert (cuda.name, cuda.state) == ("cuda", "missing")
    assert ("did not start" if offered else "pip install 'onnxruntime-gpu") in cuda.note


@pytest.mark.parametrize("lacks", [False, True])
def test_nothing_is_cut_without_what_that_needs(monkeypatch: pytest.MonkeyPatch, lacks: bool) -> None:
    ran = Finding("run", "portrait", "ok", "1 head found and cut")
    monkeypatch.setattr(
        doctor, "_package", lambda name, module: Finding("package", name, "broken" if lacks else "ok", "")
    )
    for looked in ("_optional_packages", "_codecs", "_models", "_devices", "_virtual_camera"):
        monkeypatch.setattr(doctor, looked, list)
    monkeypatch.setattr(doctor, "_inference", lambda: [ran])
    last = doctor.examine()[-1]
    assert last == ran if not lacks else last.note.startswith("not tried without numpy, opencv-contrib-python")
