"""Pieces of films in a batch: which films are split, where pieces are kept, and how one is known again.

A piece is a file of packets and a record, ``.headstream/pieces/PLACE/FIRST-END.json``, which is written last and names all
that the piece depends on. One of the same film, wish and plan is not cut again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headstream.batch.job import FORMATS, Item, Wish
from headstream.batch.places import Storage, own_name
from headstream.capture.survey import length_s
from headstream.errors import SourceError
from headstream.journal import versions
from headstream.pieces import Indivisible, Made, Piece, check_divisible, piece_file, plan_pieces
from headstream.video import VideoJob
from headstream.words import cut_options


def video_job(wish: Wish, source: Path, stem: Path) -> VideoJob:
    """The job a wish is for a film. stem: of its output, or of the folder that is one."""
    suffix = FORMATS[wish.format]
    out = stem.with_name(stem.name + suffix) if suffix else stem / "%06d.png"
    options = cut_options(wish.heads, wish.part, wish.hair_color)
    return VideoJob(source, out, wish.background, codec=wish.codec, options=options, segment_s=0)


def why_whole(wish: Wish) -> str:
    """Why films of such a wish are not split, or ""."""
    try:
        check_divisible(video_job(wish, Path("in"), Path("out")))
    except Indivisible as why:
        return str(why)
    return ""


def look_at(item: Item, job: VideoJob) -> tuple[float, tuple[Piece, ...], str]:
    """Of a film: its length in seconds, the pieces to cut it in, and why there are none though it is long enough."""
    try:
        length = float(length_s(job.source))
        if not item.split_s or item.whole or length < 2 * item.split_s:
            return length, (), item.whole
        check_divisible(job)
        return length, tuple(plan_pieces(job.source, item.split_s)), ""
    except Indivisible as why:
        return length, (), str(why)
    except SourceError:
        return 0.0, (), ""  # cutting it will tell


def pieces_folder(item: Item) -> str:
    """Where the pieces of a film are kept, below the output folder."""
    return own_name("pieces", item.place)


def piece_name(item: Item, piece: Piece) -> str:
    """Name of a piece's file below the output folder."""
    return f"{pieces_folder(item)}/{piece_file(video_job(item.wish, Path('in'), Path('out')), piece, Path()).name}"


def record(item: Item, piece: Piece, made: Made, thumbnail: str) -> tuple[str, bytes]:
    """Name and content of a piece's record."""
    text = json.dumps(_depends_on(item, piece) | {"made": asdict(made), "thumbnail": thumbnail})
    return f"{pieces_folder(item)}/{piece.name}.json", text.encode()


def _depends_on(item: Item, piece: Piece) -> dict[str, Any]:
    return {"of": item.identity, "with": versions(), "piece": asdict(piece)}


def known_pieces(item: Item, pieces: Sequence[Piece], storage: Storage) -> dict[Piece, tuple[Made, str]]:
    """What earlier runs have left of these pieces, with a thumbnail or "" of each."""
    names = {f"{pieces_folder(item)}/{piece.name}.json": piece for piece in pieces}
    known = {}
    for name, raw in storage.read(list(names)).items():
        piece = names[name]
        try:
            told = json.loads(raw)
            made, thumbnail = Made(**told["made"]), str(told["thumbnail"])
        except (ValueError, TypeError, KeyError):
            continue  # another version's: cut again
        there = storage.measure(piece_name(item, piece)) == (1, made.size)
        if there and all(told.get(key) == value for key, value in _depends_on(item, piece).items()):
            known[piece] = made, thumbnail
    return known
