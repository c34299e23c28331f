"""Queues: list, look, and change their settings live."""

from __future__ import annotations

from typing import Any

from jobqueue import wire
from jobqueue.api import pages
from jobqueue.api.exchange import Request, Response, json_response
from jobqueue.api.parts import Parts
from jobqueue.queue import Known

LIMIT_MOST = 1_000  # as many as there may be
NOTHING = (0.0, 0.0)


async def listed(request: Request, parts: Parts) -> Response:
    """GET /queues: all that were ever named, by name, up to 8 MiB of them."""
    limit = request.number("limit", LIMIT_MOST, least=1) or LIMIT_MOST
    after = pages.after_name(request)
    queues = [known for known in await parts.reads.queues() if known.settings.name > after]
    rates = await parts.state.flow()
    items = pages.Items()
    for known in queues[:limit]:
        if not items.add(wire.encode(_fields(known, rates.get(known.settings.name, NOTHING), parts))):
            break
        after = known.settings.name
    return pages.page(request, items.all, pages.encode_name(after) if len(items.all) < len(queues) else None)


async def get(request: Request, parts: Parts) -> Response:
    """GET /queues/{name}: 404 for one that was never named, by settings or by a job."""
    return await _answer(pages.known_name(request, "queue"), parts)


async def patch(request: Request, parts: Parts) -> Response:
    """PATCH /queues/{name}: a merge patch of its settings, which hold from the commit on; it makes a queue, too."""
    name = pages.new_name(request)
    await parts.state.configure(name, wire.queue_change(await request.merge_patch(parts.max_body)))
    return await _answer(name, parts)


async def _answer(name: str, parts: Parts) -> Response:
    known = await parts.reads.queue(name)
    rates = await parts.state.flow()
    return json_response(wire.encode(_fields(known, rates.get(name, NOTHING), parts)))


def _fields(known: Known, rates: tuple[float, float], parts: Parts) -> dict[str, Any]:
    limits = parts.limits
    return wire.queue_fields(known, rates, parts.now(), limits.retention, limits.max_queued)
