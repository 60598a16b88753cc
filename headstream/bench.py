"""How fast it is here: the whole pipeline on a file or live, or the network alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from headstream.capture.file import FileSource
from headstream.capture.photo import read_photo
from headstream.capture.synthetic import SyntheticCamera, stamp_of
from headstream.demo import PORTRAIT, moved
from headstream.errors import UsageError
from headstream.films.foresight import file_cutter
from headstream.live.cutting import LiveCutter, LiveStatus
from headstream.live.outputs import Output, run_live
from headstream.live.pace import Pace
from headstream.pipeline import CutOptions, HeadCutter
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.shared.colour import planes_from_rgb
from headstream.sinks.memory import CountingSink
from headstream.stream import cut_stream
from headstream.track.finder import FaceFinder
from headstream.types import Colour, Cutout, Part, Planes

_PICTURES = 30  # of a synthetic webcam: a second of it


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
        cutter = file_cutter(segmenter, finder, options)
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


def bench_live(
    size_px: tuple[int, int],
    *,
    rate: Fraction = Fraction(30),
    seconds: float = 20.0,
    warm_up_s: float = 2.0,
    every: int = 1,
    model: str = "default",
    device: str = "auto",
    options: CutOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """A paced synthetic webcam through the real pipeline into a counting sink.

    All counts, fps and latency are of the ``seconds`` after ``warm_up_s``. Latency is from the moment a frame was due until
    a sink has it, by the stamp in its pixels; dropped counts the stamps that never came. cpu_percent is of one core.
    every: see ``Pace.least``.  progress: of the frames that the webcam shows, after each that is cut.
    """
    segmenter = load_segmenter(model, device=device, fast=True)
    camera = SyntheticCamera(swaying_portrait(size_px), rate, warm_up_s + seconds)
    stamps = _Stamps()
    used_s, since_s = 0.0, 0.0
    first = round(warm_up_s * rate)

    with FaceFinder(models_dir()) as finder:
        cutter = HeadCutter(segmenter, finder, options)

        def each(cutout: Cutout, status: LiveStatus) -> bool:
            nonlocal used_s, since_s
            if not since_s and cutout.frame.index >= first:
                used_s, since_s = time.process_time(), time.perf_counter()
                cutter.times.reset()
            if progress is not None:
                progress(cutout.frame.index + 1, round((warm_up_s + seconds) * rate))
            return True

        live = LiveCutter(camera, cutter, pace=Pace(1 / float(rate), least=every))
        run_live(live, [Output("counter", stamps)], each=each)
        took_s, used_s = time.perf_counter() - since_s, time.process_time() - used_s
    return _measured(camera, stamps, first, took_s, used_s) | {
        "rss_mb": round(peak_rss_mb(), 1),
        "stages_ms": cutter.times.mean_ms(),
        "network_every": live.pace.every,
        "size_px": list(size_px),
        "device": segmenter.device,
        "model": segmenter.card.name,
        "threads": segmenter.threads,
    }


class _Stamps(CountingSink):
    """When each frame of a ``SyntheticCamera`` came, by the stamp in its pixels, and which of them had a head."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived_s: dict[int, float] = {}
        self.with_head: set[int] = set()

    def write(self, cutout: Cutout) -> None:
        super().write(cutout)
        assert cutout.frame.planes is not None
        stamp = stamp_of(cutout.frame.planes.y)
        self.arrived_s[stamp] = time.perf_counter()
        if cutout.heads:
            self.with_head.add(stamp)


def _measured(camera: SyntheticCamera, stamps: _Stamps, first: int, took_s: float, used_s: float) -> dict[str, Any]:
    """What became of the camera's frames from ``first`` on, which took ``took_s``, and ``used_s`` of the processor's time."""
    arrived = stamps.arrived_s
    counted = [number for number in range(first, camera.made) if number in arrived]
    latencies = np.array([arrived[number] - camera.due_s[number] for number in counted]) * 1000
    p50, p95, p99 = np.percentile(latencies, (50, 95, 99)) if counted else (0.0, 0.0, 0.0)
    span_s = arrived[counted[-1]] - arrived[counted[0]] if len(counted) > 1 else 0.0
    return {
        "fps": round((len(counted) - 1) / span_s, 2) if span_s else 0.0,
        "frames": len(counted),
        "dropped": camera.made - first - len(counted),
        "frames_with_head": len(stamps.with_head.intersection(counted)),
        "seconds": round(took_s, 3),
        "latency_ms": {"p50": round(float(p50), 1), "p95": round(float(p95), 1), "p99": round(float(p99), 1)},
        "cpu_percent": round(100 * used_s / took_s, 1),
    }


def swaying_portrait(size_px: tuple[int, int]) -> list[Planes]:
    """The demo's portrait as a webcam of ``size_px`` would show it, a second of it."""
    portrait = read_photo(PORTRAIT).rgb
    width, height = size_px
    pictures = []
    for index in range(_PICTURES):
        person = cv2.resize(moved(portrait, index / _PICTURES), (height, height), interpolation=cv2.INTER_LINEAR)
        left = max(0, width - height) // 2
        wide = cv2.copyMakeBorder(person, 0, 0, left, max(0, width - height - left), cv2.BORDER_REPLICATE)
        wide = wide[:, max(0, wide.shape[1] - width) // 2 :][:, :width]
        pictures.append(planes_from_rgb(np.ascontiguousarray(wide), Colour(), sub=(2, 2)))
    return pictures


def bench_model(
    *,
    model: str = "default",
    device: str = "auto",
    threads: int | None = None,
    runs: int = 60,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Median milliseconds the network takes for one crop, warm. Raises UsageError where ``threads`` cannot be chosen."""
    segmenter = load_segmenter(model, device=device, threads=threads)
    if threads not in {None, segmenter.threads}:
        raise UsageError(f"threads can be chosen for .onnx files; torch runs {model} on {segmenter.threads}")
    side, part = segmenter.side, cast("Part", segmenter.parts[0])  # not all know a head
    crop = np.random.default_rng(1).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    times = []
    for run in range(runs + 10):
        started = time.perf_counter()
        segmenter.predict(crop, part)
        if run >= 10:
            times.append(time.perf_counter() - started)
        if progress is not None:
            progress(run + 1, runs + 10)
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
