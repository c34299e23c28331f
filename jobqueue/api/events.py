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
from jobqueue.actors.ring import UNKNOWN, Ids, Wanted
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
    return _streamed(request, _all(parts, seat, wanted, here if last is None else last))


async def of_job(request: Request, parts: Parts) -> Response:
    """GET /jobs/{id}/events: of one job, from its present state or from where the listener was, to its end."""
    wanted = _wanted(request, job_id(request))
    seat = parts.events.seat()
    start = await _present(parts, wanted)
    last = _last_event(request, parts)
    if last is not None:
        if start.ended and (await parts.events.read(Wanted(wanted.job), last)).nothing:
            return Response(204)
        start = _Start(b"", last, ended=False)
    return _streamed(request, _one(parts, seat, wanted, start))


def _streamed(request: Request, pieces: Pieces) -> Response:
    return Response(200, headers=HEADERS, pieces=_nothing() if request.method == "HEAD" else pieces)


async def _nothing() -> Pieces:
    for piece in tuple[bytes, ...]():
        yield piece


async def _all(parts: Parts, seat: Seat, wanted: Wanted, after: int) -> Pieces:
    """The events that are wanted, until the server stops."""
    comments = _Comments(parts.events.ids)
    with seat:
        yield comments.one(after)
        try:
            while True:
                news = await parts.events.next(wanted, after)
                after = news.after
                yield comments.beside(news.piece, after)
        except (Closed, JobQueueError):
            return


async def _one(parts: Parts, seat: Seat, wanted: Wanted, start: _Start) -> Pieces:
    """The events of one job, until its end or that of the server. After a gap its end may have been missed: look."""
    comments = _Comments(parts.events.ids)
    piece, after, ended = start
    with seat:
        yield piece or comments.one(after)
        try:
            while not ended:
                news = await parts.events.next(wanted, after)
                piece, after, ended = news.piece, news.after, news.ended
                if news.gap:
                    start = await _present(parts, wanted)
                    piece, after, ended = piece + start.piece, start.after, start.ended
                yield comments.beside(piece, after)
        except (Closed, JobQueueError):
            return


class _Start(NamedTuple):
    """Where the stream of a job starts: what is told first, what is known by that, whether it is all."""

    piece: bytes
    after: int
    ended: bool


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


class _Comments:
    """A comment every 15 s, whether there is news or not; it holds the place of who hears little."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._last = trio.current_time()

    def one(self, after: int) -> bytes:
        """A comment for one who knows all up to `after`."""
        self._last = trio.current_time()
        return told.comment(None if after == UNKNOWN else self._ids.of(after))

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
