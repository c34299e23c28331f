"""Whether an operation costs more when more is queued: the same ones on two files in turn, a small one and a large one.

    python -m tests.benchmarks.depth SMALL LARGE

Both files are open in one process, so what disturbs one disturbs the other. Batches are of the size that a busy server
has (64 submitters, 32 takers, 64 readers), and a round leaves each file as deep as it found it. What is compared is the
lower quartile over the rounds: noise can only add to a cost.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import trio

from jobqueue import logs
from jobqueue.actors.commands import Order
from jobqueue.actors.reader import Reads
from jobqueue.job import Ending, Job, Outcome
from jobqueue.mailbox import Orders
from jobqueue.rules.admission import Want
from jobqueue.server import Server
from tests.benchmarks.inside import DRAFT, SUBMITTERS, Bench
from tests.benchmarks.machine import percentile

ROUNDS = 15
TAKERS = 32
TURNS = 16
EACH = TAKERS * TURNS // SUBMITTERS
WANTS = [Want(("default",), tuple(f"taker-{number}" for number in range(TAKERS)))]


class Subject:
    """One file, and what each operation on it took, in microseconds."""

    def __init__(self, server: Server, file: Path, chance: random.Random) -> None:
        self._state = server.state
        self._reads: Reads = server.front._parts.reads
        told = json.loads(file.with_suffix(".json").read_text())
        self._ids: Sequence[str] = told["ids"]
        names: list[str | None] = [f"g{number}" for number in range(told["groups"])]
        self._drafts = [msgspec.structs.replace(DRAFT, group=name) for name in names or [None]]
        self._chance = chance
        self._orders: list[list[Orders[Order]]] = [[Orders() for _ in range(TAKERS)]]
        self._claimed: Sequence[Job] = ()
        self.taken: dict[str, list[float]] = {"submit": [], "claim": [], "done": [], "status": []}

    async def round(self) -> None:
        """Submit 512, read as many, claim as many and end them."""
        await self._clock("submit", EACH * SUBMITTERS, self._at_once(self._submit))
        await self._clock("status", EACH * SUBMITTERS, self._at_once(self._look))
        for _ in range(TURNS):
            await self._clock("claim", TAKERS, self._claim)
            await self._clock("done", TAKERS, self._end)

    async def _clock(self, what: str, operations: int, work: Callable[[], Awaitable[None]]) -> None:
        began = time.perf_counter()
        await work()
        self.taken[what].append(1e6 * (time.perf_counter() - began) / operations)

    def _at_once(self, ask: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
        async def one() -> None:
            for _ in range(EACH):
                await ask()

        async def all_of_them() -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(SUBMITTERS):
                    nursery.start_soon(one)

        return all_of_them

    async def _submit(self) -> None:
        await self._state.submit((self._chance.choice(self._drafts),))

    async def _look(self) -> None:
        await self._reads.job(self._chance.choice(self._ids))

    async def _claim(self) -> None:
        settled = await self._state.turn((), WANTS, self._orders)
        self._claimed = settled.claims.jobs[0]
        if len(self._claimed) != TAKERS:
            raise AssertionError(f"{len(self._claimed)} claimed instead of {TAKERS}")

    async def _end(self) -> None:
        await self._state.turn([Outcome(job.id, job.epoch, Ending.DONE, "null") for job in self._claimed], (), ())


async def compare(small: Path, large: Path) -> dict[str, float]:
    """Microseconds an operation, by file: `submit small`, `submit large`, ..."""
    chance = random.Random(8)
    async with Bench(small, 0).assembled() as one, Bench(large, 0).assembled() as other:
        subjects = {"small": Subject(one, small, chance), "large": Subject(other, large, chance)}
        for _ in range(ROUNDS):
            for subject in subjects.values():
                await subject.round()
    return {
        f"{what} {name}": percentile(taken, 25)
        for name, subject in subjects.items()
        for what, taken in subject.taken.items()
    }


if __name__ == "__main__":
    logs.configure("json", "warning")
    print(json.dumps(trio.run(compare, Path(sys.argv[1]), Path(sys.argv[2]))))
