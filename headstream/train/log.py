"""The run's log: a row for each evaluation, as CSV, as a picture and for TensorBoard."""

from __future__ import annotations

import contextlib
import csv
import logging
from pathlib import Path
from typing import Any

from headstream.errors import UsageError
from headstream.shared.disk import rename
from headstream.sinks.partial import whole_file

log = logging.getLogger(__name__)


class RunLog:
    """log.csv and curves.png in a run's folder and, where asked for, TensorBoard's files below tensorboard/.

    Raises UsageError at once if TensorBoard is asked for and is not here.
    """

    def __init__(self, out: Path, *, tensorboard: bool = False) -> None:
        self._out = out
        self._writer = _summary_writer() if tensorboard else None

    def add(self, row: dict[str, Any]) -> None:
        """One more row; its first column is the step. None is a value that is not known. Rows from that step on, of a run that
        was taken up at an earlier one, give way to it. A log that a spreadsheet has written anew is set aside."""
        path = self._out / "log.csv"
        try:
            before = _rows(path)
        except (ValueError, KeyError, TypeError, csv.Error):
            aside = path.with_name(f"log-until-{row['step']}.csv")
            log.warning("%s is no log of a run any more: it is called %s now", path, aside.name)
            rename(path, aside)
            before = []
        rows = [*(told for told in before if int(told["step"]) < row["step"]), row]
        with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            # A run that is gone on with may score what it did not score before.
            writer = csv.DictWriter(file, list(dict.fromkeys(column for each in rows for column in each)))
            writer.writeheader()
            writer.writerows(rows)
        plot_curves(path, self._out / "curves.png")
        if self._writer is not None:
            with contextlib.closing(self._writer(str(self._out / "tensorboard"))) as board:
                for key, value in row.items():
                    if value is not None:
                        board.add_scalar(key, value, row["step"])


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "tensorboard = true needs the package tensorboard: pip install 'headstream[tensorboard]', or leave the key "
            "out: log.csv and curves.png are written all the same"
        ) from error
    return SummaryWriter


def _rows(path: Path) -> list[dict[str, Any]]:
    """Of numbers below their names; what else is there raises what reading it comes to."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows: list[dict[Any, Any]] = list(csv.DictReader(file))
    for row in rows:
        row.pop(None, None)  # earlier versions wrote fields that their header did not name
        int(row["step"])
        for value in row.values():
            float(value or 0)
    return rows


def plot_curves(path: Path, out: Path) -> None:
    """Draw loss and scores of a log (CSV with a step column) against the step, one panel each, into a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = _rows(path)
    if not rows:
        return
    columns = [c for c in rows[0] if c and c != "step"]
    across = min(len(columns), 5)
    down = -(-len(columns) // across)
    figure = Figure(figsize=(4 * across, 3.2 * down))
    FigureCanvasAgg(figure)
    # A layout that measures every label draws all of it twice.
    figure.subplots_adjust(0.15 / across, 0.16 / down, 1 - 0.04 / across, 1 - 0.1 / down, wspace=0.22, hspace=0.4)
    axes = figure.subplots(down, across, squeeze=False).flat
    for axis in axes[len(columns) :]:
        axis.set_axis_off()
    for axis, column in zip(axes, columns, strict=False):
        points = [(int(r["step"]), float(r[column])) for r in rows if r.get(column)]
        axis.plot(*zip(*points, strict=True), marker=".", linewidth=1.2)
        axis.set_title(column)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    figure.savefig(out, dpi=110)
