#!/usr/bin/env python3
"""Train every network on the same faces for the same time, and write the table of how good, large and fast each became.

    scripts/compare_nets.py --data DATA [--minutes 8] [--side 128] [--nets lite,unet34,...] --out runs/compare

DATA holds `celebamask`. Trained on: all of it but the names in --held-out, which are what is scored. Every network
gets about the same minutes of this machine; what it took and how many pictures that bought is in the table. Networks
that were trained already are not trained again. OUT gets table.md, table.json and report.html.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from headstream.cli.console import progress_bar, say
from headstream.evaluate.report import write_report
from headstream.evaluate.run import Evaluation, evaluate, matte_of, write_results
from headstream.nets.checkpoint import load_trained
from headstream.segment.load import load_segmenter
from headstream.train.config import DataConfig, TrainConfig
from headstream.train.data import DataSet, read_names
from headstream.train.export import card_details, export_onnx, write_card
from headstream.train.loop import Trainer

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
_RATES = {"encoder_lr": 1e-3, "decoder_lr": 1e-3, "imagenet": False}
NETS: dict[str, dict[str, Any]] = {
    "lite": {"net": "lite", "encoder_lr": 4e-4, "decoder_lr": 2e-3},
    "lite-from-scratch": {"net": "lite"} | _RATES,
    "custom-cnn": {"net": "custom-cnn"} | _RATES,
    "unet34": {"net": "unet34"} | _RATES,
    "deeplabv3": {"net": "deeplabv3"} | _RATES,
}


def settings(name: str, steps: int, options: argparse.Namespace) -> TrainConfig:
    """The configuration of one network; only the network and its learning rates differ."""
    return TrainConfig(
        data=(DataConfig("celebamask", "celebamask", hold_out=(str(options.held_out.resolve()),)),),
        steps=steps,
        batch=8,
        sizes=((0.0, options.side),),
        workers=options.workers,
        cache_mb=options.cache_mb,
        warmup=max(1, min(100, steps // 10)),
        ema=0.99,
        evaluate_every=1_000_000,
        seed=1,
        **NETS[name],
    )


def share_faces(options: argparse.Namespace, to: Path) -> None:
    """Face boxes another network's run has found already."""
    for faces in options.out.glob("*/faces-*.json"):
        if faces.parent != to:
            shutil.copy(faces, to)


def affordable_steps(name: str, options: argparse.Namespace) -> int:
    """Steps that fit into the minutes, by the time a few of them take."""
    probe = 12
    with tempfile.TemporaryDirectory() as folder:
        share_faces(options, Path(folder))
        config = settings(name, probe, options)
        trainer = Trainer(config, data_root=options.data, config_dir=CONFIGS, out=Path(folder))
        times: list[float] = []
        last = time.perf_counter()

        def note(_: Any) -> None:
            nonlocal last
            now = time.perf_counter()
            times.append(now - last)
            last = now

        trainer.run(note)
    return max(probe, round(options.minutes * 60 / float(np.median(times[probe // 3 :]))))


def trained(name: str, options: argparse.Namespace) -> Path:
    """Train one network, or go on where that stopped. Returns its folder."""
    out: Path = options.out / name
    plan = out / "plan.json"
    if not plan.exists():
        steps = affordable_steps(name, options)
        out.mkdir(parents=True, exist_ok=True)
        share_faces(options, out)
        plan.write_text(
            json.dumps({"steps": steps, "side": options.side, "minutes": options.minutes}), encoding="utf-8"
        )
    config = settings(name, json.loads(plan.read_text(encoding="utf-8"))["steps"], options)
    trainer = Trainer(config, data_root=options.data, config_dir=CONFIGS, out=out)
    trainer.resume()
    if trainer.step >= config.steps and (out / "model.json").exists():
        return out
    if trainer.step < config.steps:
        started = time.perf_counter()
        try:
            with progress_bar(name, unit="steps") as bar:
                trainer.run(lambda progress: bar(progress.step, progress.steps))
        finally:  # an interrupted run goes on later, and its minutes count
            told = json.loads(plan.read_text(encoding="utf-8"))
            told["minutes_taken"] = told.get("minutes_taken", 0.0) + (time.perf_counter() - started) / 60
            plan.write_text(json.dumps(told), encoding="utf-8")
    net, spec = load_trained(out / "last.pt")
    export_onnx(net, spec, out / "model.onnx")
    write_card(out / "model.onnx", card_details(net, spec, out / "last.pt"))
    return out


def row_of(name: str, result: Evaluation, pictures: int, minutes: float) -> dict[str, Any]:
    """One line of the table."""
    keys = ("iou", "boundary_f", "mad", "neck_leak", "parameters", "file_mb", "ms")
    return {"net": name, "pictures": pictures, "minutes": minutes} | {k: result.summary[k] for k in keys}


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """The table as the README has it."""
    lines = [
        "| network | parameters | ONNX file | trained for | pictures seen | IoU | boundary F | MAD | neck leak | one crop |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        seen = f"{r['minutes']:.1f} min | {r['pictures']:,}" if r["pictures"] else "see its card |"
        lines.append(
            f"| {r['net']} | {r['parameters'] / 1e6:.1f} M | {r['file_mb']:.1f} MB | {seen} | {r['iou']:.3f} | "
            f"{r['boundary_f']:.3f} | {r['mad']:.1f} | {r['neck_leak']:.3f} | {r['ms']:.0f} ms |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--side", type=int, default=128, help="of the crops, in training and when scored")
    parser.add_argument("--held-out", type=Path, default=CONFIGS / "splits" / "celebamask-test.txt")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cache-mb", type=int, default=3000, help="decoded pictures kept in memory")
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    folder = options.data / "celebamask"
    test = DataSet("celebamask", folder, names=tuple(sorted(read_names(options.held_out))))
    rows, results, mattes = [], [], []
    for name in [*options.nets.split(","), "lite-as-shipped"]:
        shipped = name == "lite-as-shipped"
        out = options.out / name
        model = "lite" if shipped else str(trained(name, options) / "model.onnx")
        segmenter = load_segmenter(model)
        with progress_bar(f"scoring {name}", unit="pictures") as bar:
            result = evaluate(name, matte_of(segmenter, "head"), test, "head", out=out / "mattes", progress=bar)
        result.parameters = int(segmenter.card.details.get("parameters", 0))
        result.file_mb = segmenter.card.file.stat().st_size / 1e6
        write_results(result, test, out / "mattes", out)
        plan = {} if shipped else json.loads((out / "plan.json").read_text(encoding="utf-8"))
        rows.append(row_of(name, result, plan.get("steps", 0) * 8, plan.get("minutes_taken", 0.0)))
        results.append(result)
        mattes.append(out / "mattes")
        say(as_markdown(rows[-1:]).splitlines()[-1])
    (options.out / "table.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    (options.out / "table.md").write_text(as_markdown(rows), encoding="utf-8")
    write_report(results, test, mattes, options.out / "report.html")
    say(f"wrote {options.out / 'table.md'}, table.json and report.html")


if __name__ == "__main__":
    main()
