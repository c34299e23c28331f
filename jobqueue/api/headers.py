"""What request headers ask for: preferences, idempotency keys, trace context, conditions."""

from __future__ import annotations

import hashlib
import re

from jobqueue.api.exchange import Request
from jobqueue.errors import BadRequest
from jobqueue.rules.idempotency import IdempotencyKey
from jobqueue.wire import NO_TRACE, Trace

KEY_MOST = 255
_REST = "-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"  # trace id, parent id, flags
TRACE_PARENT = re.compile(f"00{_REST}|(?!00|ff)[0-9a-f]{{2}}{_REST}(?:-.{{0,200}})?")
TRACE_STATE_MOST = 512


def preferred_wait(request: Request, most_seconds: int) -> int | None:
    """The seconds of `Prefer: wait=N`, at most `most_seconds`; what is malformed is ignored (RFC 7240 section 2)."""
    header = request.header(b"prefer")
    if header is None:
        return None
    for part in header.split(","):
        name, _, value = part.partition(";")[0].partition("=")
        text = value.strip().strip('"')
        if name.strip().lower() == "wait" and text.isascii() and text.isdigit():
            return min(int(text[:20]), most_seconds)
    return None


def idempotency_key(request: Request, route: str, body: bytes) -> IdempotencyKey | None:
    """The Idempotency-Key header, within its route, with the digest of the body. Raises BadRequest."""
    key = request.header(b"idempotency-key")
    return None if key is None else keyed(key, route, body)


def keyed(key: str, route: str, body: bytes) -> IdempotencyKey:
    """A key with the digest of its body. Raises BadRequest."""
    if not 1 <= len(key) <= KEY_MOST:
        raise BadRequest(f"an idempotency key must have 1 to {KEY_MOST} characters")
    return IdempotencyKey(route, key, hashlib.blake2b(body, digest_size=16).digest())


def trace_context(request: Request) -> Trace:
    """The W3C Trace Context; a malformed traceparent counts as none, as its section 3.2.2.3 has it."""
    parent = request.header(b"traceparent")
    if parent is None or not TRACE_PARENT.fullmatch(parent):
        return NO_TRACE
    state = request.header(b"tracestate")
    return Trace(parent, state if state is not None and len(state) <= TRACE_STATE_MOST else None)


def etag_matches(header: str | None, etag: str) -> bool:
    """If-None-Match by weak comparison (RFC 9110 section 13.1.2)."""
    if header is None:
        return False
    return header.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in header.split(","))
