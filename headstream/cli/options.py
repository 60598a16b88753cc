"""Options that several commands share, with one wording."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from headstream.errors import UsageError

TARGETS = ("head", "hair", "face", "parts")  # of training


def completing(*words: str) -> Callable[[str], list[str]]:
    """For an option's ``autocompletion``: these values, beside others that it takes."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def shipped_names(incomplete: str) -> list[str]:
    """Names of weights, for Tab."""
    from headstream.segment.registry import shipped_models

    return [card.name for card in shipped_models() if card.kind == "segmenter" and card.name.startswith(incomplete)]


def typed(command: str, given: Mapping[str, object]) -> str:
    """A command with the options that were given to it."""
    return command + "".join(f" --{k} {shlex.quote(str(v))}" for k, v in given.items() if v is not None)


FilmArgument = Annotated[
    Path,
    typer.Argument(
        metavar="IN",
        readable=False,  # told where it is opened, in the words of all commands
        help="A video file, or numbered pictures: a folder or %06d.png.",
    ),
]
HeadsOption = Annotated[
    str,
    typer.Option(
        "--heads",
        metavar="largest|all|ID",
        help="Whose head: the largest, all, or a person's number.",
        autocompletion=completing("largest", "all"),
    ),
]
BackgroundOption = Annotated[
    str,
    typer.Option(
        metavar="transparent|'#rrggbb'|blur|FILE",
        help="What is behind the head.",
        autocompletion=completing("transparent", "blur"),
    ),
]
CodecOption = Annotated[
    str | None,
    typer.Option(
        metavar="prores|vp9|ffv1|h264",
        help="A codec other than the format's own.",
        autocompletion=completing("prores", "vp9", "ffv1", "h264"),
    ),
]
PartOption = Annotated[
    str,
    typer.Option(
        "--part",
        metavar="head|hair|...",
        help="The whole head, the hair alone, or another part that the network of --model knows.",
        autocompletion=completing("head", "hair", "face"),
    ),
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help="Weights by name (see: headstream models list); an .onnx file with its card beside it, or a card; with "
        "torch also .pt, .safetensors, .ckpt, a folder, or owner/name on the hub.",
        autocompletion=shipped_names,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda|...",
        help="Where the network runs; also tensorrt, coreml, directml (ONNX) and mps (torch).",
        autocompletion=completing("auto", "cpu", "cuda", "tensorrt", "coreml", "directml", "mps"),
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object with the result on stdout.")]

RateOption = Annotated[
    str | None,
    typer.Option(
        "--rate", metavar="24|24000/1001|...", help="Of numbered pictures, how many a second; 25 if left out."
    ),
]

SizeOption = Annotated[str, typer.Option("--size", metavar="WxH", help="Width and height in pixels.")]

HairColorOption = Annotated[
    str | None,
    typer.Option(
        "--hair-color", "--hair-colour", metavar="'#rrggbb'", help="Give the hair another colour; shades stay."
    ),
]
HqOption = Annotated[
    bool,
    typer.Option("--hq", help="Photos: hair strand by strand, in some seconds more each."),
]
TrimOption = Annotated[bool, typer.Option("--trim", help="Photos: head_only no larger than what there is of the head.")]


def whose(heads: str) -> str:
    """Whose heads were looked for, to go behind the word "head" where none was found: "" where it was anybody's."""
    return f" of person {heads}" if heads.isdigit() else ""


def parse_rate(text: str | None) -> Fraction | None:
    """What --rate means. Raises UsageError."""
    from headstream.capture import numbered

    return None if text is None else numbered.parse_rate(text)


def parse_size(text: str) -> tuple[int, int]:
    """What --size means. Raises UsageError."""
    match = re.fullmatch(r"(\d{2,5})[xX](\d{2,5})", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (160 <= size[0] <= 8192 and 120 <= size[1] <= 8192) or size[0] % 2 or size[1] % 2:
        raise UsageError(f"--size {text}: expected even WIDTHxHEIGHT from 160x120 to 8192x8192, like 1280x720")
    return size
