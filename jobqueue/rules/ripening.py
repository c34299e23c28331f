"""What time alone does to jobs: delayed ones become due, waiting ones expire, ended ones are forgotten.

Called once a batch with the bounded number of jobs whose `due_at` has come; what is left over makes the next batch
due at once, after the work that waits.
"""

from __future__ import annotations

from jobqueue.clock import micros
from jobqueue.job import Job, Reason, Status
from jobqueue.rules import configuring
from jobqueue.rules.lifecycle import Times, ended, queued
from jobqueue.rules.table import Table

MOST = 500  # jobs a batch, so that a flood of due jobs never holds up a submission for long
SPARED_SECONDS = 3_600.0  # how long until it is looked at again whether anybody still depends on a job


def crowded(table: Table, times: Times) -> bool:
    """Whether so many ended jobs are held that the longest ended should go before their time."""
    most = times.limits.max_ended
    return table.ended() > most + most // 100  # not one by one


def ripen(table: Table, times: Times) -> bool:
    """Do what is due; True if there may be more of it."""
    redating = configuring.redate(table, times, MOST)
    opened = table.open_due(times.now, MOST)
    moved = 0
    for job in table.due(times.now, MOST):
        moved += 1
        if job.status.ended:
            _forget(table, job, times)
        elif job.options.expires_at is not None and job.options.expires_at <= times.now:
            table.put(job, ended(job, Status.FAILED, Reason.EXPIRED, times))
        else:
            table.put(job, queued(job, place=table.next_seq()))
    for job in table.surplus(times.limits.max_ended, MOST):
        moved += 1
        _forget(table, job, times)
    dropped = table.drop_stale_keys(times.now, MOST)
    return redating or opened >= MOST or moved >= MOST or dropped >= MOST


def _forget(table: Table, job: Job, times: Times) -> None:
    """The time of an ended job is over: it goes, unless others that have not ended depend on it."""
    if table.dependents(job):
        table.spare(job, times.now + micros(SPARED_SECONDS))
    else:
        table.remove(job)
