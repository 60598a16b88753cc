"""Every frame of a film in the shape, turn and colours of its first: outputs cannot change theirs."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from headstream.capture.decoding import Decoding
from headstream.capture.fitting import fitted, pixels_of, shaped_alike
from headstream.capture.unpack import colour_of, frame_from_video, orientation
from headstream.shared.colour import planes_from_rgb
from headstream.shared.tone import HDR_TRANSFERS
from headstream.types import Colour, Frame


class Uniform:
    """Makes frames of decoded pictures. What had to be changed for that, it warns of once through ``film``.

    first: the picture all are like.  upright: how it is turned to be shown.  colour: how its pixels are read.
    size_px: as it is shown, width and height.
    """

    def __init__(self, film: Decoding, first: Any) -> None:
        self._film = film
        self.upright = orientation(first)
        self.colour = colour_of(first)
        self._coded_size_px = (first.width, first.height)
        self.size_px = self._coded_size_px[::-1] if self.upright.transpose else self._coded_size_px
        self._aspects: dict[tuple[int, int], Fraction] = {}  # of pixels, by sizes
        self._pixel_aspect(first)

    def frame(self, decoded: Any, index: int, pts: Fraction) -> Frame:
        """A decoded picture upright, at the first one's size and in its colours."""
        length = Fraction(decoded.duration * Fraction(decoded.time_base)) if decoded.duration else None
        # Of numbered pictures each has its own; in films, not every frame tells that of the whole.
        upright = orientation(decoded) if self._film.of_pictures else self.upright
        frame = frame_from_video(self._at_first_size(decoded), upright, index=index, pts=pts, duration_s=length)
        if upright != self.upright:
            self._film.warn_once("some pictures are turned otherwise than the first; each is turned as it says itself")
        if frame.size_px != self.size_px:
            aspect = self._pixel_aspect(decoded)
            frame = fitted(frame, self.size_px, pixels_of(frame), 1 / aspect if upright.transpose else aspect)
        return self._in_first_colours(frame, colour_of(decoded))

    def pass_over(self, decoded: Any) -> None:
        """Warn of a picture that no frame is made of, as ``frame`` would of its shape."""
        if (decoded.width, decoded.height) != self._coded_size_px:
            self._at_first_size(decoded)

    def _pixel_aspect(self, decoded: Any) -> Fraction:
        """Width to height of a picture's pixels, seen from the first one's. A decoder tells that of the size it has come to,
        which may be a later picture's."""
        context, size_px = self._film.stream.codec_context, (decoded.width, decoded.height)
        if (context.width, context.height) == size_px:
            self._aspects[size_px] = Fraction(context.sample_aspect_ratio or 1)
        first = self._aspects.get(self._coded_size_px, Fraction(1))
        return self._aspects.get(size_px, first) / first

    def _at_first_size(self, decoded: Any) -> Any:
        """A picture of another shape stays as it is: ``frame`` fits it in, once it is upright. One of the first size, too: from
        which frame on its pixels have another shape, nothing tells."""
        size_px = decoded.width, decoded.height
        if size_px == self._coded_size_px:
            context = self._film.stream.codec_context
            told = Fraction(context.sample_aspect_ratio or 1)
            if (context.width, context.height) == size_px and told != self._aspects.get(size_px, told):
                self._film.warn_once(
                    "the picture's shape changes on the way at the same size; all frames keep that of the first"
                )
            return decoded
        if not shaped_alike(size_px, self._coded_size_px, self._pixel_aspect(decoded)):
            self._film.warn_once(
                "the picture's shape changes on the way; later frames are fitted in, black around them"
            )
            return decoded
        self._film.warn_once("the picture's size changes on the way; later frames are scaled to the first size")
        scaled = decoded.reformat(width=self._coded_size_px[0], height=self._coded_size_px[1])
        scaled.pts, scaled.time_base = decoded.pts, decoded.time_base
        return scaled

    def _in_first_colours(self, frame: Frame, own: Colour) -> Frame:
        """Outputs are told once what their numbers mean. own: what they mean in this frame, by its own size if nothing tells."""
        planes, first = frame.planes, self.colour
        codes = {own.transfer_code, first.transfer_code}
        if len(codes) == 2 and codes & HDR_TRANSFERS:
            self._film.warn_once("HDR begins or ends on the way; later frames are tagged as the first, and look wrong")
        if planes is None or (own.matrix, own.full_range) == (first.matrix, first.full_range):
            return frame
        self._film.warn_once("the coding of colours changes on the way; later frames are turned into the first one")
        seen = Frame(planes=replace(planes, colour=own))
        turned = planes_from_rgb(seen.rgb, first, bits=planes.bits, sub=(planes.sub_w, planes.sub_h))
        return frame.showing(planes=replace(turned, alpha=planes.alpha))
