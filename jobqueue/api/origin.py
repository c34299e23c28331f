"""The contract of the origin, whose clients keep working unchanged: POST /submit and GET /status/{id}."""

from __future__ import annotations

from typing import Any

import msgspec

from jobqueue import strictjson
from jobqueue.api.exchange import NO_STORE, Request, Response, json_response
from jobqueue.api.headers import idempotency_key, trace_context
from jobqueue.api.jobs import ID, replayed
from jobqueue.api.parts import Parts
from jobqueue.clock import iso
from jobqueue.errors import BadRequest, Fault, InvalidJson, JobQueueError, NotFound, Removed, TooDeep
from jobqueue.job import DEFAULT_OPTIONS, Draft, Status

ONE_TRY = msgspec.structs.replace(DEFAULT_OPTIONS, max_attempts=1)
UNSAID = frozenset({"retry", "timeout"})
SHOWN = {Status.SCHEDULED: "QUEUED", Status.BLOCKED: "QUEUED", Status.CANCELLED: "FAILED"}


async def submit(request: Request, parts: Parts) -> Response:
    """Accept a payload as a `simulate` job; any Content-Type, and 400 for whatever is no such object."""
    request.refuse_coding()
    raw = await request.body(parts.max_body)
    key = idempotency_key(request, "/submit", raw)
    try:
        payload = strictjson.dumps(_payload(strictjson.loads(raw)))
    except (InvalidJson, TooDeep):
        raise
    except JobQueueError as error:
        raise BadRequest(error.detail, faults=error.faults) from error
    trace = trace_context(request)
    options = msgspec.structs.replace(ONE_TRY, trace_parent=trace.parent, trace_state=trace.state)
    accepted = await parts.state.submit((Draft("simulate", payload=payload, options=options, unsaid=UNSAID),), key)
    return json_response(b'{"job_id":"%s"}' % accepted.jobs[0].id.encode(), headers=replayed(accepted))


def _payload(said: Any) -> str:
    """The field `payload`, its name in any case; of several the last one counts."""
    if said is None:
        return ""
    if not isinstance(said, dict):
        raise _refused("", 'expected an object such as {"payload": "text"}')
    payload = ""
    for name, value in said.items():
        if name.lower() == "payload" and value is not None:
            if not isinstance(value, str):
                raise _refused(strictjson.pointer([name]), "payload must be a string")
            payload = value
    return payload


def _refused(pointer: str, detail: str) -> BadRequest:
    return BadRequest(detail, faults=(Fault(pointer, detail),))


async def status(request: Request, parts: Parts) -> Response:
    """A job in the origin's words; whatever is not there, or no longer, is 404."""
    id = request.params["id"]
    if not ID.fullmatch(id):
        raise NotFound("no such job")
    try:
        job = await parts.reads.job(id.lower(), whole=False)
    except Removed:
        raise NotFound("no such job") from None
    shown = {"id": job.id, "status": SHOWN.get(job.status, job.status.name), "created_at": iso(job.created_at)}
    if job.payload not in ('""', "null"):
        shown["payload"] = msgspec.json.decode(job.payload) if job.payload.startswith('"') else job.payload
    return Response(200, msgspec.json.encode(shown), (JSON, NO_STORE))


JSON = (b"content-type", b"application/json")
