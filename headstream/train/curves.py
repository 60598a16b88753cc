"""The run's log as a picture."""

from __future__ import annotations

import csv
from pathlib import Path


def plot_curves(log: Path, out: Path) -> None:
    """Draw loss and scores of ``log`` (CSV with a step column) against the step, one panel each, into a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return
    columns = [c for c in rows[0] if c != "step"]
    figure = Figure(figsize=(4 * len(columns), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, column in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        points = [(int(r["step"]), float(r[column])) for r in rows if r.get(column)]
        axis.plot(*zip(*points, strict=True), marker=".", linewidth=1.2)
        axis.set_title(column)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    figure.savefig(out, dpi=110)
