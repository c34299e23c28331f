"""The dispatcher and takers that leave: no job is lost with them, and nothing of them is kept."""

from __future__ import annotations

import contextlib
import random

import pytest
import trio

from jobqueue.actors.dispatcher import Dispatch, Dispatcher
from jobqueue.actors.state_handle import State
from jobqueue.errors import BadState
from jobqueue.job import Ending, Job, Outcome, Status
from jobqueue.mailbox import Nudge
from jobqueue.server import running
from tests.actors.engine import Engine, schedule
from tests.actors.kit import Call, add, settled, take, taking
from tests.helpers import draft


async def test_the_job_of_a_taker_that_left_is_released(
    engine: Engine, state: State, dispatch: Dispatch, nursery: trio.Nursery
) -> None:
    """A taker that leaves while a job is claimed for it costs it nothing: it is QUEUED again, unspent, in place."""
    await add(state)
    engine.door = trio.Event()
    call = Call(nursery, lambda: take(dispatch))
    await settled()
    call.leave()
    await settled()
    engine.door.set()
    await trio.sleep(1)
    job = engine.only()
    assert (job.status, job.attempt, job.place) == (Status.QUEUED, 0, 1)


async def test_the_job_of_a_taker_that_left_goes_to_the_next(
    engine: Engine, state: State, dispatch: Dispatch, nursery: trio.Nursery
) -> None:
    """Whoever waits behind a taker that left gets its job."""
    await add(state)
    engine.door = trio.Event()
    leaving = Call(nursery, lambda: take(dispatch, "leaving"))
    await settled()
    waiting = Call(nursery, lambda: take(dispatch, "waiting"))
    await settled()
    leaving.leave()
    engine.door.set()
    await trio.sleep(1)
    assert waiting.over
    assert (await waiting.wait()).worker == "waiting"


async def test_a_taker_that_left_before_is_not_claimed_for(
    engine: Engine, state: State, dispatch: Dispatch, nursery: trio.Nursery
) -> None:
    """A long poll that ran out claims nothing any more: the job goes to who waits, at its first start."""
    (leaving,) = await taking(dispatch, nursery, "leaving")
    (waiting,) = await taking(dispatch, nursery, "waiting")
    leaving.leave()
    await settled()
    await add(state)
    await trio.sleep(1)
    assert waiting.over
    job = await waiting.wait()
    assert (job.worker, job.epoch) == ("waiting", 1)


async def test_takers_that_come_and_go_are_forgotten(state: State, claimable: Nudge, nursery: trio.Nursery) -> None:
    """Promise 5: long polls that run out on an empty queue leave nothing behind."""
    dispatcher = Dispatcher(state, claimable)
    async with running(dispatcher) as dispatch:
        for _ in range(3000):
            with trio.move_on_after(1):
                await take(dispatch)
        assert len(dispatcher._takers) <= 1024


@pytest.mark.parametrize("seed", range(20))
async def test_a_taker_that_leaves_as_its_job_arrives_loses_none(
    engine: Engine, state: State, dispatch: Dispatch, nursery: trio.Nursery, seed: int
) -> None:
    """Whichever comes first in that moment, the leaving or the job: the job is taken or QUEUED again, never lost."""
    await add(state)
    engine.door = trio.Event()
    call = Call(nursery, lambda: take(dispatch, "leaving"))
    await settled()
    schedule(seed)
    engine.door.set()
    for _ in range(seed % 6):
        await trio.lowlevel.checkpoint()
    call.leave()
    await trio.sleep(1)
    assert engine.only().status is (Status.RUNNING if call.over else Status.QUEUED)


@pytest.mark.parametrize("seed", range(25))
async def test_no_job_and_no_taker_waits_for_the_other(
    engine: Engine, state: State, dispatch: Dispatch, nursery: trio.Nursery, seed: int
) -> None:
    """However jobs and takers come and go: at rest no job is QUEUED that a taker waits for, and who RUNs is held."""
    schedule(seed)
    chance = random.Random(seed)
    engine.hops = lambda: chance.randrange(1, 8)
    held: dict[str, Job] = {}
    waiting: set[tuple[str, int]] = set()

    async def taker(queue: str, number: int) -> None:
        outcome: Outcome | None = None
        for _ in range(chance.randrange(1, 6)):
            waiting.add((queue, number))
            with trio.move_on_after(chance.choice([0.01, 0.5, 1e6])) as patience:
                job = await take(dispatch, f"w{number}", outcome, queue)
            waiting.discard((queue, number))
            if patience.cancelled_caught:
                outcome = None
                continue
            held[job.id] = job
            await trio.sleep(chance.choice([0, 0, 0.01]))
            del held[job.id]
            outcome = Outcome(job.id, job.epoch, chance.choice([Ending.DONE, Ending.RELEASED]))
        if outcome is not None:
            await state.turn([outcome], (), ())

    async def producer() -> None:
        for _ in range(20):
            jobs = await state.submit([draft(queue=chance.choice("ab")) for _ in range(chance.randrange(1, 4))])
            await trio.sleep(chance.choice([0, 0, 0.01, 0.5]))
            if chance.random() < 0.2:
                with contextlib.suppress(BadState):
                    await state.cancel(jobs.jobs[0].id)

    for number in range(12):
        nursery.start_soon(taker, chance.choice(["a", "b", "*"]), number)
    for _ in range(3):
        nursery.start_soon(producer)
    await trio.sleep(1000)
    queued = {job.queue for job in engine.tables.jobs.values() if job.status is Status.QUEUED}
    assert not [taker for taker in waiting if taker[0] in queued or (taker[0] == "*" and queued)]
    assert {job.id for job in engine.tables.jobs.values() if job.status is Status.RUNNING} == set(held)
    nursery.cancel_scope.cancel()
