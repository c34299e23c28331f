"""Where the tests of the actors run: virtual time, a wall clock that jumps, and an engine that fails on order.

Nothing here stands in for code of ours: the engine is the memory engine, and does what a slower one would.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import trio
import trio.testing

from jobqueue.clock import Micros, World, micros
from jobqueue.job import Job, Status
from jobqueue.rules.changes import Changes
from jobqueue.rules.table import Table
from jobqueue.stores.contract import Needs
from jobqueue.stores.memory import MemoryStore
from tests.helpers import EPOCH, new_id

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

    async def apply(self, needs: Callable[[], Needs], decide: Callable[[Table], T]) -> T:
        """As the memory engine does, but not in an instant, and never cut short."""
        self.calls += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            with trio.CancelScope(shield=True):
                if self.door is not None and not self.door.is_set():
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
