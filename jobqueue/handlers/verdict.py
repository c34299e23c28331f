"""What the end of a handler means: its return value as JSON, its exception as an error and what follows from it.

Pure, and used on both sides of the pipe: by `handlers.py` for async handlers in the server, by `child/` for those that
run in a process of their own. Nothing a handler returns or raises gets past here with a shape that could not be stored.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from types import CodeType, TracebackType
from typing import Any, TypeGuard, TypeVar

import msgspec

from jobqueue.job import Ending, Error, Json, Outcome, Reason

MAX_RESULT_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_MESSAGE_CHARS = 1_000
MAX_TRACEBACK_BYTES = 16 << 10
MAX_TRACEBACK_FRAMES = 100  # more would not survive the cut, and a deep recursion has a million
MAX_RETRY_SECONDS = 10 * 365 * 86_400  # as far ahead as a job can be put

F = TypeVar("F", bound=Callable[..., Any])


class RetryIn(Exception):
    """Raised by a handler: this try failed, and the next is due in `seconds` instead of what the retry policy says.

    Raises ValueError unless it is a number from 0 to ten years.
    """

    def __init__(self, seconds: float, message: str = "") -> None:
        valid = _wait(seconds)
        if valid is None:
            raise ValueError(f"RetryIn takes 0 to {MAX_RETRY_SECONDS} seconds, not {seconds!r}")
        super().__init__(message or f"asked to be tried again in {valid:g} s")
        self.seconds = valid


class Fatal(Exception):
    """Raised by a handler: no further try can help, the job is FAILED now."""


class Undecodable(Fatal):
    """The payload cannot be read as JSON, so no handler ever saw it."""


class Reported(Exception):
    """A handler failed in another process, where the verdict was reached already."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.error.message)
        self.verdict = verdict


class Verdict(msgspec.Struct, frozen=True):
    """Why an attempt failed and what follows: the part of an `Outcome` that its handler decides."""

    error: Error
    retry_in: float | None = None
    fatal: bool = False
    reason: Reason | None = None

    def outcome(self, id: str, epoch: int) -> Outcome:
        """What is reported of the attempt (id, epoch)."""
        return Outcome(
            id, epoch, Ending.ERROR, error=self.error, retry_in=self.retry_in, fatal=self.fatal, reason=self.reason
        )


def judge(exc: BaseException) -> Verdict:
    """The verdict on whatever a handler raised, SystemExit and KeyboardInterrupt included.

    In a group, Fatal anywhere wins, then the longest RetryIn; a group of one is its member.
    Not for `trio.Cancelled`, which is no end of the handler's own making.
    """
    if isinstance(exc, Reported):
        return exc.verdict
    leaves = _leaves(exc)
    for leaf in leaves:
        if isinstance(leaf, Fatal):
            reason = Reason.UNDECODABLE if isinstance(leaf, Undecodable) else Reason.FATAL
            return Verdict(_error(leaf, exc), fatal=True, reason=reason)
    waits = [(wait, leaf) for leaf in leaves if isinstance(leaf, RetryIn) and (wait := _wait(leaf.seconds)) is not None]
    if waits:
        longest, leaf = max(waits, key=lambda pair: pair[0])
        return Verdict(_error(leaf, exc), retry_in=longest)
    return Verdict(_error(leaves[0] if len(leaves) == 1 else exc, exc))


def _leaves(exc: BaseException) -> list[BaseException]:
    leaves = []
    stack = [exc]
    while stack:
        top = stack.pop()
        if isinstance(top, BaseExceptionGroup):
            stack.extend(reversed(top.exceptions))
        else:
            leaves.append(top)
    return leaves


def _wait(seconds: object) -> float | None:
    """The seconds of a RetryIn, or None if they are none; a subclass may have set anything."""
    return float(seconds) if between(seconds, 0, MAX_RETRY_SECONDS) else None


def between(value: object, least: float, most: float) -> TypeGuard[float]:
    """Whether `value` is a number within the bounds; NaN and True are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _error(shown: BaseException, raised: BaseException) -> Error:
    return Error(
        type=text(type(shown).__name__, 200),
        message=text(_message(shown), MAX_MESSAGE_CHARS),
        traceback=_traceback(shown, grouped=shown is not raised),
    )


def _message(exc: BaseException) -> str:
    if isinstance(exc, BaseExceptionGroup):
        return "; ".join(f"{type(leaf).__name__}: {_message(leaf)}" for leaf in _leaves(exc)[:10])
    try:
        return str(exc)
    except BaseException as error:  # noqa: BLE001 - __str__ is the handler's code as well
        return f"(its message could not be had: {type(error).__name__})"


def _traceback(exc: BaseException, *, grouped: bool) -> str | None:
    """The traceback from the handler's own frame on; None if the handler was never entered.

    The member of a group was caught inside the handler, so all its frames are the handler's.
    """
    frames = exc.__traceback__ if grouped else _inside(exc.__traceback__)
    if frames is None:
        return None
    try:
        shown = traceback.TracebackException(type(exc), exc, frames, limit=-MAX_TRACEBACK_FRAMES, compact=True)
        whole = "".join(shown.format())
    except BaseException as error:  # noqa: BLE001 - formatting asks the exception for its attributes
        return f"(it could not be formatted: {type(error).__name__})"
    encoded = whole.encode("utf-8", "replace")
    if len(encoded) <= MAX_TRACEBACK_BYTES:
        return encoded.decode()
    cut = f"(the beginning is cut: {len(encoded):,} bytes in all)\n"
    return cut + encoded[len(cut) - MAX_TRACEBACK_BYTES :].decode("utf-8", "ignore")


_doors: set[CodeType] = set()


def door(function: F) -> F:
    """Marks a function through which handlers are entered: their tracebacks begin below it."""
    _doors.add(function.__code__)
    return function


def _inside(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None:
        if frames.tb_frame.f_code in _doors:
            return frames.tb_next
        frames = frames.tb_next
    return None


def text(said: object, most: int) -> str:
    """`said` as plain text of at most `most` characters, without the lone surrogates that UTF-8 cannot hold.

    Text that is cut says so, and how long it was.
    """
    whole = str(said)
    if len(whole) > most:
        mark = f"... (cut: {len(whole):,} characters in all)"
        whole = whole[: most - len(mark)] + mark
    return plain(whole)


def plain(whole: str) -> str:
    """Text without lone surrogates."""
    return str.encode(whole, "utf-8", "replace").decode()


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_decode = json.JSONDecoder().decode


def decode(payload: Json) -> Any:
    """The payload as the handler gets it. Raises Undecodable."""
    if payload == "null":
        return None
    try:
        return _decode(payload)
    except (ValueError, RecursionError) as error:
        raise Undecodable(f"the payload cannot be read: {error}") from None


def encode_result(value: object) -> Json:
    """What a handler returned, as JSON. Raises Fatal if it is none, or too large: another try would return the same."""
    if value is None:
        return "null"
    try:
        return encode(value, MAX_RESULT_BYTES)
    except ValueError as error:
        raise Fatal(f"the result {error}") from None


def encode(value: object, most: int) -> Json:
    """`value` as compact JSON of at most `most` bytes, strictly: no NaN, no lone surrogate, at most 64 levels.

    Raises ValueError with what follows the words "the value".
    """
    try:
        encoded = _encode(value)
        size = len(encoded) if encoded.isascii() else len(encoded.encode())
    except RecursionError:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels") from None
    except UnicodeEncodeError:
        raise ValueError("is not JSON: it holds a lone surrogate") from None
    except Exception as error:  # noqa: BLE001 - a dict or list of the handler's own making may raise anything
        raise ValueError(f"is not JSON: {_message(error)}") from None
    if size > most:
        raise ValueError(f"is too large: {size:,} bytes of JSON, at most {most:,}")
    # so few brackets cannot nest too deep; that spares nearly every value the walk
    if encoded.count("[") + encoded.count("{") > MAX_DEPTH and _too_deep(value):
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
    return encoded


def _too_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            member
            for container in level
            if isinstance(container, dict | list | tuple)
            for member in (dict.values(container) if isinstance(container, dict) else container)
        ]
    return any(isinstance(member, dict | list | tuple) for member in level)
