"""From data sets to samples: what is kept in memory, what is drawn, in which order."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from headstream.train.config import load_config  # noqa: E402
from headstream.train.data import DataSet  # noqa: E402
from headstream.train.loader import (  # noqa: E402
    Backdrops,
    PictureCache,
    SampleDataset,
    _told_unless_left,
)
from headstream.train.picture import HAIR, HEAD, Picture  # noqa: E402
from headstream.train.sets import open_data  # noqa: E402
from tests.train.made import SIDE, face  # noqa: E402


def test_a_worker_does_not_tell_that_nobody_takes_its_samples(capsys: pytest.CaptureFixture[str]) -> None:
    """After Ctrl-C; what else goes wrong in its threads is told."""
    for error in (ConnectionResetError(104, "Connection reset by peer"), EOFError()):
        _told_unless_left(type(error), error, None)
    assert capsys.readouterr().err == ""
    _told_unless_left(ValueError, ValueError("another matter"), None)
    assert "another matter" in capsys.readouterr().err


class TestPictureCache:
    def test_what_fits_is_read_once(self, sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        data = DataSet("celebamask", sets / "faces")
        picture = data.load("00")
        assert picture.person is not None
        size = sum(x.nbytes for x in (picture.rgb, picture.target, picture.known, picture.person))
        read: list[str] = []
        load = DataSet.load

        def noted(self: DataSet, name: str) -> Picture:
            read.append(name)
            return load(self, name)

        monkeypatch.setattr(DataSet, "load", noted)
        cache = PictureCache(3 * size)
        first = {name: cache.load(data, name) for name in data.names}
        again = {name: cache.load(data, name) for name in data.names}
        assert read == [*data.names, *data.names[3:]]
        assert all((again[name].rgb == first[name].rgb).all() for name in data.names)

    def test_sets_of_one_folder_are_kept_apart(self, sets: Path, tmp_path: Path) -> None:
        Image.new("RGB", (SIDE, SIDE), (100, 0, 250)).save(tmp_path / "00.png")
        (tmp_path / "both").mkdir()
        for name, source in (("images", "hairs/images"), ("hair", "hairs/hair"), ("masks", "hairs/hair")):
            (tmp_path / "both" / name).symlink_to(sets / source)
        hair = DataSet("hair", tmp_path / "both")
        alike = [
            hair,
            dataclasses.replace(hair, pseudo=tmp_path),
            dataclasses.replace(hair, pseudo=tmp_path, pseudo_unsure=0.1),
            dataclasses.replace(hair, kind="masks"),
            dataclasses.replace(hair, kind="masks", plane="body"),
        ]
        cache = PictureCache(10**8)
        for data in alike:
            kept, read = cache.load(data, "00"), data.load("00")
            assert (kept.target == read.target).all()
            assert (kept.known == read.known).all()
        assert cache.load(alike[0], "00") is cache.load(dataclasses.replace(hair, weight=2.0), "00")

    def test_samples_do_not_depend_on_it(self, sets: Path, config: Path, tmp_path: Path) -> None:
        def samples(cache_mb: int) -> list[tuple[Any, ...]]:
            settings = load_config(config, cache_mb=cache_mb)
            data = SampleDataset(settings, open_data(settings, sets, tmp_path, tmp_path / "cache"))
            return [data[k] for k in range(12)] + [data[k] for k in range(12)]  # the second time from the cache

        for a, b in zip(samples(0), samples(100), strict=True):
            assert all((x == y).all() for x, y in zip(a, b, strict=True))


class TestSamples:
    def made(self, config: Path, sets: Path, out: Path, **changes: Any) -> SampleDataset:
        settings = dataclasses.replace(load_config(config), plane_weights=(), **changes)
        return SampleDataset(settings, open_data(settings, sets, config.parent, out))

    def test_they_grow_with_the_step(self, sets: Path, config: Path, tmp_path: Path) -> None:
        made = self.made(config, sets, tmp_path, sizes=((0.0, 32), (0.5, 64)))
        assert len(made) == 8 * 4
        assert [made[k][0].shape[1] for k in (0, 15, 16, 31)] == [32, 32, 64, 64]

    def test_they_show_what_is_to_be_learnt(self, sets: Path, config: Path, tmp_path: Path) -> None:
        three, hair = (
            self.made(config, sets, tmp_path, net=net, target=target)
            for net, target in (("lite", "head"), ("custom-cnn", "hair"))
        )
        for k in range(8):
            (rgb, target, known), (same, only, sure) = three[k], hair[k]
            assert torch.equal(rgb, same)
            assert torch.equal(target[HAIR : HAIR + 1], only)
            assert torch.equal(known[HAIR : HAIR + 1], sure)

    def test_sets_are_drawn_by_their_weights(self, sets: Path, config: Path, tmp_path: Path) -> None:
        data = load_config(config).data
        for weights, everywhere in (((1.0, 0.0, 0.0), True), ((0.0, 1.0, 0.0), False)):
            entries = tuple(dataclasses.replace(x, weight=w) for x, w in zip(data, weights, strict=True))
            made = self.made(config, sets, tmp_path, data=entries)
            known = [bool((made[k][2][HEAD] == 255).all()) for k in range(12)]
            assert known == [True] * 12 if everywhere else known.count(False) >= 9  # now and then there is nobody

    def test_backgrounds_are_where_nobody_is_for_certain(self, sets: Path) -> None:
        """Smooth noise of 64 px where nothing else is found."""
        plain = {tuple(face(k)[0][0, 0]) for k in range(6)}
        rng = np.random.default_rng(0)
        for kind, folder, some in (("celebamask", "faces", True), ("hair", "hairs", False)):
            draw = Backdrops((DataSet(kind, sets / folder),))
            found = [window for window in (draw(rng) for _ in range(40)) if window.shape != (64, 64, 3)]
            assert bool(found) == some
            for window in found:
                assert np.mean([tuple(pixel) in plain for pixel in window.reshape(-1, 3)]) > 0.97
