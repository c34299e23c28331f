"""What an operator does to jobs, on each engine: changes of lanes and moments, removals and what is left of them."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueue.clock import SECOND
from jobqueue.errors import NotFound, Removed
from jobqueue.job import Ending, Job, Status
from jobqueue.rules import amending
from jobqueue.rules.amending import Amendment
from jobqueue.stores.contract import REMOVED, Needs
from tests.helpers import DAY, EPOCH, Desk, draft, planted


async def amend(desk: Desk, job: Job, **fields: Any) -> Job:
    """Change the job."""
    amendment = Amendment(**fields)
    return await desk.do(lambda table, times: amending.amend(table, job.id, amendment, times), Needs(jobs={job.id}))


async def test_a_queued_job_moves_to_another_lane(desk: Desk) -> None:
    """It is there for the next claim, at its place, and no longer where it was."""
    jobs = (await desk.submit([draft(priority=priority, group="g") for priority in (0, 0, 5, 0)])).jobs
    assert await amend(desk, jobs[1], priority=5) == await desk.get(jobs[1])
    await amend(desk, jobs[3], priority=9)
    assert [job.id for job in await desk.claim(9)] == [jobs[index].id for index in (3, 1, 2, 0)]
    assert await desk.claim(9) == []


async def test_a_lane_that_is_left_empty_is_gone(desk: Desk) -> None:
    """A job that was alone in its lane leaves nothing there, and comes back to it."""
    job = await desk.add(group="g", priority=1)
    await amend(desk, job, priority=2)
    await amend(desk, job, priority=1)
    (started,) = await desk.claim(9)
    assert (started.id, started.priority) == (job.id, 1)


async def test_a_running_job_moves_to_another_lane(desk: Desk) -> None:
    """What it counts in its group goes with it."""
    await desk.add(group="g")
    (job,) = await desk.claim()
    await amend(desk, job, priority=-3)
    await desk.settle(job, Ending.RELEASED)
    (again,) = await desk.claim()
    assert (again.id, again.priority) == (job.id, -3)
    assert (await desk.settle(again)).status is Status.DONE


async def test_changed_options_are_kept(desk: Desk) -> None:
    """Beside those that were asked for at first, in every state."""
    job = await desk.add(delay=60, tags=("a",), timeout=7)
    await amend(desk, job, max_attempts=9, expires_at=EPOCH + 600 * SECOND, run_at=EPOCH + 30 * SECOND)
    kept = (await desk.get(job)).options
    assert (kept.max_attempts, kept.expires_at, kept.run_at) == (9, EPOCH + 600 * SECOND, EPOCH + 30 * SECOND)
    assert (kept.tags, kept.timeout) == (("a",), 7)


async def test_the_next_moment_follows(desk: Desk) -> None:
    """The store knows when it is to wake up."""
    job = await desk.add(delay=60)
    await amend(desk, job, run_at=EPOCH + 90 * SECOND)
    assert await desk.store.next_due() == EPOCH + 90 * SECOND
    await amend(desk, job, expires_at=EPOCH + 100 * SECOND, run_at=None)
    assert await desk.store.next_due() == EPOCH + 100 * SECOND
    await amend(desk, job, expires_at=None)
    assert await desk.store.next_due() is None


async def test_a_tombstone_fades_by_itself(desk: Desk) -> None:
    """A removed job is told from one that never was for 7 days, for readers and rules, with no other removal since."""
    job = await desk.plant(planted(Status.DONE))
    await desk.remove(job)
    desk.clock.advance(7 * DAY - 1)
    assert await desk.look(job) is REMOVED
    with pytest.raises(Removed):
        await amend(desk, job)
    desk.clock.advance(1)
    assert await desk.look(job) is None
    with pytest.raises(NotFound):
        await amend(desk, job)
