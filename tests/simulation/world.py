"""A run whose every decision comes from its seed: the scheduler's order, time, chance and ids; and a trace of it.

Trio can sort and shuffle each batch of runnable tasks by a generator of its own, for Hypothesis; both names are private
to it, which is why its version is pinned to a minor.
"""

from __future__ import annotations

import gc
import hashlib
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import trio
import trio._core._run as scheduler
from trio.testing import MockClock

from jobqueue.clock import SECOND, Micros, World, micros

EPOCH: Micros = 1_800_000_000 * SECOND  # 2027-01-15T08:00:00Z
TAIL = 60


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """Trio's order of tasks comes from the seed; no garbage is collected meanwhile, since that runs code as well."""
    names: dict[str, Any] = vars(scheduler)
    flag, state = names["_ALLOW_DETERMINISTIC_SCHEDULING"], names["_r"].getstate()
    names["_ALLOW_DETERMINISTIC_SCHEDULING"] = True
    names["_r"].seed(seed)
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        names["_ALLOW_DETERMINISTIC_SCHEDULING"] = flag
        names["_r"].setstate(state)
        if collecting:
            gc.enable()


def seeded_run(seed: int, main: Callable[[], Awaitable[None]], steps: Steps) -> None:
    """`trio.run` with time and order from the seed."""
    with _deterministic(seed):
        trio.run(main, clock=MockClock(autojump_threshold=0), instruments=[steps])


class Trace:
    """What happened: a digest of all of it, and its last lines for people."""

    def __init__(self, *, keep: int = TAIL) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._keep = keep
        self.tail: list[str] = []

    def __call__(self, *said: object) -> None:
        line = f"{trio.current_time():10.4f}  {' '.join(map(str, said))}"
        self.step(line)
        self.tail.append(line)
        if len(self.tail) > 2 * self._keep:
            del self.tail[: -self._keep]

    def step(self, name: str) -> None:
        """Only into the digest."""
        self._hash.update(name.encode())

    def digest(self) -> str:
        """One value for the whole schedule."""
        return self._hash.hexdigest()


class Steps(trio.abc.Instrument):
    """Sees every step of every task: notes it, crashes the node at the drawn ones, and lets clients hang up."""

    def __init__(self, trace: Trace, crash_at: tuple[int, ...]) -> None:
        self._trace = trace
        self._crash_at = list(crash_at)
        self.count = 0
        self.crash: Callable[[str], object] | None = None
        self.leaving: dict[trio.lowlevel.Task, tuple[int, Callable[[], object]]] = {}

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1
        self._trace.step(task.name)
        if self._crash_at and self.count >= self._crash_at[0] and self.crash is not None:
            del self._crash_at[0]
            self.crash(f"step {self.count}")
        if task in self.leaving:
            left, leave = self.leaving[task]
            if left:
                self.leaving[task] = (left - 1, leave)
            else:
                del self.leaving[task]
                leave()

    def no_more_crashes(self) -> None:
        """The faults are over."""
        self._crash_at.clear()


class Wall:
    """The wall clock, which may jump."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._greatest = 0.0

    def now(self) -> Micros:
        """UTC."""
        return EPOCH + micros(trio.current_time() + self._offset)

    def jump(self, seconds: float) -> None:
        """Set it forward or back."""
        self._offset += seconds
        self._greatest = max(self._greatest, self._offset)

    def settle(self) -> None:
        """To the greatest it ever was, so that no moment that somebody named lies far ahead."""
        self._offset = self._greatest


class Chance:
    """What the program gets as chance and ids."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"run {seed}")
        self._numbers = count(1)

    def new_id(self) -> str:
        """An id of the form of a UUIDv7."""
        return f"01920000-0000-7000-8000-{next(self._numbers):012x}"

    def world(self, wall: Wall, life: int) -> World:
        """The outside, as one life of the program sees it."""
        return World(
            now=wall.now,
            monotonic=trio.current_time,
            chance=self.rng.random,
            new_id=self.new_id,
            boot_id=f"boot-{life}",
        )
