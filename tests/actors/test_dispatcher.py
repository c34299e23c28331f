"""The dispatcher: takers and jobs are paired, first come, first served, and nothing is fetched that nobody waits for."""

from __future__ import annotations

import contextlib
import random

import pytest
import trio

from jobqueue.actors.dispatcher import Dispatch, Dispatcher
from jobqueue.actors.state_handle import State
from jobqueue.errors import BadState
from jobqueue.job import Ending, Job, Outcome, Status
from jobqueue.mailbox import Closed, Nudge, Orders
from jobqueue.server import running
from tests.actors.kit import Call, Engine, add, claim, schedule, settle, settled, take
from tests.helpers import draft


def done(job: Job) -> Outcome:
    return Outcome(job.id, job.epoch, Ending.DONE)


async def taking(dispatch: Dispatch, nursery: trio.Nursery, *workers: str, queue: str = "default") -> list[Call]:
    """Takers that have come in this order, and wait."""
    calls = []
    for worker in workers:
        calls.append(Call(nursery, lambda worker=worker: take(dispatch, worker, None, queue)))
        await settled()
    return calls


async def test_takers_are_served_in_the_order_in_which_they_came(
    state: State, dispatch: Dispatch, nursery: trio.Nursery
) -> None:
    """First come, first served; and the jobs in theirs."""
    calls = await taking(dispatch, nursery, "a", "b", "c")
    await state.submit([draft(), draft(), draft()])
    jobs = [await call.wait() for call in calls]
    assert [(job.worker, job.seq) for job in jobs] == [("a", 1), ("b", 2), ("c", 3)]


async def test_who_came_first_is_served_first_though_jobs_are_few(
    state: State, dispatch: Dispatch, nursery: trio.Nursery
) -> None:
    """One job for three takers is the first taker's, and the next one the second's."""
    calls = await taking(dispatch, nursery, "a", "b", "c")
    await add(state)
    await settled()
    assert [call.over for call in calls] == [True, False, False]
    await add(state)
    await settled()
    assert [call.over for call in calls] == [True, True, False]
    calls[2].leave()


async def test_nothing_is_claimed_ahead(engine: Engine, state: State, dispatch: Dispatch) -> None:
    """With no taker waiting every job stays QUEUED."""
    await state.submit([draft() for _ in range(5)])
    await take(dispatch)
    await settled()
    assert engine.statuses() == [Status.RUNNING] + [Status.QUEUED] * 4


async def test_results_and_wants_are_one_turn(
    engine: Engine, state: State, dispatch: Dispatch, nursery: trio.Nursery
) -> None:
    """What came while a turn was under way is the next: n results and n wants in one commit."""
    await state.submit([draft() for _ in range(20)])
    jobs = [await take(dispatch, f"w{number}") for number in range(10)]
    engine.door = trio.Event()
    calls = [Call(nursery, lambda: take(dispatch, "first"))]
    await settled()
    calls += [Call(nursery, lambda job=job: take(dispatch, "again", done(job))) for job in jobs[:9]]
    await settled()
    before = len(engine.batches)
    engine.door.set()
    for call in calls:
        await call.wait()
    assert [len(batch.jobs) for batch in engine.batches[before:]] == [1, 18]


async def test_a_job_is_handed_out_after_its_start_is_committed(
    engine: Engine, state: State, dispatch: Dispatch, nursery: trio.Nursery
) -> None:
    """Promise 3: a taker never holds a job that the table does not show RUNNING with its epoch."""
    await add(state)
    engine.door = trio.Event()
    call = Call(nursery, lambda: take(dispatch))
    await settled()
    assert not call.over
    engine.door.set()
    assert engine.tables.jobs[(await call.wait()).id] == await call.wait()


async def test_takers_of_different_queues_do_not_mix(state: State, dispatch: Dispatch, nursery: trio.Nursery) -> None:
    """A taker gets jobs of the queues it named, one that named all gets any; who waits in vain blocks nobody."""
    (mails,) = await taking(dispatch, nursery, "mails", queue="mails")
    (anything,) = await taking(dispatch, nursery, "anything", queue="*")
    (default,) = await taking(dispatch, nursery, "default")
    await add(state, queue="images")
    assert (await anything.wait()).queue == "images"
    await add(state)
    assert (await default.wait()).queue == "default"
    assert not mails.over
    await add(state, queue="mails")
    assert (await mails.wait()).queue == "mails"


async def test_a_result_alone_is_handed_on_at_once(
    engine: Engine, state: State, dispatch: Dispatch, nursery: trio.Nursery
) -> None:
    """A result is stored though there is nothing to claim for its taker."""
    await add(state)
    job = await take(dispatch)
    call = Call(nursery, lambda: take(dispatch, "w", done(job)))
    await settled()
    assert engine.statuses() == [Status.DONE]
    assert not call.over
    call.leave()


# -- nudges


async def test_a_submission_during_a_turn_is_not_missed(
    engine: Engine, state: State, dispatch: Dispatch, nursery: trio.Nursery
) -> None:
    """A job that is committed behind a turn which found nothing wakes its taker all the same."""
    engine.door = trio.Event()
    call = Call(nursery, lambda: take(dispatch))
    await settled()  # the turn is under way, and will find nothing
    nursery.start_soon(add, state)
    await settled()
    engine.door.set()
    await call.wait()


async def test_a_nudge_before_the_taker_is_no_harm(state: State, dispatch: Dispatch, nursery: trio.Nursery) -> None:
    """A nudge that nobody waited for is spent; the next job is found without it."""
    await add(state)
    await settled()
    await take(dispatch)
    call = Call(nursery, lambda: take(dispatch))
    await settled()
    assert not call.over
    await add(state)
    await call.wait()


async def test_takers_that_wait_in_vain_cost_nothing(
    engine: Engine, state: State, dispatch: Dispatch, nursery: trio.Nursery
) -> None:
    """Nobody polls: takers that found nothing ask again only when there is something new."""
    calls = await taking(dispatch, nursery, "a", "b")
    before = engine.calls
    await trio.sleep(3600)
    assert engine.calls == before
    for call in calls:
        call.leave()


# -- takers that leave


async def test_the_job_of_a_taker_that_left_is_released(
    engine: Engine, state: State, dispatch: Dispatch, nursery: trio.Nursery
) -> None:
    """A taker that leaves while a job is claimed for it costs that job nothing: it is QUEUED again, unspent, in place."""
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


# -- close


async def test_close_lets_every_taker_go(dispatch: Dispatch, nursery: trio.Nursery) -> None:
    """Those who wait are answered Closed, and so is whoever comes after."""
    calls = await taking(dispatch, nursery, "a", "b")
    await dispatch.close()
    for call in calls:
        with pytest.raises(Closed):
            await call.wait()
    with pytest.raises(Closed):
        await take(dispatch)


async def test_results_are_taken_after_close(engine: Engine, state: State, dispatch: Dispatch) -> None:
    """A result that comes with the last ask is stored before its taker is told to go, and nothing is claimed for it."""
    await state.submit([draft(), draft()])
    job = await take(dispatch)
    await dispatch.close()
    with pytest.raises(Closed):
        await take(dispatch, "w", done(job))
    assert engine.statuses() == [Status.DONE, Status.QUEUED]


async def test_close_during_a_turn_hands_out_what_it_claimed(
    engine: Engine, state: State, dispatch: Dispatch, nursery: trio.Nursery
) -> None:
    """What is already being claimed still reaches its taker: nothing is left RUNNING with nobody."""
    await add(state)
    engine.door = trio.Event()
    call = Call(nursery, lambda: take(dispatch))
    await settled()
    closing = Call(nursery, dispatch.close)
    await settled()
    engine.door.set()
    job = await call.wait()
    await closing.wait()
    assert job.status is Status.RUNNING


async def test_the_end_of_the_dispatcher_lets_takers_go(state: State, claimable: Nudge, nursery: trio.Nursery) -> None:
    """When its task ends, those who waited and those who come are answered Closed."""
    with trio.CancelScope() as scope:
        async with running(Dispatcher(state, claimable)) as dispatch:
            (call,) = await taking(dispatch, nursery, "a")
            scope.cancel()
    with pytest.raises(Closed):
        await call.wait()
    with pytest.raises(Closed):
        await dispatch.next("b", ("default",), Orders())


async def test_an_order_reaches_the_taker_of_the_claim(state: State, dispatch: Dispatch) -> None:
    """The channel that a taker lends is the one on which the orders for its job arrive."""
    await add(state)
    orders = Orders[object]()
    job = await dispatch.next("w", ("default",), orders)  # type: ignore[arg-type]
    await state.cancel(job.id)
    order = await orders.take()
    assert (order.id, order.epoch) == (job.id, job.epoch)  # type: ignore[attr-defined]
    await settle(state, job)
    assert not await claim(state)


@pytest.mark.parametrize("seed", range(25))
async def test_no_job_and_no_taker_waits_for_the_other(
    engine: Engine, state: State, dispatch: Dispatch, nursery: trio.Nursery, seed: int
) -> None:
    """Under any schedule of submissions, results, cancels, takers that come and takers that leave: when all have come
    to rest, no job is QUEUED while a taker waits for it, and every job that RUNs is held by one."""
    schedule(seed)
    chance = random.Random(seed)  # noqa: S311
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
