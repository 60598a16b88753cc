"""The page of what became of a batch."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from headstream.batch.job import BatchReport, Outcome
from headstream.batch.report import page, write_report
from headstream.errors import SinkError

EVIL = "<script>alert('x')</script>\"&.mp4"


def outcome(name: str, state: str, **more: object) -> Outcome:
    made = Outcome(name, "video", name, state)  # type: ignore[arg-type]
    for key, value in more.items():
        setattr(made, key, value)
    return made


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_names_and_reasons_are_shown_and_never_run() -> None:
    evil = outcome(EVIL, "failed", reason=f"{EVIL}: no <video> in it", notes=[EVIL], thumbnail='x" onerror="y')
    reader = _Reader()
    reader.feed(page(BatchReport(1, [evil])))
    assert "script" not in reader.tags
    assert "img" not in reader.tags
    assert reader.text.count(EVIL) == 3


def test_failures_come_first_and_nothing_is_loaded_from_elsewhere() -> None:
    picture = "data:image/jpeg;base64,AAAA"
    states = ("done", "skipped", "no_head", "failed")
    report = BatchReport(5, [outcome(f"{state}.mp4", state, frames=7, thumbnail=picture) for state in states], 3.0, 2)
    text = page(report)
    assert text.index("failed.mp4") < text.index("no_head.mp4") < text.index("done.mp4")
    assert "<b>1</b> not reached" in text
    assert "prefers-color-scheme: dark" in text
    reader = _Reader()
    reader.feed(text)
    assert set(reader.links) == {picture}


def test_a_report_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    write_report(BatchReport(0), tmp_path / "new" / "report.html")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["report.html"]
    with pytest.raises(SinkError):
        write_report(BatchReport(0), tmp_path / "new")


def test_what_was_done_before_took_no_time_and_how_it_went_is_told() -> None:
    done = [outcome("a.mp4", "done", frames=50, tries=3), outcome("b.mp4", "skipped", frames=7000)]
    text = page(BatchReport(2, done, 5.0, 1))
    assert "Ran for 5.0 s on 1 worker; 50 frames, 10.0 frames/s." in text
    assert text.count("3 tries") == 1
    assert "Interrupted after 1 h 2 min" in page(BatchReport(2, done, 3725.0, 1, interrupted=True))
    assert "Ran for 2 min 5 s on 2 workers" in page(BatchReport(2, done, 125.0, 2))
