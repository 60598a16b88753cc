#!/usr/bin/env python3
"""Frames a second of the torch back-end, beside what the card could do: its matrix and copy rates, measured in the same run.

    scripts/bench_gpu.py [--device cuda] [--nets unet34,lite] [--batches 1,8,32] [--compile] [--video CLIP] [--json]
    scripts/bench_gpu.py --device cpu --nets unet34 --batches 1 --shipped

For every network and batch: pictures a second with the pictures on the device, and with upload and download; the share of
the roofline (Williams et al., CACM 2009), which is the time that its multiplications take at the matrix rate, or its
reads and writes at the copy rate, whichever is longer. --video also runs the whole pipeline on a clip, without encoding.
--shipped also times the shipped networks on ONNX Runtime, and how many times as fast as the first of --nets they are.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from headstream.nets.device import choose_device
from headstream.nets.formats import Network
from headstream.nets.zoo import NetSpec, as_called, build
from headstream.segment.torch_net import TorchSegmenter

SPECS = {
    "unet34": (NetSpec("unet34", ("background", "head")), 512),
    "lite": (NetSpec("lite"), 256),
    "deeplabv3": (NetSpec("deeplabv3", ("head",)), 512),
    "custom-cnn": (NetSpec("custom-cnn", ("head",)), 256),
}


def seconds_each(work: Callable[[], Any], device: torch.device, budget_s: float) -> float:
    """Median seconds of one call, warm, waiting for the device each time."""

    def once() -> float:
        wait(device)
        started = time.perf_counter()
        work()
        wait(device)
        return time.perf_counter() - started

    for _ in range(3):
        once()
    times: list[float] = []
    while sum(times) < budget_s or len(times) < 5:
        times.append(once())
    return float(np.median(times))


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def rates(device: torch.device, dtype: torch.dtype, budget_s: float) -> dict[str, float]:
    """What the device reaches: matrix product in TFLOP/s, copy in GB/s, read and write counted."""
    side = 8192 if device.type == "cuda" else 1024
    a = torch.randn(side, side, device=device, dtype=dtype)
    matrix = 2 * side**3 / seconds_each(lambda: a @ a, device, budget_s)
    big = torch.empty(2**28 if device.type == "cuda" else 2**25, dtype=torch.uint8, device=device)
    other = torch.empty_like(big)
    copy = 2 * big.numel() / seconds_each(lambda: other.copy_(big), device, budget_s)
    found = {"matrix_tflops": matrix / 1e12, "copy_gb_s": copy / 1e9}
    if device.type == "cuda":
        host = torch.empty(2**25, dtype=torch.uint8, pin_memory=True)
        upload = host.numel() / seconds_each(lambda: host.to(device, non_blocking=True), device, budget_s)
        found["upload_gb_s"] = upload / 1e9
    return found


def work_of(called: nn.Module, x: torch.Tensor) -> tuple[float, float]:
    """Floating-point operations and bytes read and written by the layers, of one picture."""
    moved = 0

    def count(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal moved
        tensors = [t for t in (*inputs, output, *module.parameters(recurse=False)) if isinstance(t, torch.Tensor)]
        moved += sum(t.numel() * t.element_size() for t in tensors)

    # A norm and an activation are done while the convolution writes: what counts is what must be moved.
    layers = [m for m in called.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with FlopCounterMode(display=False) as counter:
        called(x)
    for hook in hooks:
        hook.remove()
    return float(counter.get_total_flops()), float(moved)


def bench_net(name: str, batch: int, device: torch.device, options: argparse.Namespace, card: dict[str, float]) -> Any:
    """One line of the table."""
    spec, side = SPECS[name]
    torch.manual_seed(0)
    segmenter = TorchSegmenter(Network(name, build(spec), spec, side, Path(name)), device=str(device))
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    called = as_called(build(spec).eval().requires_grad_(False), spec).to(
        device, dtype, memory_format=torch.channels_last
    )
    x = torch.zeros(batch, 3, side, side, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        flops, moved = work_of(called, x[:1])
        if options.compile:
            called = torch.compile(called, mode="reduce-overhead")
        inside = seconds_each(lambda: called(x), device, options.seconds) / batch
    crops = np.zeros((batch, side, side, 3), np.uint8)
    whole = seconds_each(lambda: segmenter.predict(crops), device, options.seconds) / batch
    least = max(flops / (card["matrix_tflops"] * 1e12), moved / (card["copy_gb_s"] * 1e9))
    return {
        "net": name,
        "side": side,
        "batch": batch,
        "per_s_on_device": round(1 / inside, 3),
        "per_s_with_copies": round(1 / whole, 1),
        "gflop": round(flops / 1e9, 2),
        "mb_moved": round(moved / 1e6, 1),
        "roofline_share": round(least / inside, 3),
    }


def bench_video(clip: Path, name: str, device: torch.device) -> dict[str, Any]:
    """The whole pipeline on a clip with a network of random weights: what it would find does not change its speed."""
    from headstream.bench import bench_file

    spec, _ = SPECS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.pt"
        torch.save({"ema": build(spec).state_dict(), "spec": spec.as_dict(), "step": 0}, path)
        return {"net": name} | bench_file(clip, model=str(path), device=str(device))


def bench_shipped(seconds_of_first: float, budget_s: float) -> list[dict[str, Any]]:
    """The shipped networks, one crop each on ONNX Runtime, beside one picture of the first torch network."""
    from headstream.bench import bench_model

    runs = max(5, round(30 * budget_s))
    told = [bench_model(model=name, runs=runs) for name in ("lite", "lite-int8", "lite-photo-int8", "tiny")]
    return [
        {"net": t["model"], "crop_ms": t["crop_ms"], "times_faster": seconds_of_first * 1e3 / t["crop_ms"]}
        for t in told
    ]


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--nets", default="unet34,lite")
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--seconds", type=float, default=2.0, help="of measuring for each figure")
    parser.add_argument("--compile", action="store_true", help="through torch.compile with CUDA graphs")
    parser.add_argument("--video", type=Path, help="a clip, best 1920x1080, to run the whole pipeline on")
    parser.add_argument("--shipped", action="store_true", help="the shipped networks too, on ONNX Runtime")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    device = choose_device(options.device)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    label = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    card = rates(device, dtype, options.seconds)
    rows = [
        bench_net(name, int(batch), device, options, card)
        for name in options.nets.split(",")
        for batch in options.batches.split(",")
    ]
    videos = [bench_video(options.video, n, device) for n in options.nets.split(",")] if options.video else []
    shipped = bench_shipped(1 / rows[0]["per_s_on_device"], options.seconds) if options.shipped else []
    if options.json:
        print(
            json.dumps(
                {
                    "device": label,
                    "torch": torch.__version__,
                    "card": card,
                    "nets": rows,
                    "videos": videos,
                    "shipped": shipped,
                }
            )
        )
        return
    print(f"{label}, torch {torch.__version__}, {dtype}: " + ", ".join(f"{k} {v:.1f}" for k, v in card.items()))
    print("\n| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |")
    for row in shipped:
        print(
            f"\n{row['net']}: {row['crop_ms']} ms a crop, {row['times_faster']:.0f} times as fast as {rows[0]['net']}"
        )
    for video in videos:
        print(
            f"\n{video['net']} on {options.video.name} {video['size_px']}: {video['fps']} frames/s {video['stages_ms']}"
        )


if __name__ == "__main__":
    main()
