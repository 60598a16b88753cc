"""How fast it is here: the whole pipeline on a file, or the network alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from headstream.capture.file import FileSource
from headstream.pipeline import CutOptions, HeadCutter, cut_stream
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.sinks.memory import CountingSink
from headstream.track.finder import FaceFinder


def bench_file(
    path: Path,
    *,
    model: str = "default",
    device: str = "auto",
    options: CutOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Decode, track, segment and matte a file without encoding; frames/s over all frames, loading left out."""
    sink = CountingSink()
    segmenter = load_segmenter(model, device=device, fast=True)
    with FileSource(path) as source, FaceFinder(models_dir()) as finder:
        cutter = HeadCutter(segmenter, finder, options)
        started = time.perf_counter()
        for cutout in cut_stream(source, cutter):
            sink.write(cutout)
            if progress is not None:
                progress(sink.frames, source.frames_expected)
        seconds = time.perf_counter() - started
        size = source.size_px
    return {
        "fps": round(sink.frames / seconds, 2),
        "frames": sink.frames,
        "frames_with_head": sink.frames_with_head,
        "seconds": round(seconds, 3),
        "size_px": list(size),
        "rss_mb": round(peak_rss_mb(), 1),
        "stages_ms": cutter.times.mean_ms(),
        "device": segmenter.device,
        "model": segmenter.card.name,
        "threads": segmenter.threads,
    }


def bench_model(
    *, model: str = "default", device: str = "auto", threads: int | None = None, runs: int = 60
) -> dict[str, Any]:
    """Median milliseconds the network takes for one crop, warm."""
    segmenter = load_segmenter(model, device=device, threads=threads)
    side = segmenter.side
    crop = np.random.default_rng(1).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    times = []
    for run in range(runs + 10):
        started = time.perf_counter()
        segmenter.predict(crop)
        if run >= 10:
            times.append(time.perf_counter() - started)
    return {
        "crop_ms": round(float(np.median(times)) * 1000, 2),
        "threads": segmenter.threads,
        "parameters": segmenter.card.details.get("parameters", 0),
        "side": side,
        "device": segmenter.device,
        "model": segmenter.card.name,
    }


def peak_rss_mb() -> float:
    """The most memory this process has held at once, in MB; 0.0 on Windows, which does not tell without more packages."""
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
