"""JSON in, strictly: one pass over a body that refuses whatever could not be stored and given back as it came.

The standard library's parser with hooks, since a faster one lets invalid UTF-8, 1e400 and deep nesting through. What it
takes is RFC 8259 in UTF-8, to 64 levels, integers to 1,000 digits; of duplicate names the last one wins.
What can be pointed at is: faults carry JSON Pointers (RFC 6901).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from jobqueue.errors import Fault, InvalidJson, InvalidText, OutOfRange, TooDeep
from jobqueue.job import Json

MAX_DEPTH = 64
MAX_DIGITS = 1_000


def _no_json(detail: str) -> InvalidJson:
    return InvalidJson(detail, faults=(Fault("", detail),))


def _too_deep() -> TooDeep:
    detail = f"nested deeper than {MAX_DEPTH} levels"
    return TooDeep(detail, faults=(Fault("", detail),))


def _constant(name: str) -> NoReturn:
    raise _no_json(f"{name} is not JSON")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _no_json(f"the number {text[:40]} does not fit")
    return number


def _too_long(integer: str) -> bool:
    return len(integer) > MAX_DIGITS + integer.startswith("-")


def _int(text: str) -> int:
    if _too_long(text):
        raise OutOfRange(f"an integer has more than {MAX_DIGITS:,} digits")
    return int(text)


_MARK = object()


def _int_or_mark(text: str) -> Any:
    return _MARK if _too_long(text) else int(text)


_DIGITS = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
_LONG = b"0" * (MAX_DIGITS + 1)


def _may_hold_long_integers(data: bytes) -> bool:
    """Whether so many digits stand in a row, wherever: to search costs less than a hook that is called an integer."""
    return len(data) > MAX_DIGITS and _LONG in data.translate(_DIGITS)


_decoder = json.JSONDecoder(parse_constant=_constant, parse_float=_float)
_long_decoder = json.JSONDecoder(parse_constant=_constant, parse_float=_float, parse_int=_int)
_marking_decoder = json.JSONDecoder(parse_int=_int_or_mark)
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False)


def loads(data: bytes, *, apart: str | None = None) -> Any:
    """The value of a JSON text. Raises InvalidJson, TooDeep, OutOfRange, InvalidText.

    The levels inside the member `apart` of the value, or of each item if it is an array, are counted by themselves.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _no_json(f"the body is not UTF-8 (byte {error.start})") from None
    try:
        value = (_long_decoder if _may_hold_long_integers(data) else _decoder).decode(text)
    except json.JSONDecodeError as error:
        what = "the body is empty" if not text.strip() else error.msg
        raise _no_json(f"{what}, at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise _too_deep() from None
    except OutOfRange as error:
        error.faults = (Fault(_place_of_long_integer(text), error.detail),)
        raise
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        for root in _roots(value, apart):
            _check_depth(root)
    if b"\\u" in data:
        _check_text(value)
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


def pointer(segments: Iterable[str | int]) -> str:
    """The JSON Pointer made of these segments."""
    return "".join("/" + str(segment).replace("~", "~0").replace("/", "~1") for segment in segments)


def _place_of_long_integer(text: str) -> str:
    """A pointer to it; to the whole where what follows it is no JSON, or so deep that nobody looks into it."""
    try:
        return _find(_marking_decoder.decode(text), _is_mark) or ""
    except (json.JSONDecodeError, RecursionError):
        return ""


def _check_text(value: Any) -> None:
    """Raises InvalidText for an escaped lone surrogate, which has no UTF-8."""
    try:
        dumps(value)
    except InvalidText as error:
        error.faults = (Fault(_find(value, _is_no_text) or "", "holds a lone surrogate"),)
        raise


def _is_mark(value: Any) -> bool:
    return value is _MARK


def _is_no_text(value: Any) -> bool:
    return isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value)


def _find(value: Any, is_it: Callable[[Any], bool], way: tuple[str | int, ...] = ()) -> str | None:
    """A pointer to the first part of the value that `is_it`; of a member whose name is, to the object around it."""
    if is_it(value):
        return pointer(way)
    members: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    for name, member in members:
        found = pointer(way) if is_it(name) else _find(member, is_it, (*way, name))
        if found is not None:
            return found
    return None


def _roots(value: Any, apart: str | None) -> Sequence[Any]:
    """The value without its members `apart`, and those."""
    if apart is None:
        return (value,)
    items = value if isinstance(value, list) else [value]
    rest = [item | {apart: None} if isinstance(item, dict) else item for item in items]
    inner = [item.get(apart) for item in items if isinstance(item, dict)]
    return [rest if isinstance(value, list) else rest[0], *inner]


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
        raise _too_deep()
