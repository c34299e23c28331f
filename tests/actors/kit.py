"""What the tests of the actors stand on: virtual time, a wall clock that jumps, an engine that fails on order.

Nothing here stands in for code of ours: the actors are the real ones, on the memory engine.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import trio
import trio.testing

from jobqueue.actors.commands import Order, Settled
from jobqueue.actors.dispatcher import Dispatch
from jobqueue.actors.state import StateActor
from jobqueue.actors.state_handle import State
from jobqueue.clock import Micros, World, micros
from jobqueue.errors import JobQueueError
from jobqueue.job import Ending, Job, Outcome, Status
from jobqueue.mailbox import Nudge, Orders
from jobqueue.rules.admission import Want
from jobqueue.rules.changes import Changes
from jobqueue.rules.lifecycle import Limits
from jobqueue.rules.table import Table
from jobqueue.server import running
from jobqueue.stores.contract import Needs
from jobqueue.stores.memory import MemoryStore
from tests.helpers import EPOCH, draft, new_id

T = TypeVar("T")

SCHEDULE = int(os.environ.get("SCHEDULE", "0"))  # another number finds other races
HANG_SECONDS = 3 * 86_400  # of virtual time, which a test that waits for nothing gets through in a moment
SPIN_LOOKS = 20_000  # at the clock, while it stands still


def on_virtual_time(test: Callable[[], Awaitable[None]], **_: Any) -> None:
    """Run an async test on a clock that jumps whenever all tasks wait; one that hangs fails."""

    async def bounded() -> None:
        with trio.fail_after(HANG_SECONDS):
            await test()

    schedule(SCHEDULE)
    trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0))


def schedule(seed: int) -> None:
    """Let Trio choose among tasks that are ready in an order of this seed: the same each time."""
    trio._core._run._r.seed(seed)  # pytest-trio has made nothing else decide


class Outside:
    """What the program is told of the outside: Trio's clock, and a wall clock that a test puts forward or back."""

    def __init__(self, boot_id: str = "boot-1") -> None:
        self.shift = 0.0
        self.boot_id = boot_id
        self._looked_at = -1.0
        self._looks = 0

    def now(self) -> Micros:
        """UTC."""
        return EPOCH + micros(trio.current_time() + self.shift)

    def monotonic(self) -> float:
        """Seconds of the virtual clock. Fails whoever asks for ever without letting it go on."""
        now = trio.current_time()
        self._looks = self._looks + 1 if now == self._looked_at else 0
        self._looked_at = now
        assert self._looks < SPIN_LOOKS, "an actor spins"
        return now

    def world(self) -> World:
        """It as a seam."""
        return World(now=self.now, monotonic=self.monotonic, chance=lambda: 0.5, new_id=new_id, boot_id=self.boot_id)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit changed, and when."""

    at: float
    jobs: Sequence[Job]
    lines: int


def nothing(_changes: Changes) -> None:
    """No fault."""


@dataclass
class Engine(MemoryStore):
    """The memory engine, which notes its commits, may hold one at a door, and may refuse one.

    fault: raises for changes that this engine is not to take. door: where a commit waits, once it is under way.
    hops: how many rounds of the scheduler a commit takes.
    """

    clock: Callable[[], Micros]
    batches: list[Batch] = field(default_factory=list)
    calls: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    fault: Callable[[Changes], None] = nothing
    due_fault: Callable[[], None] = lambda: None
    door: trio.Event | None = None
    hops: Callable[[], int] = lambda: 1

    def __post_init__(self) -> None:
        super().__init__(self.clock)

    async def apply(self, needs: Needs, decide: Callable[[Table], T]) -> T:
        """As the memory engine does, but not in an instant, and never cut short."""
        self.calls += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            with trio.CancelScope(shield=True):
                if self.door is not None:
                    await self.door.wait()
                for _ in range(self.hops()):
                    await trio.lowlevel.checkpoint()
            return await super().apply(needs, lambda table: self._decide(decide, table))
        finally:
            self.in_flight -= 1

    def _decide(self, decide: Callable[[Table], T], table: Table) -> T:
        result = decide(table)
        changes = table.changes
        if not changes.empty():
            self.fault(changes)
            jobs = [after for _, after in changes.jobs.values() if after is not None]
            self.batches.append(Batch(trio.current_time(), jobs, len(changes.lines)))
        return result

    async def next_due(self) -> Micros | None:
        """As the memory engine."""
        self.calls += 1
        self.due_fault()
        return await super().next_due()

    def statuses(self) -> list[Status]:
        """Of all jobs, in the order in which they were accepted."""
        return [job.status for job in sorted(self.tables.jobs.values(), key=lambda job: job.seq)]

    def only(self) -> Job:
        """The one job that there is."""
        (job,) = self.tables.jobs.values()
        return job


def raising(error: Exception) -> Callable[..., None]:
    """A fault that is always there."""

    def fault(*_: object) -> None:
        raise error

    return fault


def refusing(text: str, error: Exception) -> Callable[[Changes], None]:
    """A fault of every batch with a job whose payload or result is `text`."""

    def fault(changes: Changes) -> None:
        if any(after is not None and text in (after.payload, after.result) for _, after in changes.jobs.values()):
            raise error

    return fault


@asynccontextmanager
async def serving(
    engine: Engine, outside: Outside, claimable: Nudge | None = None, limits: Limits | None = None
) -> AsyncIterator[State]:
    """A state actor at work."""
    actor = StateActor(engine, outside.world(), limits or Limits(), claimable or Nudge())
    await actor.recover()
    async with running(actor) as state:
        yield state


async def add(state: State, kind: str = "noop", **fields: Any) -> Job:
    """Have one job accepted."""
    return (await state.submit([draft(kind, **fields)])).jobs[0]


async def claim(
    state: State, most: int = 1, *, queue: str = "default", orders: Sequence[Orders[Order]] = ()
) -> list[Job]:
    """Start up to `most` jobs."""
    channels = list(orders) or [Orders[Order]() for _ in range(most)]
    workers = tuple(f"w{number}" for number in range(most))
    return list((await state.turn((), [Want((queue,), workers)], [channels])).claims.jobs[0])


async def settle(state: State, *jobs: Job, ending: Ending = Ending.DONE, **fields: Any) -> list[Job | JobQueueError]:
    """Report how the attempts ended; what became of each."""
    outcomes = [Outcome(job.id, job.epoch, ending, **fields) for job in jobs]
    return list((await state.turn(outcomes, (), ())).fates)


def turn(state: State, *jobs: Job, wants: int = 0) -> Callable[[], Awaitable[Settled]]:
    """For a task of its own: a turn that ends the jobs and wants others."""
    outcomes = [Outcome(job.id, job.epoch, Ending.DONE) for job in jobs]
    want = [Want(("default",), ("w",) * wants)] if wants else []
    return lambda: state.turn(outcomes, want, [[Orders() for _ in range(wants)]] if wants else [])


async def take(dispatch: Dispatch, worker: str = "w", done: Outcome | None = None, *queues: str) -> Job:
    """Wait for a job as a taker does."""
    return await dispatch.next(worker, queues or ("default",), Orders(), done)


async def settled() -> None:
    """Let every task go on until all of them wait."""
    await trio.testing.wait_all_tasks_blocked()


class Call:
    """An ask that is under way in a task of its own: what it returned or raised, once it has."""

    def __init__(self, nursery: trio.Nursery, ask: Callable[[], Awaitable[Any]]) -> None:
        self.value: Any = None
        self.error: Exception | None = None
        self.at: float | None = None
        self._scope = trio.CancelScope()
        self._over = trio.Event()
        nursery.start_soon(self._run, ask)

    @property
    def over(self) -> bool:
        """Whether it has been answered."""
        return self.at is not None

    async def wait(self) -> Any:
        """What it returned; raises what it raised."""
        await self._over.wait()
        if self.error is not None:
            raise self.error
        return self.value

    def leave(self) -> None:
        """Stop waiting for the answer."""
        self._scope.cancel()

    async def _run(self, ask: Callable[[], Awaitable[Any]]) -> None:
        try:
            with self._scope:
                try:
                    self.value = await ask()
                except Exception as error:  # noqa: BLE001 - told by wait()
                    self.error = error
                self.at = trio.current_time()
        finally:
            self._over.set()
