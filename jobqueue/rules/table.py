"""The job table as rules see it: rows that a store loaded, overlaid with the changes made so far in this batch.

A store engine gives `Rows`; `apply` (stores/contract.py) wraps them in a `Table`, lets the rules of one batch read and
write it in arrival order, and commits `Table.changes`. Rules change jobs; lane and queue counters follow by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jobqueue.clock import Micros
from jobqueue.errors import NotFound, Removed
from jobqueue.job import SUSPECT_CRASHES, AttemptRecord, Job, Lane, LaneKey, Line, Progress, Status
from jobqueue.rules.changes import Changes, KeyRecord, LaneEdit
from jobqueue.rules.rows import Rows

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


HALF_STEP = 0.5  # of a turn: a claim moves a lane's turn on by 1


_LEGAL = tuple(tuple(after in LEGAL[before] for after in Status) for before in Status)  # hashing an enum is slow


class IllegalMove(Exception):
    """A rule tried a transition that the table does not have."""


class Table:
    """One batch's view of all jobs. Reads see the batch's own writes."""

    __slots__ = ("_last", "_rows", "changes")

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._last: LaneEdit | None = None
        self.changes = Changes()

    # -- jobs

    def job(self, id: str) -> Job:
        """The job. Raises NotFound, or Removed where it existed once."""
        found = self.find(id)
        if found is None:
            if id in self.changes.jobs or self._rows.removed(id):
                raise Removed(f"job {id} was removed")
            raise NotFound(f"no job {id}")
        return found

    def find(self, id: str) -> Job | None:
        """The job, or None."""
        change = self.changes.jobs.get(id)
        return change[1] if change is not None else self._rows.job(id)

    def next_seq(self) -> int:
        """A number greater than all before: a job's identity, or a place in a lane."""
        changes = self.changes
        if not changes.seq:
            changes.seq = self._rows.last_seq()
        changes.seq += 1
        return changes.seq

    def add(self, job: Job) -> Job:
        """Accept a new job."""
        self.changes.jobs[job.id] = (None, job)
        self._counts(job.queue)[job.status] += 1
        if job.status is Status.QUEUED or job.status is Status.RUNNING:
            self._enter(self._edit_of(job), job.status)
        return job

    def put(self, before: Job, after: Job) -> Job:
        """Replace `before`, as it now stands in the table, by `after`. Raises IllegalMove."""
        if not _LEGAL[before.status][after.status]:
            raise IllegalMove(f"{before.status.name} -> {after.status.name} of {before.id}")
        jobs = self.changes.jobs
        change = jobs.get(before.id)
        jobs[before.id] = (before if change is None else change[0], after)
        was, now = before.status, after.status
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
        return after

    def remove(self, job: Job) -> None:
        """Forget an ended job, but for its tombstone."""
        change = self.changes.jobs.get(job.id)
        self.changes.jobs[job.id] = (job if change is None else change[0], None)
        self._counts(job.queue)[job.status] -= 1

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

    # -- lanes and counters

    def count(self, queue: str, status: Status) -> int:
        """How many jobs of the queue have the status."""
        deltas = self.changes.counts.get(queue)
        return self._rows.counts(queue)[status] + (deltas[status] if deltas else 0)

    def waiting(self, queue: str) -> int:
        """How many jobs of the queue wait: for their time, for others, or for a worker."""
        kept = self._rows.counts(queue)
        deltas = self.changes.counts.get(queue)
        waiting = kept[0] + kept[1] + kept[2]
        return waiting + deltas[0] + deltas[1] + deltas[2] if deltas else waiting

    def ended(self) -> int:
        """How many ended jobs there are, in all queues."""
        deltas = self.changes.counts.values()
        return self._rows.ended() + sum(sum(counts[Status.DONE :]) for counts in deltas)

    def queues(self) -> list[str]:
        """The queues that may have queued jobs, in order of name."""
        return sorted({*self._rows.queues(), *(key.queue for key in self.changes.lanes)})

    def band(self, queue: str, priority: int) -> float:
        """The virtual time of one priority of a queue."""
        band = self.changes.bands.get((queue, priority))
        return self._rows.band(queue, priority) if band is None else band

    def ready(self, queue: str, count: int, *, suspect: bool = False) -> list[Lane]:
        """The first `count` lanes with queued jobs, in the order in which they are to be served."""
        edits = [edit for key, edit in self.changes.lanes.items() if key.queue == queue and key.suspect == suspect]
        lanes = [
            lane
            for lane in self._rows.ready(queue, count + len(edits), suspect=suspect)
            if lane.key not in self.changes.lanes
        ]
        if edits:
            lanes += [edit.lane() for edit in edits if edit.queued]
            lanes.sort(key=_service_order)
        return lanes[:count]

    def heads(self, lane: LaneKey, count: int) -> list[Job]:
        """The first `count` queued jobs of a lane, by place."""
        touched = self.changes.jobs
        own = [new for _, new in touched.values() if new is not None and new.status is Status.QUEUED]
        own = [job for job in own if job.lane == lane]
        left = sum(1 for old, _ in touched.values() if old is not None and old.status is Status.QUEUED)
        jobs = [job for job in self._rows.heads(lane, count + left) if job.id not in touched]
        if own:
            jobs = sorted(jobs + own, key=_by_place)
        return jobs[:count]

    def serve(self, lane: LaneKey, began: float, turn: float) -> None:
        """Note that the lane was served, last from `began` to `turn`; its priority's virtual time follows."""
        if not lane.suspect:  # those go before all others, so their turns say nothing about the time of the rest
            band = (lane.queue, lane.priority)
            self.changes.bands[band] = max(self.band(*band), began)
        self._edit(lane).turn = turn

    def _edit_of(self, job: Job) -> LaneEdit:
        """The edit of a job's lane; most often that of the job before, which is found without making a key."""
        last = self._last
        if last is not None:
            key = last.key
            if (
                key.group == job.group
                and key.priority == job.priority
                and key.queue == job.queue
                and key.suspect == (job.crashes >= SUSPECT_CRASHES)
            ):
                return last
        last = self._last = self._edit(job.lane)
        return last

    def _edit(self, key: LaneKey) -> LaneEdit:
        edit = self.changes.lanes.get(key)
        if edit is None:
            edit = LaneEdit(self._rows.lane(key) or Lane(key))
            self.changes.lanes[key] = edit
        return edit

    def _counts(self, queue: str) -> list[int]:
        counts = self.changes.counts.get(queue)
        if counts is None:
            counts = self.changes.counts[queue] = [0] * len(Status)
        return counts

    def _enter(self, edit: LaneEdit, status: Status) -> None:
        if status is Status.RUNNING:
            edit.running += 1
            return
        if not edit.queued:
            # a lane that fills anew starts at the present turn: it neither starves nor has saved up
            edit.turn = max(edit.turn, self.band(edit.key.queue, edit.key.priority))
        edit.queued += 1

    def _exit(self, edit: LaneEdit, status: Status) -> None:
        if status is Status.RUNNING:
            edit.running -= 1
        else:
            edit.queued -= 1
        if edit.forgettable and not edit.key.suspect:
            self._leave(edit)

    def _leave(self, edit: LaneEdit) -> None:
        """Forget an idle lane and its turn: virtual time moves to half a step beyond where the lane was served.

        So who comes back with one job at a time never starves the others, and who is new still comes within a round.
        """
        band = (edit.key.queue, edit.key.priority)
        if edit.turn - HALF_STEP > self.band(*band):
            self.changes.bands[band] = edit.turn - HALF_STEP


def _service_order(lane: Lane) -> tuple[int, float, str]:
    return (-lane.key.priority, lane.turn, lane.key.group or "")


def _by_place(job: Job) -> int:
    return job.place
