"""Photos: what is cut out of a picture without past or future."""

from __future__ import annotations

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
    """Finds every face twice, a few pixels apart."""

    def search(self, rgb: UInt8Array) -> list[Face]:
        return [seen for face in super().search(rgb) for seen in (face, face.moved(1.0, 5.0, 3.0))]


def test_a_face_that_was_found_twice_is_cut_once(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    once = PhotoCutter(segmenter, finder, CutOptions(heads="all")).cut(portrait)
    network = Counted(segmenter)
    with SeesDouble(models_dir()) as double:
        twice = PhotoCutter(network, double, CutOptions(heads="all")).cut(portrait)
    assert (len(once.faces), len(twice.faces)) == (1, 2)
    assert network.calls == 2  # of the face's crop, and of the head's
    assert (once.cutout.alpha == twice.cutout.alpha).all()
