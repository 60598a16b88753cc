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
from headstream.batch.patience import may_pass
from headstream.batch.places import Storage, own_name
from headstream.capture.survey import length_s
from headstream.errors import HeadstreamError, SourceError
from headstream.films.journal import versions
from headstream.films.pieces import Indivisible, Made, Piece, check_divisible, piece_file, plan_pieces
from headstream.films.videojob import VideoJob
from headstream.words import cut_options


def video_job(wish: Wish, source: Path, stem: Path) -> VideoJob:
    """The job a wish is for a film. stem: of its outputs, or of the folders that they are."""

    def output(stem: Path, format: str) -> Path:
        return stem.with_name(stem.name + FORMATS[format]) if FORMATS[format] else stem / "%06d.png"

    out = output(stem, wish.format)
    matte = None if wish.matte is None else output(stem.with_name(f"{stem.name}.matte"), wish.matte)
    options = cut_options(wish.heads, wish.part, wish.hair_color)
    return VideoJob(
        source, out, background=wish.background, matte=matte, codec=wish.codec, options=options, segment_s=0
    )


def why_whole(wish: Wish) -> str:
    """Why films of such a wish are not split, or ""."""
    try:
        check_divisible(video_job(wish, Path("in"), Path("out")))
    except Indivisible as why:
        return str(why)
    return ""


def look_at(item: Item, job: VideoJob, threads: int | None) -> tuple[float, tuple[Piece, ...], str]:
    """Of a film: its length in seconds, the pieces to cut it in, and why there are none though it is long enough. Raises
    SourceError for what may pass."""
    length = 0.0
    try:
        length = float(length_s(job.source, count=bool(item.split_s)))
        if not item.split_s or item.whole or length < 2 * item.split_s:
            return length, (), item.whole
        check_divisible(job)
        return length, tuple(plan_pieces(job.source, item.split_s, threads=threads)), ""
    except Indivisible as why:
        return length, (), str(why)
    except SourceError as error:
        if may_pass(error):
            raise
        return length, (), ""  # cutting it will tell


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


def known_pieces(item: Item, pieces: Sequence[Piece], device: str, storage: Storage) -> dict[Piece, tuple[Made, str]]:
    """What earlier runs have left of these pieces, cut on ``device``, with a thumbnail or "" of each; nothing where that
    cannot be read."""
    names = {f"{pieces_folder(item)}/{piece.name}.json": piece for piece in pieces}
    known = {}
    try:
        for name, raw in storage.read(list(names)).items():
            piece = names[name]
            found = _parsed(raw, _depends_on(item, piece))
            if found and found[0].device == device and storage.measure(piece_name(item, piece)) == (1, found[0].size):
                known[piece] = found
    except (HeadstreamError, OSError):
        return {}
    return known


def _parsed(raw: bytes, wanted: dict[str, Any]) -> tuple[Made, str] | None:
    """What a record tells, if it is of what is wanted."""
    try:
        told = json.loads(raw)
        found = Made(**told["made"]), str(told["thumbnail"])
        return found if all(told[key] == value for key, value in wanted.items()) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None  # damaged, or another version's
