"""Queues: list, look, and change their settings live."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import msgspec

from jobqueue import wire
from jobqueue.api.exchange import Request, Response, json_response
from jobqueue.api.parts import ANSWER_MOST_BYTES, Parts
from jobqueue.api.schedules import decode_cursor, encode_cursor
from jobqueue.errors import BadRequest, Fault, Invalid, InvalidText, NotFound
from jobqueue.queue import Known

NAME = re.compile(wire.NAME)
LIMIT_MOST = 1_000  # as many as there may be
KNOWN = frozenset({"limit", "cursor"})


async def listed(request: Request, parts: Parts) -> Response:
    """GET /queues: all that were ever named, by name, up to 8 MiB of them."""
    queries = request.queries()
    unknown = sorted({name for name, _ in queries} - KNOWN)
    if unknown:
        raise BadRequest(f"unknown filters: {', '.join(unknown)}; known: {', '.join(sorted(KNOWN))}")
    limit = request.number("limit", LIMIT_MOST, least=1) or LIMIT_MOST
    cursors = [value for name, value in queries if name == "cursor"]
    after = decode_cursor(cursors[-1]) if cursors else ""
    queues = [known for known in await parts.reads.queues() if known.settings.name > after]
    rates = await parts.state.flow()
    items: list[bytes] = []
    size = 0
    for known in queues[:limit]:
        item = wire.encode(_fields(known, rates.get(known.settings.name, NOTHING), parts))
        size += len(item)
        if items and size > ANSWER_MOST_BYTES:
            break
        items.append(item)
        after = known.settings.name
    cursor = encode_cursor(after) if len(items) < len(queues) else None
    body = b'{"items":[' + b",".join(items) + b'],"next":' + msgspec.json.encode(cursor) + b"}"
    if cursor is None:
        return json_response(body)
    query = urlencode([*((name, value) for name, value in queries if name != "cursor"), ("cursor", cursor)])
    return json_response(body, headers=((b"link", f'<{request.path}?{query}>; rel="next"'.encode("latin-1")),))


NOTHING = (0.0, 0.0)


async def get(request: Request, parts: Parts) -> Response:
    """GET /queues/{name}: 404 for one that was never named, by settings or by a job."""
    name = request.params["name"]
    if not NAME.match(name):
        raise NotFound("no queue has such a name")
    return await _answer(name, parts)


async def patch(request: Request, parts: Parts) -> Response:
    """PATCH /queues/{name}: a merge patch of its settings, which hold from the commit on; it makes a queue, too."""
    name = request.params["name"]
    if "\0" in name:
        raise InvalidText("the name holds a NUL", faults=(Fault("/name", "holds a NUL"),))
    if not NAME.match(name):
        detail = "must be 1 to 64 of the characters A-Z a-z 0-9 . _ : -"
        raise Invalid(f"/name: {detail}", faults=(Fault("/name", detail),))
    await parts.state.configure(name, wire.queue_change(await request.merge_patch(parts.max_body)))
    return await _answer(name, parts)


async def _answer(name: str, parts: Parts) -> Response:
    known = await parts.reads.queue(name)
    rates = await parts.state.flow()
    return json_response(wire.encode(_fields(known, rates.get(name, NOTHING), parts)))


def _fields(known: Known, rates: tuple[float, float], parts: Parts) -> dict[str, Any]:
    limits = parts.limits
    return wire.queue_fields(known, rates, parts.now(), limits.retention, limits.max_queued)
