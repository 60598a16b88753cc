"""Which head is where in this frame, and that it is the same head as before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headstream.shared.colour import crop_resized
from headstream.shared.straight import straightened
from headstream.track.appearance import SIDE_PX, describe, likeness
from headstream.track.associate import best_pairs, blended, is_part_of, is_rest_of, steady_crop
from headstream.track.boxes import centre, crop_square, overlap
from headstream.track.cuts import another_shot, thumbnail
from headstream.track.departed import Departed, Gone
from headstream.track.faces import Face, distinct
from headstream.track.followed import Refused, Track
from headstream.track.framing import Framing, framing_of, widened
from headstream.track.kalman import BoxFilter
from headstream.track.lying import Lying
from headstream.track.terms import Evidence, Finder, TrackOptions, found_lying, looked, turns_of
from headstream.types import Float32Array, Frame, Head, Region

# Frames in a row whose crop cut a head off. What a quick movement did is made good by then; hair that goes on for ever would be
# looked at anew in every one.
_HOPELESS = 8
_LYING_EVERY = 5  # frames between looks at the picture turned, where nobody is seen


@dataclass
class _Now:
    frame: Frame
    time_s: float
    faces: list[Face] = field(default_factory=list)
    standing: dict[int, Lying] = field(default_factory=dict)  # of newcomers, by the face's identity


class Tracker:
    """Heads of a clip, frame after frame.

    ``update`` gives the heads of the next frame; ``observe`` tells it, for that same frame, what the mattes were like.
    Causal: a frame's heads depend on it and earlier frames only. No thread, no clock.
    """

    def __init__(self, finder: Finder, options: TrackOptions | None = None) -> None:
        self.options = options or TrackOptions()
        self._finder = finder
        self.reset()

    def reset(self) -> None:
        """Forget everything; numbers start at 1 again."""
        self._tracks: list[Track] = []
        self._gone = Departed()
        self._refused: list[Refused] = []
        self._next_id = 1
        self._frames = 0
        self._looked_s = 0.0
        self._scan_due = True
        self._thumbnail: Float32Array | None = None
        self._size_px: tuple[int, int] | None = None
        self.cut_before = False

    def snapshot(self) -> dict[str, Any]:
        """All that is remembered, of ``REMEMBERED`` and plain values. It lives on: put it away before the next frame."""
        return {name: value for name, value in vars(self).items() if name not in {"options", "_finder"}}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on where a ``snapshot`` was taken."""
        self.reset()
        vars(self).update(snapshot)

    def update(self, frame: Frame) -> tuple[Head, ...]:
        """Heads in ``frame``, by number. ``cut_before`` then tells whether the picture changed as a whole before it."""
        now = _Now(frame, float(frame.pts))
        before, self._thumbnail = self._thumbnail, thumbnail(frame)
        resized = self._size_px not in (None, frame.size_px)  # a phone that is turned: nothing is where it was
        self._size_px = frame.size_px
        self.cut_before = resized or another_shot(before, self._thumbnail)
        if self.cut_before:
            self._refused.clear()
            self._leave(list(self._tracks), now, everywhere=True)
            self._scan_due = True
        for track in self._tracks:
            track.box = track.filter.predict(now.time_s)
            # After a pause, or where pictures are seconds apart: look, before anybody counts as lost.
            self._scan_due |= now.time_s - track.seen_s > self.options.hold_s
        self._detect(now)
        self._drop_lost(now)
        self._frames += 1
        return tuple(self._head(track) for track in sorted(self._tracks, key=lambda t: t.track_id))

    def observe(self, evidence: Mapping[int, Evidence], *, once_more: bool = False) -> frozenset[int]:
        """Take in what the mattes of the last frame were like. Returns the numbers of heads that are not believed.

        once_more: whether these heads, all believed, were looked at in better crops: only how far they reach is new then.
        """
        doubted = set()
        for track in list(self._tracks):
            seen = evidence.get(track.track_id)
            if seen is None:
                continue
            if once_more:
                self._frame(track, seen)
                continue
            if seen.fill < self.options.min_fill:
                if self._is_new(track):
                    self._refuse(track)
                    doubted.add(track.track_id)
                elif seen.fill < 0.5 * self.options.min_fill:
                    self._scan_due = True
                continue
            track.supported_s = track.filter.time_s
            self._follow_matte(track, seen)
            self._frame(track, seen)
        return frozenset(doubted)

    def _frame(self, track: Track, seen: Evidence) -> None:
        if seen.seen_px is not None:
            wanted = framing_of(seen.seen_px, track.box, self.options.max_padding, self.options.room)
            track.framing = wanted if self._is_new(track) else track.framing.towards(wanted)

    def _is_new(self, track: Track) -> bool:
        return track.born == self._frames - 1

    def better_crop(self, head: Head, cut: tuple[bool, bool, bool, bool], *, anew: bool) -> Region | None:
        """Where to look once more at a head of the last frame, after ``observe``; None where the crop it had suits it.

        cut: the sides of that crop, left, top, right and bottom, beyond which the head goes on.  anew: a newcomer's crop was
        made from the face alone: another look is worth it, cut off or not.
        """
        track = next((track for track in self._tracks if track.track_id == head.track_id), None)
        if track is None:
            return None
        if anew:
            track.cut_frames = track.cut_frames + 1 if any(cut) else 0
        if not (any(cut) or (anew and self._is_new(track))):
            return None
        if self._is_new(track):
            track.crop_px = track.framing.square(track.box)
            return None if track.crop_px == head.crop_px else track.crop_px
        if track.cut_frames > _HOPELESS:
            return None
        return widened(head.crop_px, cut)

    def still(self, track_ids: Collection[int]) -> None:
        """The mattes of these heads were carried into the last frame: nothing new, and nothing against them."""
        for track in self._tracks:
            if track.track_id in track_ids:
                track.supported_s = track.filter.time_s

    def _detect(self, now: _Now) -> None:
        few = now.time_s - self._looked_s > self.options.look_within_s
        due = few or self._frames % self.options.look_every == 0
        self._looked_s = now.time_s if due else self._looked_s
        missing = False
        for track in self._tracks:
            if due or track.unseen_frames:
                region = crop_square(track.box, self.options.padding)
                found = looked(self._finder, now.frame, region, track.lying.roll_deg)
                now.faces += found
                missing |= not any(overlap(face.box_px, track.box) > 0.2 for face in found)
        if missing or self._scan_due or not self._tracks or self._frames % self.options.scan_every == 0:
            now.faces += self._finder.scan(now.frame)
            now.faces += self._lying(now)
            self._scan_due = False
            self._assign(now, looked=list(self._tracks))
        elif now.faces:
            self._assign(now, looked=list(self._tracks) if due else [t for t in self._tracks if t.unseen_frames])

    def _lying(self, now: _Now) -> list[Face]:
        """Whoever is seen in the picture turned only, one way after the other: often where nobody is seen as it is."""
        known = [track.box for track in self._tracks] + [face.box_px for face in now.faces]
        turn, between = divmod(self._frames, 2 * self.options.scan_every if known else _LYING_EVERY)
        return [] if between else found_lying(self._finder, now.frame, (1, 3, 2)[turn % 3], known)

    def _assign(self, now: _Now, looked: list[Track]) -> None:
        """Give each face to the track it continues; the rest are newcomers or people who return."""
        # A statue that was refused is not described, nor asked how it stands, in every frame again.
        faces = [face for face in distinct(now.faces, 0.4) if self._tracks or not self._is_refused(face, now)]
        looks = self._looks(faces, now)
        taken = best_pairs([[self._cost(t, f, k, now) for f, k in zip(faces, looks, strict=True)] for t in looked])
        for index, track in enumerate(looked):
            if index not in taken:
                track.unseen_frames += 1
                track.filter.slow_down()
                continue
            face = faces[taken[index]]
            track.box = track.filter.correct(face.box_px)
            track.face, track.unseen_frames, track.seen_s = face, 0, now.time_s
            track.looks = blended(track.looks, looks[taken[index]])
            self._straighten(track, face, now)
        for index, face in enumerate(faces):
            if index not in taken.values():
                self._welcome(face, looks[index], now)

    def _straighten(self, track: Track, face: Face, now: _Now) -> None:
        """Take in how a head stands or lies in this frame."""
        due = track.lying.asked is not None or self._frames % self.options.scan_every == 0
        young = self._frames - track.born < self.options.scan_every
        if (due or young) and track.lying.doubted(face):
            track.lying.told(turns_of(self._finder, now.frame, face, track.lying.turns))
        track.lying.seen(face)

    def _cost(self, track: Track, face: Face, looks: Float32Array | None, now: _Now) -> float:
        """How badly a face continues a track: distance in box sides, plus unlikeness; infinite when it cannot."""
        side = track.box[2] - track.box[0]
        grown = max(face.box_px[2] - face.box_px[0], 1.0) / max(side, 1.0)
        away = float(np.hypot(*(centre(face.box_px) - centre(track.box)))) / max(side, 1.0)
        gate = 0.9 + 2.0 * min(1.0, now.time_s - track.seen_s)
        if away > gate or not 0.45 < grown < 2.2:
            return np.inf
        unlike = 0.0 if looks is None or track.looks is None else 1 - likeness(looks, track.looks)
        return away + 0.5 * abs(float(np.log(grown))) + 3.0 * unlike

    def _looks(self, faces: list[Face], now: _Now) -> list[Float32Array | None]:
        """Descriptions, made only where somebody could be mistaken for somebody else, or will have to be known again."""
        alone = len(faces) == 1 and len(self._tracks) == 1 and not self._gone
        if alone and self._tracks[0].looks is not None and self._frames % self.options.scan_every:
            return [None]
        frame = now.frame
        picture = frame.picture
        crops = [crop_resized(picture, crop_square(f.box_px, self.options.padding), SIDE_PX) for f in faces]
        rolls = [self._standing(face, now).roll_deg for face in faces]
        return [describe(straightened(crop, roll)) for crop, roll in zip(crops, rolls, strict=True)]

    def _standing(self, face: Face, now: _Now) -> Lying:
        """How a face stands: as the head does that it lies on; of a newcomer the finder is asked, once."""
        for track in self._tracks:
            if overlap(face.box_px, track.box) > 0.3:
                return track.lying
        if len(self._tracks) >= self.options.max_heads:
            return Lying()  # nobody more is followed; of a crowd, asking costs a tenth of a second
        if id(face) not in now.standing:
            now.standing[id(face)] = lying = Lying(turns_of(self._finder, now.frame, face, 0))
            lying.seen(face)
        return now.standing[id(face)]

    def _is_refused(self, face: Face, now: _Now) -> bool:
        self._refused = [refused for refused in self._refused if refused.until_s > now.time_s]
        return any(overlap(face.box_px, refused.box) > 0.3 for refused in self._refused)

    def _welcome(self, face: Face, looks: Float32Array | None, now: _Now) -> None:
        if len(self._tracks) >= self.options.max_heads:
            return
        if any(overlap(face.box_px, track.box) > 0.3 for track in self._tracks):
            return
        if any(not t.unseen_frames and is_part_of(face.box_px, t.box) for t in self._tracks):
            return
        if any(t.unseen_frames and is_rest_of(face.box_px, t.box, now.frame.size_px) for t in self._tracks):
            return
        if self._is_refused(face, now):
            return
        was = self._gone.returning(face.box_px, looks, now.time_s, self.options.remember_s)
        if was is None:
            known, self._next_id = self._next_id, self._next_id + 1
        else:
            known = was.track_id
        start, framing = BoxFilter(face.box_px, now.time_s), Framing(self.options.padding)
        track = Track(known, start, face, self._frames, now.time_s, now.time_s, framing)
        track.box, track.looks, track.was = track.filter.box, looks, was
        track.lying = self._standing(face, now)
        self._tracks.append(track)

    def _drop_lost(self, now: _Now) -> None:
        options = self.options
        lost = [
            track
            for track in self._tracks
            if now.time_s - track.seen_s > options.hold_s
            or (track.unseen_frames > 1 and now.time_s - max(track.seen_s, track.supported_s) > options.doubted_s)
        ]
        self._leave(lost, now)

    def _leave(self, tracks: list[Track], now: _Now, *, everywhere: bool = False) -> None:
        for track in tracks:
            self._gone.add(Gone(track.track_id, track.box, track.looks, now.time_s, everywhere))
            self._tracks.remove(track)

    def _refuse(self, track: Track) -> None:
        """A face box no head fills: a statue's shadow, a dog. Looked at again in a while."""
        self._tracks.remove(track)
        self._refused.append(Refused(track.box, track.seen_s + 1.0))
        if track.was is not None:
            self._gone.add(track.was)  # the number stays theirs
        elif track.track_id == self._next_id - 1:
            self._next_id -= 1

    def _follow_matte(self, track: Track, seen: Evidence) -> None:
        """While the face is hidden, the matte tells where the head goes."""
        side = track.box[2] - track.box[0]
        cx, cy = centre(track.box)
        if track.unseen_frames == 0:
            track.matte_offset = ((seen.centre_px[0] - cx) / side, (seen.centre_px[1] - cy) / side)
        elif track.matte_offset is not None:
            x, y = (seen.centre_px[k] - track.matte_offset[k] * side for k in (0, 1))
            track.box = track.filter.correct((x - side / 2, y - side / 2, x + side / 2, y + side / 2), doubt=4.0)

    def _head(self, track: Track) -> Head:
        track.crop_px = steady_crop(track.framing.square(track.box), track.crop_px)
        face = track.face
        moved = centre(track.box) - centre(face.box_px)
        landmarks = (face.landmarks_px + moved).astype(np.float32)
        unseen, roll = track.unseen_frames, track.lying.roll_deg
        return Head(track.track_id, track.box, track.crop_px, landmarks, face.score, unseen, roll)
