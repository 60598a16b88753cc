"""What a running cut remembers, put away and taken up again, exact to the bit; no pickle.

``pack`` turns values into a tree of JSON and a set of arrays, ``unpack`` back: None, numbers, text, lists, tuples, dicts
with any such keys, Fractions, numpy arrays and scalars, and objects of the classes it is told of, by their attributes.
On disk a ``Packed`` is one .npz file that is read without pickle.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

_TREE = "tree"


@dataclass(frozen=True)
class Packed:
    """A value put away. tree: JSON of it.  arrays: what the tree names by number."""

    tree: Any
    arrays: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it to a file of its own."""
        text = np.frombuffer(json.dumps(self.tree).encode(), np.uint8)
        with path.open("wb") as file:
            np.savez(file, **{_TREE: text}, **self.arrays)  # type: ignore[arg-type]


def load(path: Path) -> Packed:
    """What ``save`` wrote. Raises ValueError if it is not that, OSError if it is not there."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return Packed(json.loads(arrays.pop(_TREE).tobytes()), arrays)
    except OSError:
        raise
    except MemoryError:
        if _is_whole(path):  # else a damaged header asked for more than there is anywhere
            raise
        raise ValueError(f"{path}: not a saved state: damaged") from None
    except Exception as error:  # zip, zlib, NumPy and its reading of literals each have their own for damage
        raise ValueError(f"{path}: not a saved state: {error}") from error


def _is_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as stored:
            return stored.testzip() is None
    except Exception:  # as in load
        return False


def pack(value: Any, classes: Sequence[type] = ()) -> Packed:
    """``value``, put away; arrays are copied. Raises TypeError for what it is not told of."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    known = {cls: cls.__name__ for cls in classes}

    def put(item: Any) -> Any:
        kind = type(item)
        if item is None or kind in {bool, int, float, str}:
            return item
        if kind is list:
            return [put(x) for x in item]
        if kind is tuple:
            return {"tuple": [put(x) for x in item]}
        if kind is dict:
            return {"dict": [[put(k), put(v)] for k, v in item.items()]}
        if kind is Fraction:
            return {"fraction": [item.numerator, item.denominator]}
        if isinstance(item, (np.ndarray, np.generic)):
            if item.dtype.hasobject:
                raise TypeError("an array of objects cannot be put away")
            name = str(len(arrays))
            arrays[name] = np.array(item)
            return {"array" if kind is np.ndarray else "scalar": name}
        if kind in known:
            return {"object": known[kind], "of": put(dict(vars(item)))}
        raise TypeError(f"{kind.__name__} cannot be put away: {item!r}")

    return Packed(put(value), arrays)


def unpack(packed: Packed, classes: Sequence[type] = ()) -> Any:
    """The value again. Objects get their attributes as they were; no constructor runs. Raises ValueError."""
    known = {cls.__name__: cls for cls in classes}

    def made(name: str, of: Any) -> Any:
        item: Any = object.__new__(known[name])
        vars(item).update(take(of))
        return item

    builders: dict[str, Callable[[Any], Any]] = {
        "tuple": lambda items: tuple(take(x) for x in items),
        "dict": lambda pairs: {take(k): take(v) for k, v in pairs},
        "fraction": lambda parts: Fraction(*parts),
        "array": lambda name: packed.arrays[name],
        "scalar": lambda name: packed.arrays[name][()],
    }

    def take(item: Any) -> Any:
        if isinstance(item, list):
            return [take(x) for x in item]
        if not isinstance(item, dict):
            return item
        if "object" in item:
            return made(item["object"], item["of"])
        ((kind, held),) = item.items()
        return builders[kind](held)

    try:
        return take(packed.tree)
    except (KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"not a state that can be read: {error!r}") from error
