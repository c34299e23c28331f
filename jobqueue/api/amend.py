"""PATCH and DELETE /jobs/{id}: change what was asked of a job, or remove one that has ended."""

from __future__ import annotations

from jobqueue import wire
from jobqueue.api.exchange import Request, Response, json_response
from jobqueue.api.jobs import job_id, no_fields
from jobqueue.api.parts import Parts
from jobqueue.rules.amending import Amendment


async def patch(request: Request, parts: Parts) -> Response:
    """A merge patch of the fields that can be changed; the job as it then is."""
    id = job_id(request)
    changes = wire.amendment(await request.merge_patch(parts.max_body), parts.now())
    await parts.state.amend(id, Amendment(**changes))
    return json_response(wire.job_json(await parts.reads.job(id)))


async def delete(request: Request, parts: Parts) -> Response:
    """Remove it: 204."""
    await no_fields(request, parts)
    await parts.state.remove(job_id(request))
    return Response(204)
