"""GET /events and /jobs/{id}/events: what happens to jobs, told while it happens, as server-sent events.

Whoever comes back with `Last-Event-ID` goes on where it was; what it can no longer be told is an event `gap`. The
stream of one job starts with the job's state (after a gap again) and closes after its end; who comes back then is told
204, so that a browser's EventSource stops.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple

import trio

from jobqueue import wire
from jobqueue.actors.events import Seat
from jobqueue.actors.ring import Ids, News, Wanted
from jobqueue.api.exchange import NO_STORE, Request, Response
from jobqueue.api.jobs import job_id
from jobqueue.api.parts import Parts
from jobqueue.errors import BadRequest, JobQueueError
from jobqueue.job import Status
from jobqueue.mailbox import Closed
from jobqueue.wire import events as told

COMMENT_SECONDS = 15.0
FILTERS = ("queue", "kind", "status")
NAMES_MOST = 100
NAME = re.compile(wire.NAME)
HEADERS = ((b"content-type", told.MEDIA_TYPE.encode()), NO_STORE, (b"x-accel-buffering", b"no"))

Pieces = AsyncGenerator[bytes, None]


async def of_all(request: Request, parts: Parts) -> Response:
    """GET /events: of all jobs, from now on or from where the listener was."""
    wanted = _wanted(request, None)
    seat = parts.events.seat()
    here = await parts.events.here()
    last = _last_event(request, parts)
    start = _Start(b"", here) if last is None else await _resumed(parts, wanted, last)
    return _streamed(request, parts, seat, wanted, start)


async def of_job(request: Request, parts: Parts) -> Response:
    """GET /jobs/{id}/events: of one job, from its present state or from where the listener was, to its end."""
    wanted = _wanted(request, job_id(request))
    seat = parts.events.seat()
    start = await _present(parts, wanted)
    last = _last_event(request, parts)
    if last is not None:
        resumed = await _resumed(parts, wanted, last)
        if start.ended and resumed == _Start(b"", resumed.after):
            return Response(204)  # it has seen the end already
        start = resumed
    return _streamed(request, parts, seat, wanted, start)


def _streamed(request: Request, parts: Parts, seat: Seat, wanted: Wanted, start: _Start) -> Response:
    pieces = _nothing() if request.method == "HEAD" else _told(parts, seat, wanted, start)
    return Response(200, headers=HEADERS, pieces=pieces)


async def _nothing() -> Pieces:
    for piece in tuple[bytes, ...]():
        yield piece


async def _told(parts: Parts, seat: Seat, wanted: Wanted, start: _Start) -> Pieces:
    """What is told from the start on, until the end of the one job, or that of the server."""
    comments = _Comments(parts.events.ids)
    piece, after, ended = start
    with seat:
        yield piece or comments.one(after)
        try:
            while not ended:
                piece, after, ended = await _started(parts, wanted, await parts.events.next(wanted, after))
                yield comments.beside(piece, after)
        except (Closed, JobQueueError):
            return


class _Start(NamedTuple):
    """What is told, the number up to which all is known by that, and whether nothing follows."""

    piece: bytes
    after: int
    ended: bool = False


async def _present(parts: Parts, wanted: Wanted) -> _Start:
    """The job as it is in the table, and where to go on so that nothing is told twice or left out.

    First the place in the ring, then the table: so no event is missed. The table may be ahead of the ring; once the
    state actor has answered, it has published what was seen, and the herald finds that. Raises NotFound, Removed.
    """
    assert wanted.job is not None  # noqa: S101 - it is that of a job
    here = await parts.events.here()
    job = await parts.reads.job(wanted.job)
    await parts.state.vitals()
    steps = told.present(job)
    after = await parts.events.told(here, steps)
    id = parts.events.ids.of(after)
    piece = b"".join(told.event(step, id) for step in steps if wanted.takes(step))
    return _Start(piece, after, job.status.ended)


async def _resumed(parts: Parts, wanted: Wanted, last: int) -> _Start:
    """What one is told first that comes back from there: what it missed, as far as that is known."""
    return await _started(parts, wanted, await parts.events.read(wanted, last))


async def _started(parts: Parts, wanted: Wanted, news: News) -> _Start:
    """The news. After a gap in the life of one job its end may have been missed: then the job's state goes with it."""
    if news.gap and wanted.job is not None:
        present = await _present(parts, wanted)
        return present._replace(piece=news.piece + present.piece)
    return _Start(news.piece, news.after, news.ended)


class _Comments:
    """A comment every 15 s, whether there is news or not; it holds the place of who hears little."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._last = trio.current_time()

    def one(self, after: int) -> bytes:
        """A comment for one who knows all up to `after`."""
        self._last = trio.current_time()
        return told.comment(self._ids.of(after))

    def beside(self, piece: bytes, after: int) -> bytes:
        """The piece; with a comment if that is due, or if it is empty."""
        due = not piece or trio.current_time() - self._last >= COMMENT_SECONDS
        return piece + self.one(after) if due else piece


def _last_event(request: Request, parts: Parts) -> int | None:
    """The event after which the listener wants to go on; None if it is new here."""
    id = request.header(b"last-event-id")
    return parts.events.ids.number(id) if id else None


def _wanted(request: Request, job: str | None) -> Wanted:
    """What the query asks for. Raises BadRequest."""
    queries = request.queries()
    unknown = sorted({name for name, _ in queries} - set(FILTERS))
    if unknown:
        raise BadRequest(f"unknown filters: {', '.join(unknown)}; known: {', '.join(FILTERS)}")
    return Wanted(job, _names(queries, "queue"), _names(queries, "kind"), _statuses(queries))


def _listed(queries: Sequence[tuple[str, str]], name: str) -> frozenset[str]:
    return frozenset(part for key, value in queries if key == name for part in value.split(","))


def _names(queries: Sequence[tuple[str, str]], name: str) -> frozenset[str]:
    names = _listed(queries, name)
    if len(names) > NAMES_MOST or not all(map(NAME.match, names)):
        raise BadRequest(f"{name} must be up to {NAMES_MOST} names of 1 to 64 of the characters A-Z a-z 0-9 . _ : -")
    return names


def _statuses(queries: Sequence[tuple[str, str]]) -> frozenset[int]:
    names = _listed(queries, "status")
    bad = sorted(names - set(Status.__members__))
    if bad:
        raise BadRequest(f"status must be of {', '.join(Status.__members__)}, not {bad[0]!r}")
    return frozenset(int(Status[name]) for name in names)
