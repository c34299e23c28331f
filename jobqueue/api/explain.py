"""GET /jobs/{id}/explain: why a job is not running."""

from __future__ import annotations

from jobqueue import wire
from jobqueue.api.exchange import Request, Response, json_response
from jobqueue.api.jobs import job_id
from jobqueue.api.parts import Parts
from jobqueue.clock import iso
from jobqueue.job import Job
from jobqueue.rules.explaining import Around, Explanation


async def explain(request: Request, parts: Parts) -> Response:
    """The causes, the place in line, and an estimate of the start."""
    job = await parts.reads.job(job_id(request), whole=False)
    explanation = await parts.state.explain(job, await _around(parts, job))
    return json_response(wire.encode(_shown(explanation)))


async def _around(parts: Parts, job: Job) -> Around:
    """What the actors know beside the table."""
    vitals = await parts.state.vitals()
    flow = await parts.state.flow()
    _, ended = flow.get(job.queue, (0.0, 0.0))
    return Around(
        takers=await parts.dispatch.takers(),
        local=parts.served,
        quarantine=vitals.quarantine,
        running=vitals.running,
        per_second=ended or None,
    )


def _shown(explanation: Explanation) -> dict[str, object]:
    start, expiry = explanation.estimated_start, explanation.expires_at
    return {
        "causes": [{"cause": one.cause, "detail": one.detail, **one.more} for one in explanation.causes],
        "place": explanation.place,
        "estimated_start": None if start is None else iso(start),
        "expires_at": None if expiry is None else iso(expiry),
    }
