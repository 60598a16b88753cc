"""The review page: one HTML file that needs nothing beside it, light and dark, readable without a script."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from headstream.review.collect import Entry, Review
from headstream.review.doubts import MEANING, Reason
from headstream.sinks.partial import whole_file

_TITLES: dict[Reason, str] = {
    "head_lost": "head lost",
    "person_switched": "another person",
    "unstable": "matte jumped",
    "cropped": "cut off by the crop",
    "low_fill": "face not filled",
    "filled_in": "filled in",
    "face_not_seen": "face not seen",
}
_STYLE = """
:root { color-scheme: light dark; --back: #fafafa; --card: #fff; --text: #1c1e21; --faint: #667; --line: #dcdfe4; --good: #0a7a3f;
  --bad: #b3261e; --chip: #eef0f3; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14161a; --card: #1d2026; --text: #e7e9ec; --faint: #99a1ad; --line: #343a44; --good: #56d38f;
    --bad: #ff8a80; --chip: #2a2f38; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1500px; padding: 24px; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 4px; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 28px 0 10px; }
p { color: var(--faint); margin: 4px 0; } p.good { color: var(--good); font-size: 1.1rem; }
table { border-collapse: collapse; background: var(--card); font-variant-numeric: tabular-nums; }
th, td { border: 1px solid var(--line); padding: 6px 10px; text-align: left; } td.n { text-align: right; }
svg { width: 100%; height: 34px; display: block; background: var(--card); border: 1px solid var(--line); border-radius: 6px; }
svg rect { fill: var(--bad); }
.places { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 460px), 1fr)); gap: 16px; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px; }
article:target { outline: 2px solid var(--bad); }
h3 { font-size: 1rem; margin: 0 0 4px; font-variant-numeric: tabular-nums; }
.pictures { display: flex; gap: 8px; align-items: flex-start; margin: 8px 0; }
.pictures img { min-width: 0; max-width: 100%; max-height: 240px; object-fit: contain; border-radius: 4px; }
.chip { display: inline-block; background: var(--chip); border-radius: 999px; padding: 1px 10px; margin: 2px 4px 2px 0; }
"""


def clock(seconds: float) -> str:
    """h:mm:ss.mmm"""
    total = round(seconds * 1000)
    return f"{total // 3600000}:{total // 60000 % 60:02d}:{total // 1000 % 60:02d}.{total % 1000:03d}"


def write_page(out: Path, film: str, review: Review) -> None:
    """Write what ``review`` has gathered of the film called so. Raises SinkError."""
    with whole_file(out) as part:
        part.write_text(page(film, review), encoding="utf-8", errors="backslashreplace")


def page(film: str, review: Review) -> str:
    """The page as text."""
    entries = review.entries()
    name = escape(film)
    body = [f"<h1>Frames to look at: {name}</h1>", f"<p>{_summary(review)}</p>"]
    if entries:
        body += [_strip(entries, review.end_s), _table(review), "<h2>Places, the worst first</h2>"]
        body.append("<p>The yellow line is where the matte ends. Pictures show the worst frame of each place.</p>")
        if review.places > len(entries):
            body.append(f"<p>{review.places - len(entries)} more places, less bad than these, are not shown.</p>")
        body += ['<div class="places">', *(_place(number, entry) for number, entry in enumerate(entries, 1)), "</div>"]
    elif review.frames:
        body.append('<p class="good">Nothing to look at: no frame is in doubt.</p>')
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Frames to look at: {name}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _summary(review: Review) -> str:
    if not review.doubtful:
        return f"{review.frames:,} frames, {clock(review.end_s)} long."
    share = 100 * review.doubtful / review.frames
    places = "1 place" if review.places == 1 else f"{review.places:,} places"
    return f"{places}: {review.doubtful:,} of {review.frames:,} frames ({share:.1f} %) are in doubt."


def _strip(entries: list[Entry], end_s: float) -> str:
    """The film from left to right, its doubtful places marked; each mark leads to its entry."""
    length = max(end_s, 1e-3)
    marks = []
    for number, entry in enumerate(entries, 1):
        x = 1000 * entry.first[1] / length
        wide = max(3.0, 1000 * (entry.last[1] - entry.first[1]) / length)
        opacity = 0.35 + 0.65 * entry.score
        marks.append(
            f'<a href="#p{number}"><rect x="{min(x, 1000 - wide):.1f}" width="{wide:.1f}" y="0" height="10" '
            f'opacity="{opacity:.2f}"><title>{clock(entry.worst[1])}: {_reasons(entry)}</title></rect></a>'
        )
    label = "Where in the film the doubtful places are"
    return (
        f'<h2>Where</h2><svg viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label="{label}">'
        + "".join(marks)
        + f"</svg><p>0:00:00.000 to {clock(end_s)}, from left to right.</p>"
    )


def _table(review: Review) -> str:
    rows = [
        f'<tr><td>{_TITLES[reason]}</td><td class="n">{review.counts[reason]:,}</td><td>{escape(meaning)}</td></tr>'
        for reason, meaning in MEANING.items()
        if review.counts[reason]
    ]
    head = "<thead><tr><th>doubt</th><th>frames</th><th>what it means</th></tr></thead>"
    return f"<h2>Why</h2><table>{head}<tbody>{''.join(rows)}</tbody></table>"


def _reasons(entry: Entry) -> str:
    return ", ".join(_TITLES[reason] for reason, _ in entry.reasons.most_common())


def _place(number: int, entry: Entry) -> str:
    (first, first_s), (last, last_s), (worst, worst_s) = entry.first, entry.last, entry.worst
    span = f"{clock(first_s)} to {clock(last_s)}" if last > first else clock(first_s)
    frames = (
        f"frames {first:,} to {last:,}, the worst {worst:,} at {clock(worst_s)}" if last > first else f"frame {first:,}"
    )
    chips = "".join(
        f'<span class="chip">{_TITLES[reason]}, {"1 frame" if count == 1 else f"{count:,} frames"}</span>'
        for reason, count in entry.reasons.most_common()
    )
    pictures = _image(entry.whole, f"frame {worst}")
    if entry.near and entry.near_px:
        x0, y0, x1, y1 = entry.near_px
        pictures += _image(entry.near, f"the head from near: x {x0} to {x1}, y {y0} to {y1} of the frame")
    return (
        f'<article id="p{number}"><h3>{number}. {span}</h3><p>{frames}</p>'
        f'<div class="pictures">{pictures}</div><div>{chips}</div></article>'
    )


def _image(jpeg: bytes, alt: str) -> str:
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" alt="{alt}" title="{alt}">'
