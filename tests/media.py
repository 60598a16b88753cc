"""Media made for tests: real codecs, known pixels and times; and what ffprobe says of a file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import ImageCms

from headstream.types import UInt8Array

REQUIRE = "HEADSTREAM_REQUIRE_FFMPEG"  # set where a missing ffmpeg must fail instead of skip


def needs_ffmpeg() -> None:
    """Skip the calling test where the ffmpeg programs are not installed, or fail it where they must be."""
    if shutil.which("ffprobe") and shutil.which("ffmpeg"):
        return
    if os.environ.get(REQUIRE):
        pytest.fail(f"{REQUIRE} is set but ffmpeg and ffprobe are not on the PATH")
    pytest.skip("the ffmpeg and ffprobe programs are not installed")


def heeds_ctrl_c() -> None:
    """For a child process: a shell's background jobs ignore SIGINT, those of nohup SIGHUP, and hand that on."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pattern(width: int, height: int, index: int) -> UInt8Array:
    """(H, W, 3) uint8: smooth colour ramps with a bright square that moves 4 px a frame."""
    ys, xs = np.mgrid[:height, :width]
    rgb = np.stack([xs * 255 // max(1, width - 1), ys * 255 // max(1, height - 1), (xs + ys) % 256], axis=-1)
    rgb = rgb.astype(np.uint8)
    x = 4 * index % max(1, width - 16)
    rgb[height // 2 : height // 2 + 16, x : x + 16] = 255
    return rgb


def swapped_profile() -> bytes:
    """An ICC profile like that of sRGB, in which what is called red is green, and the other way round."""
    made: bytes = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tags = range(132, 132 + 12 * struct.unpack(">I", made[128:132])[0], 12)
    where = {made[at : at + 4]: slice(at + 4, at + 12) for at in tags}
    red, green = where[b"rXYZ"], where[b"gXYZ"]
    swapped = bytearray(made)
    swapped[red], swapped[green] = made[green], made[red]
    return bytes(swapped)


@contextmanager
def same_priority() -> Iterator[None]:
    """SVT-AV1 gives whoever calls it as root real-time priority, for good: threads that wait by spinning, as torch's do,
    would then keep those they wait for from running."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, given = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, given)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a disk with no more room."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_video(
    path: Path,
    frames: Sequence[UInt8Array],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 1000),
    rate: int = 25,
    sound: bool = False,
    options: dict[str, str] | None = None,
    colour: tuple[int, int, int, int] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode RGB pictures. pts: ticks of each; colour: (matrix, range, primaries, transfer) to tag and convert to."""
    ticks = pts or [round(Fraction(i, rate) / time_base) for i in range(len(frames))]
    height, width = frames[0].shape[:2]
    with same_priority(), av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(
            codec, rate=rate, width=width, height=height, time_base=time_base, options=options or {}
        )
        stream.pix_fmt = pix_fmt
        if colour is not None:
            context = stream.codec_context
            context.colorspace, context.color_range, context.color_primaries, context.color_trc = colour
        audio = container.add_stream("aac", rate=48000, layout="mono") if sound else None
        for rgb, tick in zip(frames, ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            if colour is not None and colour[0] == 9:
                assert pix_fmt == "yuv444p"
                frame = av.VideoFrame.from_ndarray(bt2020(rgb, full=colour[1] == 2), format="yuv444p")
            elif colour is not None:
                space = {1: "ITU709", 5: "ITU601", 6: "ITU601"}[colour[0]]
                kind = {1: "MPEG", 2: "JPEG"}[colour[1]]
                frame = frame.reformat(format=pix_fmt, dst_colorspace=space, dst_color_range=kind)
            frame.pts, frame.time_base = tick, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio is not None:
            seconds = float((max(ticks) + 1000 // rate) * time_base)
            for piece in tone(seconds):
                container.mux(audio.encode(piece))
            container.mux(audio.encode(None))
    return path


def bt2020(rgb: UInt8Array, *, full: bool) -> UInt8Array:
    """(3, H, W) uint8 Y, U, V of 8-bit R'G'B' by ITU-R BT.2020; not every PyAV converts to it."""
    r, g, b = (rgb[..., k].astype(np.float64) / 255 for k in range(3))
    y = 0.2627 * r + 0.6780 * g + 0.0593 * b
    u, v = (b - y) / 1.8814, (r - y) / 1.4746
    low, luma, chroma = (0, 255, 255) if full else (16, 219, 224)
    planes = np.stack([low + luma * y, 128 + chroma * u, 128 + chroma * v])
    return np.clip(np.round(planes), 0, 255).astype(np.uint8)


def tone(seconds: float, rate: int = 48000) -> list[Any]:
    """A mono 440 Hz tone in frames of 1024 samples."""
    wave = (0.2 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)).astype(np.float32)
    pieces = []
    for start in range(0, len(wave), 1024):
        piece = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
        piece.sample_rate, piece.pts, piece.time_base = rate, start, Fraction(1, rate)
        pieces.append(piece)
    return pieces


def sound_nobody_knows(path: Path, known: int = 0) -> Path:
    """An MP4 of ``known`` sounds and one of a codec FFmpeg has no name for, as a phone's spatial sound."""
    with av.open(str(path), "w") as container:
        for stream in [container.add_stream("aac", rate=48000, layout="mono") for _ in range(known + 1)]:
            for piece in tone(0.5):
                container.mux(stream.encode(piece))
            container.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    for name, other in ((b"mp4a", b"apac"), (b"esds", b"dapa")):
        at = data.rindex(name)
        data[at : at + 4] = other
    path.write_bytes(data)
    return path


def sound_sets_in_late(path: Path) -> Path:
    """A TS of 275 pictures in which there is sound from the tenth second on, for a second: FFmpeg finds none when it looks at the
    beginning, nor at the end for how long all is."""
    data = b""
    for first, end, sound in ((0, 225, False), (225, 250, True), (250, 275, False)):
        ticks = [1000 + 40 * k for k in range(first, end)]
        pictures = [pattern(64, 64, k) for k in range(first, end)]
        data += write_video(path, pictures, pts=ticks, options={"bf": "2"}, sound=sound).read_bytes()
        data += (b"\x47\x1f\xff\x10" + b"\xff" * 184) * (1500 if sound else 0)  # packets of nothing
    path.write_bytes(data)
    return path


def probe(path: Path) -> dict[str, Any]:
    """What ffprobe says of a file's streams, format, chapters and frames. One call for all of it, and none for a file of which
    another test, or line, has asked before: starting it takes longer than what it does."""
    needs_ffmpeg()
    about = path.stat()
    return _probed(path.absolute(), about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=64)
def _probed(path: Path, changed_ns: int, size: int) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-show_chapters", "-of", "json"]
    command += ["-show_entries", "frame=stream_index,best_effort_timestamp_time,interlaced_frame,top_field_first"]
    result: dict[str, Any] = json.loads(subprocess.run([*command, str(path)], capture_output=True, check=True).stdout)
    return result


def video_stream(path: Path) -> dict[str, Any]:
    """ffprobe's account of the first video stream."""
    return next(s for s in probe(path)["streams"] if s["codec_type"] == "video")


def frame_times(path: Path) -> list[float]:
    """Presentation times of all pictures, by ffprobe."""
    index = video_stream(path)["index"]
    times = [f["best_effort_timestamp_time"] for f in probe(path)["frames"] if f.get("stream_index") == index]
    return [float(time) for time in times]


def decoded(path: Path, pix_fmt: str, *, decoder: str | None = None, filters: str = "") -> UInt8Array:
    """All pictures of a file, decoded by the ffmpeg program: (N, H, W, C) uint8 for rgb24, rgba or gray."""
    needs_ffmpeg()
    with av.open(str(path)) as container:  # for its size alone, and far sooner there than ffprobe
        context = container.streams.video[0].codec_context
        height, width = context.height, context.width
    chosen = ["-c:v", decoder] if decoder else []
    chain = f"{filters},format={pix_fmt}" if filters else f"format={pix_fmt}"
    command = ["ffmpeg", "-v", "error", *chosen, "-i", str(path), "-vf", chain, "-fps_mode", "passthrough"]
    raw = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", pix_fmt, "-"], capture_output=True, check=True).stdout
    channels = {"rgb24": 3, "rgba": 4, "gray": 1}[pix_fmt]
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, channels)


def alpha_of(path: Path) -> UInt8Array:
    """The alpha plane of every picture, by the ffmpeg program: (N, H, W) uint8."""
    decoder = "libvpx-vp9" if path.suffix == ".webm" else None
    return decoded(path, "gray", decoder=decoder, filters="format=yuva444p,alphaextract")[..., 0]
