"""The job table as rules see it: rows that a store loaded, overlaid with the changes made so far in this batch.

A store engine gives `Rows`; `apply` (stores/contract.py) wraps them in a `Table`, lets the rules of one batch read and
write it in arrival order, and commits `Table.changes`. Rules change jobs; lane and queue counters follow by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from jobqueue.clock import Micros
from jobqueue.errors import NotFound, Removed
from jobqueue.job import SPARED, AttemptRecord, Job, Line, Progress, Status
from jobqueue.rules.changes import Changes, KeyRecord
from jobqueue.rules.table.lanes import Lanes
from jobqueue.rules.table.links import Links

__all__ = ["LEGAL", "Changes", "IllegalMove", "KeyRecord", "Table"]

# What may follow what (README, "A job's life"). A move that is not here is a bug of ours, not bad input.
LEGAL: dict[Status, frozenset[Status]] = {
    Status.SCHEDULED: frozenset({Status.SCHEDULED, Status.QUEUED, Status.CANCELLED, Status.FAILED}),
    Status.BLOCKED: frozenset({Status.BLOCKED, Status.QUEUED, Status.SCHEDULED, Status.CANCELLED, Status.FAILED}),
    Status.QUEUED: frozenset({Status.QUEUED, Status.RUNNING, Status.CANCELLED, Status.FAILED}),
    Status.RUNNING: frozenset(Status) - {Status.BLOCKED},
    Status.DONE: frozenset({Status.DONE}),
    Status.FAILED: frozenset({Status.FAILED, Status.QUEUED}),
    Status.CANCELLED: frozenset({Status.CANCELLED, Status.QUEUED}),
}


_LEGAL = tuple(tuple(after in LEGAL[before] for after in Status) for before in Status)  # hashing an enum is slow


class IllegalMove(Exception):
    """A rule tried a transition that the table does not have."""


class Table(Links, Lanes):
    """One batch's view of all jobs. Reads see the batch's own writes."""

    __slots__ = ()

    # -- jobs

    def job(self, id: str) -> Job:
        """The job. Raises NotFound, or Removed where it existed once."""
        found = self.find(id)
        if found is None:
            if id in self.changes.jobs or self._rows.removed(id):
                raise Removed(f"job {id} was removed")
            raise NotFound(f"no job {id}")
        return found

    def next_seq(self) -> int:
        """A number greater than all before: a job's identity, or a place in a lane."""
        changes = self.changes
        if not changes.seq:
            changes.seq = self._rows.last_seq()
        changes.seq += 1
        return changes.seq

    def last_seq(self) -> int:
        """The greatest of those numbers that was given."""
        return self.changes.seq or self._rows.last_seq()

    def add(self, job: Job) -> Job:
        """Accept a new job."""
        if job.status > 3:  # it ends where it begins
            job = self._dated(job)
            self._ends.append((self.changes.seq, job.seq, job.status is Status.DONE))
        self.changes.jobs[job.id] = (None, job)
        self._counts(job.queue)[job.status] += 1
        if job.status is Status.QUEUED or job.status is Status.RUNNING:
            self._enter(self._edit_of(job), job.status)
        if job.options.unique is not None and job.holds_key:
            self.changes.holders[job.queue, job.options.unique.key] = job.id
        return job

    def put(self, before: Job, after: Job) -> Job:
        """Replace `before`, as it now stands in the table, by `after`. Raises IllegalMove."""
        if not _LEGAL[before.status][after.status]:
            raise IllegalMove(f"{before.status.name} -> {after.status.name} of {before.id}")
        was, now = before.status, after.status
        if now > 3 >= was:  # it has ended; the property is slower
            after = self._dated(after)
        jobs = self.changes.jobs
        change = jobs.get(before.id)
        jobs[before.id] = (before if change is None else change[0], after)
        counts = self._counts(after.queue)
        counts[now] += 1
        counts[was] -= 1
        into = None
        if now is Status.QUEUED or now is Status.RUNNING:  # in before out: a lane that passes a job on is never idle
            into = self._edit_of(after)
            self._enter(into, now)
        if was is Status.QUEUED or was is Status.RUNNING:
            if into is None or before.priority != after.priority or before.crashes != after.crashes:
                into = self._edit_of(before)
            self._exit(into, was)
        options = after.options
        if options.unique is not None:
            self._follow_key(before, after)
        if now > 3 >= was:  # it has ended
            self._ends.append((self.changes.seq, after.seq, now == 4))
            if options.depends_on:
                self.changes.unlinked[after.seq] = None
        return after

    def _dated(self, job: Job) -> Job:
        queue = self.queue(job.queue)
        if queue is None or not queue.retention:
            return job
        due_at = self.kept_until(job)
        return job if due_at == job.due_at else msgspec.structs.replace(job, due_at=due_at)

    def remove(self, job: Job) -> None:
        """Forget an ended job, but for its tombstone."""
        change = self.changes.jobs.get(job.id)
        self.changes.jobs[job.id] = (job if change is None else change[0], None)
        self._counts(job.queue)[job.status] -= 1
        self.release(job)

    def spare(self, job: Job, until: Micros) -> None:
        """Keep an ended job beyond its time; when it is due, it is to be looked at again."""
        self.changes.spared = True
        self.put(job, msgspec.structs.replace(job, due_at=SPARED + until))

    def record(self, attempt: AttemptRecord) -> None:
        """Keep an ended attempt in the job's history."""
        self.changes.attempts.append(attempt)

    def write(self, line: Line) -> None:
        """Append a line to the job's log."""
        self.changes.lines.append(line)

    def progress(self, job: Job, progress: Progress) -> None:
        """Note how far a running attempt is."""
        self.changes.progress[job.seq] = progress

    def due(self, now: Micros, count: int) -> Iterable[Job]:
        """Jobs whose moment has come and that this batch has not touched."""
        return [job for job in self._rows.due(now, count) if job.id not in self.changes.jobs]

    def surplus(self, keep: int, count: int) -> Iterable[Job]:
        """Ended jobs beyond the newest `keep`."""
        return [job for job in self._rows.surplus(keep, count) if job.id not in self.changes.jobs]

    def orphans(self, boot_id: str, count: int) -> Sequence[Job]:
        """RUNNING jobs of an earlier life."""
        return self._rows.orphans(boot_id, count)

    # -- idempotency keys

    def key(self, scope: str, key: str) -> KeyRecord | None:
        """What the key stands for."""
        return self.changes.keys.get((scope, key)) or self._rows.key(scope, key)

    def keep_key(self, record: KeyRecord) -> None:
        """Bind a key to its jobs."""
        self.changes.keys[record.scope, record.key] = record

    def drop_stale_keys(self, now: Micros, count: int) -> int:
        """Forget keys past their time; how many."""
        stale = self._rows.stale_keys(now, count)
        self.changes.dropped_keys.extend(stale)
        return len(stale)
