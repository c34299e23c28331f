"""GET /healthz and /readyz: alive; ready, or why not. Neither needs a key."""

from __future__ import annotations

from typing import Any

import msgspec

from jobqueue.api.exchange import Request, Response, json_response
from jobqueue.api.parts import Parts
from jobqueue.api.problems import problem
from jobqueue.errors import Draining, JobQueueError, Overloaded, StoreUnavailable, retry_after


async def alive(_request: Request, _parts: Parts) -> Response:
    """The loop answers."""
    return json_response(b'{"status":"ok"}')


async def ready(request: Request, parts: Parts) -> Response:
    """Whether new work may be sent here."""
    vitals = await parts.state.vitals()
    facts: dict[str, Any] = {
        "store": {"name": parts.engine.name, "durability": parts.engine.durability},
        "running": vitals.running,
        "stuck": vitals.stuck,
    }
    if parts.open_to_all:
        facts["auth"] = "open"
    if parts.time is not None:
        facts["clock"] = "manual"
    reasons: dict[str, type[JobQueueError]] = {}
    if vitals.draining:
        reasons["draining"] = Draining
    if vitals.store_failing:
        reasons["store"] = StoreUnavailable
    if parts.workers and vitals.stuck >= parts.workers:
        reasons["stuck"] = Overloaded
    if not reasons:
        return json_response(msgspec.json.encode({"status": "ready", **facts}))
    kind = next(iter(reasons.values()))
    detail = f"not ready: {', '.join(reasons)}"
    error = kind(detail, headers=retry_after(5), extra={"reasons": list(reasons), **facts})
    return problem(error, request.request_id)
