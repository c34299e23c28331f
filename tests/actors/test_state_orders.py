"""What ends a running attempt from outside: timeout, cancel and drain, as orders to whoever holds it."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from jobqueue.actors.commands import CANCEL, DRAIN, TIMEOUT, Order
from jobqueue.actors.state_handle import State
from jobqueue.errors import Draining, LeaseLost
from jobqueue.job import Ending, Job, Reason, Status
from jobqueue.mailbox import Nudge, Orders
from tests.actors.engine import Engine
from tests.actors.kit import Call, add, claim, settle, settled
from tests.helpers import draft


async def started(state: State, **options: Any) -> tuple[Job, Orders[Order]]:
    """A running attempt, and where its orders arrive."""
    await add(state, **options)
    orders: Orders[Order] = Orders()
    (job,) = await claim(state, orders=[orders])
    return job, orders


# -- timeouts


async def test_a_timeout_is_ordered_at_its_moment(state: State) -> None:
    """The taker is told to stop when the attempt has run for its timeout, counted from its claim."""
    await trio.sleep(3)
    job, orders = await started(state, timeout=20)
    order = await orders.take()
    assert order == Order(job.id, job.epoch, TIMEOUT)
    assert trio.current_time() == pytest.approx(23)


async def test_an_ended_attempt_times_out_no_more(state: State, nursery: trio.Nursery) -> None:
    """Neither the ended attempt nor the next one of the same job gets the order that was due for the first."""
    job, orders = await started(state, timeout=20)
    await trio.sleep(10)
    await settle(state, job, ending=Ending.RELEASED)
    (again,) = await claim(state, orders=[orders])
    await trio.sleep(15)
    taking = Call(nursery, orders.take)
    await settled()
    assert not taking.over
    order = await taking.wait()
    assert (order.epoch, trio.current_time()) == (again.epoch, 30)


async def test_a_timeout_spends_a_try(state: State) -> None:
    """The end by timeout is a failure: tried again until max_attempts, then FAILED with that reason."""
    job, orders = await started(state, timeout=5, max_attempts=1)
    await orders.take()
    (fate,) = await settle(state, job, ending=Ending.TIMEOUT)
    assert isinstance(fate, Job)
    assert (fate.status, fate.reason) == (Status.FAILED, Reason.TIMEOUT)


# -- cancel


async def test_a_cancel_is_ordered_after_its_commit(engine: Engine, state: State, nursery: trio.Nursery) -> None:
    """A running job is only asked to end: the answer says RUNNING, the order goes to its taker once that is stored."""
    job, orders = await started(state)
    engine.door = trio.Event()
    taking = Call(nursery, orders.take)
    cancelling = Call(nursery, lambda: state.cancel(job.id))
    await settled()
    assert not taking.over
    engine.door.set()
    assert await taking.wait() == Order(job.id, job.epoch, CANCEL)
    answer = await cancelling.wait()
    assert (answer.status, answer.cancel_requested_at is not None) == (Status.RUNNING, True)


async def test_a_second_cancel_orders_nothing_new(state: State, nursery: trio.Nursery) -> None:
    """Cancel twice is cancel once: the taker hears it once."""
    job, orders = await started(state)
    await state.cancel(job.id)
    await state.cancel(job.id)
    await orders.take()
    more = Call(nursery, orders.take)
    await settled()
    assert not more.over
    more.leave()


async def test_the_first_order_counts(state: State, nursery: trio.Nursery) -> None:
    """A timeout that comes due while a cancel is being obeyed is not ordered as well."""
    job, orders = await started(state, timeout=10)
    await state.cancel(job.id)
    assert (await orders.take()).why == CANCEL
    more = Call(nursery, orders.take)
    await trio.sleep(60)
    assert not more.over
    more.leave()


async def test_an_attempt_that_ended_hears_no_cancel(state: State, nursery: trio.Nursery) -> None:
    """A cancel between two attempts ends the job at once, and nobody is ordered anything."""
    job, orders = await started(state)
    await settle(state, job, ending=Ending.ERROR)
    cancelled = await state.cancel(job.id)
    assert cancelled.status is Status.CANCELLED
    taking = Call(nursery, orders.take)
    await settled()
    assert not taking.over
    taking.leave()


async def test_success_reported_first_wins(state: State) -> None:
    """A job that was asked to end, and whose success is what comes back, is DONE; any other end is CANCELLED."""
    one, _ = await started(state)
    two, _ = await started(state)
    await state.cancel(one.id)
    await state.cancel(two.id)
    fates = [*await settle(state, one), *await settle(state, two, ending=Ending.ERROR)]
    assert [fate.status for fate in fates if isinstance(fate, Job)] == [Status.DONE, Status.CANCELLED]


# -- stop all


async def test_stop_all_orders_each_once(state: State) -> None:
    """Every running attempt is told to stop, but those that were told before."""
    told, told_orders = await started(state)
    _, orders = await started(state)
    await state.cancel(told.id)
    await state.stop_all()
    assert (await told_orders.take()).why == CANCEL
    assert (await orders.take()).why == DRAIN


async def test_give_back_queues_without_waiting(engine: Engine, state: State) -> None:
    """After it every job that ran is QUEUED again, in place and unspent; what it then says is stale."""
    await state.submit([draft(), draft(), draft()])
    running = await claim(state, 2)
    await state.stop_all(give_back=True)
    assert engine.statuses() == [Status.QUEUED] * 3
    assert [(job.attempt, job.place, job.crashes) for job in engine.tables.jobs.values()] == [
        (0, 1, 0),
        (0, 2, 0),
        (0, 3, 0),
    ]
    assert (await state.vitals()).running == 0
    assert all(isinstance(fate, LeaseLost) for fate in await settle(state, *running))


async def test_give_back_of_nothing_is_answered(state: State) -> None:
    """With nothing running there is nothing to wait for."""
    await state.stop_all(give_back=True)


async def test_give_back_of_a_job_that_was_cancelled_ends_it(engine: Engine, state: State) -> None:
    """A job whose end was asked for is CANCELLED by it, not queued to run again."""
    job, _ = await started(state)
    await state.cancel(job.id)
    await state.stop_all(give_back=True)
    assert engine.only().status is Status.CANCELLED


# -- drain


async def test_a_drain_is_told_before_it_refuses(state: State) -> None:
    """First the server is not ready and still takes submissions; then it takes none."""
    await state.drain(refuse=False)
    assert (await state.vitals()).draining
    await add(state)
    await state.drain(refuse=True)
    with pytest.raises(Draining) as told:
        await add(state)
    assert dict(told.value.headers)["retry-after"] == "5"
    with pytest.raises(Draining):
        await state.submit_each([(draft(), None)])


async def test_a_submission_before_the_drain_is_taken(engine: Engine, state: State, nursery: trio.Nursery) -> None:
    """Of what waits together, what came before the drain is accepted, what came after it is not."""
    engine.door = trio.Event()
    nursery.start_soon(add, state)
    await settled()
    before = Call(nursery, lambda: add(state))
    await settled()
    drain = Call(nursery, lambda: state.drain(refuse=True))
    await settled()
    after = Call(nursery, lambda: add(state))
    await settled()
    engine.door.set()
    await before.wait()
    await drain.wait()
    with pytest.raises(Draining):
        await after.wait()


async def test_results_are_taken_while_it_drains(engine: Engine, state: State) -> None:
    """Nothing but submissions is refused: results, cancels and retries go on."""
    one, _ = await started(state)
    two, _ = await started(state)
    await state.drain(refuse=True)
    await settle(state, one)
    await state.cancel(two.id)
    await settle(state, two, ending=Ending.CANCELLED)
    await state.retry(two.id)
    assert engine.statuses() == [Status.DONE, Status.QUEUED]


# -- those who wait for an end


async def test_a_watcher_is_told_of_the_end(state: State, nursery: trio.Nursery) -> None:
    """Everyone who waits for the job gets it as it ended; a failure that is tried again is no end."""
    job, _ = await started(state, max_attempts=2)
    with await state.watch(job.id) as one, await state.watch(job.id) as two:
        calls = [Call(nursery, one.get), Call(nursery, two.get)]
        await settle(state, job, ending=Ending.ERROR)
        await settled()
        assert not any(call.over for call in calls)
        await state.cancel(job.id)
        for call in calls:
            assert (await call.wait()).status is Status.CANCELLED


async def test_a_drain_lets_watchers_go(state: State, nursery: trio.Nursery) -> None:
    """Who waits is told None when the server stops, and who asks after that at once."""
    job = await add(state)
    with await state.watch(job.id) as pending:
        waiting = Call(nursery, pending.get)
        await state.drain(refuse=False)
        await settled()
        assert not waiting.over
        await state.drain(refuse=True)
        assert await waiting.wait() is None
    with await state.watch(job.id) as pending:
        assert await pending.get() is None


# -- vitals


async def test_work_that_does_not_end_is_stuck(state: State) -> None:
    """Ten seconds after it was told to end it counts as stuck, until it ends."""
    job, _ = await started(state, timeout=5)
    await trio.sleep(14.9)
    assert [(await state.vitals()).running, (await state.vitals()).stuck] == [1, 0]
    await trio.sleep(0.2)
    assert (await state.vitals()).stuck == 1
    await settle(state, job, ending=Ending.TIMEOUT)
    vitals = await state.vitals()
    assert (vitals.running, vitals.stuck) == (0, 0)


async def test_what_frees_a_slot_nudges_nobody_for_nothing(
    state: State, claimable: Nudge, nursery: trio.Nursery
) -> None:
    """The end of an attempt alone makes nothing claimable: no nudge."""
    job, _ = await started(state)
    await claimable.take()
    await settle(state, job)
    nudged = Call(nursery, claimable.take)
    await settled()
    assert not nudged.over
    nudged.leave()
