"""The same done to many jobs: each by itself, by the rules of one."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from jobqueue.actors.commands import CANCEL, Order, What
from jobqueue.actors.state_handle import State
from jobqueue.job import Ending, Job, Status
from jobqueue.mailbox import Orders
from jobqueue.stores.contract import REMOVED, Filter
from tests.actors.engine import Engine
from tests.actors.kit import Call, add, claim, settle
from tests.helpers import draft, new_id


async def zoo(state: State) -> dict[str, Job]:
    """A job in each state."""
    made: dict[str, Job] = {}
    for name, ending in (("DONE", Ending.DONE), ("FAILED", Ending.ERROR)):
        made[name] = await add(state, max_attempts=1)
        await settle(state, *await claim(state), ending=ending)
    made["CANCELLED"] = await add(state)
    await state.cancel(made["CANCELLED"].id)
    made["RUNNING"] = await add(state)
    await claim(state)
    made["QUEUED"] = await add(state)
    made["SCHEDULED"] = await add(state, delay=60)
    made["BLOCKED"] = await add(state, depends_on=(made["SCHEDULED"].id,))
    return made


@pytest.mark.parametrize(
    "what, changed",
    [
        ("cancel", {"RUNNING", "QUEUED", "SCHEDULED", "BLOCKED"}),
        ("retry", {"FAILED", "CANCELLED"}),
        ("delete", {"DONE", "FAILED", "CANCELLED"}),
    ],
)
async def test_each_by_the_rules_of_one(state: State, engine: Engine, what: What, changed: set[str]) -> None:
    """What the rules refuse is left as it is, as is what is not there, and neither counts."""
    jobs = await zoo(state)
    before = dict(zip(jobs, await engine.get([job.id for job in jobs.values()]), strict=True))
    ids = [new_id(), *(job.id for job in jobs.values()), new_id()]
    assert await state.change_each(what, ids) == len(changed)
    after = dict(zip(jobs, await engine.get([job.id for job in jobs.values()]), strict=True))
    assert {name for name in jobs if after[name] != before[name]} == changed
    if what == "delete":
        assert all(after[name] is REMOVED for name in changed)


async def test_a_second_time_changes_nothing(state: State) -> None:
    """What is cancelled, or asked to end, already does not count again."""
    jobs = [await add(state) for _ in range(3)]
    await claim(state)
    ids = [job.id for job in jobs]
    assert [await state.change_each("cancel", ids) for _ in range(2)] == [3, 0]


async def test_who_runs_is_told(state: State) -> None:
    """The taker of a running job is ordered to end it."""
    orders: Orders[Order] = Orders()
    await add(state)
    (job,) = await claim(state, orders=[orders])
    await state.change_each("cancel", [job.id])
    assert (await orders.take()).why == CANCEL


async def test_who_waits_is_told(state: State) -> None:
    """Those who wait for the end of a job hear of it."""
    job = await add(state)
    with await state.watch(job.id) as pending:
        await state.change_each("cancel", [job.id])
        after = await pending.get()
    assert after is not None
    assert after.status is Status.CANCELLED


async def test_many_at_once_do_not_come_in_one_batch(state: State, engine: Engine) -> None:
    """A batch is cut by rows: what waits behind is served in between."""
    made = [(await state.submit([draft()] * 500)).jobs for _ in range(6)]
    engine.batches.clear()
    async with trio.open_nursery() as nursery:
        for jobs in made:
            Call(nursery, partial(state.change_each, "cancel", [job.id for job in jobs]))
    assert sum(len(batch.jobs) for batch in engine.batches) == 3_000
    assert max(len(batch.jobs) for batch in engine.batches) <= 1_500


async def test_who_no_longer_matches_is_left_alone(state: State, engine: Engine) -> None:
    """Of the jobs that matched when they were listed, one has started since: to cancel what waits does not end it."""
    jobs = [await add(state) for _ in range(2)]
    await claim(state)
    waiting = Filter(status=frozenset({Status.QUEUED}))
    assert await state.change_each("cancel", [job.id for job in jobs], waiting) == 1
    running, cancelled = (engine.tables.jobs[job.id] for job in jobs)
    assert (running.cancel_requested_at, cancelled.status) == (None, Status.CANCELLED)
