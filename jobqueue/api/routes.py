"""The table of routes: every row is served by both doors, and nothing is served that is not a row.

A scope names what a key must allow; "-" needs none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from jobqueue.api import (
    amend,
    clock,
    events,
    explain,
    guard,
    health,
    jobs,
    listing,
    many,
    origin,
    problems,
    queues,
    schedules,
)
from jobqueue.api.exchange import ClientGone, Request, Response
from jobqueue.api.parts import Parts

Endpoint = Callable[[Request, Parts], Awaitable[Response]]


class Route(NamedTuple):
    """One row. A path holds at most one parameter, the `{id}` of a job or a `{name}`. hot: it has the short way too."""

    method: str
    path: str
    scope: str
    endpoint: Endpoint
    hot: bool = False


ROUTES = (
    Route("POST", "/submit", "submit", origin.submit, hot=True),
    Route("GET", "/status/{id}", "read", origin.status, hot=True),
    Route("POST", "/jobs", "submit", jobs.submit, hot=True),
    Route("GET", "/jobs", "read", listing.jobs),
    Route("GET", "/jobs/{id}", "read", jobs.get, hot=True),
    Route("PATCH", "/jobs/{id}", "admin", amend.patch),
    Route("DELETE", "/jobs/{id}", "admin", amend.delete),
    Route("POST", "/jobs/cancel", "admin", many.cancel),
    Route("POST", "/jobs/retry", "admin", many.retry),
    Route("POST", "/jobs/delete", "admin", many.delete),
    Route("POST", "/jobs/{id}/cancel", "submit", jobs.cancel),
    Route("POST", "/jobs/{id}/retry", "admin", jobs.retry),
    Route("GET", "/jobs/{id}/explain", "read", explain.explain),
    Route("GET", "/jobs/{id}/attempts", "read", jobs.attempts),
    Route("GET", "/jobs/{id}/logs", "read", jobs.logs),
    Route("GET", "/queues", "read", queues.listed),
    Route("GET", "/queues/{name}", "read", queues.get),
    Route("PATCH", "/queues/{name}", "admin", queues.patch),
    Route("GET", "/schedules", "read", schedules.listed),
    Route("GET", "/schedules/{name}", "read", schedules.get),
    Route("PUT", "/schedules/{name}", "admin", schedules.put),
    Route("DELETE", "/schedules/{name}", "admin", schedules.delete),
    Route("POST", "/schedules/{name}/trigger", "admin", schedules.trigger),
    Route("GET", "/jobs/{id}/events", "read", events.of_job),
    Route("GET", "/events", "read", events.of_all),
    Route("POST", "/clock/advance", "admin", clock.advance),
    Route("GET", "/healthz", "-", health.alive),
    Route("GET", "/readyz", "-", health.ready),
)


async def answer(route: Route, request: Request, parts: Parts) -> Response:
    """What every request goes through, by whichever door: guard, endpoint, problems. Raises only ClientGone."""
    try:
        guard.check(request, parts)
        return await route.endpoint(request, parts)
    except ClientGone:
        raise
    except Exception as error:  # noqa: BLE001 - no request may end the server
        return problems.of_exception(error, request)
