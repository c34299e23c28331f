"""The error vocabulary: one class per thing that can go wrong, each with its wire code and HTTP status.

Every layer raises these; `api/problems.py` and `http/` render them as problem+json (RFC 9457), the command line
as one line. Nothing here imports anything of ours, so any module may raise any of them.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

RETRY_AFTER_MIN_SECONDS = 1
RETRY_AFTER_MAX_SECONDS = 300
RETRY_AFTER_UNKNOWN_SECONDS = 30  # nothing drains, so nothing can be computed


class Fault(NamedTuple):
    """One fault in an input: `pointer` is an RFC 6901 JSON Pointer ("" = the whole), `detail` says what is wrong."""

    pointer: str
    detail: str


class JobQueueError(Exception):
    """The base of all expected errors.

    `code` is the last segment of the problem's `type`, `status` its HTTP status, `title` its fixed summary;
    `detail` is about this case; `faults` names the places; `headers` are added to the answer.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        detail: str = "",
        *,
        faults: tuple[Fault, ...] = (),
        headers: tuple[tuple[str, str], ...] = (),
        extra: dict[str, object] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.faults = faults
        self.headers = headers
        self.extra = extra or {}


class Internal(JobQueueError):
    """A fault of ours; nothing of the inside is shown."""


class BadRequest(JobQueueError):
    """A request that is not well formed (HTTP framing, query, header)."""

    code, status, title = "bad-request", 400, "Bad request"


class InvalidJson(JobQueueError):
    """A body that is not JSON as RFC 8259 has it, in UTF-8."""

    code, status, title = "invalid-json", 400, "Invalid JSON"


class TooDeep(JobQueueError):
    """JSON nested deeper than the limit."""

    code, status, title = "too-deep", 400, "JSON nested too deep"


class BadCursor(JobQueueError):
    """A cursor that this server did not hand out."""

    code, status, title = "cursor", 400, "Invalid cursor"


class Unauthorized(JobQueueError):
    """No key, or one that is not known."""

    code, status, title = "unauthorized", 401, "Authentication required"


class ScopeMissing(JobQueueError):
    """A key without the scope of this route."""

    code, status, title = "scope", 403, "Not allowed with this key"


class CrossSite(JobQueueError):
    """A write that a foreign web page made."""

    code, status, title = "cross-site", 403, "Cross-site request refused"


class NotFound(JobQueueError):
    """No such path, or no such job."""

    code, status, title = "not-found", 404, "Not found"


class MethodNotAllowed(JobQueueError):
    """The path exists, the method does not; `Allow` names those that do."""

    code, status, title = "method-not-allowed", 405, "Method not allowed"


class RequestTimeout(JobQueueError):
    """A body that came too slowly."""

    code, status, title = "timeout", 408, "Request took too long to arrive"


class BadState(JobQueueError):
    """A command that the job's present status does not allow."""

    code, status, title = "bad-state", 409, "Not possible in this state"


class LeaseLost(JobQueueError):
    """The report of an attempt that is no longer the current one."""

    code, status, title = "lease-lost", 409, "The lease is lost"


class Duplicate(JobQueueError):
    """The job's unique key is held by another job."""

    code, status, title = "duplicate", 409, "Duplicate job"


class Removed(JobQueueError):
    """A job that existed and was removed."""

    code, status, title = "removed", 410, "The job was removed"


class BodyTooLarge(JobQueueError):
    """A body beyond the limit."""

    code, status, title = "body-too-large", 413, "Body too large"


class TargetTooLong(JobQueueError):
    """A request target beyond the limit."""

    code, status, title = "target-too-long", 414, "Request target too long"


class UnsupportedMediaType(JobQueueError):
    """A body of a type, or with a coding, that is not taken."""

    code, status, title = "unsupported-media-type", 415, "Unsupported media type"


class ExpectationFailed(JobQueueError):
    """An Expect header other than 100-continue."""

    code, status, title = "expectation", 417, "Expectation not supported"


class Invalid(JobQueueError):
    """A body whose fields are not as they must be; `faults` points at them."""

    code, status, title = "validation", 422, "Invalid input"


class OutOfRange(JobQueueError):
    """A number or a time outside its range."""

    code, status, title = "out-of-range", 422, "Out of range"


class InvalidText(JobQueueError):
    """Text that cannot be stored: a lone surrogate, a NUL in a name."""

    code, status, title = "invalid-text", 422, "Invalid text"


class KeyReuse(JobQueueError):
    """An Idempotency-Key that was used with another body."""

    code, status, title = "key-reuse", 422, "Idempotency key used with another body"


class UrlBlocked(JobQueueError):
    """A push or callback URL that is not allowed."""

    code, status, title = "url-blocked", 422, "URL not allowed"


class QueueFull(JobQueueError):
    """The queue holds as many waiting jobs as it may."""

    code, status, title = "queue-full", 429, "The queue is full"


class RateLimited(JobQueueError):
    """The caller is over its rate."""

    code, status, title = "rate", 429, "Too many requests"


class HeadersTooLarge(JobQueueError):
    """A request head beyond the limit."""

    code, status, title = "headers-too-large", 431, "Request headers too large"


class NotImplementedHere(JobQueueError):
    """A part of HTTP that is not served here."""

    code, status, title = "not-implemented", 501, "Not implemented"


class Overloaded(JobQueueError):
    """The server has more to do than it can take on."""

    code, status, title = "overloaded", 503, "Overloaded"


class Draining(JobQueueError):
    """The server is about to stop and takes nothing new."""

    code, status, title = "draining", 503, "Shutting down"


class StoreUnavailable(JobQueueError):
    """The store failed; whether the change was made is unknown."""

    code, status, title = "store", 503, "The store is unavailable"


class StorageFull(JobQueueError):
    """The disk is full; nothing was changed."""

    code, status, title = "storage-full", 507, "Storage full"


class StartupError(Exception):
    """The server cannot start; each line says what and where. `exit_code` as in README, "Exit codes"."""

    def __init__(self, *lines: str, exit_code: int = 2) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines
        self.exit_code = exit_code


def retry_after(seconds: float | None) -> tuple[tuple[str, str], ...]:
    """The Retry-After header (RFC 9110 section 10.2.3), in whole seconds within its bounds; None = unknown."""
    if seconds is None:
        seconds = RETRY_AFTER_UNKNOWN_SECONDS
    whole = min(max(int(seconds + 0.999), RETRY_AFTER_MIN_SECONDS), RETRY_AFTER_MAX_SECONDS)
    return (("retry-after", str(whole)),)
