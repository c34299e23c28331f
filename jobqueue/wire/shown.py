"""How a job is shown: its fields in their order, for one job, lists, history and log."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw

from jobqueue.clock import Micros, iso
from jobqueue.job import DEFAULT_OPTIONS, AttemptRecord, Error, Job, Line, Progress, Retry, Status
from jobqueue.wire import ties

_encode = msgspec.json.encode
FIELDS = (
    "id", "queue", "kind", "payload", "status", "reason", "priority", "group", "tags", "attempt", "max_attempts",
    "crashes", "epoch", "retry", "timeout", "run_at", "expires_at", "depends_on", "on_dependency_failure", "unique",
    "result", "error", "progress", "created_at", "started_at", "finished_at", "next_attempt_at", "cancel_requested_at",
    "worker", "trace_parent", "trace_state", "callback",
)  # fmt: skip
STATUS_NAMES = tuple(status.name for status in Status)  # `name` of an enum is a slow property
WIDE = ("payload", "result")  # left out of lists unless asked for, as the traceback is


def encode(value: Any) -> bytes:
    """The JSON of values as `fields` gives them."""
    return _encode(value)


def job_json(job: Job) -> bytes:
    """A job, whole."""
    return _encode(fields(job))


def fields(job: Job) -> dict[str, Any]:
    """A job's fields in their order, ready to be encoded."""
    options = job.options
    return {
        "id": job.id,
        "queue": job.queue,
        "kind": job.kind,
        "payload": _raw(job.payload),
        "status": STATUS_NAMES[job.status],
        "reason": job.reason if job.status.ended else None,
        "priority": job.priority,
        "group": job.group,
        "tags": options.tags,
        "attempt": job.attempt,
        "max_attempts": options.max_attempts,
        "crashes": job.crashes,
        "epoch": job.epoch,
        "retry": DEFAULT_RETRY if options.retry is DEFAULT_OPTIONS.retry else retry_fields(options.retry),
        "timeout": number(options.timeout),
        "run_at": _iso(options.run_at),
        "expires_at": _iso(options.expires_at),
        "depends_on": options.depends_on,
        "on_dependency_failure": options.on_dependency_failure,
        "unique": ties.shown(options.unique),
        "result": _raw(job.result),
        "error": None if job.error is None else _error(job.error),
        "progress": None if job.progress is None else progress_fields(job.progress),
        "created_at": iso(job.created_at),
        "started_at": _iso(job.started_at),
        "finished_at": _iso(job.finished_at),
        "next_attempt_at": _iso(job.next_attempt_at),
        "cancel_requested_at": _iso(job.cancel_requested_at),
        "worker": job.worker,
        "trace_parent": options.trace_parent,
        "trace_state": options.trace_state,
        "callback": None,
    }


def chosen(job: Job, names: frozenset[str] | None) -> dict[str, Any]:
    """The fields of those names; with None those of a list."""
    shown = fields(job)
    if names is not None:
        return {name: value for name, value in shown.items() if name in names}
    for name in WIDE:
        del shown[name]
    if shown["error"] is not None:
        del shown["error"]["traceback"]
    return shown


def attempt(record: AttemptRecord) -> dict[str, Any]:
    """One ended attempt of a job's history."""
    return {
        "attempt": record.attempt,
        "epoch": record.epoch,
        "started_at": iso(record.started_at),
        "finished_at": iso(record.finished_at),
        "outcome": str(record.ending),
        "error": None if record.error is None else _error(record.error),
        "worker": record.worker,
    }


def line(line: Line) -> dict[str, Any]:
    """One line of a job's log."""
    return {"at": iso(line.at), "attempt": line.attempt, "level": line.line.level, "message": line.line.message}


def _raw(text: str | None) -> Any:
    return None if text is None else Raw(text)


def _iso(at: Micros | None) -> str | None:
    return None if at is None else iso(at)


def number(seconds: float) -> float:
    """A number of seconds, whole where it is."""
    return int(seconds) if seconds == int(seconds) else seconds


@lru_cache(maxsize=256)
def retry_fields(policy: Retry) -> dict[str, Any]:
    """A retry policy, with the fields that its kind has."""
    if policy.backoff == "list":
        return {"backoff": "list", "delays": [number(delay) for delay in policy.delays]}
    shown: dict[str, Any] = {"backoff": policy.backoff, "initial": number(policy.initial)}
    if policy.backoff == "exponential":
        shown["factor"] = number(policy.factor)
    return shown | {"max": number(policy.max), "jitter": policy.jitter}


def _error(error: Error) -> dict[str, Any]:
    return {"type": error.type, "message": error.message, "traceback": error.traceback}


def progress_fields(progress: Progress) -> dict[str, Any]:
    """A report of progress, ready to be encoded."""
    percent = progress.percent
    return {
        "percent": None if percent is None else number(percent),
        "message": progress.message,
        "data": _raw(progress.data),
    }


DEFAULT_RETRY = retry_fields(DEFAULT_OPTIONS.retry)
