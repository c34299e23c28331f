"""POST /jobs as NDJSON: a line in, a line out, committed in chunks and streamed back while it streams in.

Reading never waits for the answers to be read: they are kept until the client takes them, which the bound on lines
bounds.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec
import trio

from jobqueue import strictjson, wire
from jobqueue.api.exchange import NO_STORE, Request, Response, Write
from jobqueue.api.headers import keyed, trace_context
from jobqueue.api.parts import Parts
from jobqueue.api.problems import of_the_only
from jobqueue.errors import BadRequest, BodyTooLarge, Draining, JobQueueError, retry_after
from jobqueue.http.problem import problem_body
from jobqueue.job import Draft
from jobqueue.mailbox import Closed
from jobqueue.rules.idempotency import Accepted, IdempotencyKey

MEDIA_TYPE = "application/x-ndjson"
LINES_MOST = 100_000
CHUNK_LINES = 1_000

Asked = tuple[Draft, IdempotencyKey | None]


async def submit_lines(request: Request, parts: Parts) -> Response:
    """Accept a stream of lines."""
    if request.header(b"idempotency-key") is not None:
        raise BadRequest("a stream takes no Idempotency-Key header: give each line its own idempotency_key")
    request.refuse_coding()
    trace = trace_context(request)

    async def stream(write: Write) -> None:
        out = _Outbox()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(out.drain, write)
            async with aclosing(_chunks(request, parts.max_body)) as chunks:  # left early when the client leaves
                async for chunk in chunks:
                    out.put(await _accept(chunk, parts, trace, request.request_id))
            out.close()

    return Response(200, headers=((b"content-type", MEDIA_TYPE.encode()), NO_STORE), stream=stream)


class _Outbox:
    """Answers that the client has not taken yet."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._more = trio.Event()
        self._closed = False

    def put(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._more.set()

    def close(self) -> None:
        self._closed = True
        self._more.set()

    async def drain(self, write: Write) -> None:
        while self._pieces or not self._closed:
            if self._pieces:
                pieces, self._pieces = self._pieces, []
                await write(b"".join(pieces))
            else:
                self._more = trio.Event()
                await self._more.wait()


async def _chunks(request: Request, line_most: int) -> AsyncGenerator[list[bytes | JobQueueError], None]:
    """The lines in chunks as they come; a chunk is cut when no more has arrived, or when it is large enough.

    A line that is too long, or one too many, is an error and the last.
    """
    count = 0
    rest = b""
    while True:
        piece = await request.chunk()
        lines = (rest + piece).split(b"\n") if piece else ([rest] if piece is None else [])
        if piece:
            rest = lines.pop()
        elif piece is not None:
            continue
        wanted = _within(line_most, [line for line in lines if line.strip()])
        if count + len(wanted) > LINES_MOST:
            wanted = [*wanted[: LINES_MOST - count], BodyTooLarge(f"a stream may have {LINES_MOST:,} lines")]
        if piece is not None and len(rest) > line_most and not _ends(wanted):
            wanted.append(_too_long(line_most))
        count += len(wanted)
        for start in range(0, len(wanted), CHUNK_LINES):
            yield wanted[start : start + CHUNK_LINES]
        if piece is None or _ends(wanted):
            return


def _within(line_most: int, lines: list[bytes]) -> list[bytes | JobQueueError]:
    """The lines, up to the first that is too long: wherever the pieces of the body are cut, that one is the last."""
    if max(map(len, lines), default=0) <= line_most:
        return list(lines)
    cut = next(index for index, line in enumerate(lines) if len(line) > line_most)
    return [*lines[:cut], _too_long(line_most)]


def _too_long(line_most: int) -> BodyTooLarge:
    return BodyTooLarge(f"a line may have {line_most:,} bytes")


def _ends(lines: Sequence[bytes | JobQueueError]) -> bool:
    """Whether the last of the lines is an error, after which no more is read."""
    return bool(lines) and isinstance(lines[-1], JobQueueError)


async def _accept(lines: Sequence[bytes | JobQueueError], parts: Parts, trace: wire.Trace, request_id: str) -> bytes:
    """Commit a chunk; its answers, a line each, in order."""
    asked: list[Asked | JobQueueError] = [_parse(line, parts, trace) for line in lines]
    good = [item for item in asked if not isinstance(item, JobQueueError)]
    fates: Sequence[Accepted | JobQueueError] = ()
    if good:
        try:
            fates = await parts.state.submit_each(good)
        except JobQueueError as error:
            fates = [error] * len(good)
        except Closed:
            fates = [Draining("the server is shutting down", headers=retry_after(5))] * len(good)
    answered = iter(fates)
    said = [item if isinstance(item, JobQueueError) else next(answered) for item in asked]
    return b"".join(_answer(fate, request_id) for fate in said)


def _parse(line: bytes | JobQueueError, parts: Parts, trace: wire.Trace) -> Asked | JobQueueError:
    if isinstance(line, JobQueueError):
        return line
    try:
        draft, key = wire.draft_line(strictjson.loads(line, apart="payload"), parts.now(), parts.defaults, trace)
    except JobQueueError as error:
        return error
    if key is None:
        return draft, None
    return draft, keyed(key, "/jobs", line)


def _answer(fate: Accepted | JobQueueError, request_id: str) -> bytes:
    if isinstance(fate, JobQueueError):
        return problem_body(of_the_only(fate), request_id) + b"\n"
    job = fate.jobs[0]
    return msgspec.json.encode({"id": job.id, "status": job.status.name}) + b"\n"
