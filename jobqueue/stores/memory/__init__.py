"""The reference engine: the job table in dictionaries. For tests and throw-away use; nothing survives the process.

It is the plainest reading of `contract.py`, and stricter than the others: a rule that reads what the batch's `Needs`
did not name fails here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Self, TypeVar

import msgspec

from jobqueue.clock import Micros
from jobqueue.job import NEVER, OPEN, SPARED, AttemptRecord, Job, Line, Status
from jobqueue.queue import Known, Queue
from jobqueue.rules.table import Table
from jobqueue.schedule import Schedule
from jobqueue.stores.contract import MOST_LOOKED, REMOVED, Engine, Filter, Matches, Needs, Page, Removed
from jobqueue.stores.memory.rows import MemoryRows, Undeclared
from jobqueue.stores.memory.tables import Tables

__all__ = ["MemoryStore", "Undeclared"]

T = TypeVar("T")


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
        table = Table(MemoryRows(self.tables, needs(), self._now()))
        result = decide(table)
        self.tables.commit(table.changes, self._now())
        return result

    async def next_due(self) -> Micros | None:
        """The first moment at which time changes anything."""
        tables = self.tables
        firsts = [entries[0][0] for entries in (tables.waking, tables.fading) if entries]
        firsts += [due_at - SPARED for due_at, _, _ in tables.fading[bisect_left(tables.fading, (SPARED, 0, "")) :][:1]]
        firsts += [record.expires_at for record in list(tables.keys.values())[:1]]
        firsts += [lane.opens_at for lane in tables.lanes.values() if OPEN < lane.opens_at < NEVER]
        if tables.resolving or tables.redating:
            firsts.append(0)
        return min(firsts, default=None)

    async def latest(self) -> Micros | None:
        """How far time has come."""
        tables = self.tables
        told = [moment for job in tables.jobs.values() for moment in (job.created_at, job.started_at, job.finished_at)]
        told += [record.finished_at for records in tables.attempts.values() for record in records]
        told += tables.removed.values()
        return max((moment for moment in told if moment is not None), default=None)

    async def get(self, ids: Sequence[str], *, whole: bool = True) -> Sequence[Job | Removed | None]:  # noqa: ARG002 - jobs are always whole here
        """Jobs by id, always whole here."""
        tables, now = self.tables, self._now()
        return [
            tables.whole(tables.jobs[id]) if id in tables.jobs else REMOVED if tables.gone(id, now) else None
            for id in ids
        ]

    async def page(self, wanted: Filter, before: int | None, limit: int, *, wide: bool = True) -> Page:
        """Newest first. All rows are looked at, but no more payloads than may be."""
        found: list[Job] = []
        rows = replace(wanted, payload=())
        looked, last = 0, before
        for job in sorted(self.tables.jobs.values(), key=lambda job: -job.seq):
            if (before is not None and job.seq >= before) or not rows.matches(job):
                continue
            if wanted.payload and looked == MOST_LOOKED:
                return Page(tuple(found), last)
            looked, last = looked + 1, job.seq
            if wanted.matches(job):
                if len(found) == limit:
                    return Page(tuple(found), found[-1].seq)
                found.append(self.tables.whole(job) if wide else _slim(self.tables.whole(job)))
        return Page(tuple(found), None)

    async def matching(self, wanted: Filter, before: int | None, limit: int) -> Matches:
        """Newest first."""
        page = await self.page(wanted, before, limit)
        return Matches(tuple(job.id for job in page.jobs), page.before)

    async def attempts(self, seq: int) -> Sequence[AttemptRecord]:
        """Newest first."""
        return list(reversed(self.tables.attempts.get(seq, [])))

    async def lines(self, seq: int) -> Sequence[Line]:
        """Oldest first."""
        return list(self.tables.lines.get(seq, []))

    async def queues(self, name: str | None = None) -> Sequence[Known]:
        """Queues by name."""
        tables = self.tables
        names = sorted(tables.counts.keys() | tables.queues.keys()) if name is None else [name]
        return [self._queue(one) for one in names if one in tables.counts or one in tables.queues]

    def _queue(self, name: str) -> Known:
        tables = self.tables
        heads = [tables.jobs[ids[0][1]] for key, ids in tables.queued.items() if key.queue == name]
        since = min((max(job.created_at, job.options.run_at or 0) for job in heads), default=None)
        counts = tables.counts.get(name, [0] * len(Status))
        return Known(tables.queues.get(name) or Queue(name), tuple(counts), since)

    async def counts(self) -> Mapping[str, Sequence[int]]:
        """Jobs by queue and status."""
        return {queue: list(counts) for queue, counts in self.tables.counts.items()}

    async def schedule(self, name: str) -> Schedule | None:
        """A schedule."""
        return self.tables.schedules.get(name)

    async def schedules(self, after: str, most: int) -> tuple[Sequence[Schedule], bool]:
        """By name; whatever their size."""
        found = [self.tables.schedules[name] for name in sorted(self.tables.schedules) if name > after]
        return found[:most], len(found) > most


def _slim(job: Job) -> Job:
    """The job without what is large in it."""
    error = None if job.error is None else msgspec.structs.replace(job.error, traceback=None)
    return msgspec.structs.replace(job, payload="null", result=None, error=error)
