"""What takes most of a short run's time and is the same in every one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.train.made import face, settings_in


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


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of the kinds headstream trains on, with face boxes already found."""
    root = tmp_path_factory.mktemp("data")
    for kind, folder in (("faces", "labels"), ("hairs", "hair"), ("bodies", "labels")):
        for sub in ("images", folder):
            (root / kind / sub).mkdir(parents=True, exist_ok=True)
        for index in range(6):
            rgb, label = face(index)
            Image.fromarray(rgb).save(root / kind / "images" / f"{index:02d}.png")
            truth = label
            if kind == "hairs":
                truth = np.where(label == 13, 255, 0).astype(np.uint8)
            if kind == "bodies":  # null, hair, skin, shirt
                truth = np.select([label == 13, np.isin(label, [1, 17]), label == 18], [1, 2, 3], 0).astype(np.uint8)
            Image.fromarray(truth).save(root / kind / folder / f"{index:02d}.png")
    (root / "bodies" / "labels.txt").write_text("null\nhair\nskin\nshirt\n")
    return root


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return settings_in(tmp_path)
