"""The start after a crash: what an earlier life was running is given back, and a job that kills runs alone."""

from __future__ import annotations

import pytest
import trio

from jobqueue.actors.dispatcher import Dispatch, Dispatcher
from jobqueue.actors.recovery import MOST as RECOVER_MOST
from jobqueue.actors.state import StateActor
from jobqueue.actors.state_handle import State
from jobqueue.job import Ending, Job, Outcome, Reason, Status
from jobqueue.mailbox import Nudge
from jobqueue.rules.lifecycle import Limits
from jobqueue.rules.table import Table
from jobqueue.server import running
from jobqueue.stores.contract import Needs
from tests.actors.engine import Engine, Outside
from tests.actors.kit import Call, add, claim, serving, settle, settled, take, turn
from tests.helpers import draft, planted


async def next_life(engine: Engine, boot_id: str) -> int:
    """Start on what a life left behind that was cut short; how many jobs were given back."""
    outside = Outside(boot_id)
    return await StateActor(engine, outside.world(), Limits(), Nudge()).recover()


async def left_running(engine: Engine, outside: Outside, count: int) -> list[Job]:
    """Jobs that ran when their process died."""
    async with serving(engine, outside) as state:
        await state.submit([draft() for _ in range(count)])
        return await claim(state, count)


@pytest.mark.parametrize("count", [0, 1, RECOVER_MOST, 2 * RECOVER_MOST + 203])
async def test_orphans_are_given_back(engine: Engine, outside: Outside, count: int) -> None:
    """All of them are QUEUED again before anything else is served, in their places, unspent, with the death counted."""
    await left_running(engine, outside, count)
    assert await next_life(engine, "boot-2") == count
    jobs = list(engine.tables.jobs.values())
    assert [(job.status, job.attempt, job.crashes) for job in jobs] == [(Status.QUEUED, 0, 1)] * count
    assert [job.place for job in jobs] == list(range(1, count + 1))


async def test_orphans_are_given_back_in_chunks(engine: Engine, outside: Outside) -> None:
    """However many they are, no transaction holds more than `RECOVER_MOST` of them."""
    await left_running(engine, outside, 1203)
    engine.batches.clear()
    await next_life(engine, "boot-2")
    assert [len(batch.jobs) for batch in engine.batches] == [500, 500, 203]


async def test_ones_own_attempts_are_no_orphans(engine: Engine, outside: Outside) -> None:
    """What this very life runs is left alone."""
    await left_running(engine, outside, 2)
    assert await next_life(engine, outside.boot_id) == 0
    assert engine.statuses() == [Status.RUNNING] * 2


async def test_a_recovered_job_is_taken(engine: Engine, outside: Outside) -> None:
    """What was given back is there for the first taker, without a nudge."""
    (job,) = await left_running(engine, outside, 1)
    claimable = Nudge()
    async with (
        serving(engine, Outside("boot-2"), claimable) as state,
        running(Dispatcher(state, claimable)) as dispatch,
    ):
        again = await take(dispatch)
    assert (again.id, again.epoch, again.boot_id) == (job.id, job.epoch + 1, "boot-2")


async def test_the_epoch_of_a_dead_life_is_refused(engine: Engine, outside: Outside) -> None:
    """A death does not make a late report valid: the epoch has grown."""
    (job,) = await left_running(engine, outside, 1)
    async with serving(engine, Outside("boot-2")) as state:
        await claim(state)
        (fate,) = await settle(state, job)
    assert isinstance(fate, Exception)


async def suspect(engine: Engine, outside: Outside) -> Job:
    """A job under which the process died twice."""
    await left_running(engine, outside, 1)
    await next_life(engine, "boot-2")
    async with serving(engine, Outside("boot-2")) as state:
        await claim(state)
    await next_life(engine, "boot-3")
    assert engine.only().suspect
    return engine.only()


async def test_a_death_while_alone_convicts(engine: Engine, outside: Outside) -> None:
    """Two deaths make a suspect; a third, while it ran alone, makes it FAILED, reason crash-loop."""
    await suspect(engine, outside)
    async with serving(engine, Outside("boot-3")) as state:
        (job,) = await claim(state, 5)
        assert job.alone
    assert await next_life(engine, "boot-4") == 1
    assert (engine.only().status, engine.only().reason) == (Status.FAILED, Reason.CRASH_LOOP)


async def test_an_end_clears_a_suspect(engine: Engine, outside: Outside) -> None:
    """An attempt that ends otherwise, by a failure too, clears the count."""
    await suspect(engine, outside)
    async with serving(engine, Outside("boot-3")) as state:
        await settle(state, *(await claim(state)), ending=Ending.ERROR)
    assert engine.only().crashes == 0


async def test_nothing_runs_beside_a_suspect(engine: Engine, outside: Outside, nursery: trio.Nursery) -> None:
    """While it runs, takers wait though jobs do; when it has ended they get them."""
    await suspect(engine, outside)
    claimable = Nudge()
    async with (
        serving(engine, Outside("boot-3"), claimable) as state,
        running(Dispatcher(state, claimable)) as dispatch,
    ):
        alone = await take(dispatch)
        waiting = Call(nursery, lambda: take(dispatch))
        await add(state)
        await trio.sleep(10)
        assert not waiting.over
        finishing = Call(nursery, lambda: take(dispatch, "w", Outcome(alone.id, alone.epoch, Ending.DONE)))
        assert (await waiting.wait()).seq == 2
        finishing.leave()
        await settled()


async def test_a_quarantine_ends_by_itself(engine: Engine, outside: Outside) -> None:
    """After 30 s the others are served beside the suspect, at that very moment and unasked."""
    await suspect(engine, outside)
    claimable = Nudge()
    began = trio.current_time()
    async with (
        serving(engine, Outside("boot-3"), claimable) as state,
        running(Dispatcher(state, claimable)) as dispatch,
    ):
        await take(dispatch)
        await add(state)
        await take(dispatch)
        assert trio.current_time() - began == pytest.approx(30)


async def plant_suspect(engine: Engine) -> None:
    """Have a suspect wait."""

    def rule(table: Table) -> None:
        number = table.next_seq()
        table.add(planted(Status.QUEUED, crashes=2, seq=number, place=number))

    await engine.apply(Needs, rule)


async def test_the_last_end_lets_a_suspect_start(state: State, engine: Engine) -> None:
    """When the last running attempt ends in the very turn that wants a job, the node is idle: the suspect starts."""
    await add(state, queue="other")
    (busy,) = await claim(state, queue="other")
    await plant_suspect(engine)
    (job,) = (await turn(state, busy, wants=1)()).claims.jobs[0]
    assert (job.suspect, job.alone) == (True, True)


async def test_a_hold_for_a_suspect_ends_by_itself(state: State, engine: Engine, dispatch: Dispatch) -> None:
    """The node holds its claims back for a suspect at most 30 s while others run; then it serves the rest."""
    await add(state, queue="other")
    await claim(state, queue="other")
    await plant_suspect(engine)
    innocent = await add(state)
    assert (await take(dispatch)).id == innocent.id
    assert trio.current_time() == pytest.approx(30)
