"""GET /jobs: pages of jobs, newest first, by cursors that stay right while jobs come and go."""

from __future__ import annotations

from jobqueue import wire
from jobqueue.api import filters, pages
from jobqueue.api.exchange import Request, Response
from jobqueue.api.jobs import field_names
from jobqueue.api.parts import Parts
from jobqueue.errors import BadRequest

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
    cursor = pages.cursor_of(request)
    before = None if cursor is None else filters.decode_cursor(cursor, wanted)
    page = await parts.reads.page(wanted, before, limit, wide=names is not None and not names.isdisjoint(WIDE))
    items = pages.Items()
    last = page.before
    for index, job in enumerate(page.jobs):
        if not items.add(wire.encode(wire.chosen(job, names))):
            last = page.jobs[index - 1].seq
            break
    return pages.page(request, items.all, None if last is None else filters.encode_cursor(last, wanted))
