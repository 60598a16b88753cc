"""Opening a film: its container and the stream of its picture, or what the file is instead."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from headstream.capture.named import check_file
from headstream.capture.numbered import RATE, numbered_pictures
from headstream.errors import SourceError, UsageError

# What the demuxers of still pictures are called. A photo is a job for `headstream image`.
_STILL_FORMATS = {"image2", "png_pipe", "jpeg_pipe", "webp_pipe", "tiff_pipe", "bmp_pipe", "jpegxl_pipe"}
# What FFmpeg shows as text on an old screen, some of it whatever its bytes are, for the sake of its name alone.
_TEXT_FORMATS = {"tty", "bin", "xbin", "adf", "idf"}
_MOST_BOXES = 1000  # of an MP4's outermost parts that are looked through for its index


def open_film(path: Path, rate: Fraction | None = None) -> Any:
    """A file, or numbered pictures (``numbered_pictures``), as a PyAV container. rate: of pictures, a second; None for ``RATE``.
    Raises SourceError, and UsageError for a rate of what has its own."""
    import av

    try:
        pictures = numbered_pictures(path)
        if pictures is not None:
            return pictures.opened(rate or RATE)
        check_file(path)
        if rate is not None:
            raise UsageError(f"{path}: has a rate of its own; --rate is for numbered pictures")
        # In talk-10:30.mp4 alone FFmpeg would see a protocol.
        container = av.open(str(path.absolute()), metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if path.is_file() and _lacks_its_index(path):
            raise SourceError(
                f"{path}: is cut off: its index, which stands at the end, is missing; copy it or record it anew"
            ) from error
        raise SourceError(f"{path}: not a video file headstream can read ({reason_of(error)})") from error
    if container.format.name in _TEXT_FORMATS:
        container.close()
        raise SourceError(f"{path}: not a video file headstream can read (it is text)")
    return container


def _lacks_its_index(path: Path) -> bool:
    """Whether this is the beginning of an MP4 or QuickTime film whose index (the box moov) was to stand at the end, as of a
    recording or a copy that was broken off."""
    at, kinds, size = 0, set[bytes](), path.stat().st_size
    with path.open("rb") as file:
        for _ in range(_MOST_BOXES):
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:  # the length stands behind the kind, in 64 bits
                length = int.from_bytes(head[8:16], "big")
            if len(head) < 8 or (at == 0 and head[4:8] not in {b"ftyp", b"wide", b"mdat"}):
                break
            kinds.add(head[4:8])
            if length < 8 or at + length > size:  # 0: to the end of the file
                break
            at += length
    return b"mdat" in kinds and b"moov" not in kinds


def video_stream(container: Any, path: Path) -> Any:
    """The stream of a film's picture: of several, the one players show. Raises SourceError, saying what the file is where
    there is none."""
    import av

    pictures = [s for s in container.streams.video if not _is_cover(s)]
    if not pictures:
        kinds = sorted({s.type for s in container.streams} - {"video"}) or ["nothing"]
        raise SourceError(f"{path}: holds {' and '.join(kinds)} but no video")
    stream = next((s for s in pictures if s.disposition & av.stream.Disposition.default), pictures[0])
    if container.format.name.split(",")[0] in _STILL_FORMATS and path.is_file():
        if _is_animated_webp(path):
            raise SourceError(
                f"{path}: is an animated WebP, which cannot be read here; turn it into a film or a GIF first"
            )
        raise SourceError(f"{path}: is a photo; use: headstream image {path} --out DIR")
    if stream.codec_context is None or not stream.codec_context.width:
        raise SourceError(f"{path}: its video cannot be decoded here (unknown codec or no picture size)")
    return stream


def tells_no_times(container: Any, stream: Any) -> bool:
    """Whether a file does not tell when its pictures are shown, only when they are decoded, and FFmpeg's guess is wrong: of H.264
    with B-frames in AVI."""
    context = stream.codec_context
    return bool(container.format.name == "avi" and context.name == "h264" and context.has_b_frames)


def beside_the_picture(container: Any, stream: Any) -> list[str]:
    """What a film holds that no output takes over, in words: other pictures, and data such as a camera's sensors write."""
    found = []
    for other in container.streams:
        tags = {key.lower(): value for key, value in other.metadata.items()}
        if other.type == "video" and other is not stream:
            kind = "cover art" if _is_cover(other) else "another picture"
            found.append(f"video {other.index}: {kind} left out")
        elif other.type == "data" and "timecode" not in tags:  # that one is carried over as such
            found.append(f"data {other.index}: {tags.get('handler_name', '').strip() or 'data'} left out")
    return found


def _is_cover(stream: Any) -> bool:
    """Cover art of a song or film is a video stream of one picture; it is not the video."""
    import av

    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _is_animated_webp(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(21)
    return head[8:16] == b"WEBPVP8X" and bool(head[20] & 2)


def reason_of(error: BaseException) -> str:
    """What FFmpeg or the system says, without the path."""
    text = getattr(error, "strerror", None) or str(error)
    return str(text).split(":")[0].strip() or type(error).__name__
