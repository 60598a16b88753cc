"""What takes most of a short run's time and is the same in every one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def known_faces() -> dict[tuple[Path, int], Any]:
    """The box that was found in a picture, by its file and when that was written."""
    return {}


@pytest.fixture(autouse=True)
def _faces_once(known_faces: dict[tuple[Path, int], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of which one test had the face found is not searched for another: the answer is the same."""
    from headstream.train import faces

    real = faces._look_for_faces

    def look(data: Any, names: list[str]) -> Iterator[tuple[str, Any]]:
        for name in names:
            file = data.image_path(name)
            key = (file, file.stat().st_mtime_ns)
            if key not in known_faces:
                ((_, known_faces[key]),) = real(data, [name])
            yield name, known_faces[key]

    monkeypatch.setattr(faces, "_look_for_faces", look)


@pytest.fixture
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """For runs that are not about curves.png, which takes longer to draw than their steps."""
    monkeypatch.setattr("headstream.train.log.plot_curves", lambda log, out: None)
