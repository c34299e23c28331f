"""What is durable and outlives the node: the memory engine's tables, or an SQLite file. And what goes wrong with it."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol
from uuid import UUID

import apsw
import trio

from jobqueue.clock import Micros
from jobqueue.errors import JobQueueError, StorageFull, StoreUnavailable
from jobqueue.job import Job, Lane, LaneKey, Status
from jobqueue.queue import Queue
from jobqueue.schedule import Schedule
from jobqueue.stores.contract import Store, StoreFailed
from jobqueue.stores.memory import MemoryStore
from jobqueue.stores.sqlite import SqliteStore, codec, rows
from jobqueue.stores.sqlite.cache import Cache
from jobqueue.stores.sqlite.settings import schedule_of
from tests.helpers import Inline
from tests.simulation import book, oracle
from tests.simulation.keys import Place
from tests.simulation.plan import Plan

QUICK = (0.0, 0.0, 0.0, 0.001, 0.01, 0.03)  # two of them fit into what a stop waits for the last give-back
SLOW = (*QUICK, 1.0, 5.0)
EPISODES = (0.0, 1.0, 6.0)  # how long a fault of the disk lasts
EPISODE_CHANCE = 0.06
SPOILED = "spoiled"  # a text that the store refuses to keep
RAM = Path("/dev/shm")


class Settings(NamedTuple):
    """Queues and schedules by name, and who holds which unique key."""

    queues: Mapping[str, Queue] = {}
    schedules: Mapping[str, Schedule] = {}
    holders: Mapping[Place, str] = {}


class Host(book.Host, Protocol):
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

    def settings(self) -> Settings:
        """What users set up, as it is stored."""
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
        return faults + self._audit_settings()

    def _audit_settings(self) -> list[str]:
        queues, schedules, holders = self.settings()
        judge = self.judge
        pairs = (
            (dict(queues), judge.bounds.settings),
            (dict(schedules), judge.timetable.schedules),
            (dict(holders), judge.keys.holders()),
        )
        return [f"{stored} is stored, but was {committed}" for stored, committed in pairs if stored != committed]


def _core(job: Job) -> tuple[object, ...]:
    return (
        job.seq, job.status, job.reason, job.priority, job.place, job.attempt, job.crashes, job.epoch, job.alone,
        None if job.status.ended else job.due_at,  # then it is when it is removed, which moves with many things
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

    def settings(self) -> Settings:
        """As the dictionaries have it."""
        return Settings(self._tables.queues, self._tables.schedules, self._tables.holders)


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
        if not Path(self._path).exists():  # the first life died before it had made one
            return [], {}, []
        connection = apsw.Connection(self._path)
        try:
            cache = Cache(connection)
            select = rows.BY_ID.partition(" WHERE ")[0]
            jobs = [codec.job(row) for row in connection.execute(select)]
            return jobs, cache.counts, list(cache.lanes.lanes.values())
        finally:
            connection.close()

    def settings(self) -> Settings:
        """As a process sees them that opens the file."""
        if not Path(self._path).exists():
            return Settings()
        connection = apsw.Connection(self._path)
        try:
            schedules = [schedule_of(data) for (data,) in connection.execute("SELECT data FROM schedules")]
            holders = connection.execute("SELECT queue, key, id FROM uniques")
            return Settings(
                Cache(connection).settings.queues,
                {schedule.name: schedule for schedule in schedules},
                {(queue, key): str(UUID(bytes=id)) for queue, key, id in holders},
            )
        finally:
            connection.close()

    def close(self) -> None:
        """Remove it."""
        self._folder.cleanup()
