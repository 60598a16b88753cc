"""Photos: what is cut out of a picture without past or future."""

from __future__ import annotations

import numpy as np

from headstream.photos import PhotoCutter
from headstream.pipeline import CutOptions
from headstream.segment.crops import CropSegmenter
from headstream.segment.registry import models_dir
from headstream.track.faces import Face
from headstream.track.finder import FaceFinder
from headstream.types import Float32Array, Part, UInt8Array


class Counted:
    """The real network, and how often it was asked."""

    def __init__(self, inner: CropSegmenter) -> None:
        self.inner, self.side, self.calls = inner, inner.side, 0

    def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
        self.calls += 1
        return self.inner.predict(rgb, part)


class SeesDouble(FaceFinder):
    """Finds every face three times: as it is, a few pixels off, and in the middle of itself."""

    def search(self, rgb: UInt8Array) -> list[Face]:
        return [seen for face in super().search(rgb) for seen in (face, face.moved(1.0, 5.0, 3.0), _within(face))]


def _within(face: Face) -> Face:
    x0, y0, x1, y1 = face.box_px
    return face.moved(0.3, 0.35 * (x0 + x1), 0.35 * (y0 + y1))


def test_a_face_that_was_found_several_times_is_cut_once(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    once = PhotoCutter(segmenter, finder, CutOptions(heads="all")).cut(portrait)
    network = Counted(segmenter)
    with SeesDouble(models_dir()) as double:
        twice = PhotoCutter(network, double, CutOptions(heads="all")).cut(portrait)
    assert (len(once.faces), len(twice.faces)) == (1, 3)
    assert network.calls == 2  # of the face's crop, and of the head's
    assert (once.cutout.alpha == twice.cutout.alpha).all()


def test_whom_only_tiles_show_must_have_a_head(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    class Wall(FaceFinder):
        """Sees a face, and is sure of it, where there is a head and where there is none."""

        def search_group(self, rgb: UInt8Array, found: list[Face]) -> list[Face]:
            return [face.moved(1.0, dx, dy) for face in found for dx, dy in ((512, 0), (0, 300))]

    two = np.hstack([portrait, portrait])

    class Half(Wall):
        def search(self, rgb: UInt8Array) -> list[Face]:
            return super().search(rgb[:, :512])

    with Half(models_dir()) as finder:
        everybody = PhotoCutter(segmenter, finder, CutOptions(heads="all")).cut(two)
        largest = PhotoCutter(segmenter, finder, CutOptions(heads="largest")).cut(two)
        third = PhotoCutter(segmenter, finder, CutOptions(heads=3)).cut(two)
    assert (len(everybody.faces), len(everybody.heads)) == (3, 2)
    assert (len(largest.faces), len(largest.heads)) == (1, 1)
    assert (third.heads, third.believed) == ((), 2)
