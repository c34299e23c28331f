"""How an error looks on the wire: one renderer for what the connection refuses and for what the app answers.

The form is `application/problem+json` of RFC 9457, with the members `errors` and `request_id` beside it.
"""

from __future__ import annotations

import json

from jobqueue.errors import JobQueueError, retry_after

_SOON = frozenset({429, 503})  # the statuses that promise another try, so they say when


def problem_body(error: JobQueueError, request_id: str) -> bytes:
    """The JSON of `error`, in UTF-8; what no UTF-8 can hold (a lone surrogate in a quoted input) becomes `?`."""
    members = {
        "type": f"/problems/{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "errors": [{"pointer": fault.pointer, "detail": fault.detail} for fault in error.faults],
        "request_id": request_id,
    }
    return json.dumps(members | error.extra, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def problem_headers(error: JobQueueError) -> list[tuple[bytes, bytes]]:
    """The headers that go with `problem_body`, in ASGI's form; 429 and 503 always carry Retry-After."""
    own = error.headers
    if error.status in _SOON and all(name.lower() != "retry-after" for name, _ in own):
        own += retry_after(None)
    headers = [(b"content-type", b"application/problem+json")]
    headers += [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in own]
    return headers
