"""One HTML page of what became of a batch. It needs nothing beside it."""

from __future__ import annotations

from html import escape
from pathlib import Path

from headstream.batch.job import BatchReport, Outcome
from headstream.sinks.partial import whole_file

_SAID = {"done": "done", "no_head": "no head", "failed": "failed", "skipped": "done before"}
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --bad: #b3261e; --odd: #8a5a00; --good: #1b6e3c; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --odd: #ffca66; --good: #7ddc9a; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
  background: Canvas; color: CanvasText; }
h1 { font-size: 1.4rem; } ul.sums { display: flex; flex-wrap: wrap; gap: .5rem 2rem; list-style: none; padding: 0; }
ul.sums b { font-size: 1.3rem; font-variant-numeric: tabular-nums; }
div.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { position: sticky; top: 0; background: Canvas; } td.number { text-align: right; font-variant-numeric: tabular-nums; }
td.name { overflow-wrap: anywhere; min-width: 14rem; } td small { opacity: .75; display: block; }
td img { max-width: 64px; max-height: 64px; border-radius: 4px; display: block; }
.failed { color: var(--bad); } .no_head { color: var(--odd); } .done { color: var(--good); }
tr:hover { background: var(--soft); }
"""


def write_report(report: BatchReport, out: Path) -> None:
    """Write the page, failures first. Raises SinkError."""
    with whole_file(out) as part:
        part.write_text(page(report), encoding="utf-8", errors="backslashreplace")


def page(report: BatchReport) -> str:
    """The page's HTML; every name and reason in it is escaped."""
    order = {"failed": 0, "no_head": 1}
    rows = sorted(report.outcomes, key=lambda outcome: order.get(outcome.state, 2))
    frames = sum(outcome.frames for outcome in report.outcomes if outcome.state != "skipped")
    missing = report.total - len(report.outcomes)
    sums = [(report.count(state), word) for state, word in _SAID.items()]  # type: ignore[arg-type]
    sums += [(missing, "not reached")] if missing else []
    listed = "".join(f"<li><b>{count}</b> {word}</li>" for count, word in sums)
    ended = "Interrupted after" if report.interrupted else "Ran for"
    rate = f", {frames / report.seconds:.1f} frames/s" if frames and report.seconds else ""
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>headstream batch</title><style>{_STYLE}</style>\n<h1>{report.total} inputs</h1>\n"
        f'<ul class="sums">{listed}</ul>\n<p>{ended} {_time(report.seconds)} on {report.workers} '
        f"worker{'s' if report.workers != 1 else ''}; {frames} frames{rate}.</p>\n"
        '<div class="wide"><table><thead><tr><th scope="col">head<th scope="col">input<th scope="col">state'
        '<th scope="col">frames<th scope="col">with a head<th scope="col">seconds<tbody>\n'
        + "\n".join(_row(outcome) for outcome in rows)
        + "\n</table></div></html>\n"
    )


def _row(outcome: Outcome) -> str:
    picture = f'<img alt="" src="{escape(outcome.thumbnail)}">' if outcome.thumbnail.startswith("data:image/") else ""
    below = outcome.reason or ", ".join(out["name"] for out in outcome.outputs)
    notes = "".join(f"<small>{escape(note)}</small>" for note in outcome.notes)
    tries = f"<small>{outcome.tries} tries</small>" if outcome.tries > 1 else ""
    return (
        f'<tr><td>{picture}<td class="name">{escape(outcome.input)}<small>{escape(below)}</small>{notes}'
        f'<td class="{outcome.state}">{_SAID[outcome.state]}{tries}<td class="number">{outcome.frames}'
        f'<td class="number">{outcome.frames_with_head}<td class="number">{outcome.seconds:.1f}'
    )


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
