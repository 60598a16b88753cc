"""The life of a photo: find the faces, zoom in, segment, and bring the matte back to the photo's own pixels.

A photo has no past to steady its matte and no next frame waiting, so it is looked at more closely: mirrored
too, and a second time around the head that was found, where a face box says little about the hair.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from headstream.matte.refine import HeadMatte, Layer, merged, times_own_alpha
from headstream.matte.strands import with_strands
from headstream.pipeline import CutOptions
from headstream.segment.places import predicted, side_of
from headstream.shared.colour import crop_resized
from headstream.shared.straight import leaning, straightened
from headstream.timing import StageTimes
from headstream.track.boxes import crop_square, is_far, overlap, top_part
from headstream.track.evidence import cut_sides, evidence_of
from headstream.track.faces import Face
from headstream.track.finder import FaceFinder
from headstream.track.framing import framing_of
from headstream.track.lying import Lying
from headstream.track.terms import Evidence
from headstream.types import Box, Cutout, Float32Array, Frame, Head, Part, Region, Segmenter, UInt8Array

# Mean alpha over the face box for a face that only tiles showed. Of 729 such faces 98 % have 0.83; most hands, bags and
# wheels have less.
_FILL_IN_GROUP = 0.8
_LOOKS = 3  # at a head, besides the first: on, as long as hair goes on beyond the crop


@dataclass(frozen=True)
class HeadStages:
    """What each stage made of one head. crop: (S, S, 3) uint8; crop_alpha: (S, S) float32; head and cutout as cut."""

    head: Head
    crop: UInt8Array
    crop_alpha: Float32Array
    cutout: Cutout


@dataclass(frozen=True)
class PhotoResult:
    """A cut photo.

    faces: all that were found.  heads: those that were believed and cut, largest first.  searched_px: the part of the
    photo that shows them: all of it, or its top where it shows people from head to foot.  believed: how many heads there
    are as far as was asked: with a number for ``heads``, also those before it.
    """

    frame: Frame
    faces: tuple[Face, ...] = ()
    heads: tuple[HeadStages, ...] = ()
    believed: int = 0

    @property
    def searched_px(self) -> Region:
        """The photo, or its top 65 % for a full body."""
        width, height = self.frame.size_px
        tallest = max((stage.head.box_px[3] - stage.head.box_px[1] for stage in self.heads), default=height)
        lowest = max((stage.head.crop_px[3] for stage in self.heads), default=height)
        full_body = is_far(tallest, height) and lowest <= top_part(height)
        return (0, 0, width, top_part(height) if full_body else height)

    @cached_property
    def cutout(self) -> Cutout:
        """All heads in one cut-out; without heads, an empty one."""
        if len(self.heads) == 1:
            return self.heads[0].cutout
        cutouts = [stage.cutout for stage in self.heads]
        layer = merged([Layer(cut.region_px, cut.region_alpha, cut.foreground) for cut in cutouts], self.frame)
        heads = tuple(stage.head for stage in self.heads)
        return Cutout(self.frame, heads, layer.region_px, layer.alpha, layer.foreground)


def _same_face(box: Box, cut: Box) -> bool:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return overlap(box, cut) > 0.3 or (cut[0] < x < cut[2] and cut[1] < y < cut[3])


@dataclass
class PhotoCutter:
    """Cuts heads out of single pictures. Not safe to share between threads. Raises UsageError for a part the network does
    not know. times: mean milliseconds of each stage of a picture."""

    segmenter: Segmenter
    finder: FaceFinder
    options: CutOptions = field(default_factory=CutOptions)
    times: StageTimes = field(default_factory=StageTimes)

    def __post_init__(self) -> None:
        self.options.planes_of(self.segmenter)  # refuses what cannot be cut, before any picture

    def cut(self, rgb: UInt8Array, alpha: UInt8Array | None = None) -> PhotoResult:
        """Cut a picture, (H, W, 3) uint8 with its own transparency (H, W) or None."""
        frame = Frame(rgb, alpha=alpha)
        with self.times.stage("track"):
            faces = self.finder.search(frame.rgb)
            alone = self.options.heads == "largest" and faces  # nobody else is asked for
            others = [] if alone else self.finder.search_group(frame.rgb, faces)
        for stage_name in ("segment", "matte"):  # of each picture once, however many heads are in it
            self.times.add(stage_name, 0.0)
        wanted = [(face, self.options.track.min_fill) for face in faces] + [(face, _FILL_IN_GROUP) for face in others]
        wanted.sort(key=lambda pair: -(pair[0].box_px[2] - pair[0].box_px[0]) * pair[0].score)
        stages: list[HeadStages] = []
        for face, min_fill in wanted:
            if any(_same_face(face.box_px, stage.head.box_px) for stage in stages):
                continue
            with self.times.stage("track", frames=0):
                face, roll_deg = self._standing(frame, face)
            stage = self._cut_head(frame, face, roll_deg, len(stages) + 1, min_fill)
            if stage is None:
                continue
            stages.append(stage)
            if self.options.heads == "largest" or len(stages) == self.options.heads:
                break
        believed = len(stages)
        if isinstance(self.options.heads, int):
            stages = stages[self.options.heads - 1 :]
        return PhotoResult(frame, tuple(face for face, _ in wanted), tuple(stages), believed)

    def _standing(self, frame: Frame, face: Face) -> tuple[Face, int]:
        """A face as the detectors see it upright, and how far it leans in the photo, clockwise in degrees."""
        turns, face = self.finder.upright(frame, face)
        lying = Lying(turns)
        near = self.finder.look(frame, crop_square(face.box_px), lying.roll_deg)
        there = [seen for seen in near if overlap(seen.box_px, face.box_px) > 0.3]
        if there:
            lying.seen(max(there, key=lambda seen: seen.score))
        return face, lying.roll_deg

    def _cut_head(self, frame: Frame, face: Face, roll_deg: int, number: int, min_fill: float) -> HeadStages | None:
        crop_px = crop_square(face.box_px, self.options.track.padding)
        head = Head(number, face.box_px, crop_px, face.landmarks_px, face.score, roll_deg=roll_deg)
        crop, planes = self._segment(frame, head)
        for look in range(_LOOKS):
            several = {part: alpha[None] for part, alpha in planes.items()}
            seen = evidence_of(several, self.options.part, [head]).get(number)
            if look == 0 and seen is not None and seen.fill < min_fill:
                return None
            crop_px = self._better_crop(head, seen) if look == 0 or self._is_cut(head, planes, frame) else head.crop_px
            if crop_px == head.crop_px:
                break
            head = replace(head, crop_px=crop_px)
            crop, planes = self._segment(frame, head)
        hair = planes["hair"] if self.options.matte.hair_color is not None else None
        alpha = planes[self.options.part]
        with self.times.stage("matte", frames=0):
            matte = HeadMatte(replace(self.options.matte, bare=True), solid=self.options.part == "head")
            opaque = Frame(frame.rgb)  # what the photo itself shows through is no edge of hair
            layer = matte.update(alpha, crop, head.crop_px, opaque, hair, head.roll_deg)
            if self.options.matte.strands:
                x0, y0, x1, y1 = head.box_px
                layer = with_strands(layer, planes["hair"], head.crop_px, opaque, max(x1 - x0, y1 - y0))
            if layer.alpha.size:
                layer = replace(layer, alpha=times_own_alpha(layer.alpha, frame, layer.region_px))
        cutout = Cutout(frame, (head,), layer.region_px, layer.alpha, layer.foreground)
        return HeadStages(head, crop, alpha, cutout)

    def _better_crop(self, head: Head, seen: Evidence | None) -> Region:
        """The crop that suits what the matte showed of a head; the one it had where it showed nothing."""
        if seen is None or seen.seen_px is None:
            return head.crop_px
        track = self.options.track
        return framing_of(seen.seen_px, head.box_px, track.max_padding, track.room).square(head.box_px)

    def _is_cut(self, head: Head, planes: dict[Part, Float32Array], frame: Frame) -> bool:
        """Whether the head, or what is cut of it, goes on beyond its crop."""
        return any(cut_sides(planes.get("head", planes[self.options.part]), head.crop_px, frame.size_px))

    def _segment(self, frame: Frame, head: Head) -> tuple[UInt8Array, dict[Part, Float32Array]]:
        """The crop and its mattes: the mean of those of the head upright and of its mirror image."""
        crop = crop_resized(frame.rgb, head.crop_px, side_of(self.segmenter))
        shown = straightened(crop, head.roll_deg)
        with self.times.stage("segment", frames=0):
            both = predicted(self.segmenter, np.stack([shown, shown[:, ::-1]]), self.options.planes_of(self.segmenter))
        mean = {part: (plain + mirrored[:, ::-1]) / 2 for part, (plain, mirrored) in both.items()}
        return crop, {part: leaning(alpha, head.roll_deg) for part, alpha in mean.items()}
