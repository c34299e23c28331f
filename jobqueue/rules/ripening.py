"""What time alone does to jobs: delayed ones become due, waiting ones expire, ended ones are forgotten.

Called once a batch with the bounded number of jobs whose `due_at` has come; what is left over makes the next batch
due at once, after the work that waits.
"""

from __future__ import annotations

from jobqueue.job import Reason, Status
from jobqueue.rules.lifecycle import Times, ended, queued
from jobqueue.rules.table import Table

MOST = 500  # jobs a batch, so that a flood of due jobs never holds up a submission for long


def crowded(table: Table, times: Times) -> bool:
    """Whether so many ended jobs are held that the longest ended should go before their time."""
    most = times.limits.max_ended
    return table.ended() > most + most // 100  # not one by one


def ripen(table: Table, times: Times) -> bool:
    """Do what is due; True if there may be more of it."""
    moved = 0
    for job in table.due(times.now, MOST):
        moved += 1
        if job.status.ended:
            table.remove(job)
        elif job.options.expires_at is not None and job.options.expires_at <= times.now:
            table.put(job, ended(job, Status.FAILED, Reason.EXPIRED, times))
        else:
            table.put(job, queued(job, place=table.next_seq()))
    for job in table.surplus(times.limits.max_ended, MOST):
        moved += 1
        table.remove(job)
    dropped = table.drop_stale_keys(times.now, MOST)
    return moved >= MOST or dropped >= MOST
