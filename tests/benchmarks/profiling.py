"""Where the time goes, between a floor and a goal: by function, of the loop's thread and of the one that writes.

    python -m tests.benchmarks profile post|drain|e2e [JOBS]

It runs twice. The first run has no profiler and tells what each thread uses in all. In the second one each thread has a
cProfile of its own, by that thread's CPU clock, so that waiting does not count; what the profiler costs a call is
measured first and taken off, and what remains is scaled to the sum of the first run. So the order is right, and a
function of a few tenths of a microsecond is a guess. What a C function takes is counted to its caller; a call is also
each time when a coroutine goes on. Python 3.11 only: from 3.12 on a process has one profiler for all its threads.
"""

from __future__ import annotations

import cProfile
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any, NamedTuple
from unittest import mock

import trio

from jobqueue import logs, server
from jobqueue.config import Config
from jobqueue.stores.sqlite import SqliteStore
from jobqueue.stores.sqlite.thread import OneThread
from tests.benchmarks import load
from tests.benchmarks.inside import Bench, filled, submit_singly
from tests.benchmarks.machine import LOAD_CORE, SERVER_CORE, on_core, say
from tests.benchmarks.over_http import CONNECTIONS, ONE_JOB
from tests.benchmarks.servers import ROOT, free_port

EXIT_USAGE = 2
TOP = 30
WORKERS = 32
POST_SECONDS = 3
LOOP, WRITER = "MainThread", "store-writer"
JOBS = {"post": 0, "drain": 30_000, "e2e": 12_800}

Watch = AbstractContextManager[object]


class Clocks:
    """What each of our threads uses while this is entered."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> None:
        self._began = self._read()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.seconds = {name: now - self._began[name] for name, now in self._read().items()}

    def _read(self) -> dict[str, float]:
        threads = {thread.name: thread.ident or 0 for thread in threading.enumerate()}
        return {name: time.clock_gettime(time.pthread_getcpuclockid(threads[name])) for name in (LOOP, WRITER)}


def profiler() -> cProfile.Profile:
    """For the thread that enables it."""
    return cProfile.Profile(time.thread_time_ns, 1e-9, builtins=False)


class Profiled(OneThread):
    """A store's thread that is profiled from its start to its end."""

    threads: dict[str, cProfile.Profile] = {}  # noqa: RUF012 - filled as they start

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__(name)

    def _loop(self) -> None:
        with profiler() as profile:
            self.threads[self._name] = profile
            super()._loop()


async def drain(watch: Watch, runner: type[OneThread], file: Path, jobs: int) -> int:
    """Jobs that are queued already."""
    await filled(file, jobs, 0)
    bench = Bench(file, WORKERS, runner=runner)
    async with bench.assembled():
        with watch:
            await bench.all_done(jobs)
    return jobs


async def e2e(watch: Watch, runner: type[OneThread], file: Path, jobs: int) -> int:
    """Submit to done."""
    bench = Bench(file, WORKERS, runner=runner)
    async with bench.assembled() as assembled:
        with watch:
            await submit_singly(assembled, jobs)
            await bench.all_done(jobs)
    return jobs


async def post(watch: Watch, runner: type[OneThread], file: Path, _jobs: int) -> int:
    """The whole server under load over HTTP."""
    handlers = ("tests.benchmarks.registry:handlers",)
    config = Config(port=free_port(), store=f"sqlite:{file}", workers=WORKERS, handlers=handlers)
    script = load.posting(file.parent, ONE_JOB)
    make: Any = runner

    def opened(_url: str, world: Any) -> SqliteStore:
        return SqliteStore(str(file), world.now, runner=make)

    with mock.patch.object(server, "open_store", opened):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run, config)
            await _listening(config.port)
            with watch:
                figures = await trio.to_thread.run_sync(_load, config.port, script)
            os.kill(os.getpid(), signal.SIGTERM)  # which the server takes as its end
    return round(figures["requests"])


async def _listening(port: int) -> None:
    while True:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            await trio.sleep(0.05)
        else:
            await stream.aclose()
            return


def _load(port: int, script: Path) -> dict[str, float]:
    with on_core(LOAD_CORE):
        return dict(load.wrk(port, script, CONNECTIONS, POST_SECONDS))


SUBJECTS: Mapping[str, Callable[[Watch, type[OneThread], Path, int], Awaitable[int]]]
SUBJECTS = {"post": post, "drain": drain, "e2e": e2e}


def _run(what: str, watch: Watch, runner: type[OneThread], jobs: int) -> int:
    """Run it on a new file; how many jobs there were."""
    with tempfile.TemporaryDirectory(prefix="jobqueue-bench-") as folder, on_core(SERVER_CORE):
        return trio.run(partial(SUBJECTS[what], watch, runner, Path(folder) / "jobs.db", jobs))


class Cost(NamedTuple):
    """What the profiler adds to a call, in seconds: to the function itself, and to its caller."""

    own: float
    caller: float

    @classmethod
    def measured(cls, calls: int = 100_000) -> Cost:
        """Of an empty function."""

        def empty() -> None: ...

        def caller() -> None:
            for _ in range(calls):
                empty()

        began = time.thread_time()
        caller()
        bare = time.thread_time() - began
        with profiler() as profile:
            caller()
        own = {entry.code: entry.inlinetime for entry in _entries(profile)}
        return cls(own[empty.__code__] / calls, (own[caller.__code__] - bare) / calls)


def _entries(profile: cProfile.Profile) -> list[Any]:
    return profile.getstats()


def _top(profile: cProfile.Profile, cost: Cost, jobs: int, used: float) -> list[str]:
    """The dearest functions of a thread that uses so many microseconds a job."""
    charged: list[tuple[float, int, CodeType]] = []
    for entry in _entries(profile):
        if isinstance(entry.code, CodeType):
            called = sum(callee.callcount for callee in entry.calls or ())
            own = entry.inlinetime - entry.callcount * cost.own - called * cost.caller
            charged.append((max(0.0, own), entry.callcount, entry.code))
    charged.sort(key=lambda charge: -charge[0])
    scale = used / sum(own for own, _, _ in charged)
    lines = ["    us   calls"]
    for own, calls, code in charged[:TOP]:
        file = code.co_filename.removeprefix(f"{ROOT}{os.sep}").rpartition(f"site-packages{os.sep}")[2]
        lines.append(f"{scale * own:6.2f} {calls / jobs:7.2f}  {file}:{code.co_firstlineno} {code.co_qualname}")
    return lines


def main(arguments: Sequence[str]) -> int:
    """Profile one thing; the exit code."""
    if not arguments or arguments[0] not in SUBJECTS or not all(word.isdecimal() for word in arguments[1:]):
        say("profile what? post, drain or e2e, and how many JOBS")
        return EXIT_USAGE
    what = arguments[0]
    asked = int(arguments[1]) if len(arguments) > 1 else JOBS[what]
    logs.configure("json", "warning")
    clocks = Clocks()
    jobs = _run(what, clocks, OneThread, asked)
    used = {name: 1e6 * seconds / jobs for name, seconds in clocks.seconds.items()}
    print(f"{what}: loop {used[LOOP]:.1f} us CPU a job, writer {used[WRITER]:.1f} us")
    if sys.version_info >= (3, 12):
        say("by function only under Python 3.11")
        return 0
    cost = Cost.measured()
    loop = profiler()
    jobs = _run(what, loop, Profiled, asked)
    for name, profile in {LOOP: loop, WRITER: Profiled.threads[WRITER]}.items():
        print("\n".join(["", name, *_top(profile, cost, jobs, used[name])]))
    return 0
