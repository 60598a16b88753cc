"""The training configuration, as its document has it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from headstream.train.config import DataConfig, TrainConfig, _frozen, tomllib

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
