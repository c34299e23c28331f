"""GET /jobs: pages of jobs, newest first, by cursors that stay right while jobs come and go."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec

from jobqueue import wire
from jobqueue.api import filters
from jobqueue.api.exchange import Request, Response, json_response
from jobqueue.api.jobs import field_names
from jobqueue.api.parts import ANSWER_MOST_BYTES, Parts
from jobqueue.errors import BadRequest
from jobqueue.job import Job

LIMIT = 50
LIMIT_MOST = 200
OTHERS = frozenset({"limit", "cursor", "fields"})
WIDE = frozenset({"payload", "result", "error"})  # fields that hold what a list leaves out


async def jobs(request: Request, parts: Parts) -> Response:
    """A page."""
    queries = request.queries()
    unknown = sorted({name for name, _ in queries if name not in OTHERS and not filters.is_filter(name)})
    if unknown:
        known = f"{filters.KNOWN_TEXT}, {', '.join(sorted(OTHERS))}"
        raise BadRequest(f"unknown filters: {', '.join(unknown)}; known: {known}")
    limit = request.number("limit", LIMIT_MOST, least=1) or LIMIT
    names = field_names(request)
    wanted = filters.from_query((name, value) for name, value in queries if name not in OTHERS)
    cursors = [value for name, value in queries if name == "cursor"]
    before = filters.decode_cursor(cursors[-1], wanted) if cursors else None
    page = await parts.reads.page(wanted, before, limit, wide=names is not None and not names.isdisjoint(WIDE))
    items, last = _fit(page.jobs, names)
    after = page.before if last is None else last
    cursor = None if after is None else filters.encode_cursor(after, wanted)
    body = b'{"items":[' + b",".join(items) + b'],"next":' + msgspec.json.encode(cursor) + b"}"
    if cursor is None:
        return json_response(body)
    query = urlencode([*((name, value) for name, value in queries if name != "cursor"), ("cursor", cursor)])
    return json_response(body, headers=((b"link", f'<{request.path}?{query}>; rel="next"'.encode("latin-1")),))


def _fit(jobs: Sequence[Job], names: frozenset[str] | None) -> tuple[list[bytes], int | None]:
    """The jobs as JSON, cut at 8 MiB but never to nothing; and where to go on if it was cut."""
    items: list[bytes] = []
    size = 0
    for index, job in enumerate(jobs):
        item = wire.encode(wire.chosen(job, names))
        size += len(item)
        if items and size > ANSWER_MOST_BYTES:
            return items, jobs[index - 1].seq
        items.append(item)
    return items, None
