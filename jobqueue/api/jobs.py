"""Jobs one by one: submit, look, wait, cancel, retry, and their history."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import trio

from jobqueue import wire
from jobqueue.api import bulk
from jobqueue.api.exchange import Request, Response, json_response
from jobqueue.api.headers import etag_matches, idempotency_key, preferred_wait, trace_context
from jobqueue.api.parts import WAIT_MOST_SECONDS, Parts
from jobqueue.api.problems import of_the_only
from jobqueue.errors import (
    BadRequest,
    Fault,
    Invalid,
    JobQueueError,
    NotFound,
    Overloaded,
    Removed,
    StoreUnavailable,
    UnsupportedMediaType,
)
from jobqueue.job import Draft, Job, Status
from jobqueue.mailbox import Closed
from jobqueue.rules.idempotency import Accepted

ID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
ARRAY_MOST = 1_000


async def submit(request: Request, parts: Parts) -> Response:
    """POST /jobs: one job, an array of them, or a stream of lines."""
    if request.media_type() == bulk.MEDIA_TYPE:
        return await bulk.submit_lines(request, parts)
    if request.media_type() != "application/json":
        raise UnsupportedMediaType("send JSON: curl -H 'Content-Type: application/json' (or application/x-ndjson)")
    said, raw = await request.json(parts.max_body, array=True, apart="payload")
    key = idempotency_key(request, "/jobs", raw)
    trace = trace_context(request)
    now = parts.now()
    if isinstance(said, list):
        return await _answer_array(parts, await parts.state.submit(_drafts(said, parts, trace), key))
    draft = wire.draft(said, now, parts.defaults, trace)
    try:
        accepted = await parts.state.submit((draft,), key)
    except JobQueueError as error:
        raise of_the_only(error) from None
    return await answer_one(request, parts, accepted)


def _drafts(said: list[object], parts: Parts, trace: wire.Trace) -> list[Draft]:
    if not 1 <= len(said) <= ARRAY_MOST:
        raise Invalid(f"an array holds 1 to {ARRAY_MOST:,} jobs", faults=(Fault("", f"holds {len(said)}"),))
    now = parts.now()
    drafts = []
    for index, item in enumerate(said):
        try:
            drafts.append(wire.draft(item, now, parts.defaults, trace))
        except JobQueueError as error:
            error.faults = tuple(Fault(f"/{index}{fault.pointer}", fault.detail) for fault in error.faults)
            raise
    return drafts


async def _answer_array(parts: Parts, accepted: Accepted) -> Response:
    jobs: Sequence[Job] = accepted.jobs
    if accepted.replayed:
        jobs = [await parts.reads.job(job.id) for job in jobs]
    elif accepted.returned:
        jobs = [await _found(parts, job) if at in accepted.returned else job for at, job in enumerate(jobs)]
    body = wire.encode({"jobs": [wire.fields(job) for job in jobs]})
    return json_response(body, 201, replayed(accepted))


def replayed(accepted: Accepted) -> tuple[tuple[bytes, bytes], ...]:
    """The header that tells a replay."""
    return ((b"idempotency-replayed", b"true"),) if accepted.replayed else ()


async def answer_one(request: Request, parts: Parts, accepted: Accepted) -> Response:
    """The answer to a submission of one job; with `Prefer: wait` once it has ended."""
    job = accepted.jobs[0]
    headers = ((b"location", b"/jobs/" + job.id.encode()), *replayed(accepted))
    wanted = preferred_wait(request, WAIT_MOST_SECONDS)
    if wanted is None:
        if accepted.replayed:
            job = await parts.reads.job(job.id)
        elif accepted.returned:
            job = await _found(parts, job)
        return json_response(wire.job_json(job), 200 if accepted.returned else 201, headers)
    try:
        job = await wait_for_end(parts, job.id, wanted)
    except (Overloaded, StoreUnavailable, Closed):
        if accepted.replayed:
            raise
        # it was accepted, so no answer may say that it was not
    applied = (b"preference-applied", f"wait={wanted}".encode())
    return json_response(wire.job_json(job), 200 if job.status.ended else 202, (*headers, applied))


async def _found(parts: Parts, holder: Job) -> Job:
    """The holder of a unique key, whole; as it was when it was found, if it is gone since."""
    try:
        return await parts.reads.job(holder.id)
    except (NotFound, Removed):
        return holder


async def wait_for_end(parts: Parts, id: str, seconds: float) -> Job:
    """The job once it has ended, or as it is when the time runs out or the server drains. Raises NotFound, Removed."""
    if seconds <= 0:
        return await parts.reads.job(id)
    with await parts.state.watch(id) as ended:  # first watch, then look: an end in between is not missed
        job = await parts.reads.job(id)
        if not job.status.ended:
            told: Job | None = None
            with trio.move_on_after(seconds):
                told = await ended.get()
            try:
                job = await parts.reads.job(id)
            except Removed:
                if told is None:
                    raise
                job = told  # its queue keeps such jobs no longer than that
    return job


def job_id(request: Request) -> str:
    """The id in the path, in its canonical form. Raises NotFound for what can be none."""
    id = request.params["id"]
    if not ID.fullmatch(id):
        raise NotFound("no job has such an id")
    return id.lower()


async def get(request: Request, parts: Parts) -> Response:
    """GET /jobs/{id}: the job as it is, or with ?wait= once it has ended; 304 if it is as the client knows it."""
    id = job_id(request)
    seconds = request.number("wait", WAIT_MOST_SECONDS) if request.query else None
    if seconds is None:
        seconds = preferred_wait(request, WAIT_MOST_SECONDS) or 0
    names = field_names(request) if request.query else None
    job = await wait_for_end(parts, id, seconds)
    body = wire.job_json(job) if names is None else wire.encode(wire.chosen(job, names))
    etag = b'"' + hashlib.blake2b(body, digest_size=12).hexdigest().encode() + b'"'
    if etag_matches(request.header(b"if-none-match"), etag.decode()):
        return Response(304, headers=((b"etag", etag), REVALIDATE))
    return Response(200, body, (JSON, (b"etag", etag), REVALIDATE))


JSON = (b"content-type", b"application/json")
REVALIDATE = (b"cache-control", b"no-cache")


def field_names(request: Request) -> frozenset[str] | None:
    """The fields that ?fields= names; None if it is absent. Raises BadRequest."""
    values = [value for key, value in request.queries() if key == "fields"]
    if not values:
        return None
    names = frozenset(name for value in values for name in value.split(",") if name)
    unknown = sorted(names - set(wire.FIELDS))
    if unknown:
        raise BadRequest(f"unknown fields: {', '.join(unknown)}")
    return names


async def cancel(request: Request, parts: Parts) -> Response:
    """POST /jobs/{id}/cancel: 200 once cancelled, 202 while its work is being ended."""
    await no_fields(request, parts)
    job = await parts.state.cancel(job_id(request))
    return await _after(parts, job, 202 if job.status is Status.RUNNING else 200)


async def retry(request: Request, parts: Parts) -> Response:
    """POST /jobs/{id}/retry: start a failed or cancelled job afresh."""
    await no_fields(request, parts)
    return await _after(parts, await parts.state.retry(job_id(request)), 200)


async def _after(parts: Parts, job: Job, status: int) -> Response:
    """The job as a reader sees it, with what the command did not load."""
    whole = await parts.reads.job(job.id)
    return json_response(wire.job_json(whole), status)


async def no_fields(request: Request, parts: Parts) -> None:
    """A body without fields: empty, or an empty object. Raises Invalid for anything else."""
    said, _ = await request.json(parts.max_body, optional=True)
    if not isinstance(said, dict):
        raise Invalid("expected an object", faults=(Fault("", "expected an object"),))
    if said:
        raise wire.no_fields([(name,) for name in said][: wire.UNKNOWN_MOST])


async def attempts(request: Request, parts: Parts) -> Response:
    """GET /jobs/{id}/attempts: how its attempts ended, newest first."""
    job = await parts.reads.job(job_id(request))
    records = await parts.reads.attempts(job.seq)
    return json_response(wire.encode({"items": [wire.attempt(record) for record in records], "next": None}))


async def logs(request: Request, parts: Parts) -> Response:
    """GET /jobs/{id}/logs: what its attempts wrote, newest first."""
    job = await parts.reads.job(job_id(request))
    lines = await parts.reads.lines(job.seq)
    return json_response(wire.encode({"items": [wire.line(line) for line in reversed(lines)], "next": None}))
