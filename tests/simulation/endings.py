"""The oracle of endings: whether an attempt really ended as recorded, and whether its job had a reason to fail."""

from __future__ import annotations

from typing import NamedTuple

from jobqueue.job import AttemptRecord, Ending, Job, Reason
from tests.simulation.runs import Run


class Facts(NamedTuple):
    """What is known of an attempt from outside.

    run: what its handler did, None if it was never entered. lasted: seconds since its claim. draining: the node gives
    work back. died: the process that claimed it is gone; killer: the job that killed it, None if it was no job.
    """

    run: Run | None
    lasted: float
    draining: bool
    died: bool
    killer: str | None


def fault(before: Job, after: Job, record: AttemptRecord, facts: Facts) -> str | None:
    """What is wrong with the record."""
    how = facts.run.how if facts.run is not None else "never started"
    over = how != "running"
    match record.ending:
        case Ending.DONE:
            true = facts.run is not None and how == "returned" and record.result == facts.run.result
        case Ending.ERROR:
            refused = after.reason is Reason.UNDECODABLE and how == "returned"
            true = how == "raised" or refused or (facts.run is None and before.kind == "missing")
        case Ending.TIMEOUT:
            preparing = facts.run is None and bool(before.options.depends_on)  # it was read how its parents ended
            true = (preparing or how in ("cancelled", "raised")) and facts.lasted >= before.options.timeout - 0.001
        case Ending.CANCELLED:
            true = before.cancel_requested_at is not None and (over or facts.draining)  # stuck work is left behind
        case Ending.RELEASED:
            true = facts.draining
        case Ending.CRASHED:
            true = facts.died and over
        case Ending.LOST:
            true = False
    if true:
        return None
    return f"{before.id}, epoch {before.epoch}: recorded as {record.ending}, but its handler {how}"


def failure_fault(before: Job, after: Job, facts: Facts) -> str | None:
    """What is wrong with a job that FAILED out of RUNNING."""
    match after.reason:
        case Reason.CRASH_LOOP:
            right = before.alone and facts.died and facts.killer in (None, before.id)
        case Reason.ERROR | Reason.TIMEOUT:
            right = after.attempt >= after.options.max_attempts
        case Reason.FATAL:
            right = after.kind == "fatal"
        case Reason.UNKNOWN_KIND:
            right = after.kind == "missing"
        case Reason.UNDECODABLE:
            right = after.kind == "unstorable"
        case _:
            right = False
    return None if right else f"{after.id} of kind {after.kind}, killer {facts.killer}, FAILED for {after.reason}"
