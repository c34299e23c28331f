"""The reference engine: the job table in dictionaries. For tests and throw-away use; nothing survives the process.

It is the plainest reading of `contract.py`, and stricter than the others: a rule that reads what the batch's `Needs`
did not name fails here.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Self, TypeVar

import msgspec

from jobqueue.clock import SECOND, Micros
from jobqueue.job import AttemptRecord, Job, Lane, LaneKey, Line, Progress, Status
from jobqueue.rules.changes import Changes, KeyRecord
from jobqueue.rules.table import Table
from jobqueue.stores.contract import (
    MOST_ATTEMPTS,
    MOST_LINES,
    MOST_TOMBSTONES,
    REMOVED,
    TOMBSTONE_SECONDS,
    Engine,
    Filter,
    Needs,
    Page,
    Removed,
)

T = TypeVar("T")


class Undeclared(Exception):
    """A rule read what the batch's needs do not name."""


class MemoryStore:
    """The table in this process's memory."""

    engine = Engine("memory", "none: nothing survives the process")

    def __init__(self, now: Callable[[], Micros]) -> None:
        self._now = now
        self.tables = Tables()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def apply(self, needs: Callable[[], Needs], decide: Callable[[Table], T]) -> T:
        """Load, decide, commit: all at once, since nothing else runs meanwhile."""
        table = Table(_Rows(self.tables, needs()))
        result = decide(table)
        self.tables.commit(table.changes, self._now())
        return result

    async def next_due(self) -> Micros | None:
        """The first moment at which time changes anything."""
        tables = self.tables
        firsts = [entries[0][0] for entries in (tables.waking, tables.fading) if entries]
        firsts += [record.expires_at for record in list(tables.keys.values())[:1]]
        return min(firsts, default=None)

    async def get(self, ids: Sequence[str], *, whole: bool = True) -> Sequence[Job | Removed | None]:  # noqa: ARG002
        """Jobs by id, always whole here."""
        tables = self.tables
        return [
            tables.whole(tables.jobs[id]) if id in tables.jobs else REMOVED if id in tables.removed else None
            for id in ids
        ]

    async def page(self, wanted: Filter, before: int | None, limit: int) -> Page:
        """Newest first."""
        found = [
            self.tables.whole(job)
            for job in sorted(self.tables.jobs.values(), key=lambda job: -job.seq)
            if (before is None or job.seq < before) and wanted.matches(job)
        ][: limit + 1]
        return Page(tuple(found[:limit]), found[limit - 1].seq if len(found) > limit else None)

    async def attempts(self, seq: int) -> Sequence[AttemptRecord]:
        """Newest first."""
        return list(reversed(self.tables.attempts.get(seq, [])))

    async def lines(self, seq: int) -> Sequence[Line]:
        """Oldest first."""
        return list(self.tables.lines.get(seq, []))

    async def counts(self) -> Mapping[str, Sequence[int]]:
        """Jobs by queue and status."""
        return {queue: list(counts) for queue, counts in self.tables.counts.items()}


class Tables:
    """The dictionaries. Sorted lists stand for the indexes of a database."""

    def __init__(self) -> None:
        self.seq = 0
        self.jobs: dict[str, Job] = {}
        self.removed: dict[str, Micros] = {}
        self.attempts: dict[int, list[AttemptRecord]] = {}
        self.lines: dict[int, list[Line]] = {}
        self.progress: dict[int, Progress] = {}
        self.keys: dict[tuple[str, str], KeyRecord] = {}
        self.lanes: dict[LaneKey, Lane] = {}
        self.bands: dict[tuple[str, int], float] = {}
        self.counts: dict[str, list[int]] = {}
        self.queued: dict[LaneKey, list[tuple[int, str]]] = {}  # (place, id)
        self.waking: list[tuple[Micros, int, str]] = []  # (due_at, seq, id) of jobs that have not ended
        self.fading: list[tuple[Micros, int, str]] = []  # the same of jobs that have

    def whole(self, job: Job) -> Job:
        """The job with its progress."""
        progress = self.progress.get(job.seq)
        return job if progress is None else msgspec.structs.replace(job, progress=progress)

    def commit(self, changes: Changes, now: Micros) -> None:
        """Make all changes; none of them can fail."""
        self.seq = max(self.seq, changes.seq)
        for id, (before, after) in changes.jobs.items():
            self._unindex(before)
            if after is None:
                self._forget(id, before, now)
            else:
                self.jobs[id] = after
                self._index(after)
                if before is not None and (after.epoch != before.epoch or before.status.ended > after.status.ended):
                    self.progress.pop(after.seq, None)
        for record in changes.attempts:
            kept = self.attempts.setdefault(record.seq, [])
            kept.append(record)
            del kept[:-MOST_ATTEMPTS]
        self.progress.update(changes.progress)
        for line in changes.lines:
            lines = self.lines.setdefault(line.seq, [])
            lines.append(line)
            del lines[:-MOST_LINES]
        for stale in changes.dropped_keys:
            self.keys.pop((stale.scope, stale.key), None)
        for key, bound in changes.keys.items():
            self.keys.pop(key, None)  # a key that is bound anew moves to the end: they stand in order of time
            self.keys[key] = bound
        self._commit_counters(changes)

    def _commit_counters(self, changes: Changes) -> None:
        for key, edit in changes.lanes.items():
            if edit.forgettable:
                self.lanes.pop(key, None)
            else:
                self.lanes[key] = edit.lane()
        self.bands.update(changes.bands)
        for queue, deltas in changes.counts.items():
            counts = self.counts.setdefault(queue, [0] * len(Status))
            for status, delta in enumerate(deltas):
                counts[status] += delta

    def _index(self, job: Job) -> None:
        if job.status is Status.QUEUED:
            insort(self.queued.setdefault(job.lane, []), (job.place, job.id))
        if job.due_at is not None:
            insort(self.fading if job.status.ended else self.waking, (job.due_at, job.seq, job.id))

    def _unindex(self, job: Job | None) -> None:
        if job is None:
            return
        if job.status is Status.QUEUED:
            lane = self.queued[job.lane]
            del lane[bisect_left(lane, (job.place, job.id))]
            if not lane:
                del self.queued[job.lane]
        if job.due_at is not None:
            index = self.fading if job.status.ended else self.waking
            del index[bisect_left(index, (job.due_at, job.seq, job.id))]

    def _forget(self, id: str, before: Job | None, now: Micros) -> None:
        self.jobs.pop(id, None)
        if before is not None:
            self.attempts.pop(before.seq, None)
            self.lines.pop(before.seq, None)
            self.progress.pop(before.seq, None)
        self.removed[id] = now
        while self.removed:
            oldest = next(iter(self.removed))
            if len(self.removed) <= MOST_TOMBSTONES and self.removed[oldest] > now - TOMBSTONE_SECONDS * SECOND:
                break
            del self.removed[oldest]


class _Rows:
    """What one batch reads, held to what it declared."""

    def __init__(self, tables: Tables, needs: Needs) -> None:
        self._tables = tables
        self._needs = needs
        self._loaded: set[str] = set(needs.jobs)

    def job(self, id: str) -> Job | None:
        """By id, if declared or loaded on another way."""
        self._require(id in self._loaded, f"job {id}")
        return self._tables.jobs.get(id)

    def removed(self, id: str) -> bool:
        """Whether a tombstone stands there."""
        return id in self._tables.removed

    def key(self, scope: str, key: str) -> KeyRecord | None:
        """By scope and key; the jobs that it names are loaded with it."""
        self._require((scope, key) in self._needs.keys, f"key {key}")
        record = self._tables.keys.get((scope, key))
        if record is not None:
            self._loaded.update(record.ids)
        return record

    def lane(self, key: LaneKey) -> Lane | None:
        """A lane."""
        return self._tables.lanes.get(key)

    def band(self, queue: str, priority: int) -> float:
        """A priority's virtual time."""
        return self._tables.bands.get((queue, priority), 0.0)

    def ready(self, queue: str, count: int, *, suspect: bool) -> Sequence[Lane]:
        """Lanes with queued jobs, in the order of service."""
        self._require_claim(queue)
        lanes = [
            self._tables.lanes[key] for key in self._tables.queued if key.queue == queue and key.suspect == suspect
        ]
        lanes.sort(key=lambda lane: (-lane.key.priority, lane.turn, lane.key.group or ""))
        return lanes[:count]

    def heads(self, lane: LaneKey, count: int) -> Sequence[Job]:
        """The first of a lane."""
        self._require_claim(lane.queue)
        return self._load(id for _, id in self._tables.queued.get(lane, [])[:count])

    def queues(self) -> Sequence[str]:
        """Queues with queued jobs."""
        return list({key.queue for key in self._tables.queued})

    def counts(self, queue: str) -> Sequence[int]:
        """Jobs by status."""
        return self._tables.counts.get(queue, [0] * len(Status))

    def ended(self) -> int:
        """Ended jobs."""
        return len(self._tables.fading)

    def due(self, now: Micros, count: int) -> Sequence[Job]:
        """What time changes."""
        self._require(count <= self._needs.most_due, "due jobs")
        waking = self._until(self._tables.waking, now, count)
        return self._load(waking + self._until(self._tables.fading, now, count - len(waking)))

    def surplus(self, keep: int, count: int) -> Sequence[Job]:
        """Ended jobs that are too many."""
        self._require(count <= self._needs.most_due, "surplus jobs")
        fading = self._tables.fading
        return self._load(id for _, _, id in fading[: max(0, min(count, len(fading) - keep))])

    def stale_keys(self, now: Micros, count: int) -> Sequence[KeyRecord]:
        """Keys past their time; they were kept in order of time."""
        self._require(count <= self._needs.most_due, "stale keys")
        stale: list[KeyRecord] = []
        for record in self._tables.keys.values():
            if record.expires_at > now or len(stale) == count:
                break
            stale.append(record)
        return stale

    def orphans(self, boot_id: str, count: int) -> Sequence[Job]:
        """RUNNING jobs of another life."""
        self._require(boot_id == self._needs.orphans_of, "orphans")
        jobs = self._tables.jobs.values()
        return self._load(
            [job.id for job in jobs if job.status is Status.RUNNING and job.boot_id not in (None, boot_id)][:count]
        )

    def last_seq(self) -> int:
        """The greatest number given."""
        return self._tables.seq

    def _until(self, index: list[tuple[Micros, int, str]], now: Micros, count: int) -> list[str]:
        return [id for due_at, _, id in index[:count] if due_at <= now]

    def _load(self, ids: Iterable[str]) -> Sequence[Job]:
        jobs = [self._tables.jobs[id] for id in ids]
        self._loaded.update(job.id for job in jobs)
        return jobs

    def _require_claim(self, queue: str) -> None:
        self._require({queue, "*"} & self._needs.claims.keys(), f"claims of {queue}")

    def _require(self, declared: object, what: str) -> None:
        if not declared:
            raise Undeclared(f"the batch did not declare that it reads {what}")
