"""The dispatcher: takers and jobs are paired, first come, first served, and nothing is fetched ahead."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from jobqueue.actors.commands import Order
from jobqueue.actors.dispatcher import Dispatch, Dispatcher
from jobqueue.actors.state_handle import State
from jobqueue.job import Ending, Job, Outcome, Status
from jobqueue.mailbox import Closed, Nudge, Orders
from jobqueue.server import running
from tests.actors.engine import Engine
from tests.actors.kit import Call, add, claim, settle, settled, take, taking
from tests.helpers import draft


def done(job: Job) -> Outcome:
    return Outcome(job.id, job.epoch, Ending.DONE)


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
    calls += [Call(nursery, partial(take, dispatch, "again", done(job))) for job in jobs[:9]]
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
    orders = Orders[Order]()
    job = await dispatch.next("w", ("default",), orders)
    await state.cancel(job.id)
    order = await orders.take()
    assert (order.id, order.epoch) == (job.id, job.epoch)
    await settle(state, job)
    assert not await claim(state)
