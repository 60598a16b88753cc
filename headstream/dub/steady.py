"""A film's track without jitter and without lag: it is smoothed with the future in view.

What a detector says of a face in the frames around is first carried to the frame in question along the face's own motion
(``headstream.dub.motion``), where all of it should agree, and then averaged with a Gaussian kernel. So the fast part of a
movement is the skin's, measured to a tenth of a pixel, and only its slow part is the detector's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from headstream.dub.motion import Motion
from headstream.dub.trackfile import TrackedFrame, TrackedHead
from headstream.track.boxes import centre
from headstream.types import Float64Array, Head

# Seconds: standard deviations of the kernels. Faces turn, and what a similarity cannot carry must be followed; the crop
# around the head is to stand still on it, and changes as slowly as it can.
_FACE_WIDTH_S, _CROP_WIDTH_S = 1.2, 2.5
_REACH = 2.5  # kernel widths that matter
# A face that turns is another shape: frames whose points, carried here, lie further than this (in face boxes) from where those
# of the nearest frames do count for less.
_NEAR_S, _OTHER_SHAPE = 0.12, 0.05
_GUESS = 0.1  # weight of a frame in which no detector saw the face


@dataclass(frozen=True)
class _Seen:
    """One head as the tracker saw it. carried: (3, 3), from its stay's first frame to this one.

    points: (8, 2), landmarks, the face box's middle, the crop's.  sizes: (3,), width and height of the face box, side of
    the crop.  belief: weight of what was seen.
    """

    head: Head
    stay: int
    carried: Motion
    points: Float64Array
    sizes: Float64Array
    belief: float

    @classmethod
    def of(cls, head: Head, stay: int, carried: Motion) -> _Seen:
        x0, y0, x1, y1 = head.box_px
        points = np.concatenate([head.landmarks_px, [centre(head.box_px), centre(head.crop_px)]]).astype(np.float64)
        sizes = np.array([x1 - x0, y1 - y0, head.crop_px[2] - head.crop_px[0]], np.float64)
        belief = head.score if head.unseen_frames == 0 else _GUESS * head.score
        return cls(head, stay, carried, points, sizes, belief)


@dataclass(frozen=True)
class _Raw:
    index: int
    pts: Fraction
    cut: bool
    heads: dict[int, _Seen]


class Smoother:
    """Holds what is known of the frames around the one being smoothed, and hands it on when its future is known."""

    def __init__(self, done: Callable[[TrackedFrame], None]) -> None:
        self._done = done
        self._frames: deque[_Raw] = deque()
        self._at = 0  # of the frame to hand on next
        self._stays = 0

    def take(
        self, index: int, pts: Fraction, heads: tuple[Head, ...], motions: Mapping[int, Motion], *, cut: bool
    ) -> None:
        """Add a frame. motions: of the heads that were in the last frame too, from there to here."""
        last = self._frames[-1].heads if self._frames and not cut else {}
        seen = {}
        for head in heads:
            before = last.get(head.track_id)
            if before is not None and head.track_id in motions:
                carried = motions[head.track_id] @ before.carried
                seen[head.track_id] = _Seen.of(head, before.stay, carried)
            else:
                self._stays += 1
                seen[head.track_id] = _Seen.of(head, self._stays, np.eye(3))
        self._frames.append(_Raw(index, pts, cut, seen))
        reach = Fraction(_REACH * _CROP_WIDTH_S)
        while self._frames[self._at].pts + reach < pts:
            self._hand_on()
        while self._frames[self._at].pts - self._frames[0].pts > reach:
            self._frames.popleft()
            self._at -= 1

    def finish(self) -> None:
        """Hand on the rest."""
        while self._at < len(self._frames):
            self._hand_on()

    def _hand_on(self) -> None:
        now = self._frames[self._at]
        heads = tuple(self._head(now, id_) for id_ in sorted(now.heads))
        self._done(TrackedFrame(now.index, now.pts, now.cut, heads))
        self._at += 1

    def _head(self, now: _Raw, id_: int) -> TrackedHead:
        here = now.heads[id_]
        around = [
            (float(frame.pts - now.pts), seen)
            for frame in self._frames
            if (seen := frame.heads.get(id_)) is not None and seen.stay == here.stay
        ]
        times = np.array([time for time, _ in around])
        sure = np.array([seen.belief for _, seen in around])
        carried = np.linalg.inv(np.stack([seen.carried for _, seen in around]))
        to_here = here.carried @ carried
        zoom = np.sqrt(np.abs(np.linalg.det(to_here[:, :2, :2])))
        points = np.stack([seen.points for _, seen in around])  # (W, 8, 2)
        moved = points @ to_here[:, :2, :2].swapaxes(1, 2) + to_here[:, None, :2, 2]
        sizes = np.stack([seen.sizes for _, seen in around]) * zoom[:, None]
        crop = _kernel(times, _CROP_WIDTH_S) * sure
        face = (
            _kernel(times, _FACE_WIDTH_S) * sure * _alike(moved[:, :6], _kernel(times, _NEAR_S) * sure, here.sizes[0])
        )
        landmarks, middle = (
            np.average(moved[:, :6], axis=0, weights=face),
            np.average(moved[:, 6], axis=0, weights=face),
        )
        half = np.average(sizes[:, :2], axis=0, weights=face) / 2
        centre = np.average(moved[:, 7], axis=0, weights=crop)
        return TrackedHead(
            id_,
            tuple(np.concatenate([middle - half, middle + half]).tolist()),
            landmarks,
            (float(centre[0]), float(centre[1])),
            float(np.average(sizes[:, 2], weights=crop)),
            roll_deg(landmarks),
            here.head.score,
            here.head.unseen_frames == 0,
        )


def _alike(points: Float64Array, near: Float64Array, face: float) -> Float64Array:
    """(W,) 0..1: how much each frame's points (W, P, 2) look like those of the frames that are ``near``."""
    middle = np.average(points, axis=0, weights=near)
    far = np.sqrt(((points - middle) ** 2).sum(axis=2).mean(axis=1)) / max(face, 1.0)
    alike: Float64Array = 1 / (1 + (far / _OTHER_SHAPE) ** 2)
    return alike


def _kernel(times_s: Float64Array, width_s: float) -> Float64Array:
    kernel: Float64Array = np.exp(-0.5 * (times_s / width_s) ** 2) + 1e-9
    return kernel


def roll_deg(landmarks: Float64Array) -> float:
    """How far a head leans, degrees clockwise as seen, from the line of the eyes. landmarks: (6, 2)."""
    across = landmarks[1] - landmarks[0]  # from the person's right eye, on the left as seen, to the left one
    return float(np.degrees(np.arctan2(across[1], across[0])))
