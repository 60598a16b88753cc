"""The sample clip: a public-domain portrait set in motion, with sound, as somebody's camera would have filmed it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from headstream.capture.photo import read_photo
from headstream.types import UInt8Array

PORTRAIT = Path(__file__).resolve().parent / "assets" / "astronaut.jpg"
SIDE_PX = 640
RATE = 30
SECONDS = 3
_SAMPLE_RATE = 48000


def make_clip(path: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Write the sample clip: 640x640, 3 s, 30 frames a second, H.264 and AAC in MP4."""
    import av

    portrait = read_photo(PORTRAIT).rgb
    frames = SECONDS * RATE
    with av.open(str(path.absolute()), "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": "16", "preset": "veryfast"})
        video.width = video.height = SIDE_PX
        video.pix_fmt = "yuv420p"
        context = video.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
        context.color_range = 1
        sound = container.add_stream("aac", rate=_SAMPLE_RATE, layout="stereo")
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(moved(portrait, index / RATE), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(video.encode(frame))
            if progress is not None:
                progress(index + 1, frames)
        container.mux(video.encode(None))
        for packet_samples in _chord():
            container.mux(sound.encode(packet_samples))
        container.mux(sound.encode(None))


def moved(portrait: UInt8Array, time_s: float) -> UInt8Array:
    """The portrait at a moment: swaying, nearing and tilting a little, its plain backdrop drawn on above."""
    scale = SIDE_PX / portrait.shape[0] * (1.28 + 0.08 * np.sin(1.9 * time_s))
    roll_deg = 4 * np.sin(2.6 * time_s)
    middle = (portrait.shape[1] * 0.45, portrait.shape[0] * 0.33)
    matrix = cv2.getRotationMatrix2D(middle, roll_deg, scale)
    matrix[0, 2] += SIDE_PX * (0.5 + 0.05 * np.sin(2.2 * time_s)) - middle[0]
    matrix[1, 2] += SIDE_PX * (0.45 + 0.02 * np.sin(3.1 * time_s)) - middle[1]
    return cv2.warpAffine(portrait, matrix, (SIDE_PX, SIDE_PX), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _chord() -> list[object]:
    """A soft chord that fades: something to hear whether sound was kept."""
    import av

    time_s = np.arange(SECONDS * _SAMPLE_RATE) / _SAMPLE_RATE
    fade = np.minimum(1, time_s * 8) * np.exp(-time_s)
    wave = sum(np.sin(2 * np.pi * pitch * time_s) for pitch in (220.0, 277.18, 329.63)) * fade * 0.08
    stereo = np.repeat(np.asarray(wave, np.float32)[None], 2, axis=0)
    pieces: list[object] = []
    for start in range(0, stereo.shape[1], 1024):
        piece = av.AudioFrame.from_ndarray(np.ascontiguousarray(stereo[:, start : start + 1024]), "fltp", "stereo")
        piece.sample_rate, piece.pts, piece.time_base = _SAMPLE_RATE, start, Fraction(1, _SAMPLE_RATE)
        pieces.append(piece)
    return pieces


def viewer_page(clip: str, cut: str, picture: str) -> str:
    """A page that shows the clip and what was cut from it, side by side on a checkerboard. Works from the disk."""
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>headstream demo</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem; background: Canvas; color: CanvasText; color-scheme: light dark }}
main {{ display: flex; flex-wrap: wrap; gap: 1.5rem }} figure {{ margin: 0 }} figcaption {{ margin-top: .4rem }}
video, img {{ width: min(90vw, 400px); height: auto; display: block; border-radius: 8px;
  background: repeating-conic-gradient(#d4d4d4 0 25%, #fafafa 0 50%) 0 0 / 24px 24px }}
</style>
<h1>headstream demo</h1>
<main>
<figure><video src="{clip}" controls loop muted autoplay></video><figcaption>{clip}: the clip</figcaption></figure>
<figure><video src="{cut}" controls loop muted autoplay></video>
<figcaption>{cut}: the head, with alpha and sound<br>
(Chrome, Edge and Firefox show the alpha, Safari does not)</figcaption></figure>
<figure><img src="{picture}" alt="the head cut out of the portrait">
<figcaption>{picture}: the photo's head</figcaption></figure>
</main>
"""
