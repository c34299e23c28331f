"""Schedules: list, look, put, delete, trigger."""

from __future__ import annotations

import trio

from jobqueue import wire
from jobqueue.api import pages
from jobqueue.api.exchange import NO_STORE, Request, Response, json_response
from jobqueue.api.jobs import answer_one, no_fields
from jobqueue.api.listing import LIMIT, LIMIT_MOST
from jobqueue.api.parts import Parts
from jobqueue.api.problems import of_the_only
from jobqueue.errors import Fault, Invalid, JobQueueError
from jobqueue.rules import recurrence, scheduling
from jobqueue.rules.recurrence import BadRecurrence
from jobqueue.schedule import Schedule


async def listed(request: Request, parts: Parts) -> Response:
    """GET /schedules: a page, by name."""
    limit = request.number("limit", LIMIT_MOST, least=1) or LIMIT
    after = pages.after_name(request)
    found, more = await parts.reads.schedules(after, limit)
    items = pages.Items()
    for schedule in found:
        await trio.lowlevel.checkpoint()  # to look years ahead may take milliseconds
        if not items.add(_json(schedule, parts)):
            more = True
            break
        after = schedule.name
    return pages.page(request, items.all, pages.encode_name(after) if more else None)


async def get(request: Request, parts: Parts) -> Response:
    """GET /schedules/{name}."""
    return json_response(_json(await parts.reads.schedule(pages.known_name(request, "schedule")), parts))


async def put(request: Request, parts: Parts) -> Response:
    """PUT /schedules/{name}: 201 if it is new, 200 if it was there."""
    said, _ = await request.json(parts.max_body, apart="job")
    asked = wire.schedule(said, pages.new_name(request), parts.now(), parts.defaults)
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
    await parts.state.drop_schedule(pages.known_name(request, "schedule"))
    return Response(204, headers=(NO_STORE,))


async def trigger(request: Request, parts: Parts) -> Response:
    """POST /schedules/{name}/trigger: one job now, also while it is paused or its last job has not ended."""
    name = pages.known_name(request, "schedule")
    await no_fields(request, parts)
    try:
        accepted = await parts.state.trigger(name)
    except JobQueueError as error:
        raise of_the_only(error) from None
    return await answer_one(request, parts, accepted)


def _json(schedule: Schedule, parts: Parts) -> bytes:
    return wire.encode(wire.schedule_fields(schedule, scheduling.next_runs(schedule, parts.now())))
