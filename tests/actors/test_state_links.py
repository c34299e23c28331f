"""The state actor and dependencies: ends reach all who wait, also when nobody asks for anything any more."""

from __future__ import annotations

import trio

from jobqueue.actors.state import StateActor
from jobqueue.actors.state_handle import State
from jobqueue.job import Reason, Status
from jobqueue.mailbox import Nudge
from jobqueue.rules.dependencies import MOST
from jobqueue.rules.lifecycle import Limits
from jobqueue.rules.table import Table
from jobqueue.stores.contract import Needs
from tests.actors.engine import Engine, Outside
from tests.actors.kit import add, claim, serving, settled, turn
from tests.helpers import draft, planted


async def test_what_is_left_is_told_without_being_asked(state: State, engine: Engine) -> None:
    """More children than a batch tells: the next ones follow at once, and nothing is due when all have heard."""
    root = await add(state, queue="parents")
    hubs = (await state.submit([draft(depends_on=(root.id,))] * 3)).jobs
    for hub in hubs:
        last = (await state.submit([draft(depends_on=(hub.id,))] * 600)).jobs[-1]
    batches = len(engine.batches)
    began = trio.current_time()
    await state.cancel(root.id)
    while engine.tables.jobs[last.id].status is Status.BLOCKED:
        await settled()
    assert engine.tables.jobs[last.id].reason is Reason.DEPENDENCY
    assert set(engine.statuses()) == {Status.CANCELLED}
    assert [len(batch.jobs) for batch in engine.batches[batches:]] == [MOST + 1, 803]
    assert trio.current_time() == began
    assert await engine.next_due() == min(job.due_at or 0 for job in engine.tables.jobs.values())


async def test_a_child_is_claimed_in_the_commit_of_its_parents_end(state: State, engine: Engine) -> None:
    """A taker that hands in the end of the parent gets the child: one commit for both."""
    await add(state)
    (parent,) = await claim(state)
    child = await add(state, depends_on=(parent.id,))
    batches = len(engine.batches)
    settled_turn = await turn(state, parent, wants=1)()
    assert [job.id for job in settled_turn.claims.jobs[0]] == [child.id]
    assert [{job.id for job in batch.jobs} for batch in engine.batches[batches:]] == [{parent.id, child.id}]


async def test_the_end_that_a_crash_makes(engine: Engine, outside: Outside) -> None:
    """A job that is convicted at boot cancels its children there and then."""
    doomed = planted(Status.RUNNING, alone=True, crashes=2)

    def plant(table: Table) -> None:
        table.next_seq()
        table.add(doomed)

    await engine.apply(lambda: Needs(lanes={doomed.lane}), plant)
    async with serving(engine, outside) as state:
        child = await add(state, depends_on=(doomed.id,))
    await StateActor(engine, Outside("boot-2").world(), Limits(), Nudge()).recover()
    assert engine.tables.jobs[doomed.id].reason is Reason.CRASH_LOOP
    assert engine.tables.jobs[child.id].reason is Reason.DEPENDENCY
