"""A job's life, one function a command: what the commands of the README's table do to one job.

Each function reads and writes the `Table` and returns the job as it now is, or raises one of `errors.py` before it
changed anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from jobqueue.clock import SECOND, Micros, micros
from jobqueue.errors import BadState, LeaseLost
from jobqueue.job import AttemptRecord, Ending, Error, Job, Line, LogLine, Outcome, Progress, Reason, Status
from jobqueue.rules import retry as retry_rule
from jobqueue.rules import uniqueness
from jobqueue.rules.table import Table

replace = msgspec.structs.replace

DAY: Micros = 86_400 * SECOND


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds that rules keep. Retention in seconds by status; ended jobs beyond `max_ended` go early."""

    max_queued: int = 2_000_000
    max_ended: int = 1_000_000
    retention: dict[Status, float] = field(
        default_factory=lambda: {Status.DONE: 86_400, Status.FAILED: 604_800, Status.CANCELLED: 604_800}
    )


@dataclass(frozen=True, slots=True)
class Times:
    """What the rules of one batch are told: the moment, the generators, the bounds.

    comeback: in how many seconds so many jobs that a full queue refuses may be tried again; None = unknown.
    """

    now: Micros
    chance: Callable[[], float]
    new_id: Callable[[], str]
    boot_id: str
    limits: Limits
    drained_per_second: float | None = None
    comeback: Callable[[str, int], float | None] = lambda _queue, _count: None


def due_at(job: Job) -> Micros | None:
    """The next moment at which time alone changes the job (rules/ripening.py says how)."""
    status = job.status
    if status is Status.RUNNING:
        return None
    if status.ended:
        return job.due_at  # set when it ended, by its retention
    expires_at = job.options.expires_at
    if status is Status.SCHEDULED:
        wake = job.next_attempt_at
        return wake if expires_at is None else min(expires_at, wake or expires_at)
    return expires_at


def queued(job: Job, *, place: int) -> Job:
    """The job, waiting for a worker at `place` of its lane."""
    return replace(
        job,
        status=Status.QUEUED,
        place=place,
        next_attempt_at=None,
        started_at=None,
        alone=False,
        worker=None,
        boot_id=None,
        due_at=job.options.expires_at,
    )


def ended(job: Job, status: Status, reason: Reason | None, times: Times, **more: Any) -> Job:
    """The job in an end state; `more`: what else is new of it."""
    return replace(
        job,
        status=status,
        reason=reason,
        finished_at=times.now,
        due_at=times.now + micros(times.limits.retention[status]),
        next_attempt_at=None,
        alone=False,
        boot_id=None,
        **more,
    )


def start(table: Table, job: Job, worker: str, times: Times, *, alone: bool) -> Job:
    """Claim a queued job for a worker of this process: RUNNING, with a new epoch, a try counted."""
    return table.put(
        job,
        replace(
            job,
            status=Status.RUNNING,
            epoch=job.epoch + 1,
            attempt=job.attempt + 1,
            started_at=times.now,
            due_at=None,
            worker=worker,
            boot_id=times.boot_id,
            alone=alone,
            result=None,
            error=None,
            progress=None,
        ),
    )


def running(table: Table, id: str, epoch: int) -> Job:
    """The job, if the attempt is its running one. Raises NotFound, LeaseLost."""
    job = table.job(id)
    if job.status is not Status.RUNNING or job.epoch != epoch:
        raise LeaseLost(f"attempt {epoch} of job {id} is not the running one")
    return job


def settle(table: Table, outcome: Outcome, times: Times) -> Job:
    """Take in how the attempt (id, epoch) ended. Raises NotFound, LeaseLost if it is not the running one."""
    job = running(table, outcome.id, outcome.epoch)
    ending = _ending(job, outcome)
    assert job.started_at is not None  # noqa: S101 - every RUNNING job has started
    table.record(
        AttemptRecord(
            job.seq,
            job.epoch,
            job.attempt,
            job.started_at,
            times.now,
            ending,
            job.worker,
            outcome.result,
            outcome.error,
        )
    )
    return table.put(job, _after(job, ending, outcome, times))


def _ending(job: Job, outcome: Outcome) -> Ending:
    """Success reported first wins over a cancel; any other end after a cancel was asked for is the cancel's doing."""
    if outcome.ending is Ending.DONE:
        return Ending.DONE
    if job.cancel_requested_at is not None:
        return Ending.CANCELLED
    return Ending.RELEASED if outcome.ending is Ending.CANCELLED else outcome.ending


def _after(job: Job, ending: Ending, outcome: Outcome, times: Times) -> Job:
    """The job as the end of its attempt leaves it."""
    if ending is Ending.CRASHED or ending is Ending.LOST:
        # a death while it ran alone convicts it; beside others a death is only counted, and no try is spent
        job = replace(job, crashes=job.crashes + 1, attempt=job.attempt - 1, error=outcome.error)
        if job.alone:
            return ended(job, Status.FAILED, Reason.CRASH_LOOP, times)
        return queued(job, place=job.place)
    if ending is Ending.DONE:
        return ended(job, Status.DONE, None, times, crashes=0, result=outcome.result, error=outcome.error)
    job = replace(job, crashes=0, result=outcome.result, error=outcome.error)
    match ending:
        case Ending.CANCELLED:
            return ended(job, Status.CANCELLED, job.reason or Reason.CANCELLED, times)
        case Ending.ERROR | Ending.TIMEOUT:
            return _failed(job, outcome, times)
        case _:
            return queued(replace(job, attempt=job.attempt - 1), place=job.place)


def _failed(job: Job, outcome: Outcome, times: Times) -> Job:
    if outcome.fatal or job.attempt >= job.options.max_attempts:
        default = Reason.TIMEOUT if outcome.ending is Ending.TIMEOUT else Reason.ERROR
        return ended(job, Status.FAILED, outcome.reason or (Reason.FATAL if outcome.fatal else default), times)
    seconds = outcome.retry_in
    if seconds is None:
        seconds = retry_rule.delay(job.options.retry, job.attempt, times.chance)
    job = replace(
        job,
        status=Status.SCHEDULED,
        next_attempt_at=times.now + micros(seconds),
        alone=False,
        worker=None,
        boot_id=None,
    )
    return replace(job, due_at=due_at(job))


def recover(table: Table, job: Job, times: Times) -> Job:
    """Give back what an earlier life of the process was running: `crash` in the README's table."""
    died = Error("ProcessDied", "the server process died while this attempt was running")
    return settle(table, Outcome(job.id, job.epoch, Ending.CRASHED, error=died), times)


def cancel(table: Table, id: str, times: Times, reason: Reason = Reason.CANCELLED) -> Job:
    """Cancel a job; one that runs is only asked to (the answer's status is still RUNNING). Raises BadState.

    A running job keeps a reason other than the usual one until it has ended.
    """
    job = table.job(id)
    match job.status:
        case Status.CANCELLED:
            return job
        case Status.DONE | Status.FAILED:
            raise BadState(f"job {id} is {job.status.name}: it can no longer be cancelled")
        case Status.RUNNING if job.cancel_requested_at is not None:
            return job
    asked = replace(job, cancel_requested_at=times.now)
    if job.status is Status.RUNNING:
        return table.put(job, asked if reason is Reason.CANCELLED else replace(asked, reason=reason))
    return table.put(job, ended(asked, Status.CANCELLED, reason, times))


def retry(table: Table, id: str) -> Job:
    """Start a FAILED or CANCELLED job afresh, in a new place; its epoch goes on growing. Raises BadState."""
    job = table.job(id)
    if job.status not in (Status.FAILED, Status.CANCELLED):
        raise BadState(f"job {id} is {job.status.name}: only a FAILED or CANCELLED job can be retried")
    uniqueness.check_retry(table, job)
    fresh = replace(
        job,
        reason=None,
        attempt=0,
        crashes=0,
        options=replace(job.options, run_at=None, expires_at=None),
        finished_at=None,
        cancel_requested_at=None,
        result=None,
        error=None,
    )
    return table.put(job, queued(fresh, place=table.next_seq()))


def report_progress(table: Table, id: str, epoch: int, progress: Progress) -> Job:
    """Note how far the running attempt is. Raises NotFound, LeaseLost."""
    job = running(table, id, epoch)
    table.progress(job, progress)
    return job


def write_log(table: Table, id: str, epoch: int, lines: Sequence[LogLine], times: Times) -> Job:
    """Append lines of the running attempt to the job's log. Raises NotFound, LeaseLost."""
    job = running(table, id, epoch)
    for line in lines:
        table.write(Line(job.seq, times.now, job.attempt, line))
    return job
