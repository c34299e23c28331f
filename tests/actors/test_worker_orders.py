"""A worker and the orders that end an attempt: timeout, cancel and drain; and when its slot is free."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from jobqueue.actors.commands import CANCEL, Order
from jobqueue.actors.dispatcher import Dispatch
from jobqueue.actors.state_handle import State
from jobqueue.handlers import Context
from jobqueue.job import Ending, Reason, Status
from tests.actors.engine import Engine, schedule
from tests.actors.kit import Call, Hire, add, ended, for_ever, noop, settled
from tests.helpers import draft

DONE, FAILED, CANCELLED, QUEUED, SCHEDULED = (
    Status.DONE,
    Status.FAILED,
    Status.CANCELLED,
    Status.QUEUED,
    Status.SCHEDULED,
)


async def test_a_timeout_ends_the_work(engine: Engine, state: State, hire: Hire) -> None:
    """At its timeout the handler is cancelled; the try is spent, and the error says how long it was given."""
    hire(for_ever)
    job = await ended(state, await add(state, timeout=2.5, max_attempts=1))
    assert trio.current_time() == pytest.approx(2.5)
    assert (job.status, job.reason) == (FAILED, Reason.TIMEOUT)
    assert job.error is not None
    assert job.error.message == "the attempt took longer than 2.5 s"
    assert [record.ending for record in await engine.attempts(job.seq)] == [Ending.TIMEOUT]


async def test_a_cancel_ends_the_work_at_its_next_checkpoint(engine: Engine, state: State, hire: Hire) -> None:
    """Promise 9: a running async handler is cancelled, its cleanup runs, and then the job is CANCELLED."""
    cleaned = trio.Event()

    async def handler(_ctx: Context, _payload: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cleaned.set()

    hire(handler)
    job = await add(state)
    await settled()
    await state.cancel(job.id)
    await settled()
    assert cleaned.is_set()
    assert (engine.only().status, engine.only().reason) == (CANCELLED, Reason.CANCELLED)


async def test_a_handler_that_makes_an_error_of_its_cancel_is_cancelled(
    engine: Engine, state: State, hire: Hire
) -> None:
    """Whatever exception the handler makes of it, work that an order ended is ended by that order."""

    async def handler(_ctx: Context, _payload: Any) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise ValueError("interrupted") from None

    hire(handler)
    job = await add(state)
    await settled()
    await state.cancel(job.id)
    await settled()
    assert (engine.only().status, engine.only().error) == (CANCELLED, None)


async def test_success_wins_over_a_cancel_that_it_did_not_heed(engine: Engine, state: State, hire: Hire) -> None:
    """A handler that finishes although it was told to end has finished: DONE, with its result."""

    async def handler(_ctx: Context, _payload: Any) -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        return "saved"

    hire(handler)
    job = await add(state)
    await settled()
    await state.cancel(job.id)
    await trio.sleep(6)
    assert (engine.only().status, engine.only().result) == (DONE, '"saved"')


async def test_a_slot_is_free_when_the_work_has_ended(engine: Engine, state: State, hire: Hire) -> None:
    """A handler that shields itself keeps its slot until it really ends, and shows as stuck meanwhile."""

    async def handler(_ctx: Context, _payload: Any) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(60)
        await trio.lowlevel.checkpoint()

    hire(handler, fine=noop)
    job = await add(state)
    await add(state, "fine")
    await settled()
    await state.cancel(job.id)
    await trio.sleep(50)
    assert engine.statuses() == [Status.RUNNING, QUEUED]
    assert (await state.vitals()).stuck == 1
    await trio.sleep(11)
    assert engine.statuses() == [CANCELLED, DONE]


async def test_a_drain_releases_unspent(engine: Engine, state: State, dispatch: Dispatch, hire: Hire) -> None:
    """Work that a drain ends goes back to its place, and the try does not count."""
    hire(for_ever)
    await add(state)
    await settled()
    await dispatch.close()
    await state.stop_all()
    await settled()
    job = engine.only()
    assert (job.status, job.attempt, job.place, job.error) == (QUEUED, 0, 1, None)
    assert [record.ending for record in await engine.attempts(job.seq)] == [Ending.RELEASED]


async def test_an_order_for_an_attempt_that_is_over_is_ignored(engine: Engine, state: State, hire: Hire) -> None:
    """The order carries its epoch: a stale one ends neither the present attempt nor its worker."""
    may_end = trio.Event()

    async def handler(_ctx: Context, _payload: Any) -> None:
        await may_end.wait()

    worker = hire(handler)
    await add(state)
    await settled()
    job = engine.only()
    worker._orders.give(Order(job.id, job.epoch - 1, CANCEL))
    worker._orders.give(Order("another", job.epoch, CANCEL))
    await settled()
    may_end.set()
    await settled()
    assert (engine.only().status, engine.only().epoch) == (DONE, job.epoch)


@pytest.mark.parametrize("seed", range(20))
async def test_an_order_right_behind_the_claim_is_obeyed(
    engine: Engine, state: State, hire: Hire, nursery: trio.Nursery, seed: int
) -> None:
    """A cancel that is committed while the job is still on its way to the worker ends it all the same."""
    job = await add(state)
    engine.hops = lambda: 0
    engine.door = trio.Event()
    hire(for_ever)
    await settled()  # the claim is at the door
    Call(nursery, lambda: state.cancel(job.id))
    await settled()
    schedule(seed)
    engine.door.set()
    await trio.sleep(1)
    assert engine.only().status is CANCELLED


async def test_an_attempt_after_an_order_runs_free(engine: Engine, state: State, hire: Hire) -> None:
    """The order that ended one attempt has no part in the next one of the same worker."""
    hire(for_ever, fine=noop)
    first = await add(state)
    await settled()
    await state.cancel(first.id)
    await state.submit([draft("fine"), draft("fine")])
    await settled()
    assert engine.statuses() == [CANCELLED, DONE, DONE]
