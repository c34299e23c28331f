"""What the store does not take for a moment: a row that spoils its batch, a store that is busy."""

from __future__ import annotations

import pytest
import trio

from jobqueue.actors.state_handle import State
from jobqueue.errors import Internal, StoreUnavailable
from jobqueue.job import Ending, Job, Outcome, Reason, Status
from jobqueue.mailbox import Orders
from jobqueue.rules.admission import Want
from jobqueue.rules.changes import Changes
from jobqueue.stores.contract import RowRefused
from tests.actors.engine import Engine, nothing, raising, refusing
from tests.actors.kit import Call, add, claim, settle, settled, turn
from tests.helpers import draft

BAD = '"bad"'


# -- a row that cannot be stored


async def test_a_submission_that_cannot_be_stored_fails_alone(
    engine: Engine, state: State, nursery: trio.Nursery
) -> None:
    """One bad row costs its own request a 500 and nobody else anything, nor the server."""
    engine.fault = refusing(BAD, RowRefused("no"))
    engine.door = trio.Event()
    nursery.start_soon(add, state)
    await settled()
    good = [Call(nursery, lambda: add(state)) for _ in range(5)]
    await settled()
    bad = Call(nursery, lambda: add(state, payload=BAD))
    await settled()
    good += [Call(nursery, lambda: add(state)) for _ in range(5)]
    await settled()
    engine.door.set()
    for call in good:
        await call.wait()
    with pytest.raises(Internal):
        await bad.wait()
    assert len(engine.tables.jobs) == 11


async def test_a_result_that_cannot_be_stored_fails_its_job_alone(engine: Engine, state: State) -> None:
    """Of a turn with one bad result the others are stored; the job of the bad one is FAILED and says why."""
    engine.fault = refusing(BAD, RowRefused("no"))
    await state.submit([draft() for _ in range(4)])
    one, two, three = await claim(state, 3)
    outcomes = [
        Outcome(one.id, one.epoch, Ending.DONE, "1"),
        Outcome(two.id, two.epoch, Ending.DONE, BAD),
        Outcome(three.id, three.epoch, Ending.DONE, "3"),
    ]
    settled_turn = await state.turn(outcomes, [Want(("default",), ("w",))], [[Orders()]])
    assert [fate.status for fate in settled_turn.fates if isinstance(fate, Job)] == [
        Status.DONE,
        Status.FAILED,
        Status.DONE,
    ]
    assert engine.tables.jobs[two.id].reason is Reason.UNDECODABLE
    assert [job.seq for job in settled_turn.claims.jobs[0]] == [4]
    assert (await state.vitals()).running == 1


async def test_a_spoiled_batch_is_carried_out_one_by_one(engine: Engine, state: State, nursery: trio.Nursery) -> None:
    """A turn, a cancel and a submission beside a bad row are all carried out, each once."""
    await state.submit([draft(), draft()])
    (running,) = await claim(state)
    engine.fault = refusing(BAD, RowRefused("no"))
    engine.door = trio.Event()
    nursery.start_soon(add, state)
    await settled()
    bad = Call(nursery, lambda: add(state, payload=BAD))
    ended = Call(nursery, lambda: settle(state, running))
    cancelled = Call(nursery, lambda: state.cancel(engine.tables.jobs[max(engine.tables.jobs)].id))
    await settled()
    engine.door.set()
    with pytest.raises(Internal):
        await bad.wait()
    (fate,) = await ended.wait()
    assert fate.status is Status.DONE
    assert (await cancelled.wait()).status is Status.CANCELLED
    assert sorted(engine.statuses()) == [Status.QUEUED, Status.DONE, Status.CANCELLED]


async def test_a_bug_in_a_command_costs_that_command(engine: Engine, state: State) -> None:
    """An exception that nobody expected is a 500 for the one who asked; the actor goes on, and shows nothing of it."""
    engine.fault = refusing(BAD, ZeroDivisionError("inside"))
    with pytest.raises(Internal) as told:
        await add(state, payload=BAD)
    assert "inside" not in str(told.value)
    await add(state)


# -- a store that is not there for a moment


async def test_a_busy_store_is_no_end(engine: Engine, state: State, nursery: trio.Nursery) -> None:
    """503 for who asks, results kept and tried again; nothing ends."""
    await add(state)
    (job,) = await claim(state)
    engine.fault = raising(StoreUnavailable("busy"))
    call = Call(nursery, turn(state, job))
    with pytest.raises(StoreUnavailable):
        await add(state)
    engine.fault = nothing
    await call.wait()
    assert engine.only().status is Status.DONE


async def test_a_store_that_is_away_while_one_result_is_spoiled(
    engine: Engine, state: State, nursery: trio.Nursery
) -> None:
    """A busy store in the midst of sorting a spoiled turn out is no end either: the turn is kept and tried again."""
    await state.submit([draft(), draft()])
    one, two = await claim(state, 2)
    faults = [RowRefused("the turn"), StoreUnavailable("busy")]

    def fault(_changes: Changes) -> None:
        if faults:
            raise faults.pop(0)

    engine.fault = fault
    call = Call(nursery, turn(state, one, two))
    await trio.sleep(5)
    assert call.over
    assert engine.statuses() == [Status.DONE, Status.DONE]


async def test_a_store_that_cannot_say_what_is_due_is_asked_now_and_then(engine: Engine, state: State) -> None:
    """Once a second, however much is asked of it meanwhile; when it can again, what was due is done."""
    await state.submit([draft(delay=1), draft(delay=30)])
    engine.due_fault = raising(StoreUnavailable("cannot be read"))
    await trio.sleep(1.5)
    calls = engine.calls
    for _ in range(10):
        await add(state)
    assert engine.calls - calls == 10
    await trio.sleep(60)
    assert 70 <= engine.calls - calls <= 2 * 62 + 10
    engine.due_fault = lambda: None
    await trio.sleep(1.1)
    assert engine.statuses() == [Status.QUEUED] * 12


async def test_a_commit_counts_even_if_the_look_after_it_fails(
    engine: Engine, state: State, nursery: trio.Nursery
) -> None:
    """What was committed is answered, and its claims are handed out, though the next due moment could not be read."""
    await add(state, "delayed", delay=10)
    await add(state, "ready")
    await trio.sleep(9)
    engine.door = trio.Event()
    nursery.start_soon(add, state)  # keeps the actor until there is something due, and a turn beside it
    await trio.sleep(2)
    turn = Call(nursery, lambda: claim(state, 2))
    await settled()
    faults = [StoreUnavailable("cannot be read")]

    def due_fault() -> None:
        if faults:
            raise faults.pop()

    engine.due_fault = due_fault
    engine.door.set()
    jobs = await turn.wait()
    assert [job.status for job in engine.tables.jobs.values()].count(Status.RUNNING) == len(jobs) == 2
    assert (await state.vitals()).running == 2
