"""Faces in whole frames, in regions, and in photos where they may be anywhere and any size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from headstream.shared.colour import PAD, crop_resized, whole_resized
from headstream.shared.straight import straightened
from headstream.shared.tone import as_shown
from headstream.shared.turned import turned, turned_box
from headstream.track.boxes import crop_square, height_of, is_far, overlap, top_part
from headstream.track.faces import MODEL_FILES, Face, FaceDetector, distinct
from headstream.track.standing import standing
from headstream.track.tiles import cut_by, steps
from headstream.types import Box, Frame, Region, UInt8Array

# The networks look at 192 and 128 px; what they are shown is a little finer, so that their own scaling has a choice.
_SCAN_SIDE_PX = 384
_LOOK_SIDE_PX = 192
_LOOK_SIZE = (_LOOK_SIDE_PX, _LOOK_SIDE_PX)
# Median over 2,500 portraits: how the full-range box relates to the short-range one of the same face.
_FULL_FROM_SHORT_SIZE = 1.061
_FULL_FROM_SHORT_SHIFT = (-0.013, -0.047)  # of the box side
_SURE = 0.5  # score from which the full-range detector is believed alone
_FAINT = 0.3  # and from which it is, where the short-range one agrees with this score
_AGREED = 0.6
_SURE_IN_TILE = 0.65  # many more places are looked at there
_MIN_TILE_PX = 96
# Groups: a face that is smaller than this, in longer sides of what the detector was shown, has neighbours it did not see.
_SMALL_IN_VIEW = 0.1
_WIDE = 2.0  # longer by shorter side from which the whole picture shows too little of anybody
# Mean of three scores: in a tile, and of both detectors from near. Of 750 faces in groups 98 % have it; wheels, hands, bags
# and knees whose matte passes for a head's have 0.69 at most.
_AGREED_IN_GROUP = 0.72
_AGREED_LEANING = 0.75  # of a face that is seen in the photo turned only: the same place from near
_ONE = 0.3  # overlap from which what several tiles show is one face
_FAR_SHARE = 0.15  # of the picture's height: a larger face would have been found without tiles


class FaceFinder:
    """MediaPipe's two detectors, used for what each is good at. One thread only; a context manager."""

    def __init__(self, models: Path) -> None:
        self._full = FaceDetector(models / MODEL_FILES["full"], min_score=_FAINT)
        try:
            self._short = FaceDetector(models / MODEL_FILES["short"], min_score=_SURE)
        except BaseException:
            self._full.close()
            raise

    def scan(self, frame: Frame) -> list[Face]:
        """Faces anywhere in a frame, from about 5 % of its longer side to one that fills it."""
        small, scale = small_rgb(frame)
        found = [face for face in self._full.detect(small) if face.score >= _SURE] or self._close_up(small)
        return [face.moved(1 / scale, 0, 0) for face in found]

    def scan_lying(self, frame: Frame, turns: int, known: Sequence[Box] = ()) -> list[Face]:
        """Faces anywhere in a frame that are upright once it is turned clockwise by so many quarters, also those that ``scan``
        does not see as the frame is; but for those at ``known`` places."""
        small, scale = small_rgb(frame)
        picture = turned(small, turns)
        size = (picture.shape[1], picture.shape[0])
        found = [face.turned(-turns, size) for face in self._full.detect(picture) if face.score >= _SURE]
        back = _elsewhere([face.moved(1 / scale, 0, 0) for face in found], known)
        return [face for face in back if self._is_seen_lying(frame, face, turns)]

    def look(self, frame: Frame, region: Region, roll_deg: int = 0) -> list[Face]:
        """Faces in a square region of a frame, where one is expected to fill a good part of it, and to lean clockwise by so
        many degrees."""
        shown, scale = self._shown(frame, region), (region[2] - region[0]) / _LOOK_SIDE_PX
        found = [_like_full(face) for face in self._short.detect(straightened(shown, roll_deg))]
        if roll_deg:
            found = [face.leaning(roll_deg, _LOOK_SIDE_PX) for face in found]
        return [face.moved(scale, region[0], region[1]) for face in found]

    def quarters(self, frame: Frame, face: Face, turns: int = 0) -> int:
        """How many quarters a frame must be turned clockwise for a face in it to stand upright; ``turns``, as it was believed
        to be, where nothing speaks for another number."""
        return self.upright(frame, face, turns)[0]

    def upright(self, frame: Frame, face: Face, turns: int = 0) -> tuple[int, Face]:
        """The same, and the face as the detector sees it that is shown it upright, in the frame as it is."""
        region = crop_square(face.box_px)
        shown, box = self._shown(frame, region), _within(face.box_px, region)
        more, near = standing(turned(shown, turns), turned_box(box, turns, _LOOK_SIZE), self._short, self._full)
        if near is None:
            return turns, face
        back, scale = _like_full(near).turned(-turns - more, _LOOK_SIZE), (region[2] - region[0]) / _LOOK_SIDE_PX
        return (turns + more) % 4, back.moved(scale, region[0], region[1])

    def _shown(self, frame: Frame, region: Region) -> UInt8Array:
        picture = frame.picture
        return as_shown(crop_resized(picture, region, _LOOK_SIDE_PX), picture)

    def search(self, rgb: UInt8Array) -> list[Face]:
        """Faces in a photo, (H, W, 3) uint8, best first: the whole picture; with room around it for a face that fills
        it; and where heads are small, the top of it and then tiles, for faces that are far away."""
        height, width = rgb.shape[:2]
        found = self._part(rgb, (0, 0, width, height))
        if not found:
            small, scale = small_rgb(Frame(rgb))
            found = [face.moved(1 / scale, 0, 0) for face in self._close_up(small)]
        largest = max((height_of(face.box_px) for face in found), default=0.0)
        if is_far(largest, height):
            found = distinct(found + self._part(rgb, (0, 0, width, top_part(height))), _ONE)
            if not found:
                found = [face for face in self._tiles(rgb) if height_of(face.box_px) < _FAR_SHARE * height]
            found += self._lying(rgb, found)
        return sorted(found, key=lambda face: -face.score)

    def _lying(self, rgb: UInt8Array, known: Sequence[Face]) -> list[Face]:
        """Faces beside those that are known which are seen in the whole photo turned only."""
        found: list[Face] = []
        for turns in (1, 3, 2):
            picture = turned(rgb, turns)
            height, width = picture.shape[:2]
            back = [face.turned(4 - turns, (width, height)) for face in self._part(picture, (0, 0, width, height))]
            back = _elsewhere(back, [face.box_px for face in (*known, *found)])
            found += [face for face in back if self._is_seen_lying(Frame(rgb), face, turns)]
        return distinct(found, _ONE)

    def _is_seen_lying(self, frame: Frame, face: Face, turns: int) -> bool:
        """Whether a face found in a picture turned is one: it is upright there; or, as one that leans by 60 degrees is hardly
        more upright there than it was, seen there from near, too."""
        if self.quarters(frame, face) == turns:
            return True
        near = self.look(frame, crop_square(face.box_px), -90 * turns)
        return _score_at(face.box_px, near) >= _AGREED_LEANING

    def search_group(self, rgb: UInt8Array, found: list[Face]) -> list[Face]:
        """The others in a photo in which ``found`` are small, or which is very wide or high: faces in finer and finer tiles
        that both detectors see again from near. A hand or a wheel is taken for a face once, hardly ever three times."""
        shorter, view = sorted(rgb.shape[:2])
        everybody = list(found)
        largest = max((height_of(face.box_px) for face in found), default=0.0)
        if not is_far(largest, rgb.shape[0]):  # else they were searched
            everybody += self._lying(rgb, found)
        for parts in (1, 2, 4):
            wide = parts == 1 and view >= _WIDE * shorter
            smallest = min((height_of(face.box_px) for face in everybody), default=np.inf)
            if not wide and (parts == 1 or smallest >= _SMALL_IN_VIEW * view):
                continue
            view = shorter // parts
            for face in distinct(self._in_tiles(rgb, view), _ONE):
                if all(overlap(face.box_px, other.box_px) < 0.3 for other in everybody) and self._seen_near(rgb, face):
                    everybody.append(face)
        return everybody[len(found) :]

    def _seen_near(self, rgb: UInt8Array, face: Face) -> bool:
        region = crop_square(face.box_px)
        scale = (region[2] - region[0]) / _SCAN_SIDE_PX
        near = self._full.detect(crop_resized(rgb, region, _SCAN_SIDE_PX))
        full = [seen.moved(scale, region[0], region[1]) for seen in near]
        scores = [_score_at(face.box_px, seen) for seen in (full, self.look(Frame(rgb), region))]
        return min(scores) > 0 and (face.score + sum(scores)) / 3 >= _AGREED_IN_GROUP

    def _part(self, rgb: UInt8Array, region: Region) -> list[Face]:
        x0, y0, x1, y1 = region
        part = rgb[y0:y1, x0:x1]
        scale = min(1.0, 2 * _SCAN_SIDE_PX / max(part.shape[:2]))
        if scale < 1:
            size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
            part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        return [face.moved(1 / scale, x0, y0) for face in self._full.detect(part) if face.score >= _SURE]

    def _close_up(self, small: UInt8Array) -> list[Face]:
        """A face too large for the full-range detector: it is shown the picture with room around it. Animals score
        with one detector or the other; people score with both."""
        edge = max(small.shape[:2]) // 3
        framed = cv2.copyMakeBorder(small, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=(PAD, PAD, PAD))
        faint = [face.moved(1.0, -edge, -edge) for face in self._full.detect(framed)]
        if not faint:
            return []
        near = [_like_full(face).box_px for face in self._short.detect(small) if face.score >= _AGREED]
        return [f for f in faint if f.score >= _SURE or any(overlap(f.box_px, box) > 0.4 for box in near)]

    def _tiles(self, rgb: UInt8Array) -> list[Face]:
        """Overlapping squares of a half, a quarter, an eighth of the shorter side; the first size that sees a face is it."""
        for parts in (2, 4, 8):
            found = [face for face in self._in_tiles(rgb, min(rgb.shape[:2]) // parts) if face.score >= _SURE_IN_TILE]
            if found:
                return distinct(found, _ONE)
        return []

    def _in_tiles(self, rgb: UInt8Array, side: int) -> list[Face]:
        """Faces in overlapping squares of ``side``, some of them several times; none where the squares are too small."""
        if side < _MIN_TILE_PX:
            return []
        height, width = rgb.shape[:2]
        found: list[Face] = []
        for y in steps(height, side):
            for x in steps(width, side):
                tile = (x, y, min(x + side, width), min(y + side, height))
                found += [face for face in self._part(rgb, tile) if not cut_by(face.box_px, tile, (width, height))]
        return found

    def close(self) -> None:
        """Free both detectors. Safe to call again."""
        self._full.close()
        self._short.close()

    def __enter__(self) -> FaceFinder:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _elsewhere(faces: list[Face], known: Sequence[Box]) -> list[Face]:
    return [face for face in faces if all(overlap(face.box_px, box) < 0.2 for box in known)]


def small_rgb(frame: Frame) -> tuple[UInt8Array, float]:
    """The whole frame as RGB with a longer side of at most 384 px, straight from its planes, and how far it was scaled."""
    width, height = frame.size_px
    scale = min(1.0, _SCAN_SIDE_PX / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    rgb = frame.rgb if scale == 1.0 else whole_resized(frame.picture, size)
    return as_shown(rgb, frame.picture), size[0] / width


def _score_at(box: Box, faces: list[Face]) -> float:
    """The best score of a face that is the one in ``box``, or 0."""
    return max((face.score for face in faces if overlap(face.box_px, box) > 0.3), default=0.0)


def _like_full(face: Face) -> Face:
    """What the short-range detector finds, with the box that the full-range one would give."""
    x0, y0, x1, y1 = face.box_px
    side = max(x1 - x0, y1 - y0)
    cx = (x0 + x1) / 2 + _FULL_FROM_SHORT_SHIFT[0] * side
    cy = (y0 + y1) / 2 + _FULL_FROM_SHORT_SHIFT[1] * side
    half = _FULL_FROM_SHORT_SIZE * side / 2
    return Face((cx - half, cy - half, cx + half, cy + half), face.landmarks_px, face.score)


def _within(box: Box, region: Region) -> Box:
    """A box of the frame in a square region of it, scaled to what is looked at."""
    scale = _LOOK_SIDE_PX / (region[2] - region[0])
    x0, y0, x1, y1 = ((value - region[k % 2]) * scale for k, value in enumerate(box))
    return x0, y0, x1, y1
