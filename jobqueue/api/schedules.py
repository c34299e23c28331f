"""Schedules: list, look, put, delete, trigger."""

from __future__ import annotations

import base64
import hashlib
import re
from urllib.parse import urlencode

import msgspec
import trio

from jobqueue import wire
from jobqueue.api.exchange import NO_STORE, Request, Response, json_response
from jobqueue.api.jobs import answer_one, no_fields
from jobqueue.api.listing import LIMIT, LIMIT_MOST
from jobqueue.api.parts import ANSWER_MOST_BYTES, Parts
from jobqueue.api.problems import of_the_only
from jobqueue.errors import BadCursor, BadRequest, Fault, Invalid, InvalidText, JobQueueError, NotFound
from jobqueue.rules import recurrence, scheduling
from jobqueue.rules.recurrence import BadRecurrence
from jobqueue.schedule import Schedule

NAME = re.compile(wire.NAME)
KNOWN = frozenset({"limit", "cursor"})
CHECK_BYTES = 7


async def listed(request: Request, parts: Parts) -> Response:
    """GET /schedules: a page, by name."""
    queries = request.queries()
    unknown = sorted({name for name, _ in queries} - KNOWN)
    if unknown:
        raise BadRequest(f"unknown filters: {', '.join(unknown)}; known: {', '.join(sorted(KNOWN))}")
    limit = request.number("limit", LIMIT_MOST, least=1) or LIMIT
    cursors = [value for name, value in queries if name == "cursor"]
    after = decode_cursor(cursors[-1]) if cursors else ""
    found, more = await parts.reads.schedules(after, limit)
    items: list[bytes] = []
    size = 0
    for schedule in found:
        await trio.lowlevel.checkpoint()  # to look years ahead may take milliseconds
        item = _json(schedule, parts)
        size += len(item)
        if items and size > ANSWER_MOST_BYTES:
            more = True
            break
        items.append(item)
        after = schedule.name
    cursor = encode_cursor(after) if more else None
    body = b'{"items":[' + b",".join(items) + b'],"next":' + msgspec.json.encode(cursor) + b"}"
    if cursor is None:
        return json_response(body)
    query = urlencode([*((name, value) for name, value in queries if name != "cursor"), ("cursor", cursor)])
    return json_response(body, headers=((b"link", f'<{request.path}?{query}>; rel="next"'.encode("latin-1")),))


async def get(request: Request, parts: Parts) -> Response:
    """GET /schedules/{name}."""
    return json_response(_json(await parts.reads.schedule(_known_name(request)), parts))


async def put(request: Request, parts: Parts) -> Response:
    """PUT /schedules/{name}: 201 if it is new, 200 if it was there."""
    said, _ = await request.json(parts.max_body, apart="job")
    asked = wire.schedule(said, _new_name(request), parts.now(), parts.defaults)
    try:
        recurrence.check(scheduling.recurrence_of(asked))
    except BadRecurrence as bad:
        pointer = f"/{bad.field}"
        raise Invalid(f"{pointer}: {bad.message}", faults=(Fault(pointer, bad.message),)) from None
    schedule, new = await parts.state.put_schedule(asked)
    location = (b"location", b"/schedules/" + schedule.name.encode())
    return json_response(_json(schedule, parts), 201 if new else 200, (location,) if new else ())


async def delete(request: Request, parts: Parts) -> Response:
    """DELETE /schedules/{name}: it fires no more; the jobs that it made stay."""
    await parts.state.drop_schedule(_known_name(request))
    return Response(204, headers=(NO_STORE,))


async def trigger(request: Request, parts: Parts) -> Response:
    """POST /schedules/{name}/trigger: one job now, also while it is paused or its last job has not ended."""
    name = _known_name(request)
    await no_fields(request, parts)
    try:
        accepted = await parts.state.trigger(name)
    except JobQueueError as error:
        raise of_the_only(error) from None
    return await answer_one(request, parts, accepted)


def _json(schedule: Schedule, parts: Parts) -> bytes:
    return wire.encode(wire.schedule_fields(schedule, scheduling.next_runs(schedule, parts.now())))


def _known_name(request: Request) -> str:
    """The name in the path. Raises NotFound for what can be none."""
    name = request.params["name"]
    if not NAME.match(name):
        raise NotFound("no schedule has such a name")
    return name


def _new_name(request: Request) -> str:
    """The name in the path. Raises Invalid, InvalidText."""
    name = request.params["name"]
    if "\0" in name:
        raise InvalidText("the name holds a NUL", faults=(Fault("/name", "holds a NUL"),))
    if not NAME.match(name):
        detail = "must be 1 to 64 of the characters A-Z a-z 0-9 . _ : -"
        raise Invalid(f"/name: {detail}", faults=(Fault("/name", detail),))
    return name


def encode_cursor(name: str) -> str:
    """An opaque cursor: a name, and a check that it is one of ours."""
    raw = name.encode()
    return base64.urlsafe_b64encode(_check(raw) + raw).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """The name. Raises BadCursor."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise BadCursor("this cursor is none of this server's") from None
    check, name = raw[:CHECK_BYTES], raw[CHECK_BYTES:]
    if check != _check(name):
        raise BadCursor("this cursor is none of this server's")
    return name.decode("ascii")


def _check(name: bytes) -> bytes:
    return hashlib.blake2b(name, digest_size=CHECK_BYTES, person=b"jobqueue names").digest()
