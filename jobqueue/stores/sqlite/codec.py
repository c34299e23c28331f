"""Between rows of the file and values of `job.py`, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from jobqueue.job import (
    DEFAULT_OPTIONS,
    AttemptRecord,
    Ending,
    Error,
    Job,
    Line,
    LogLine,
    Options,
    Progress,
    Reason,
    Status,
)
from jobqueue.rules.changes import KeyRecord

STATUSES = tuple(Status)
REASONS = {str(reason): reason for reason in Reason}
ENDINGS = {str(ending): ending for ending in Ending}

_encode = msgspec.json.encode
_options = msgspec.json.Decoder(Options).decode
_error = msgspec.json.Decoder(Error).decode
_progress = msgspec.json.Decoder(Progress).decode

# the order in which `job` reads them
JOB = (
    "jobs.seq, id, kind, queue, priority, grp, created_at, status, place, jobs.attempt, crashes, jobs.epoch, alone, "
    "due_at, jobs.started_at, jobs.finished_at, next_attempt_at, cancel_requested_at, reason, jobs.worker, boot_id"
)
BODY = "payload, options"
REPORT = "attempts.result, attempts.error, progress.data"

# what a change of a job may write, after (seq, status before, epoch before)
CHANGING = (
    "priority", "status", "lane", "place", "attempt", "crashes", "epoch", "alone", "due_at", "started_at",
    "finished_at", "next_attempt_at", "cancel_requested_at", "reason", "worker", "boot_id",
)  # fmt: skip


def blob(id: str) -> bytes:
    """A UUID's canonical text as its 16 bytes. Raises ValueError for anything else: a job has one id, not several."""
    raw = bytes.fromhex(id.replace("-", ""))
    if len(raw) != 16 or text(raw) != id:
        raise ValueError(id)
    return raw


def text(raw: bytes) -> str:
    """The canonical text of a UUID (RFC 9562, section 4)."""
    h = raw.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


class Damaged(Exception):
    """A row is not as we write them."""


def job(row: Sequence[Any]) -> Job:
    """A row of JOB + BODY, with REPORT behind it where the reader wants the job whole. Raises Damaged."""
    try:
        return _job(row)
    except (LookupError, TypeError, ValueError, msgspec.MsgspecError) as error:
        raise Damaged(f"job {row[0]}: {error}") from error


def _job(row: Sequence[Any]) -> Job:
    (
        seq, id, kind, queue, priority, group, created_at, status, place, attempt, crashes, epoch, alone, due_at,
        started_at, finished_at, next_attempt_at, cancel_requested_at, reason, worker, boot_id, payload, options,
        *report,
    ) = row  # fmt: skip
    result, error, progress = report or (None, None, None)
    return Job(
        seq=seq,
        id=text(id),
        kind=kind,
        queue=queue,
        priority=priority,
        group=group or None,
        payload=payload,
        options=DEFAULT_OPTIONS if options is None else _options(options),
        created_at=created_at,
        status=STATUSES[status],
        reason=None if reason is None else REASONS[reason],
        place=place,
        attempt=attempt,
        crashes=crashes,
        epoch=epoch,
        alone=bool(alone),
        due_at=due_at,
        started_at=started_at,
        finished_at=finished_at,
        next_attempt_at=next_attempt_at,
        cancel_requested_at=cancel_requested_at,
        worker=worker,
        boot_id=boot_id,
        result=result,
        error=None if error is None else _error(error),
        progress=None if progress is None else _progress(progress),
    )


def new_row(new: Job, lane: int) -> tuple[Any, ...]:
    """The INSERT of a job: its fixed columns, then CHANGING without priority."""
    return (
        new.seq,
        bytes.fromhex(new.id.replace("-", "")),
        new.queue,
        new.group or "",
        new.kind,
        new.created_at,
        *changing(new, lane),
    )


def changing(after: Job, lane: int) -> tuple[Any, ...]:
    """The values of CHANGING."""
    return (
        after.priority, after.status, lane, after.place, after.attempt, after.crashes, after.epoch,
        after.alone, after.due_at, after.started_at, after.finished_at, after.next_attempt_at,
        after.cancel_requested_at, after.reason, after.worker, after.boot_id,
    )  # fmt: skip


def body_row(new: Job) -> tuple[Any, ...]:
    """The INSERT of a body."""
    return (new.seq, options_text(new.options), new.payload)


def options_text(options: Options) -> str | None:
    """Options as stored: NULL where all are the defaults."""
    return None if options == DEFAULT_OPTIONS else _encode(options).decode()


def attempt_row(record: AttemptRecord) -> tuple[Any, ...]:
    """The INSERT of an ended attempt."""
    error = None if record.error is None else _encode(record.error).decode()
    return (
        record.seq, record.epoch, record.attempt, record.started_at, record.finished_at, str(record.ending),
        record.worker, record.result, error,
    )  # fmt: skip


def attempt(row: Sequence[Any]) -> AttemptRecord:
    """An ended attempt from its row."""
    seq, epoch, attempt, started_at, finished_at, ending, worker, result, error = row
    return AttemptRecord(
        seq=seq,
        epoch=epoch,
        attempt=attempt,
        started_at=started_at,
        finished_at=finished_at,
        ending=ENDINGS[ending],
        worker=worker,
        result=result,
        error=None if error is None else _error(error),
    )


def line(seq: int, row: Sequence[Any]) -> Line:
    """A line of a job's log."""
    at, attempt, level, message = row
    return Line(seq, at, attempt, LogLine(level, message))


def progress_text(progress: Progress) -> str:
    """Progress as stored."""
    return _encode(progress).decode()


def key_row(record: KeyRecord) -> tuple[Any, ...]:
    """The INSERT of an idempotency key."""
    returned = " ".join(map(str, record.returned))
    return (record.scope, record.key, record.digest, " ".join(record.ids), returned, record.expires_at)


def key(row: Sequence[Any]) -> KeyRecord:
    """An idempotency key from its row."""
    scope, key, digest, ids, returned, expires_at = row
    return KeyRecord(scope, key, digest, tuple(ids.split()), expires_at, tuple(map(int, returned.split())))
