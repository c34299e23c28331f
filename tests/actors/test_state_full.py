"""A full disk: who asks gets 507, results are kept and tried again, and it heals without a restart (promise 10)."""

from __future__ import annotations

import pytest
import trio

from jobqueue.actors.state_handle import State
from jobqueue.errors import StorageFull
from jobqueue.job import Status
from tests.actors.engine import Engine, nothing, raising, refusing
from tests.actors.kit import Call, add, claim, settled, turn
from tests.helpers import draft

BAD = '"bad"'
FULL = StorageFull("the disk is full; nothing was changed")


async def test_on_a_full_disk_a_submission_is_refused(engine: Engine, state: State) -> None:
    """507, and nothing was changed; when there is room again the next one succeeds, without a restart."""
    engine.fault = raising(FULL)
    with pytest.raises(StorageFull):
        await add(state)
    assert (await state.vitals()).store_failing
    engine.fault = nothing
    await add(state)
    assert not (await state.vitals()).store_failing
    assert len(engine.tables.jobs) == 1


async def test_results_on_a_full_disk_are_kept(engine: Engine, state: State, nursery: trio.Nursery) -> None:
    """A result that the disk has no room for waits, and is stored within a second of there being room."""
    await add(state)
    (job,) = await claim(state)
    engine.fault = raising(FULL)
    call = Call(nursery, turn(state, job))
    await trio.sleep(30)
    assert engine.statuses() == [Status.RUNNING]
    engine.fault = nothing
    await call.wait()
    assert call.at == pytest.approx(31, abs=1)
    assert engine.statuses() == [Status.DONE]


async def test_what_was_wanted_on_a_full_disk_is_claimed_after_it(
    engine: Engine, state: State, nursery: trio.Nursery
) -> None:
    """A turn that was kept claims when it is tried again: its takers get their jobs, each once."""
    await state.submit([draft(), draft()])
    (job,) = await claim(state)
    engine.fault = raising(FULL)
    call = Call(nursery, turn(state, job, wants=1))
    await trio.sleep(5)
    engine.fault = nothing
    settled_turn = await call.wait()
    assert [job.seq for job in settled_turn.claims.jobs[0]] == [2]
    assert (await state.vitals()).running == 1


async def test_results_are_kept_while_submissions_are_refused(
    engine: Engine, state: State, nursery: trio.Nursery
) -> None:
    """Submissions that come while results wait get their 507 at once, and cost no result."""
    await add(state)
    (job,) = await claim(state)
    engine.fault = raising(FULL)
    call = Call(nursery, turn(state, job))
    await settled()
    for _ in range(3):
        with pytest.raises(StorageFull):
            await add(state)
    assert not call.over
    engine.fault = nothing
    await add(state)
    await call.wait()
    assert engine.statuses() == [Status.DONE, Status.QUEUED]


async def test_a_result_waits_for_no_submission_that_has_no_room(
    engine: Engine, state: State, nursery: trio.Nursery
) -> None:
    """Where there is room for a result but not for a submission beside it, the result is stored all the same."""
    await add(state)
    (job,) = await claim(state)
    engine.fault = refusing(BAD, FULL)
    engine.door = trio.Event()
    nursery.start_soon(add, state)
    await settled()
    result = Call(nursery, turn(state, job))
    large = Call(nursery, lambda: add(state, payload=BAD))
    await settled()
    engine.door.set()
    with pytest.raises(StorageFull):
        await large.wait()
    for _ in range(10):  # as many as come, it must not wait for the last of them
        with pytest.raises(StorageFull):
            await add(state, payload=BAD)
        await trio.sleep(0.5)
    assert result.over


async def test_a_full_disk_is_asked_once_a_second(engine: Engine, state: State, nursery: trio.Nursery) -> None:
    """Kept results are tried again once a second, no oftener."""
    await add(state)
    (job,) = await claim(state)
    engine.fault = raising(FULL)
    call = Call(nursery, turn(state, job))
    await settled()
    before = engine.calls
    await trio.sleep(60)
    assert 55 <= engine.calls - before <= 65
    engine.fault = nothing
    await call.wait()


async def test_a_refused_submission_leaves_the_actor_at_rest(engine: Engine, state: State) -> None:
    """After a 507 with nothing kept to try again, the actor sleeps: it neither spins nor asks the disk without end."""
    engine.fault = raising(FULL)
    with pytest.raises(StorageFull):
        await add(state)
    before = engine.calls
    await trio.sleep(60)
    assert engine.calls - before <= 65
    assert (await state.vitals()).store_failing


async def test_what_is_due_on_a_full_disk_waits(engine: Engine, state: State) -> None:
    """A job that comes due on a full disk is tried once a second, not without end, and runs when there is room."""
    await add(state, delay=10)
    engine.fault = raising(FULL)
    await trio.sleep(10)
    before = engine.calls
    await trio.sleep(60)
    assert engine.calls - before <= 65
    engine.fault = nothing
    await trio.sleep(1)
    assert engine.only().status is Status.QUEUED


async def test_a_disk_with_room_again_is_noticed_unasked(engine: Engine, state: State) -> None:
    """Not ready means no traffic: so that it heals, the actor must find out by itself, and say so within a minute."""
    engine.fault = raising(FULL)
    with pytest.raises(StorageFull):
        await add(state)
    engine.fault = nothing
    await trio.sleep(60)
    assert not (await state.vitals()).store_failing
