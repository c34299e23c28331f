"""The reference engine: the job table in dictionaries. For tests and throw-away use; nothing survives the process.

It is the plainest reading of `contract.py`, and stricter than the others: a rule that reads what the batch's `Needs`
did not name fails here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Self, TypeVar

from jobqueue.clock import Micros
from jobqueue.job import NEVER, OPEN, AttemptRecord, Job, Line
from jobqueue.rules.table import Table
from jobqueue.stores.contract import REMOVED, Engine, Filter, Needs, Page, Removed
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
        table = Table(MemoryRows(self.tables, needs()))
        result = decide(table)
        self.tables.commit(table.changes, self._now())
        return result

    async def next_due(self) -> Micros | None:
        """The first moment at which time changes anything."""
        tables = self.tables
        firsts = [entries[0][0] for entries in (tables.waking, tables.fading) if entries]
        firsts += [record.expires_at for record in list(tables.keys.values())[:1]]
        firsts += [lane.opens_at for lane in tables.lanes.values() if OPEN < lane.opens_at < NEVER]
        if tables.resolving or tables.redating:
            firsts.append(0)
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
