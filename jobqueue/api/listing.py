"""GET /jobs: pages of jobs, newest first, by cursors that stay right while jobs come and go."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec

from jobqueue import wire
from jobqueue.api.exchange import Request, Response, json_response
from jobqueue.api.jobs import field_names
from jobqueue.api.parts import ANSWER_MOST_BYTES, Parts
from jobqueue.clock import Micros, from_datetime
from jobqueue.errors import BadCursor, BadRequest
from jobqueue.job import Job, Status
from jobqueue.stores.contract import Filter

LIMIT = 50
LIMIT_MOST = 200
FILTERS = ("status", "queue", "kind", "tag", "group", "created_after", "created_before")
KNOWN = frozenset({*FILTERS, "limit", "cursor", "fields"})
NAME = re.compile(wire.NAME)


async def jobs(request: Request, parts: Parts) -> Response:
    """A page."""
    queries = request.queries()
    unknown = sorted({name for name, _ in queries} - KNOWN)
    if unknown:
        raise BadRequest(f"unknown filters: {', '.join(unknown)}; known: {', '.join(sorted(KNOWN))}")
    limit = request.number("limit", LIMIT_MOST, least=1) or LIMIT
    names = field_names(request)
    before = _cursor(queries)
    page = await parts.reads.page(_filter(queries), before, limit)
    items, last = _fit(page.jobs, names)
    after = page.before if last is None else last
    cursor = None if after is None else encode_cursor(after)
    body = b'{"items":[' + b",".join(items) + b'],"next":' + msgspec.json.encode(cursor) + b"}"
    if cursor is None:
        return json_response(body)
    query = urlencode([*((name, value) for name, value in queries if name != "cursor"), ("cursor", cursor)])
    return json_response(body, headers=((b"link", f'<{request.path}?{query}>; rel="next"'.encode("latin-1")),))


def _fit(jobs: Sequence[Job], names: frozenset[str] | None) -> tuple[list[bytes], int | None]:
    """The jobs as JSON, cut at 8 MiB but never to nothing; and where to go on if it was cut."""
    items: list[bytes] = []
    size = 0
    for index, job in enumerate(jobs):
        item = wire.encode(wire.chosen(job, names))
        size += len(item)
        if items and size > ANSWER_MOST_BYTES:
            return items, jobs[index - 1].seq
        items.append(item)
    return items, None


def _filter(queries: Sequence[tuple[str, str]]) -> Filter:
    """The filters of a query. Raises BadRequest for a bad value."""
    said = {name: [value for key, value in queries if key == name] for name in FILTERS}
    statuses = [part for value in said["status"] for part in value.split(",")]
    bad = [status for status in statuses if status not in Status.__members__]
    if bad:
        raise BadRequest(f"status must be of {', '.join(Status.__members__)}, not {bad[0]!r}")
    return Filter(
        status=frozenset(Status[name] for name in statuses) if statuses else None,
        queue=_name(said, "queue"),
        kind=_name(said, "kind"),
        tag=_name(said, "tag"),
        group=_name(said, "group"),
        created_after=_time(said, "created_after"),
        created_before=_time(said, "created_before"),
    )


def _name(said: dict[str, list[str]], name: str) -> str | None:
    values = said[name]
    if not values:
        return None
    if len(values) > 1 or not NAME.match(values[0]) or values[0].endswith("\n"):
        raise BadRequest(f"{name} must be one name of 1 to 64 of the characters A-Z a-z 0-9 . _ : -")
    return values[0]


def _time(said: dict[str, list[str]], name: str) -> Micros | None:
    values = said[name]
    if not values:
        return None
    try:
        return from_datetime(msgspec.convert(values[-1].replace(" ", "+"), wire.Moment))
    except (msgspec.ValidationError, OverflowError):
        raise BadRequest(f"{name} must be a time as RFC 3339 has it, like 2026-11-24T12:00:00Z") from None


def encode_cursor(seq: int) -> str:
    """An opaque cursor: a position, and a check that it is one of ours."""
    raw = seq.to_bytes(8, "big")
    return base64.urlsafe_b64encode(raw + _check(raw)).decode().rstrip("=")


def _cursor(queries: Sequence[tuple[str, str]]) -> int | None:
    values = [value for name, value in queries if name == "cursor"]
    return decode_cursor(values[-1]) if values else None


def decode_cursor(cursor: str) -> int:
    """The position. Raises BadCursor."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise BadCursor("this cursor is none of this server's") from None
    position, check = raw[:8], raw[8:]
    if len(position) != 8 or position[0] > 0x7F or check != _check(position):  # no store counts beyond 63 bits
        raise BadCursor("this cursor is none of this server's")
    return int.from_bytes(position, "big")


def _check(position: bytes) -> bytes:
    return hashlib.blake2b(position, digest_size=7, person=b"jobqueue cursor").digest()
