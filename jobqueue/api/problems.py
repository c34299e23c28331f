"""Errors as answers: the one place where what an endpoint raises becomes problem+json (RFC 9457)."""

from __future__ import annotations

import structlog

from jobqueue.api.exchange import Request, Response
from jobqueue.errors import Draining, Fault, Internal, JobQueueError, retry_after
from jobqueue.http.problem import problem_body, problem_headers
from jobqueue.mailbox import Closed

log = structlog.get_logger(__name__)


def problem(error: JobQueueError, request_id: str) -> Response:
    """The answer to an error."""
    return Response(error.status, problem_body(error, request_id), problem_headers(error))


def of_the_only(error: JobQueueError) -> JobQueueError:
    """What the rules said of a list of one, as said of the one."""
    error.faults = tuple(Fault(fault.pointer.removeprefix("/0"), fault.detail) for fault in error.faults)
    return error


def of_exception(error: Exception, request: Request) -> Response:
    """The answer to whatever an endpoint raised; what nobody expected is logged, and shown as nothing but internal."""
    if isinstance(error, JobQueueError):
        return problem(error, request.request_id)
    if isinstance(error, Closed):
        return problem(Draining("the server is shutting down", headers=retry_after(5)), request.request_id)
    log.error("request failed", method=request.method, path=request.path, request_id=request.request_id, exc_info=error)
    return problem(Internal(), request.request_id)
