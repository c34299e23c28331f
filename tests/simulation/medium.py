"""The disk as the store that one life of the program opens.

Each call takes a drawn time before and after its work, so that a commit can be in flight when the node dies: before, it
was never made, after, it was; never half. Once the node is dead no call comes back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self, TypeVar, cast

import outcome
import trio

from jobqueue.job import AttemptRecord, Job
from jobqueue.queue import Queue
from jobqueue.rules.table import Table
from jobqueue.schedule import Schedule
from jobqueue.stores.contract import Engine, Needs, RowRefused, StoreFailed
from tests.simulation.book import Configured, Deed, Move, Planned
from tests.simulation.disk import SPOILED, Disk, Host

T = TypeVar("T")


class Watched:
    """A table that notes what the rules do to it, move by move."""

    def __init__(self, table: Table, deeds: list[Deed]) -> None:
        self._table = table
        self._deeds = deeds
        self._records: dict[int, AttemptRecord] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def add(self, job: Job) -> Job:
        """Accept."""
        added = self._table.add(job)
        self._deeds.append(Move(None, added, None))
        return added

    def put(self, before: Job, after: Job) -> Job:
        """Replace."""
        put = self._table.put(before, after)
        self._deeds.append(Move(before, put, self._records.pop(before.seq, None)))
        return put

    def remove(self, job: Job) -> None:
        """Forget."""
        self._deeds.append(Move(job, None, None))
        self._table.remove(job)

    def record(self, attempt: AttemptRecord) -> None:
        """An attempt has ended."""
        self._records[attempt.seq] = attempt
        self._table.record(attempt)

    def configure(self, after: Queue) -> None:
        """A queue is set up."""
        self._table.configure(after)
        self._deeds.append(Configured(after))

    def add_schedule(self, schedule: Schedule) -> None:
        """A schedule is new."""
        self._table.add_schedule(schedule)
        self._deeds.append(Planned(schedule.name, schedule))

    def keep_schedule(self, schedule: Schedule) -> None:
        """A schedule is put again, or moves on."""
        self._table.keep_schedule(schedule)
        self._deeds.append(Planned(schedule.name, schedule))

    def drop_schedule(self, name: str) -> None:
        """A schedule is deleted."""
        self._table.drop_schedule(name)
        self._deeds.append(Planned(name, None))


def _spoiled(table: Table) -> bool:
    changes = table.changes
    return any(SPOILED in (record.result or "") for record in changes.attempts) or any(
        before is None and after is not None and SPOILED in after.payload for before, after in changes.jobs.values()
    )


class Medium:
    """The disk as a `Store` of one life."""

    def __init__(self, disk: Disk, host: Host) -> None:
        self._disk = disk
        self._host = host
        self.inner = disk.engine()
        self._open = False

    @property
    def engine(self) -> Engine:
        """That of the engine inside."""
        return self.inner.engine

    async def __aenter__(self) -> Self:
        await self._still_alive()
        self._disk.struck = False
        await self.inner.__aenter__()
        self._open = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._still_alive()
        if self._open:
            self._open = False
            await self.inner.__aexit__(*exc)

    def wreck(self) -> None:
        """The node was killed."""
        if self._open:
            self._open = False
            self._disk.wreck(self.inner)

    async def apply(self, needs: Callable[[], Needs], decide: Callable[[Table], T]) -> T:
        """One commit, which a cancelled caller does not cut, and a death does."""
        await self._still_alive()
        deeds: list[Deed] = []

        def watched(table: Table) -> T:
            result = decide(cast("Table", Watched(table, deeds)))
            if _spoiled(table):
                raise RowRefused("drawn: a row that cannot be stored")
            return result

        return await self._uncut(lambda: self.inner.apply(needs, watched), lambda: self._committed(deeds))

    def _committed(self, deeds: Sequence[Deed]) -> None:
        self._disk.judge.committed(deeds, self._host)
        self._disk.cut(self._host)

    async def _uncut(self, work: Callable[[], Awaitable[T]], then: Callable[[], None] | None = None) -> T:
        """Work that a cancelled caller waits for; a commit, if something is to be done right after it."""
        disk = self._disk
        fault = disk.fault(commit=then is not None)
        done: outcome.Outcome[T] | None = None
        with trio.CancelScope(shield=True) as shield:
            self._host.shields.append(shield)
            await trio.sleep(disk.delay())
            if isinstance(fault, StoreFailed):
                self._host.failed = True
            if fault is not None and not (isinstance(fault, StoreFailed) and disk.rng.random() < 0.5):
                done = outcome.Error(fault)
            else:
                done = await outcome.acapture(work)
                if isinstance(done, outcome.Value) and then is not None:
                    then()
                if fault is not None:
                    done = outcome.Error(fault)
            await trio.sleep(disk.delay())
        self._host.shields.remove(shield)
        await self._still_alive()
        assert done is not None
        return done.unwrap()

    async def _still_alive(self) -> None:
        if not self._host.alive:
            await trio.sleep_forever()

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """All else only reads: it is passed on."""
        read = getattr(self.inner, name)

        async def passed(*args: Any, **more: Any) -> Any:
            return await self._uncut(lambda: read(*args, **more))

        return passed
