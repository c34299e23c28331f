"""What new settings of a queue do: they hold from their commit on, for jobs that ended before, too.

How long ended jobs are kept stands in each of them (`due_at`), so a new retention means new moments for all that are
kept; they get them in pieces, a piece a batch, after the work that waits.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from jobqueue.clock import micros
from jobqueue.job import Job
from jobqueue.queue import Queue
from jobqueue.rules.bounds import MOST_QUEUES, too_many_queues
from jobqueue.rules.lifecycle import Times
from jobqueue.rules.table import Table


def configure(table: Table, name: str, change: Callable[[Queue], Queue]) -> Queue:
    """Change a queue's settings, or make a queue; as they now are. Raises what `change` raises; Invalid if too many."""
    if not table.known(name) and table.names() >= MOST_QUEUES:
        raise too_many_queues("/name")
    before = table.queue(name) or Queue(name)
    after = change(before)
    table.configure(after)
    if before.retention != after.retention:
        table.redate(name, 0)
    return after


def redate(table: Table, times: Times, most: int) -> bool:
    """Give up to `most` ended jobs of a queue whose retention changed their new moment; True if time has more to do."""
    left = table.redating()
    if not left:
        return False
    name = min(left)
    jobs, reached = table.ended_of(name, left[name], most)
    over = False  # some are to go at once
    for job in jobs:
        due_at = table.kept_until(_as_served(job, times))
        if due_at != job.due_at:
            table.put(job, msgspec.structs.replace(job, due_at=due_at))
            over = over or due_at is None or due_at <= times.now
    table.redate(name, reached)
    return over or reached is not None or len(left) > 1


def _as_served(job: Job, times: Times) -> Job:
    """The ended job, kept as long as the server keeps those of queues that say nothing."""
    if job.finished_at is None:
        return job
    return msgspec.structs.replace(job, due_at=job.finished_at + micros(times.limits.retention[job.status]))
