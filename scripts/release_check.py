#!/usr/bin/env python3
"""Everything a release is judged by, in one go: quality, identity, fidelity of files, speed, memory.

    scripts/release_check.py --data DIR --tools DIR [--only heads,animals,files,faces,leaning,hair,motion,speed,memory] [--json]

DIR of --data holds celebamask/, celeb_hair/, figaro/, photos/ and videos/; DIR of --tools score_heads.py, motion_clips.py and
verify_video.py. Only pictures of the test lists in configs/splits are scored. Needs the ffmpeg and ffprobe programs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from headstream.capture.file import FileSource
from headstream.films.video import VideoJob, cut_video_file
from headstream.pipeline import CutOptions, HeadCutter
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.shared.imagefile import read_image, write_image
from headstream.stream import cut_stream
from headstream.track.finder import FaceFinder

ROOT = Path(__file__).resolve().parent.parent
ANIMALS = ("s22", "s23", "s30", "s31", "s32", "s36", "s38", "s39", "s40", "s41")


@dataclass(frozen=True)
class Place:
    """Where things are; work is thrown away afterwards."""

    data: Path
    tools: Path
    work: Path
    model: str


def tool(place: Place, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run one of the scoring programs."""
    command = [sys.executable, str(place.tools / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_names(data_set: str) -> list[str]:
    """Stems of a set's test list."""
    return (ROOT / "configs" / "splits" / f"{data_set}-test.txt").read_text(encoding="utf-8").split()


def test_folder(place: Place, data_set: str, truth: str) -> Path:
    """The test pictures of a set with their truth, in a folder of their own."""
    folder = place.work / data_set
    for sub, suffix in (("images", ".jpg"), (truth, ".png")):
        (folder / sub).mkdir(parents=True, exist_ok=True)
        for name in test_names(data_set):
            shutil.copy(place.data / data_set / sub / (name + suffix), folder / sub)
    return folder


def heads(place: Place) -> dict[str, Any]:
    """Share of all frames of all clips with a head."""
    segmenter = load_segmenter(place.model, fast=True)
    total = found = 0
    people: dict[str, int] = {}
    with FaceFinder(models_dir()) as finder:
        for path in sorted((place.data / "videos").glob("*.mp4")):
            seen: set[int] = set()
            with FileSource(path) as source:
                for cutout in cut_stream(source, HeadCutter(segmenter, finder, CutOptions())):
                    total += 1
                    found += bool(cutout.heads)
                    seen |= {head.track_id for head in cutout.heads}
            people[path.stem] = len(seen)
    return {"frames": total, "with_head": found, "share": round(found / total, 4), "people_per_clip": people}


def animals(place: Place) -> dict[str, Any]:
    """Which animals are taken for heads, and which people are not."""
    out = place.work / "photos"
    command = [sys.executable, "-m", "headstream", "image", str(place.data / "photos"), "--out", str(out), "--json"]
    result = json.loads(subprocess.run([*command, "--model", place.model], capture_output=True, text=True).stdout)
    cut = {Path(done["input"]).stem for done in result["done"]}
    everyone = {path.stem for path in (place.data / "photos").glob("*.jpg")}
    return {"animals_taken": sorted(cut & set(ANIMALS)), "people_missed": sorted(everyone - set(ANIMALS) - cut)}


def files(place: Place) -> dict[str, Any]:
    """verify_video.py on every clip in every alpha format."""
    result: dict[str, Any] = {}
    for path in sorted((place.data / "videos").glob("*.mp4")):
        for suffix in (".mov", ".webm", ".mkv"):
            out = place.work / f"{path.stem}{suffix}"
            cut_video_file(VideoJob(path, out, model=place.model))
            checked = tool(place, "verify_video.py", path, out, "--json")
            report = json.loads(checked.stdout)
            result[out.name] = "ok" if report["ok"] else {k: v for k, v in report.items() if k != "ok" and not v["ok"]}
            out.unlink()
    failed = {name: why for name, why in result.items() if why != "ok"}
    return {"checked": len(result), "ok": len(result) - len(failed), "failed": failed}


def segmented(place: Place, folder: Path, part: Any) -> Path:
    """Masks of a folder's pictures by the network alone: the whole picture is the crop."""
    segmenter = load_segmenter(place.model)
    out = folder / f"alone-{part}"
    out.mkdir(exist_ok=True)
    for path in sorted((folder / "images").iterdir()):
        alpha = segmenter.predict(read_image(path)[None], part)[0]
        write_image(out / f"{path.stem}.png", (alpha * 255 + 0.5).astype(np.uint8))
    return out


def faces(place: Place) -> dict[str, Any]:
    """score_heads.py: the network alone, and the whole way through `headstream image`, without and with --hq."""
    folder = test_folder(place, "celebamask", "labels")
    alone = tool(
        place, "score_heads.py", "--pred", segmented(place, folder, "head"), "--labels", folder / "labels", "--json"
    )
    result = {"segmenter": json.loads(alone.stdout)}
    for name, options in (("image", []), ("image --hq", ["--hq"])):
        command = [sys.executable, "-m", "headstream", "image", str(folder / "images"), "--out", str(folder / name)]
        subprocess.run([*command, "--model", place.model, *options], capture_output=True)
        whole = tool(place, "score_heads.py", "--pred", folder / name, "--labels", folder / "labels", "--json")
        result[name] = json.loads(whole.stdout)
    return result


def leaning(place: Place) -> dict[str, Any]:
    """As ``faces`` through `headstream image`, of the same pictures turned clockwise by some degrees, grey around them."""
    folder = test_folder(place, "celebamask", "labels")
    result = {}
    for roll_deg in (25, 45, 60, 90, 180):
        turned = place.work / f"leaning-{roll_deg}"
        for sub in ("images", "labels"):
            (turned / sub).mkdir(parents=True)
        for name in test_names("celebamask"):
            picture, labels = (folder / which for which in (f"images/{name}.jpg", f"labels/{name}.png"))
            write_image(turned / "images" / f"{name}.png", _rolled(read_image(picture), roll_deg, (120, 120, 120)))
            write_image(turned / "labels" / f"{name}.png", _rolled(read_image(labels, grey=True), roll_deg, 0))
        command = [sys.executable, "-m", "headstream", "image", str(turned / "images"), "--out", str(turned / "cut")]
        subprocess.run([*command, "--model", place.model], capture_output=True)
        scored = tool(place, "score_heads.py", "--pred", turned / "cut", "--labels", turned / "labels", "--json")
        result[str(roll_deg)] = json.loads(scored.stdout)
    return result


def _rolled(picture: Any, roll_deg: float, around: Any) -> Any:
    height, width = picture.shape[:2]
    side = round(float(np.hypot(width, height))) + 4
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -roll_deg, 1.0)
    matrix[:, 2] += ((side - width) / 2, (side - height) / 2)
    how = cv2.INTER_LINEAR if picture.ndim == 3 else cv2.INTER_NEAREST  # numbers of classes have no mean
    return cv2.warpAffine(picture, matrix, (side, side), flags=how, borderValue=around)


def hair(place: Place) -> dict[str, Any]:
    """score_heads.py on the hair alone."""
    result = {}
    for name in ("celeb_hair", "figaro"):
        folder = test_folder(place, name, "hair")
        out = segmented(place, folder, "hair")
        scored = tool(place, "score_heads.py", "--pred", out, "--masks", folder / "hair", "--json")
        result[name] = json.loads(scored.stdout)
    return result


def motion(place: Place) -> dict[str, Any]:
    """motion_clips.py: clips with a known matte, made from the test faces."""
    folder = test_folder(place, "celebamask", "labels")
    truth, cut = place.work / "motion", place.work / "motion-cut"
    cut.mkdir()
    arguments = ("--images", folder / "images", "--labels", folder / "labels")
    backs = ("--backgrounds", place.data / "fullbody" / "images")
    tool(place, "motion_clips.py", "make", *arguments, *backs, "--out", truth, "--n", 6)
    for path in sorted(truth.glob("*.mp4")):
        cut_video_file(VideoJob(path, cut / f"{path.stem}.mkv", model=place.model))
    result: dict[str, Any] = json.loads(
        tool(place, "motion_clips.py", "score", "--truth", truth, "--pred", cut, "--json").stdout
    )
    return result


def speed(place: Place) -> dict[str, Any]:
    """Frames a second without an encoder at 720p: the median of three runs, each in its own process."""
    runs = []
    for _ in range(3):
        command = [
            sys.executable,
            "-m",
            "headstream",
            "bench",
            "file",
            str(place.data / "videos" / "s18.mp4"),
            "--json",
        ]
        runs.append(
            json.loads(subprocess.run([*command, "--model", place.model], capture_output=True, text=True).stdout)
        )
        time.sleep(2)
    runs.sort(key=lambda run: run["fps"])
    return {"fps": [run["fps"] for run in runs], **runs[1]}


def memory(place: Place) -> dict[str, Any]:
    """Peak memory on 10 s and on 10 min of the same 720p clip."""
    result = {}
    clip = place.data / "videos" / "s18.mp4"
    for name, seconds in (("10 s", 10), ("10 min", 600)):
        looped = place.work / f"{seconds}.mp4"
        loop = [
            "ffmpeg",
            "-v",
            "error",
            "-stream_loop",
            "-1",
            "-i",
            str(clip),
            "-t",
            str(seconds),
            "-c",
            "copy",
            str(looped),
        ]
        subprocess.run(loop, check=True)
        command = [sys.executable, "-m", "headstream", "bench", "file", str(looped), "--json", "--model", place.model]
        run = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
        result[name] = {"frames": run["frames"], "rss_mb": run["rss_mb"], "fps": run["fps"]}
    return result


CHECKS: dict[str, Callable[[Place], dict[str, Any]]] = {
    check.__name__: check for check in (heads, animals, files, faces, leaning, hair, motion, speed, memory)
}


def main() -> None:
    """Run the checks that were asked for and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tools", type=Path, required=True)
    parser.add_argument("--model", default="default")
    parser.add_argument("--only", default=",".join(CHECKS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory() as work:
            place = Place(options.data, options.tools, Path(work), options.model)
            results[name] = CHECKS[name](place)
        if not options.json:
            print(f"{name}: {json.dumps(results[name], indent=2)}", flush=True)
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
