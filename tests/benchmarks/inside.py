"""What is measured inside one process, without HTTP: each measure in a fresh interpreter that prints one line of JSON.

python -m tests.benchmarks.inside e2e FILE JOBS WORKERS       submit to done, 64 submitters
python -m tests.benchmarks.inside drain FILE JOBS WORKERS     JOBS that are queued already
python -m tests.benchmarks.inside raw FILE JOBS               the limit: SQLite alone, the same writes
python -m tests.benchmarks.inside fill FILE JOBS GROUPS       queue JOBS, in GROUPS groups (0: none)
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from jobqueue import logs
from jobqueue.clock import system_world
from jobqueue.config import Config
from jobqueue.handlers import Context, Handlers
from jobqueue.job import Draft, Status
from jobqueue.server import Server, assembled
from jobqueue.stores.sqlite import SqliteStore
from jobqueue.stores.sqlite.thread import OneThread
from tests.benchmarks import raw
from tests.benchmarks.load import PAYLOAD
from tests.benchmarks.machine import percentile

SUBMITTERS = 64
BULK = 1_000
DRAFT = Draft("noop", payload=json.dumps(PAYLOAD))


class Bench:
    """The real program but for HTTP, on a file, with a no-op handler that counts its starts."""

    def __init__(self, file: Path, workers: int, *, runner: type[OneThread] = OneThread) -> None:
        self._world = system_world()
        self._config = Config(workers=workers)
        make: Any = runner
        self.store = SqliteStore(str(file), self._world.now, runner=make)
        self.started = 0

    def assembled(self) -> AbstractAsyncContextManager[Server]:
        """Run it."""
        handlers = Handlers()

        @handlers.register("noop")
        async def noop(_ctx: Context, _payload: Any) -> None:
            self.started += 1

        return assembled(self._config, self._world, self.store, handlers)

    async def all_done(self, jobs: int) -> None:
        """Until so many have ended, and that is committed."""
        while self.started < jobs or await self._done() < jobs:  # noqa: ASYNC110 - a look costs less than an event a job
            await trio.sleep(0.002)

    async def _done(self) -> int:
        counts = await self.store.counts()
        return sum(of_queue[Status.DONE] for of_queue in counts.values())


async def fill(server: Server, jobs: int, groups: int = 0) -> list[str]:
    """Queue jobs, a thousand a call, round the groups; up to 10,000 of their ids."""
    ids: list[str] = []
    step = max(1, jobs // 10_000)
    for start in range(0, jobs, BULK):
        drafts: Sequence[Draft] = [DRAFT] * min(BULK, jobs - start)
        if groups:
            names = (f"g{(start + index) % groups}" for index in range(len(drafts)))
            drafts = [Draft("noop", group=name, payload=DRAFT.payload) for name in names]
        accepted = await server.state.submit(drafts)
        ids += [job.id for job in accepted.jobs if job.seq % step == 0]
    return ids


async def submit_singly(server: Server, jobs: int) -> list[float]:
    """One job a call from 64 submitters at once; what each answer took, in milliseconds."""
    taken: list[float] = []

    async def submitter() -> None:
        for _ in range(jobs // SUBMITTERS):
            began = time.perf_counter()
            await server.state.submit((DRAFT,))
            taken.append(1e3 * (time.perf_counter() - began))

    async with trio.open_nursery() as nursery:
        for _ in range(SUBMITTERS):
            nursery.start_soon(submitter)
    return taken


@asynccontextmanager
async def metered(figures: dict[str, float], jobs: int) -> AsyncIterator[None]:
    """Note the rate, and the CPU per job."""
    used, began = time.process_time(), time.perf_counter()
    yield
    figures["rate"] = jobs / (time.perf_counter() - began)
    figures["cpu"] = 1e6 * (time.process_time() - used) / jobs


async def end_to_end(file: Path, jobs: int, workers: int) -> dict[str, float]:
    """Submit to done."""
    figures: dict[str, float] = {}
    bench = Bench(file, workers)
    jobs = jobs // SUBMITTERS * SUBMITTERS
    async with bench.assembled() as server, metered(figures, jobs):
        taken = await submit_singly(server, jobs)
        await bench.all_done(jobs)
    return {**figures, "p50": percentile(taken, 50), "p99": percentile(taken, 99)}


async def drain(file: Path, jobs: int, workers: int) -> dict[str, float]:
    """Run what is queued already."""
    await filled(file, jobs, 0)
    figures: dict[str, float] = {}
    bench = Bench(file, workers)
    async with bench.assembled(), metered(figures, jobs):
        await bench.all_done(jobs)
    return figures


async def filled(file: Path, jobs: int, groups: int) -> dict[str, float]:
    """Make a file with jobs in it, and beside it what `depth` must know of them."""
    figures: dict[str, float] = {}
    async with Bench(file, 0).assembled() as server, metered(figures, jobs):
        ids = await fill(server, jobs, groups)
    file.with_suffix(".json").write_text(json.dumps({"ids": ids, "groups": groups}))
    return figures


def main(what: str, file: Path, jobs: int, number: int = 0) -> dict[str, float]:
    """Measure one thing."""
    logs.configure("json", "warning")
    match what:
        case "raw":
            return raw.measure(file, jobs)
        case _:
            measures = {"e2e": end_to_end, "drain": drain, "fill": filled}
            return trio.run(measures[what], file, jobs, number)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))))
