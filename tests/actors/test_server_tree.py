"""The supervision tree: what outlives what, and whose crash ends the process."""

from __future__ import annotations

from typing import Self

import pytest
import trio

from jobqueue import server as tree
from jobqueue.config import Config
from jobqueue.errors import StoreUnavailable
from jobqueue.handlers import Handlers
from jobqueue.job import Status
from jobqueue.mailbox import Closed
from jobqueue.stores.contract import StoreFailed
from tests.actors.engine import Engine, Outside, raising
from tests.actors.kit import Plant, add, claim, serving, settled
from tests.helpers import draft

LATE = 2.0  # how much longer than the grace a stop may take
DONE, QUEUED, RUNNING, FAILED = Status.DONE, Status.QUEUED, Status.RUNNING, Status.FAILED


# -- start and stop


async def test_what_an_earlier_life_ran_is_given_back_first(engine: Engine, outside: Outside, plant: Plant) -> None:
    """When the server is there, orphans are recovered already, and are run like any other job."""
    async with serving(engine, Outside("boot-0")) as state:
        job = await add(state, "sleep", payload="1")
        await claim(state)
    async with plant() as running:
        with await running.state.watch(job.id) as pending:
            await pending.get()
    assert (engine.only().status, engine.only().epoch) == (DONE, 2)


async def test_each_level_outlives_what_it_serves(engine: Engine, plant: Plant) -> None:
    """The last words of a handler that is cut off are still stored: the workers go first, the state after them."""
    async with plant() as running:
        await add(running.state, "last.words")
        await settled()
        state = running.state
    assert [line.line.message for line in engine.tables.lines[1]] == ["goodbye"]
    with pytest.raises(Closed):
        await add(state)


async def test_the_store_is_closed_last(outside: Outside, handlers: Handlers) -> None:
    """The engine is opened before anything asks it, and closed when nothing does any more."""
    events: list[str] = []

    class Noting(Engine):
        async def __aenter__(self) -> Self:
            events.append("open")
            return self

        async def __aexit__(self, *exc: object) -> None:
            events.append(f"close after {self.calls} calls")

    engine = Noting(outside.now)
    async with tree.assembled(Config(store="memory:", workers=1), outside.world(), engine, handlers) as server:
        await add(server.state, "last.words")
        await settled()
        events.append("serving")
    assert events == ["open", "serving", f"close after {engine.calls} calls"]


# -- crashes


async def test_a_state_actor_that_fails_ends_the_tree(engine: Engine, plant: Plant) -> None:
    """Its state is unknown, so everything ends, and the exit code tells that storage was at fault."""
    with pytest.raises(BaseExceptionGroup) as raised:  # noqa: PT012 - it is raised at the end of the block
        async with plant() as running:
            await add(running.state, "sleep", payload="1000")
            await settled()
            engine.fault = raising(StoreFailed("I/O error"))
            with pytest.raises(StoreUnavailable):
                await add(running.state)
            await trio.sleep_forever()
    assert tree.exit_code(raised.value) == tree.EXIT_STORAGE
    assert trio.current_time() < 2


async def test_a_bug_in_the_state_actor_ends_the_tree(engine: Engine, plant: Plant) -> None:
    """An exception that no single command is to blame for is a bug: exit code 70."""
    with pytest.raises(BaseExceptionGroup) as raised:  # noqa: PT012 - it is raised at the end of the block
        async with plant() as running:
            await add(running.state, "sleep", delay=5)
            engine.fault = raising(ZeroDivisionError("a bug of ours"))
            await trio.sleep_forever()
    assert tree.exit_code(raised.value) == tree.EXIT_BUG
    assert trio.current_time() == pytest.approx(5)


async def test_a_worker_that_fails_ends_nothing(engine: Engine, plant: Plant) -> None:
    """It is begun again; the server, and what runs on the other workers, goes on."""
    async with plant() as running:
        await running.state.submit(
            [draft("sleep", payload="3"), draft("bug", max_attempts=1), draft("sleep", payload="1")]
        )
        await trio.sleep(5)
        assert engine.statuses() == [DONE, FAILED, DONE]


async def test_workers_that_fail_too_often_end_the_tree(plant: Plant) -> None:
    """Five failures in a minute end the process as a bug."""
    with pytest.raises(BaseExceptionGroup) as raised:  # noqa: PT012 - it is raised at the end of the block
        async with plant() as running:
            await running.state.submit([draft("bug", max_attempts=1) for _ in range(5)])
            await trio.sleep_forever()
    assert tree.exit_code(raised.value) == tree.EXIT_BUG
