"""What the words of the command line and of manifests mean: whose head, which part, what colour.

Every command imports this: whatever needs OpenCV is imported where it is used, so that ``headstream doctor`` can say that it
is missing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from headstream.errors import UsageError

if TYPE_CHECKING:
    from headstream.choice import Heads
    from headstream.pipeline import CutOptions
    from headstream.types import Part

Word = TypeVar("Word", bound=str)


def parse_hair_color(text: str | None) -> tuple[int, int, int] | None:
    """What --hair-color means. Raises UsageError."""
    if text is None:
        return None
    from headstream.shared.colour import parse_colour

    return parse_colour(text, "--hair-color")


def parse_heads(text: str) -> Heads:
    """What --heads means. Raises UsageError."""
    if text == "largest" or text == "all":
        return text  # type: ignore[return-value]
    if re.fullmatch(r"0*[1-9][0-9]{0,8}", text):
        return int(text)
    raise UsageError(f"--heads {text}: expected largest, all or a person's number (1, 2, ...)")


def cut_options(heads: str, part: str, hair_color: str | None, *, hq: bool = False) -> CutOptions:
    """What --heads, --part, --hair-color and --hq mean. Raises UsageError."""
    from headstream.matte.refine import MatteOptions
    from headstream.pipeline import CutOptions

    if hq and hair_color is not None:
        raise UsageError("--hq keeps the hair's own colour: leave out --hq or --hair-color")
    finish = MatteOptions(hair_color=parse_hair_color(hair_color), strands=hq)
    return CutOptions(heads=parse_heads(heads), part=parse_part(part), matte=finish)


def parse_part(text: str) -> Part:
    """What --part means. Raises UsageError."""
    from headstream.types import PARTS

    return one_of("--part", text, PARTS)


def one_of(option: str, text: str, known: tuple[Word, ...]) -> Word:
    """The known word that ``text`` is. Raises UsageError listing them."""
    for word in known:
        if text == word:
            return word
    raise UsageError(f"{option} {text}: expected {', '.join(known)}")
