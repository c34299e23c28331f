"""The durable medium, which outlives the node: the memory engine's tables, or an SQLite file.

`Medium` is the store that one life of the program opens. It lets each call take a drawn time before and after its work,
so that a commit can be in flight when the node dies: before, it was never made, after, it was; never half. Once the
node is dead no call comes back.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar, cast

import apsw
import outcome
import trio

from jobqueue.clock import Micros
from jobqueue.errors import JobQueueError, StorageFull, StoreUnavailable
from jobqueue.job import AttemptRecord, Job, Lane, LaneKey, Status
from jobqueue.rules.changes import Line
from jobqueue.rules.table import Table
from jobqueue.stores.contract import Engine, Filter, Needs, Page, Removed, RowRefused, Store, StoreFailed
from jobqueue.stores.memory import MemoryStore
from jobqueue.stores.sqlite import SqliteStore
from tests.helpers import Inline
from tests.simulation import oracle
from tests.simulation.plan import Plan

T = TypeVar("T")

QUICK = (0.0, 0.0, 0.0, 0.001, 0.01, 0.2)
SLOW = (*QUICK, 1.0, 5.0)
EPISODES = (0.0, 1.0, 6.0)  # how long a fault of the disk lasts
EPISODE_CHANCE = 0.06
SPOILED = "spoiled"  # a text that the store refuses to keep
RAM = Path("/dev/shm")


class Host(oracle.Host, Protocol):
    """The life of the program that opened the medium."""

    alive: bool
    shields: list[trio.CancelScope]
    failed: bool

    def crash(self, why: str) -> None:
        """End it as kill -9 does."""


class Disk:
    """What survives. `cuts` are the commits at which the node is killed."""

    def __init__(self, plan: Plan, rng: random.Random, judge: oracle.Oracle, now: Callable[[], Micros]) -> None:
        self._plan = plan
        self.rng = rng
        self.judge = judge
        self.now = now
        self.faulty = True
        self.struck = False  # a fault of the disk was met in this life
        self._commits = 0
        self._until = 0.0
        self._error: type[JobQueueError] = StorageFull

    def engine(self) -> Store:
        """The engine on what is durable, not open yet."""
        raise NotImplementedError

    def wreck(self, engine: Store) -> None:
        """The process that had it open is gone."""

    def contents(self) -> tuple[list[Job], Mapping[str, Sequence[int]], list[Lane]]:
        """Jobs, counters and lanes as they are stored."""
        raise NotImplementedError

    def close(self) -> None:
        """The run is over."""

    def delay(self) -> float:
        """How long a call takes, before and after its work."""
        return self.rng.choice(SLOW if self.faulty and self._plan.has("slow") else QUICK)

    def fault(self, *, commit: bool) -> JobQueueError | None:
        """What goes wrong with the next call: nothing, mostly. A full disk can still be read."""
        kinds: tuple[tuple[str, type[JobQueueError]], ...] = (
            ("full", StorageFull),
            ("busy", StoreUnavailable),
            ("failed", StoreFailed),
        )
        if not self.faulty:
            return None
        if trio.current_time() >= self._until:
            for name, kind in kinds:
                if self._plan.has(name) and self.rng.random() < EPISODE_CHANCE:
                    self._until = trio.current_time() + self.rng.choice(EPISODES)
                    self._error = kind
                    break
            else:
                return None
        if self._error is StorageFull and not commit:
            return None
        self.struck = True
        return self._error(f"drawn: {self._error.code}")

    def cut(self, host: Host) -> None:
        """Around a commit: perhaps the node dies here."""
        self._commits += 1
        if self.faulty and self._commits in self._plan.cuts:
            host.crash(f"commit {self._commits}")

    def audit(self) -> list[str]:
        """What is wrong with what is stored: it must be what was committed, and its counters those of a recount."""
        jobs, counts, lanes = self.contents()
        stored = {job.id: _core(job) for job in jobs}
        committed = {id: _core(job) for id, job in self.judge.jobs.items()}
        faults = [f"{id} is stored as {stored.get(id)}" for id in committed if stored.get(id) != committed[id]]
        faults += [f"{id} is stored, but was never committed" for id in stored if id not in committed]
        recount: dict[str, list[int]] = {queue: [0] * len(Status) for queue in counts}
        held: dict[LaneKey, list[int]] = {}
        for job in jobs:
            recount.setdefault(job.queue, [0] * len(Status))[job.status] += 1
            if job.status in (Status.QUEUED, Status.RUNNING):
                held.setdefault(job.lane, [0, 0])[job.status is Status.RUNNING] += 1
        if recount != {queue: list(found) for queue, found in counts.items()}:
            faults.append(f"the counters say {counts}, a recount {recount}")
        counted = {lane.key: [lane.queued, lane.running] for lane in lanes if lane.queued or lane.running}
        if counted != held:
            faults.append(f"the lanes say {counted}, a recount {held}")
        return faults


def _core(job: Job) -> tuple[object, ...]:
    return (
        job.seq, job.status, job.reason, job.place, job.attempt, job.crashes, job.epoch, job.alone, job.due_at,
        job.started_at, job.finished_at, job.next_attempt_at, job.cancel_requested_at, job.worker, job.boot_id,
        job.payload, job.options,
    )  # fmt: skip


class MemoryDisk(Disk):
    """The tables of the memory engine, kept from one life to the next."""

    def engine(self) -> Store:
        """An engine on the same tables."""
        engine = MemoryStore(self.now)
        kept = getattr(self, "_tables", None)
        if kept is not None:
            engine.tables = kept
        self._tables = engine.tables
        return engine

    def contents(self) -> tuple[list[Job], Mapping[str, Sequence[int]], list[Lane]]:
        """As the dictionaries have it."""
        return list(self._tables.jobs.values()), self._tables.counts, list(self._tables.lanes.values())


class FileDisk(Disk):
    """An SQLite file, in memory where the machine has such a place: power loss is tested elsewhere."""

    def __init__(self, plan: Plan, rng: random.Random, judge: oracle.Oracle, now: Callable[[], Micros]) -> None:
        super().__init__(plan, rng, judge, now)
        self._folder = tempfile.TemporaryDirectory(dir=RAM if os.access(RAM, os.W_OK) else None)
        self._path = f"{self._folder.name}/jobs.db"

    def engine(self) -> Store:
        """An engine on the same file; its work is done where it is asked for."""
        return SqliteStore(self._path, self.now, runner=Inline)

    def wreck(self, engine: Store) -> None:
        """What the kernel does for a killed process: its descriptors are closed, its locks are gone."""
        opened = vars(engine)
        if "_reading" in opened:
            opened["_reading"].close()
        if "_connection" in opened:
            opened["_connection"].config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            opened["_connection"].close()
        if "_lock" in opened:
            opened["_lock"].release()

    def contents(self) -> tuple[list[Job], Mapping[str, Sequence[int]], list[Lane]]:
        """As a process sees it that opens the file."""
        connection = apsw.Connection(self._path)
        try:
            from jobqueue.stores.sqlite import rows

            cache = rows.Cache(connection)
            select = rows.BY_ID.partition(" WHERE ")[0]
            jobs = [rows.codec.job(row) for row in connection.execute(select)]
            return jobs, cache.counts, list(cache.lanes.values())
        finally:
            connection.close()

    def close(self) -> None:
        """Remove it."""
        self._folder.cleanup()


class Watched:
    """A table that notes what the rules do to it, move by move."""

    def __init__(self, table: Table, moves: list[oracle.Move]) -> None:
        self._table = table
        self._moves = moves
        self._records: dict[int, AttemptRecord] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def add(self, job: Job) -> Job:
        """Accept."""
        self._moves.append(oracle.Move(None, job, None))
        return self._table.add(job)

    def put(self, before: Job, after: Job) -> Job:
        """Replace."""
        put = self._table.put(before, after)
        self._moves.append(oracle.Move(before, after, self._records.pop(before.seq, None)))
        return put

    def remove(self, job: Job) -> None:
        """Forget."""
        self._moves.append(oracle.Move(job, None, None))
        self._table.remove(job)

    def record(self, attempt: AttemptRecord) -> None:
        """An attempt has ended."""
        self._records[attempt.seq] = attempt
        self._table.record(attempt)


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

    async def apply(self, needs: Needs, decide: Callable[[Table], T]) -> T:
        """One commit, which a cancelled caller does not cut, and a death does."""
        await self._still_alive()
        moves: list[oracle.Move] = []

        def watched(table: Table) -> T:
            result = decide(cast("Table", Watched(table, moves)))
            if _spoiled(table):
                raise RowRefused("drawn: a row that cannot be stored")
            return result

        return await self._uncut(lambda: self.inner.apply(needs, watched), lambda: self._committed(moves))

    def _committed(self, moves: Sequence[oracle.Move]) -> None:
        self._disk.judge.committed(moves, self._host)
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

    async def next_due(self) -> Micros | None:
        """Passed on."""
        return await self._uncut(self.inner.next_due)

    async def get(self, ids: Sequence[str]) -> Sequence[Job | Removed | None]:
        """Passed on."""
        return await self._uncut(lambda: self.inner.get(ids))

    async def page(self, wanted: Filter, before: int | None, limit: int) -> Page:
        """Passed on."""
        return await self._uncut(lambda: self.inner.page(wanted, before, limit))

    async def attempts(self, seq: int) -> Sequence[AttemptRecord]:
        """Passed on."""
        return await self._uncut(lambda: self.inner.attempts(seq))

    async def lines(self, seq: int) -> Sequence[Line]:
        """Passed on."""
        return await self._uncut(lambda: self.inner.lines(seq))

    async def counts(self) -> Mapping[str, Sequence[int]]:
        """Passed on."""
        return await self._uncut(self.inner.counts)
