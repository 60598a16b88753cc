"""Which cameras there are, and what a user's word for a live source means."""

from __future__ import annotations

import logging
import re
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from headstream.errors import SourceError, UsageError

log = logging.getLogger(__name__)

T = TypeVar("T")
Kind = Literal["camera", "network", "file", "screen"]

# What FFmpeg calls this system's cameras, and the one that lists and opens them.
_DEVICE_FORMATS = {"linux": "video4linux2", "darwin": "avfoundation", "win32": "dshow"}
_QUERYCAP, _CAPABILITY, _CAPTURES = 0x80685600, "84xII12x", 1  # of linux/videodev2.h
_NETWORK = re.compile(r"(rtsps?|https?|udp|tcp|rtmps?|srt)://", re.IGNORECASE)


@dataclass(frozen=True)
class Camera:
    """A camera of this machine. number: what OpenCV opens it by; name: what its maker calls it."""

    number: int
    name: str


@dataclass(frozen=True)
class LiveTarget:
    """What ``--camera`` asked for. camera: its number, for kind "camera"; address: a URL, or a file's path.
    region: x, y, width and height of the screen, None for all of it."""

    kind: Kind
    label: str
    camera: int = 0
    address: str = ""
    region: tuple[int, int, int, int] | None = None


def list_cameras() -> list[Camera]:
    """The cameras the system names, by number; empty if there are none. Raises SourceError where it cannot be asked."""
    import av

    kind = _DEVICE_FORMATS.get(sys.platform)
    if kind is None:
        raise SourceError(f"cameras cannot be listed on {sys.platform}; name one by number: --camera 0")
    try:
        found = av.enumerate_input_devices(kind)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceError(f"the system does not list its cameras ({error}); name one by number: --camera 0") from error
    cameras = [
        Camera(number, device.description or device.name)
        for order, device in enumerate(found)
        if (number := _number(device, order)) is not None
    ]
    if sys.platform == "darwin" and len(cameras) > 1:  # OpenCV counts them by an id that FFmpeg does not tell
        log.warning("on macOS, one of several cameras may have another's number: if it is the wrong one, try others")
    return sorted(cameras, key=lambda camera: camera.number)


def _number(device: Any, order: int) -> int | None:
    """What OpenCV opens a device of FFmpeg's list by, in which it is the ``order``-th; None for what it knows nothing of."""
    if sys.platform == "linux":  # /dev/videoN is N, gaps and all; there are also radios, and a camera's further nodes
        node = re.fullmatch(r"/dev/video(\d+)", device.name)
        return int(node[1]) if node and _captures(device.name) else None
    if sys.platform == "darwin" and re.fullmatch(r"Capture screen \d+", device.description):
        return None  # listed after the cameras, as microphones are
    # No kind at all is told of OBS's virtual camera, and of some webcams.
    return None if device.media_types == ["audio"] else order


def _captures(node: str) -> bool:
    """Whether pictures come from a node; FFmpeg looks at what its camera can do elsewhere, too."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        with open(node, "rb", buffering=0) as device:
            told = fcntl.ioctl(device, _QUERYCAP, bytes(struct.calcsize(_CAPABILITY)))
    except OSError:
        return True
    _, of_the_node = struct.unpack(_CAPABILITY, told)
    return bool(of_the_node & _CAPTURES)


def called(text: str, things: Sequence[T], name: Callable[[T], str]) -> list[T]:
    """Those of that name, in upper or lower case; where there is none, those that have it in theirs."""
    found = [thing for thing in things if text.lower() in name(thing).lower()]
    return [thing for thing in found if text.lower() == name(thing).lower()] or found


def parse_target(text: str) -> LiveTarget:
    """A camera's number or a part of its name, /dev/videoN, a URL, "screen" or "screen:X,Y,W,H", or a video file. Raises
    UsageError."""
    if match := re.fullmatch(r"(?:/dev/video)?(\d+)", text):
        return LiveTarget("camera", f"camera {match[1]}", int(match[1]))
    if _NETWORK.match(text):
        return LiveTarget("network", _without_password(text), address=text)
    if text == "screen" or text.startswith("screen:"):
        return LiveTarget("screen", "screen", region=_region(text))
    if "://" in text:
        raise UsageError(f"--camera {_without_password(text)}: expected rtsp, http, udp, tcp, rtmp or srt before ://")
    if Path(text).is_file():
        return LiveTarget("file", Path(text).name, address=text)
    cameras = list_cameras()
    matches = called(text, cameras, lambda camera: camera.name)
    if len(matches) == 1:
        return LiveTarget("camera", matches[0].name, matches[0].number)
    listed = ", ".join(f"{c.number} ({c.name})" for c in matches or cameras) or "none"
    what = "fits several" if matches else "is no camera here, no file and no URL"
    raise UsageError(f"--camera {text}: {what}; cameras: {listed}")


def _region(text: str) -> tuple[int, int, int, int] | None:
    if text == "screen":
        return None
    match = re.fullmatch(r"screen:(-?\d+),(-?\d+),(\d+),(\d+)", text)
    if match is None or int(match[3]) < 32 or int(match[4]) < 32:
        raise UsageError(
            f"--camera {text}: a part of the screen is written screen:X,Y,WIDTH,HEIGHT, at least 32 each way"
        )
    return int(match[1]), int(match[2]), int(match[3]), int(match[4])


def _without_password(url: str) -> str:
    """Addresses are shown and logged; what is before the @ and after the ? is nobody's business. Passwords hold all sorts of
    signs: better too little of an address than a part of one."""
    address, _, asked = url.partition("?")
    if "@" in asked:  # of a password with a ?, or of one that is asked with: nobody can tell what is before and behind
        return f"{address.split('//')[0]}//..."
    return re.sub(r"//.*@", "//", address)
