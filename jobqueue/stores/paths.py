"""Whether a payload holds given values at given places: the one reading of `payload.PATH=value` that all engines share.

Values are compared as JSON: numbers by what they are worth (1 = 1.0 = 1e0, exactly, however long), so neither true nor
"1" is 1; objects whatever their order. A name that is a whole number is an index where it meets an array.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from jobqueue.job import Json

INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
ABSENT = object()

_decode = msgspec.json.decode

Way = tuple[str, ...]


class Paths:
    """What is looked for: all of it must be there."""

    def __init__(self, wanted: Sequence[tuple[Way, Json]]) -> None:
        self._wanted = [(way, _decode(value)) for way, value in wanted]

    def match(self, payload: Json) -> bool:
        """Whether the payload holds it."""
        try:
            value = _decode(payload)
        except msgspec.DecodeError:
            return False
        return all(_same(_at(value, way), wanted) for way, wanted in self._wanted)


@lru_cache(maxsize=64)
def paths(wanted: tuple[tuple[Way, Json], ...]) -> Paths:
    """The same, made once."""
    return Paths(wanted)


def _at(value: Any, way: Way) -> Any:
    for name in way:
        if isinstance(value, dict):
            value = value.get(name, ABSENT)
        elif isinstance(value, list) and INDEX.fullmatch(name) and int(name) < len(value):
            value = value[int(name)]
        else:
            return ABSENT
    return value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    return bool(one == other)
