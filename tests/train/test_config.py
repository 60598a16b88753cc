"""The training configuration, as its document has it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from headstream.errors import UsageError
from headstream.train.config import DataConfig, TrainConfig, _frozen, load_config, tomllib
from headstream.train.picture import CELEBA_PARTS

DOCUMENT = Path(__file__).parents[2] / "docs" / "training.md"


@pytest.mark.parametrize(
    ("heading", "kind", "tables"), [("key", TrainConfig, {"data"}), ("key of `[[data]]`", DataConfig, set())]
)
def test_the_document_tells_all_settings_and_their_defaults(heading: str, kind: type, tables: set[str]) -> None:
    table = DOCUMENT.read_text(encoding="utf-8").partition(f"| {heading} | default |")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| `?(.+?)`? \|", table, re.MULTILINE))
    fields = {field.name: field.default for field in dataclasses.fields(kind) if field.name not in tables}
    words = {"needed": dataclasses.MISSING, "none": None}
    told = {name: words[x] if x in words else _frozen(tomllib.loads(f"x = {x}")["x"]) for name, x in rows.items()}
    assert told == fields


class TestConfig:
    def check(self, tmp_path: Path, text: str, words: str) -> None:
        (tmp_path / "c.toml").write_text(text)
        with pytest.raises(UsageError, match=words):
            load_config(tmp_path / "c.toml")

    def test_problems_are_named(self, tmp_path: Path) -> None:
        self.check(tmp_path, "steps = ", "is not TOML")
        self.check(tmp_path, "steps = " + "[" * 10_000, "is not TOML")
        self.check(tmp_path, "steps = " + "9" * 5000, "is not TOML")
        self.check(tmp_path, "stesp = 5", "unknown key 'stesp'; known: data, net")
        self.check(tmp_path, "steps = 5", "names no data set")
        self.check(tmp_path, "batch = true", "batch = True: expected a whole number")
        self.check(tmp_path, "ema = false", "ema = False: expected a number")
        self.check(tmp_path, "teacher_weight = 2.0", r"c\.toml: teacher_weight = 2\.0: expected 0")
        with pytest.raises(UsageError, match="ema = 1: expected .* below 1"):
            TrainConfig(ema=1)
        self.check(tmp_path, '[[data]]\nkind = "hair"', "'folder' is missing")
        with pytest.raises(UsageError, match="cannot read"):
            load_config(tmp_path / "none.toml")

    def test_whole_numbers_and_the_ends_of_ranges_are_values_too(self, tmp_path: Path) -> None:
        text = "ema = 0\nencoder_lr = 0\nteacher_weight = 1\nsizes = [[0, 64]]\n"
        (tmp_path / "c.toml").write_text(text + '[[data]]\nkind = "hair"\nfolder = "h"\nweight = 2\n')
        config = load_config(tmp_path / "c.toml", teacher_weight=0)
        assert (config.ema, config.encoder_lr, config.teacher_weight, config.data[0].weight) == (0, 0, 0, 2)
        assert config.sizes == ((0, 64),)

    def test_planes_weigh_as_told_or_the_head_most(self) -> None:
        for config, weights in (
            (TrainConfig(), (1.0, 0.5, 0.25)),
            (TrainConfig(plane_weights=(1.0, 2.0, 3.0)), (1.0, 2.0, 3.0)),
            (TrainConfig(net="custom-cnn"), (1.0,)),
            (TrainConfig(target="hair"), (1.0,)),
            (TrainConfig(target="parts"), (1.0,) * len(CELEBA_PARTS)),
        ):
            assert config.weights == weights
        with pytest.raises(UsageError, match="plane_weights has 2 numbers for 3 outputs"):
            _ = TrainConfig(plane_weights=(1.0, 2.0)).weights

    def test_sizes_grow_on_the_way(self) -> None:
        config = TrainConfig(steps=100, sizes=((0.0, 64), (0.5, 96)))
        assert [config.size_at(s) for s in (0, 49, 50, 99)] == [64, 64, 96, 96]

    def test_the_shipped_configurations_load(self) -> None:
        folder = Path(__file__).resolve().parents[2] / "configs"
        for path in folder.glob("*.toml"):
            for data in load_config(path).data:
                for held in data.hold_out:
                    assert (folder / held).is_file()
