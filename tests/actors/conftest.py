"""The actors of a test, from the store up, each in a fixture; and virtual time for all async tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from jobqueue.actors.dispatcher import Dispatch, Dispatcher
from jobqueue.actors.reader import Reader, Reads
from jobqueue.actors.state_handle import State
from jobqueue.actors.worker import Worker
from jobqueue.config import Config
from jobqueue.handlers import Context, Handlers
from jobqueue.mailbox import Nudge
from jobqueue.server import assembled, running
from jobqueue.signals import watching
from tests.actors.engine import Engine, Outside, on_virtual_time
from tests.actors.kit import GRACE, Faulty, Handler, Hire, NoProcesses, Plant, Tree, serving
from tests.actors.stage import Play, Stage, staged

HERE = Path(__file__).parent
REAL_TIME = {"test_worker_process.py"}  # virtual time would not wait for a process


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Run the async tests beside this file on virtual time: pytest-trio's own mode has given them the real one."""
    for item in items:
        virtual = item.path.parent == HERE and item.path.name not in REAL_TIME
        if virtual and item.get_closest_marker("trio") is not None:
            item.add_marker(pytest.mark.trio(run=on_virtual_time), append=False)


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture
def engine(outside: Outside) -> Engine:
    return Engine(outside.now)


@pytest.fixture
async def claimable() -> Nudge:
    return Nudge()


@pytest.fixture
async def state(engine: Engine, outside: Outside, claimable: Nudge) -> AsyncIterator[State]:
    async with serving(engine, outside, claimable) as state:
        yield state


@pytest.fixture
async def reads(engine: Engine) -> AsyncIterator[Reads]:
    async with running(Reader(engine)) as reads:
        yield reads


@pytest.fixture
async def dispatch(state: State, claimable: Nudge) -> AsyncIterator[Dispatch]:
    async with running(Dispatcher(state, claimable)) as dispatch:
        yield dispatch


@pytest.fixture
async def hire(state: State, reads: Reads, dispatch: Dispatch, outside: Outside, nursery: trio.Nursery) -> Hire:
    """Put a worker to work that knows one handler, of the kind `noop`, and those named."""

    def hire(handler: Handler, **more: Handler) -> Worker:
        handlers = Handlers()
        for kind, function in {"noop": handler, **more}.items():
            handlers.register(kind)(function)
        worker = Worker("local-1", ("default",), dispatch, state, reads, handlers, NoProcesses(), outside.world())
        nursery.start_soon(worker.run)
        return worker

    return hire


@pytest.fixture
def handlers() -> Handlers:
    handlers = Faulty()

    @handlers.register("sleep")
    async def sleep(_ctx: Context, payload: float) -> None:
        await trio.sleep(payload)

    @handlers.register("deaf")
    async def deaf(_ctx: Context, payload: float) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(payload)

    @handlers.register("last.words")
    async def last_words(ctx: Context, _payload: None) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await ctx.log("goodbye")

    return handlers


@pytest.fixture
def plant(engine: Engine, outside: Outside, handlers: Handlers) -> Plant:
    """Start a server."""

    @asynccontextmanager
    async def plant(**settings: Any) -> AsyncIterator[Tree]:
        config = Config(store="memory:", **{"workers": 2, "grace": GRACE, **settings})
        with watching(config.grace) as stopping:
            async with assembled(config, outside.world(), engine, handlers) as server:
                yield Tree(config, server, stopping)

    return plant


@pytest.fixture
def play(outside: Outside) -> Play:
    """Start a program whose clock is manual."""
    return partial(staged, outside)


@pytest.fixture
async def stage(play: Play) -> AsyncIterator[Stage]:
    async with play() as stage:
        yield stage
