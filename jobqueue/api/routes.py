"""The table of routes: every row is served by both doors, and nothing is served that is not a row.

A scope names what a key must allow; "-" needs none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from jobqueue.api import guard, health, jobs, listing, origin, problems
from jobqueue.api.exchange import ClientGone, Request, Response
from jobqueue.api.parts import Parts

Endpoint = Callable[[Request, Parts], Awaitable[Response]]


class Route(NamedTuple):
    """One row. A path holds at most one parameter, `{id}`. hot: it has the short way too (`front.py`)."""

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
    Route("POST", "/jobs/{id}/cancel", "submit", jobs.cancel),
    Route("POST", "/jobs/{id}/retry", "admin", jobs.retry),
    Route("GET", "/jobs/{id}/attempts", "read", jobs.attempts),
    Route("GET", "/jobs/{id}/logs", "read", jobs.logs),
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
