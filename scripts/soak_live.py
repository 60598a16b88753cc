#!/usr/bin/env python3
"""Live cutting for a long time: resident memory, frames a second, latency, as a picture and as figures.

    scripts/soak_live.py --minutes 20 --out runs/soak [--size 1280x720] [--fps 30]

Everything that a call uses runs: a paced synthetic webcam, the pipeline, a virtual camera of pyvirtualcam's interface that
counts, and the overlay with a page that watches. Writes soak.png and soak.csv; the exit status is 1 if memory grew by more
than 5 % between the second minute and the end.
"""

from __future__ import annotations

import argparse
import csv
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from headstream.bench import swaying_portrait
from headstream.capture.synthetic import SyntheticCamera
from headstream.cli.options import parse_size
from headstream.live.cutting import LiveCutter, LiveStatus
from headstream.live.outputs import Output, run_live
from headstream.pipeline import HeadCutter
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.sinks.behind import BlurredScene
from headstream.sinks.vcam import VirtualCameraSink
from headstream.track.finder import FaceFinder
from headstream.types import Cutout
from headstream.web.overlay import OverlaySink


class CountingCamera:
    """A backend of pyvirtualcam that takes pictures and forgets them."""

    def __init__(self, *, device: str | None, **more: Any) -> None:
        self.sent = 0

    def send(self, frame: np.ndarray[Any, Any]) -> None:
        self.sent += 1

    def device(self) -> str:
        return "counter"

    def native_fourcc(self) -> int | None:
        return None

    def close(self) -> None:
        """Nothing to free."""


def rss_mb() -> float:
    """Resident memory of this process now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * 4096 / 1e6


def watch(url: str, stop: threading.Event) -> None:
    """What a browser source does: takes the overlay's messages, until it closes."""
    address = url.replace("http", "ws").replace("/overlay", "/ws/overlay")
    with connect(address, max_size=None) as socket:
        while not stop.is_set():
            try:
                socket.recv(timeout=0.5)
            except TimeoutError:
                continue
            except ConnectionClosed:
                return


def soak(size_px: tuple[int, int], fps: float, minutes: float) -> tuple[list[list[float]], dict[str, Any]]:
    """Rows of (minutes, rss, frames/s, latency ms), and what it came to."""
    from pyvirtualcam import camera

    camera.register_backend("counter", CountingCamera)
    rate = Fraction(fps).limit_denominator(1001)
    source = SyntheticCamera(swaying_portrait(size_px), rate, minutes * 60)
    rows: list[list[float]] = []
    stop = threading.Event()
    overlay = OverlaySink(0)
    outputs = [
        Output("virtual camera", VirtualCameraSink(size_px, rate, background=BlurredScene(), backend="counter")),
        Output("overlay", overlay),
    ]
    watcher = threading.Thread(target=watch, args=(overlay.url, stop))
    watcher.start()
    started = time.monotonic()

    def each(cutout: Cutout, status: LiveStatus) -> bool:
        passed = time.monotonic() - started
        if passed >= len(rows) * 5:
            rows.append([passed / 60, rss_mb(), status.fps, status.latency_ms])
            if len(rows) % 12 == 0:
                print("  ".join(f"{value:.1f}" for value in rows[-1]), file=sys.stderr)
        return True

    try:
        with FaceFinder(models_dir()) as finder:
            cutter = LiveCutter(source, HeadCutter(load_segmenter(fast=True), finder))
            status = run_live(cutter, outputs, each=each)
    finally:
        stop.set()
        watcher.join()
    told = {"made": source.made, "cut": status.frames, "late": {o.name: o.dropped for o in outputs}}
    return rows, told


def main() -> int:
    """Parse, run, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--fps", type=float, default=30)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows, told = soak(parse_size(options.size), options.fps, options.minutes)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "soak.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["minutes", "rss_mb", "fps", "latency_ms"])
        writer.writerows([[round(value, 3) for value in row] for row in rows])
    table = np.array(rows)
    draw(table, options.out / "soak.png")
    warm = table[table[:, 0] >= min(2.0, options.minutes / 4)]
    growth = warm[-6:, 1].mean() / warm[:6, 1].mean() - 1
    print(f"{told}; memory {warm[:6, 1].mean():.0f} -> {warm[-6:, 1].mean():.0f} MB ({100 * growth:+.1f} %)")
    return 1 if growth > 0.05 else 0


def draw(table: np.ndarray[Any, Any], path: Path) -> None:
    """Memory, frames a second and latency over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 1, sharex=True, figsize=(8, 6), layout="constrained")
    for axis, column, name in zip(axes, (1, 2, 3), ("resident memory, MB", "frames/s", "latency, ms"), strict=True):
        axis.plot(table[:, 0], table[:, column], linewidth=1)
        axis.set_ylim(0, None)
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("minutes")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
