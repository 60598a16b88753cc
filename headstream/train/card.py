"""What a card tells of how its weights were made, from what their checkpoints keep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstream.nets.checkpoint import load_checkpoint
from headstream.segment.registry import read_card

_UNKNOWN = "unknown: that of its training data and of its initial weights"
# What a card tells of its file alone.
_OF_THE_FILE = {
    "file",
    "sha256",
    "kind",
    "side",
    "outputs",
    "parameters",
    "network",
    "precision",
    "finish",
    "time_a_crop",
}
_UNRECORDED = "not recorded: the checkpoint is of a version that kept no settings"


def making_of(checkpoints: Sequence[Path]) -> dict[str, Any]:
    """Data, splits, seed, steps, scores, commands, settings of one checkpoint; of several, of each that is in the mean; of an
    exported file, what its card tells of that."""
    if [path.suffix for path in checkpoints] == [".onnx"]:
        return _of_card(checkpoints[0])
    if len(checkpoints) == 1:
        return _making(load_checkpoint(checkpoints[0]))
    states = [load_checkpoint(path) for path in checkpoints]
    parts = [_making(state) for state in states]
    named = [f"{path.absolute().parent.name}/{path.name}" for path in checkpoints]
    return {
        "licence": " / ".join(dict.fromkeys(part["licence"] for part in parts)),
        "trained_steps": int(states[-1]["step"]),
        "mean_of": [{"checkpoint": name} | part for name, part in zip(named, parts, strict=True)],
    }


def _of_card(file: Path) -> dict[str, Any]:
    """Of a file that is exported in another way: what holds of both."""
    card = read_card(file.with_suffix(".json"))
    kept = {
        key: value for key, value in card.details.items() if key not in _OF_THE_FILE and not key.startswith("scores")
    }
    return {"made_from": f"{file.name}, sha256 {card.sha256}"} | kept


def _making(state: dict[str, Any]) -> dict[str, Any]:
    if "making" in state:  # a mean, as written to be trained on from
        making: dict[str, Any] = state["making"]
        return making
    steps = {"trained_steps": int(state["step"])}
    if "history" not in state:
        return {"licence": _UNKNOWN} | steps | {"reproducibility": _UNRECORDED}
    history, record = state["history"], state["history"]["record"]
    config = record["config"]
    sets = list(zip(config["data"], record["data"], strict=True))
    return {
        "licence": _licence(config),
        "initial_weights": _initial_weights(config, record),
        **_teachers(config, record),
        "training_data": {_name(entry, index): _data_line(entry, found) for index, (entry, found) in enumerate(sets)},
        "splits": {_name(entry, index): found for index, (entry, found) in enumerate(sets)},
        "seed": config["seed"],
        **steps,
        "training_minutes": round(history["seconds"] / 60, 1),
        "scores_on_validation": _scores(state, history),
        "commands": history["commands"],
        "reproducibility": _reproducibility(history),
        "made_with": f"headstream {record['headstream']}, torch {record['torch']}, {record['device']}",
        "configuration": config,
    }


def _name(entry: dict[str, Any], index: int) -> str:
    return f"{index + 1}: {entry['folder']}"  # a folder may be named twice


def _data_line(entry: dict[str, Any], found: dict[str, str]) -> str:
    counts = {key: text.split(",")[0] for key, text in found.items()}
    soft = f", soft labels from {entry['pseudo']}" if entry["pseudo"] else ""
    licence = entry["licence"] or "licence not told"
    return f"{counts['trained']}, {counts['validated']} to validate; kind {entry['kind']}{soft}; {licence}"


def _licence(config: dict[str, Any]) -> str:
    told = list(dict.fromkeys(entry["licence"] for entry in config["data"] if entry["licence"]))
    untold = [entry["folder"] for entry in config["data"] if not entry["licence"]]
    if config["init"]:
        untold.append(f"the initial weights {config['init']}")
    untold += [f"the teacher {path}" for path in config["teachers"]]
    if untold:
        return "; ".join([f"unknown: that of {', '.join(untold)}", *told])
    return f"for its trainer to choose; it was trained on {'; '.join(told)}"


def _initial_weights(config: dict[str, Any], record: dict[str, Any]) -> str:
    if config["init"]:
        return f"{config['init']}, sha256 {record['init_sha256']}"
    if config["imagenet"] and config["net"] == "lite":
        return f"encoder: EfficientNet-{config['encoder']} ImageNet weights (Google, Apache-2.0); the rest random"
    return "random"


def _teachers(config: dict[str, Any], record: dict[str, Any]) -> dict[str, list[str]]:
    named = zip(config["teachers"], record["teachers_sha256"], strict=True)
    told = [f"{path}, sha256 {digest}" for path, digest in named]
    return {"teachers": told} if told else {}


def _scores(state: dict[str, Any], history: dict[str, Any]) -> dict[str, Any] | str:
    scores = {key: value for key, value in history["scores"].items() if not math.isnan(value)}
    if not scores:
        return "none: nothing was validated on"
    told: dict[str, Any] = {"best_of_the_run": {"step": state["best_step"], "iou": round(state["best"], 5)}}
    if scores["step"] == state["step"]:
        told = {"of_these_weights": scores} | told
    return told


def _reproducibility(history: dict[str, Any]) -> str:
    if history["changes"]:
        changed = " | ".join(history["changes"])
        return f"settings were changed on the way ({changed}): a rerun comes close, not to the same numbers"
    return "the same numbers by the same command, data and versions on the same kind of device"
