"""What an operator may do to one job beside cancel and retry: change what was asked of it, or remove it.

An amendment is checked as its submission was, and moves the job's own due moments with it. A job whose priority changes
keeps its place: in its new lane it stands among the others in the order in which all of them came.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from jobqueue.clock import Micros
from jobqueue.errors import BadState, Fault, OutOfRange
from jobqueue.job import Job, Options, Status
from jobqueue.rules import bounds
from jobqueue.rules.lifecycle import Times, due_at, queued
from jobqueue.rules.table import Table

replace = msgspec.structs.replace


class Amendment(msgspec.Struct, frozen=True):
    """What of a job is to change; what is UNSET stays. expires_at None: never; run_at None: now."""

    priority: int | UnsetType = UNSET
    max_attempts: int | UnsetType = UNSET
    expires_at: Micros | UnsetType | None = UNSET
    run_at: Micros | UnsetType | None = UNSET


def amend(table: Table, id: str, amendment: Amendment, times: Times) -> Job:
    """Change a job that has not ended. Raises NotFound, Removed, BadState, QueueFull, OutOfRange with a pointer.

    A try that was promised already still happens: `max_attempts` below the tries spent only says that it is the last.
    """
    job = table.job(id)
    if job.status.ended:
        raise BadState(f"job {id} is {job.status.name}: it can no longer be changed")
    if amendment.run_at is not UNSET and job.status is not Status.SCHEDULED:
        raise BadState(f"job {id} is {job.status.name}: run_at can be changed only while it is SCHEDULED")
    options = _options(job.options, amendment)
    _check_expiry(options, amendment, times)
    after = job if options == job.options else replace(job, options=options)
    if amendment.priority is not UNSET and amendment.priority != job.priority:
        after = replace(after, priority=amendment.priority)
        bounds.check_lane(table, after.lane, times)
    if amendment.run_at is not UNSET:
        after = _moved(table, after, amendment.run_at, times)
    if after is job:
        return job
    return table.put(job, replace(after, due_at=due_at(after)))


def _options(options: Options, amendment: Amendment) -> Options:
    said: dict[str, Any] = {
        name: value
        for name in ("max_attempts", "expires_at", "run_at")
        if (value := getattr(amendment, name)) is not UNSET
    }
    return replace(options, **said) if said else options


def _check_expiry(options: Options, amendment: Amendment, times: Times) -> None:
    """As at the submission, if one of the two times was said now."""
    if options.expires_at is None or (amendment.expires_at is UNSET and amendment.run_at is UNSET):
        return
    if options.expires_at <= max(times.now, options.run_at or times.now):
        field = "run_at" if amendment.expires_at is UNSET else "expires_at"
        fault = Fault(f"/{field}", "is too late" if field == "run_at" else "is too early")
        raise OutOfRange("expires_at must be after now and after run_at", faults=(fault,))


def _moved(table: Table, job: Job, run_at: Micros | None, times: Times) -> Job:
    """The SCHEDULED job with another time; one that has come makes it QUEUED, as if it had become due."""
    if run_at is None or run_at <= times.now:
        return queued(job, place=table.next_seq())
    return job if run_at == job.next_attempt_at else replace(job, next_attempt_at=run_at)


def remove(table: Table, id: str) -> Job:
    """Remove an ended job; the job as it was. Raises NotFound, Removed, BadState.

    What others still wait for, or are to read the result of, stays until they have ended, as it outlives its retention.
    """
    job = table.job(id)
    if not job.status.ended:
        raise BadState(f"job {id} is {job.status.name}: only an ended job can be removed; cancel it first")
    dependents = table.dependents(job)
    if dependents:
        raise BadState(f"job {id} cannot be removed: as long as jobs depend on it that have not ended ({dependents})")
    table.remove(job)
    return job
