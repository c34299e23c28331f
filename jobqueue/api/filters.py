"""Filters of jobs, as the query of the list and the bodies of bulk commands have them, and their cursors.

`?status=FAILED,DONE&queue=mail&payload.user.id=7` is `{"status": ["FAILED", "DONE"], "queue": "mail",
"payload.user.id": 7}`. A path leads into the payload by names and indexes; a name that holds a dot, begins with a quote
or is empty is written as JSON: `payload."a.b".0`. In a query a value is JSON if it can be read so, else a string.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from jobqueue import strictjson, wire
from jobqueue.clock import Micros, from_datetime
from jobqueue.errors import BadCursor, BadRequest, Fault, Invalid, InvalidText, JobQueueError
from jobqueue.job import Json, Status
from jobqueue.stores.contract import Filter

NAMES = ("queue", "kind", "tag", "group")
TIMES = ("created_after", "created_before")
KNOWN = frozenset({"status", *NAMES, *TIMES})
PATH = "payload."
KNOWN_TEXT = f"{', '.join(sorted(KNOWN))}, {PATH}PATH"
NAME = re.compile(wire.NAME)
STEP = re.compile(r'"(?:[^"\\]|\\.)*"|[^."][^.]*')
MOST_PATHS = 20
POSITION_BYTES = 8


class _Unfit(Exception):
    """A value that is none, and what it must be. `nul`: for it holds a NUL."""

    def __init__(self, detail: str, *, nul: bool = False) -> None:
        super().__init__(detail)
        self.nul = nul


def is_filter(name: str) -> bool:
    """Whether a filter has such a name."""
    return name in KNOWN or name.startswith(PATH)


def from_query(queries: Iterable[tuple[str, str]]) -> Filter:
    """The filter that these make together, all of whose names are filters. Raises BadRequest."""
    values: dict[str, Any] = {}
    paths: list[tuple[tuple[str, ...], Json]] = []
    for name, text in queries:
        try:
            if name.startswith(PATH):
                paths.append((_way(name), _json(text)))
            elif name == "status":
                values[name] = values.get(name, frozenset()) | _statuses(text)
            elif name in values:
                raise _Unfit("may be given once")  # noqa: TRY301 - as all other faults are
            else:
                values[name] = READERS[name](text.replace(" ", "+") if name in TIMES else text)
        except _Unfit as unfit:
            raise BadRequest(f"{name} {unfit}") from None
    if len(paths) > MOST_PATHS:
        raise BadRequest(f"no more than {MOST_PATHS} paths can be looked for")
    return Filter(**values, payload=tuple(paths))


def from_json(said: Any, at: str) -> Filter:
    """The filter; `{}` is all jobs. status: one name or several. Raises Invalid, InvalidText, with pointers."""
    if not isinstance(said, dict):
        raise _refused(at, 'must be an object such as {"status": "FAILED"}; {} is all jobs')
    unknown = [Fault(at + strictjson.pointer((name,)), "is no filter here") for name in said if not is_filter(name)]
    if unknown:
        faults = tuple(unknown[: wire.UNKNOWN_MOST])
        raise Invalid(f"unknown filters; known: {KNOWN_TEXT}", faults=faults)
    values: dict[str, Any] = {}
    paths: list[tuple[tuple[str, ...], Json]] = []
    for name, value in said.items():
        pointer = at + strictjson.pointer((name,))
        try:
            if name.startswith(PATH):
                paths.append((_way(name), strictjson.dumps(value)))
            else:
                values[name] = READERS[name](value)
        except _Unfit as unfit:
            raise _refused(pointer, str(unfit), InvalidText if unfit.nul else Invalid) from None
    if len(paths) > MOST_PATHS:
        raise _refused(at, f"no more than {MOST_PATHS} paths can be looked for")
    return Filter(**values, payload=tuple(paths))


def _refused(at: str, detail: str, kind: type[JobQueueError] = Invalid) -> JobQueueError:
    return kind(f"{at}: {detail}", faults=(Fault(at, detail),))


def _statuses(said: Any) -> frozenset[Status]:
    names = said.split(",") if isinstance(said, str) else said
    if not isinstance(names, list) or not names or not all(name in Status.__members__ for name in map(str, names)):
        raise _Unfit(f"must be one or several of {', '.join(Status.__members__)}")
    return frozenset(Status[str(name)] for name in names)


def _name(said: Any) -> str:
    if not isinstance(said, str) or not NAME.match(said):
        nul = isinstance(said, str) and "\0" in said
        raise _Unfit("must be 1 to 64 of the characters A-Z a-z 0-9 . _ : -", nul=nul)
    return said


def _time(said: Any) -> Micros:
    try:
        return from_datetime(msgspec.convert(said, wire.Moment))
    except (msgspec.ValidationError, OverflowError):
        raise _Unfit("must be a time as RFC 3339 has it, like 2026-11-24T12:00:00Z") from None


READERS: dict[str, Callable[[Any], Any]] = {
    "status": _statuses,
    **dict.fromkeys(NAMES, _name),
    **dict.fromkeys(TIMES, _time),
}


def _way(name: str) -> tuple[str, ...]:
    """The names of a path, one after the other."""
    steps: list[str] = []
    place = len(PATH) - 1
    while place < len(name):
        found = STEP.match(name, place + 1) if name[place] == "." else None
        if found is None or len(steps) == strictjson.MAX_DEPTH:
            raise _Unfit('is no path: names and indexes with dots between, or names as JSON, like payload."a.b".0')
        steps.append(_step(found.group()))
        place = found.end()
    return tuple(steps)


def _step(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        return str(strictjson.loads(text.encode()))
    except JobQueueError:
        raise _Unfit("is no path: a name in quotes must be JSON") from None


def _json(text: str) -> Json:
    """A value of the query as JSON."""
    try:
        value = strictjson.loads(text.encode())
    except JobQueueError:
        value = text
    return strictjson.dumps(value)


def encode_cursor(seq: int, wanted: Filter) -> str:
    """An opaque cursor: a position, and a check that it is one of ours, for this filter."""
    raw = seq.to_bytes(POSITION_BYTES, "big")
    return base64.urlsafe_b64encode(raw + _check(raw, wanted)).decode().rstrip("=")


def decode_cursor(cursor: str, wanted: Filter) -> int:
    """The position. Raises BadCursor."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise BadCursor("this cursor is none of this server's") from None
    position, check = raw[:POSITION_BYTES], raw[POSITION_BYTES:]
    # no store counts beyond 63 bits
    if len(position) != POSITION_BYTES or position[0] > 0x7F or check != _check(position, wanted):
        raise BadCursor("this cursor is none of this server's, or of another filter")
    return int.from_bytes(position, "big")


def _check(position: bytes, wanted: Filter) -> bytes:
    return hashlib.blake2b(position + _digest(wanted), digest_size=7, person=b"jobqueue cursor").digest()


def _digest(wanted: Filter) -> bytes:
    """The filter, however it was written."""
    status = None if wanted.status is None else sorted(map(int, wanted.status))
    parts: Sequence[Any] = (
        *(status, wanted.queue, wanted.kind, wanted.tag, wanted.group),
        *(wanted.created_after, wanted.created_before, sorted(wanted.payload)),
    )
    return msgspec.json.encode(parts)
