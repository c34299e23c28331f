"""The storage contract: what every engine must do. One exam, `tests/contract/`, is sat by all of them.

An engine holds the job table and no rules. It changes the table by one verb only:

    result = await store.apply(needs, decide)

The engine loads the rows that `needs()` names (one whose rows are a call away need not ask), hands them as a `Table` to
`decide` (rules; pure; returns anything), and commits `table.changes` in ONE transaction before it returns what `decide`
returned. If `decide` raises, nothing changes and the error comes out. Where `decide` runs is the engine's affair:

memory   inline, on dictionaries
sqlite   inside the transaction, on the engine's one writing thread: load, decide, commit are one thread hop
redis    between load and commit, on the node: (1) one pipeline loads what `needs` names: jobs by id, keys, lanes
         and bands of the queues, for each claim the first lanes and their heads, what is due up to `most_due`;
         (2) `decide`; (3) ONE Lua script compares (status, epoch) of each changed job, the lanes' counters and the
         keys with what was loaded, writes all of `changes` or nothing, and publishes the nudge. If it lost, (1) to (3)
         are done again, so `decide` may run more than once and must have no effect but its result.

So `decide` reads nothing that `needs` does not name; the memory engine enforces that. The verbs one by one, and how
Redis does them: job and heads = HGET and ZRANGE by place; ready = ZRANGE of the queue's ready set, scored by (priority,
turn); due = ZRANGEBYSCORE; count = HINCRBY in the script; key = GET with PX; orphans = by the node's lease instead of
boot_id.

Reads that decide nothing (`get`, `page`, `matching`, `attempts`, `lines`) see all that was answered before they began.

Errors: StorageFull (nothing changed; may heal), StoreUnavailable (unknown whether it changed), StoreFailed (the engine
can no longer be trusted), RowRefused (the batch holds a row that the engine cannot store; nothing changed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar

from jobqueue.clock import Micros
from jobqueue.errors import StoreUnavailable
from jobqueue.job import AttemptRecord, Job, Json, LaneKey, Line, Status
from jobqueue.queue import Known
from jobqueue.rules.table import Table
from jobqueue.schedule import Schedule
from jobqueue.stores.paths import Way, paths

T = TypeVar("T")


class StoreFailed(StoreUnavailable):
    """The engine can no longer be trusted (an I/O error): the process must end and start afresh."""


class RowRefused(Exception):
    """A row of the batch cannot be stored, by itself; nothing of the batch was changed."""


@dataclass(slots=True)
class Needs:
    """What a batch will read.

    jobs: ids; with a job come the holder of its unique key, its children, and what it and they wait for. keys: (scope,
    key) of idempotency. uniques: (queue, key). schedules: names, "*" = those that fire; with one come the job that it
    made last and the holder of its unique key. lanes: where jobs will be put. claims: how many jobs of each queue ("*"
    = any). lines: queues of which the order of service is asked for, 1,000 lanes each. most_due: up to how many due
    jobs, surplus jobs and stale keys. orphans_of: the boot id whose own attempts are not orphans. The settings of all
    queues, what counts against their rates, and the lanes of a job's group are always there, as is the lane that a job
    moves to, and that of a schedule's job.
    """

    jobs: set[str] = field(default_factory=set)
    keys: set[tuple[str, str]] = field(default_factory=set)
    lanes: set[LaneKey] = field(default_factory=set)
    uniques: set[tuple[str, str]] = field(default_factory=set)
    schedules: set[str] = field(default_factory=set)
    claims: dict[str, int] = field(default_factory=dict)
    most_due: int = 0
    orphans_of: str | None = None
    lines: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs a page shows; None = any. Times are inclusive below, exclusive above.

    payload: (way, value), all of which the payload must hold (`paths.py`).
    """

    status: frozenset[Status] | None = None
    queue: str | None = None
    kind: str | None = None
    tag: str | None = None
    group: str | None = None
    created_after: Micros | None = None
    created_before: Micros | None = None
    payload: tuple[tuple[Way, Json], ...] = ()

    def matches(self, job: Job) -> bool:
        """Whether the page shows the job."""
        return (
            (self.status is None or job.status in self.status)
            and (self.queue is None or job.queue == self.queue)
            and (self.kind is None or job.kind == self.kind)
            and (self.group is None or job.group == self.group)
            and (self.tag is None or self.tag in job.options.tags)
            and (self.created_after is None or job.created_at >= self.created_after)
            and (self.created_before is None or job.created_at < self.created_before)
            and (not self.payload or paths(self.payload).match(job.payload))
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Jobs newest first; `before` is the seq to go on from, None at the end."""

    jobs: tuple[Job, ...]
    before: int | None


@dataclass(frozen=True, slots=True)
class Matches:
    """The same jobs by their ids alone."""

    ids: tuple[str, ...]
    before: int | None


@dataclass(frozen=True, slots=True)
class Engine:
    """What `/readyz` says of the store: its name, and what an answered submission survives."""

    name: str
    durability: str


class Store(Protocol):
    """One engine, opened. Use it in `async with`."""

    @property
    def engine(self) -> Engine:
        """Its name and its durability."""

    async def __aenter__(self) -> Self:
        """Open. Raises StartupError (exit code 2 in use, 74 damaged or newer)."""

    async def __aexit__(self, *exc: object) -> None:
        """Close, after what was answered is safe."""

    async def apply(self, needs: Callable[[], Needs], decide: Callable[[Table], T]) -> T:
        """Load, decide, commit: see above. A cancelled caller never cuts a commit."""

    async def next_due(self) -> Micros | None:
        """The first moment at which time changes anything, or None."""

    async def latest(self) -> Micros | None:
        """How far time has come, by what jobs, attempts and removals tell. May look at every job: for a boot."""

    async def get(self, ids: Sequence[str], *, whole: bool = True) -> Sequence[Job | Removed | None]:
        """Jobs by id, in order; with `whole` they have their result, error and progress, too."""

    async def page(self, wanted: Filter, before: int | None, limit: int, *, wide: bool = True) -> Page:
        """Up to `limit` jobs with seq < `before`, newest first, as of one moment.

        A page may be short, even empty, before the end: no more than `MOST_LOOKED` payloads are looked into, and an
        engine bounds what else it looks at; nor does it go on beyond `MOST_PAGE_BYTES` of text. Unless `wide`, the
        payloads read null, and results and tracebacks None.
        """

    async def matching(self, wanted: Filter, before: int | None, limit: int) -> Matches:
        """The ids of the jobs that `page` would show, whatever their size."""

    async def attempts(self, seq: int) -> Sequence[AttemptRecord]:
        """The attempts of a job that have ended, newest first, at most 100."""

    async def lines(self, seq: int) -> Sequence[Line]:
        """The log of a job, oldest first, its last 1,000 lines."""

    async def counts(self) -> Mapping[str, Sequence[int]]:
        """For each queue the number of jobs by status."""

    async def queues(self, name: str | None = None) -> Sequence[Known]:
        """All queues that are known, by their settings or their jobs, by name; or the one of that name.

        Of a queue with more than `MOST_HEADS` lanes only so many are asked who waits there.
        """

    async def schedule(self, name: str) -> Schedule | None:
        """A schedule."""

    async def schedules(self, after: str, most: int) -> tuple[Sequence[Schedule], bool]:
        """Up to `most` schedules from after the name `after`, by name, and whether more follow.

        Fewer, but one, if they are large.
        """


class Removed:
    """Stands for a job that existed and was removed."""


REMOVED = Removed()
MOST_ATTEMPTS = 100
MOST_LINES = 1_000
MOST_SCHEDULE_BYTES = 16 << 20  # of text in one answer
MOST_TOMBSTONES = 100_000
MOST_HEADS = 10_000  # lanes
MOST_LOOKED = 10_000  # rows, in search of those of one queue, or with some payload
MOST_PAGE_BYTES = 8 << 20
TOMBSTONE_SECONDS = 7 * 86_400  # afterwards nothing tells a removed job from one that never was

Decide = Callable[[Table], Any]
