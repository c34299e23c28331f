"""JSON in, strictly: one pass over a body that refuses whatever could not be stored and given back as it came.

The standard library's parser with hooks, since a faster one lets invalid UTF-8, 1e400 and deep nesting through. What it
takes is RFC 8259 in UTF-8, to 64 levels, integers to 1,000 digits; of duplicate names the last one wins.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from jobqueue.errors import InvalidJson, InvalidText, OutOfRange, TooDeep
from jobqueue.job import Json

MAX_DEPTH = 64
MAX_DIGITS = 1_000


def _constant(name: str) -> NoReturn:
    raise InvalidJson(f"{name} is not JSON")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise InvalidJson(f"the number {text[:40]} does not fit")
    return number


def _int(text: str) -> int:
    if len(text) > MAX_DIGITS + text.startswith("-"):
        raise OutOfRange(f"an integer has more than {MAX_DIGITS:,} digits")
    return int(text)


_decoder = json.JSONDecoder(parse_constant=_constant, parse_float=_float)
_long_decoder = json.JSONDecoder(parse_constant=_constant, parse_float=_float, parse_int=_int)
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False)


def loads(data: bytes) -> Any:
    """The value of a JSON text. Raises InvalidJson, TooDeep, OutOfRange, InvalidText."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidJson(f"the body is not UTF-8 (byte {error.start})") from None
    try:
        # only a text this long can hold an integer that long, and the hook costs a call an integer
        value = (_decoder if len(data) <= MAX_DIGITS else _long_decoder).decode(text)
    except json.JSONDecodeError as error:
        what = "the body is empty" if not text.strip() else error.msg
        raise InvalidJson(f"{what}, at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise TooDeep(f"nested deeper than {MAX_DEPTH} levels") from None
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        _check_depth(value)
    if b"\\u" in data:
        dumps(value)  # an escaped lone surrogate has no UTF-8
    return value


def dumps(value: Any) -> Json:
    """Compact JSON text of a value that came from `loads`. Raises InvalidText on a lone surrogate."""
    text = _encoder.encode(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidText("a string holds a lone surrogate, which has no UTF-8") from None
    return text


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return
    if any(isinstance(value, dict | list) for value in level):
        raise TooDeep(f"nested deeper than {MAX_DEPTH} levels")
