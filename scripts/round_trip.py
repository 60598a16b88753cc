#!/usr/bin/env python3
"""Track, crop and paste films and say how much of them came back.

    scripts/round_trip.py FILM [FILM ...] [--size 512] [--lossy] [--json]

The clip is lossless with alpha and comes back untouched; or, with --lossy, as H.264. Pictures are decoded by the ffmpeg program,
not by headstream: frames, times and sound packets of the result against the film, pixels that differ outside of the head's
matte (there must be none), and PSNR inside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from headstream.cli.console import progress_bar, say
from headstream.dub.trackfile import TrackReader
from headstream.films.cropping import CropJob, crop_film
from headstream.films.dubbing import PasteJob, paste_film
from headstream.films.tracks import track_file


def pictures(path: Path, pixels: str = "yuv444p") -> Any:
    """(N, planes, H, W) uint8 of a film, upright."""
    probe = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        "v:0",
        "-show_entries",
        "stream=width,height:stream_side_data=rotation",
    ]
    stream = json.loads(subprocess.run([*probe, "-of", "json", str(path)], capture_output=True, check=True).stdout)[
        "streams"
    ][0]
    width, height = stream["width"], stream["height"]
    if any(abs(int(side.get("rotation", 0))) % 180 for side in stream.get("side_data_list", [])):
        width, height = height, width
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        str(path),
        "-map",
        "0:v:0",
        "-fps_mode",
        "passthrough",
        "-pix_fmt",
        pixels,
    ]
    raw = subprocess.run([*command, "-f", "rawvideo", "-"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, 3 if pixels == "yuv444p" else 1, height, width)


def told(path: Path, stream: str, entries: str) -> list[str]:
    """What ffprobe says of each packet or frame of a stream."""
    command = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        stream,
        "-show_entries",
        entries,
        "-of",
        "csv=p=0",
        str(path),
    ]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()


def sound(path: Path) -> str:
    """A digest of the sound's packets."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a:0?", "-c", "copy", "-f", "data", "-"]
    return hashlib.sha256(subprocess.run(command, capture_output=True).stdout).hexdigest()


def times(path: Path) -> Any:
    """Seconds of every frame from the first."""
    shown = np.array([float(line.strip(",")) for line in told(path, "v:0", "frame=best_effort_timestamp_time")])
    return shown - shown[0]


def main_head(track: Path) -> int:
    """The head that is in most frames."""
    counts: dict[int, int] = {}
    for frame in TrackReader(track):
        for head in frame.heads:
            counts[head.id] = counts.get(head.id, 0) + 1
    return max(counts, key=lambda id_: counts[id_])


def round_trip(film: Path, work: Path, size: int, *, lossy: bool) -> dict[str, Any]:
    """One film there and back."""
    track, clip, final, matte = work / "t.json", work / ("c.mp4" if lossy else "c.mkv"), work / "f.mkv", work / "m.mkv"
    with progress_bar(film.name) as progress:
        track_file(film, track, progress=progress)
        head = main_head(track)
        crop_film(CropJob(film, track, clip, head=head, size=size, alpha=not lossy), progress)
        pasted = paste_film(PasteJob(film, track, clip, final, head=head), progress)
    from headstream.films.video import VideoJob, cut_video_file
    from headstream.pipeline import CutOptions

    cut_video_file(VideoJob(film, work / "cut.mkv", matte=matte, options=CutOptions(heads="all")))
    before, after, alpha = pictures(film), pictures(final), pictures(matte, "gray")[:, 0]
    there, back = times(film), times(final)
    outside = alpha == 0
    differs = (before != after).any(axis=1) if before.shape == after.shape else np.ones(alpha.shape, bool)
    wrong = (before[:, 0].astype(np.float32) - after[:, 0])[alpha > 127]
    error = float(np.mean(wrong**2)) if wrong.size else 0.0
    return {
        "film": film.name,
        "frames": [len(before), len(after)],
        "times_worst_ms": round(1e3 * float(np.abs(there - back).max()), 3) if len(there) == len(back) else None,
        "sound_same": sound(film) == sound(final),
        "changed_frames": pasted.changed,
        "outside_differs_px": int((differs & outside).sum()),
        "inside_psnr_db": round(10 * np.log10(255**2 / error), 1) if error else "inf",
    }


def main() -> None:
    """Parse, run, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", nargs="+", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--lossy", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = []
    for film in options.films:
        with tempfile.TemporaryDirectory() as work:
            results.append(round_trip(film, Path(work), options.size, lossy=options.lossy))
        say(json.dumps(results[-1]))
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
