"""What time alone does to jobs."""

from __future__ import annotations

import pytest

from jobqueue.clock import SECOND
from jobqueue.errors import NotFound, Removed
from jobqueue.job import Ending, Reason, Status
from jobqueue.rules import lifecycle, ripening
from jobqueue.rules.lifecycle import Limits, Times
from jobqueue.rules.table import Table
from jobqueue.stores.contract import REMOVED, Filter, Needs
from tests.helpers import DAY, EPOCH, Desk, draft, memory, planted


async def test_due_to_the_microsecond() -> None:
    """A SCHEDULED job is QUEUED at its moment and not a microsecond before."""
    desk = memory()
    job = await desk.add(delay=1)
    desk.clock.advance(0.999_999)
    await desk.ripen()
    assert (await desk.get(job)).status is Status.SCHEDULED
    desk.clock.advance(0.000_001)
    await desk.ripen()
    queued = await desk.get(job)
    assert (queued.status, queued.next_attempt_at, queued.due_at) == (Status.QUEUED, None, None)


async def test_due_jobs_queue_in_order_of_their_moments() -> None:
    """Jobs that become due together are queued by their moments, behind what waited and ahead of what follows."""
    desk = memory()
    late, early, twin = [await desk.add(delay=delay) for delay in (3, 1, 1)]
    waiting = await desk.add()
    desk.clock.advance(5)
    await desk.ripen()
    last = await desk.add()
    assert [job.id for job in await desk.claim(9)] == [job.id for job in (waiting, early, twin, late, last)]


async def test_expired_while_waiting() -> None:
    """A job whose expires_at comes while it waits is FAILED, reason `expired`; it is never started."""
    desk = memory()
    queued = await desk.add(expires_at=EPOCH + SECOND)
    delayed = await desk.add(delay=0.5, expires_at=EPOCH + SECOND)
    desk.clock.advance(1)
    await desk.ripen()
    for job in (queued, delayed):
        found = await desk.get(job)
        assert (found.status, found.reason, found.finished_at) == (Status.FAILED, Reason.EXPIRED, desk.clock.now())
    assert await desk.claim() == []


async def test_expiry_never_ends_a_running_job() -> None:
    """A RUNNING job outlives its expires_at; given back, or to be tried again, it expires."""
    desk = memory()
    for _ in range(2):
        await desk.add(expires_at=EPOCH + SECOND)
    one, two = await desk.claim(2)
    desk.clock.advance(2)
    await desk.ripen()
    assert (await desk.get(one)).status is Status.RUNNING
    await desk.settle(one, Ending.RELEASED)
    await desk.settle(two, Ending.ERROR, retry_in=60)
    await desk.ripen()
    assert [(await desk.get(job)).reason for job in (one, two)] == [Reason.EXPIRED] * 2


async def test_next_due() -> None:
    """The store names the first moment at which time changes anything, and None where there is none."""
    desk = memory()
    assert await desk.store.next_due() is None
    await desk.add(delay=9)
    await desk.add(expires_at=EPOCH + 8 * SECOND)
    assert await desk.store.next_due() == EPOCH + 8 * SECOND


@pytest.mark.parametrize("status", [Status.DONE, Status.FAILED, Status.CANCELLED], ids=lambda status: status.name)
async def test_retention(status: Status) -> None:
    """An ended job is removed when its status's retention is over, not before: DONE 24 h, the others 7 days."""
    desk = memory()
    job = await desk.plant(planted(status))
    kept = DAY if status is Status.DONE else 7 * DAY
    desk.clock.advance(kept - 1)
    await desk.ripen()
    assert (await desk.get(job)).status is status
    desk.clock.advance(1)
    await desk.ripen()
    assert await desk.look(job) is REMOVED


async def test_a_removed_job_is_known_as_removed() -> None:
    """A command to a removed job is told so; to one that was removed in the same batch as well."""
    desk = memory()
    job = await desk.plant(planted(Status.DONE))

    def rule(table: Table, times: Times) -> None:
        table.remove(job)
        lifecycle.cancel(table, job.id, times)

    with pytest.raises(Removed):
        await desk.do(rule, Needs(jobs={job.id}))
    await desk.remove(job)
    with pytest.raises(Removed):
        await desk.cancel(job)


async def test_tombstones_are_forgotten() -> None:
    """After 7 days a removed job is as unknown as one that never was."""
    desk = memory()
    jobs = [await desk.plant(planted(Status.DONE, seq=seq)) for seq in (1, 2)]
    await desk.remove(jobs[0])
    desk.clock.advance(7 * DAY)
    await desk.remove(jobs[1])
    assert await desk.look(jobs[0]) is None
    with pytest.raises(NotFound):
        await desk.cancel(jobs[0])


async def ended(desk: Desk, count: int) -> None:
    """`count` jobs more that were cancelled, a second between them."""
    for job in (await desk.submit([draft()] * count)).jobs:
        await desk.cancel(job)
        desk.clock.advance(1)


async def test_surplus() -> None:
    """Of more ended jobs than max_ended those go early whose retention ends first."""
    desk = memory()
    desk.limits = Limits(max_ended=3)
    await ended(desk, 5)
    await desk.ripen()
    counts = (await desk.store.counts())["default"]
    assert counts[Status.CANCELLED] == 3
    assert [job.seq for job in (await desk.store.page(Filter(), None, 9)).jobs] == [5, 4, 3]


async def test_crowded() -> None:
    """Ended jobs go early once there are a hundredth too many of them, and then all the surplus at once."""
    desk = memory()
    desk.limits = Limits(max_ended=100)
    for surplus in (0, 1, 2):
        await ended(desk, 100 if surplus == 0 else 1)
        assert await desk.do(ripening.crowded) == (surplus == 2)
    await desk.ripen()
    assert (await desk.store.counts())["default"][Status.CANCELLED] == 100


async def test_due_and_surplus_together() -> None:
    """What retention removes in a batch does not count as surplus once more."""
    desk = memory()
    desk.limits = Limits(max_ended=3)
    await ended(desk, 5)
    desk.clock.advance(7 * DAY - 4)  # the first two are over
    await desk.ripen()
    assert [job.seq for job in (await desk.store.page(Filter(), None, 9)).jobs] == [5, 4, 3]


async def test_a_batch_is_bounded() -> None:
    """One batch ripens at most 500 jobs and says that there is more."""
    desk = memory()
    await desk.submit([draft(delay=1)] * (ripening.MOST + 1))
    desk.clock.advance(1)
    needs = Needs(most_due=ripening.MOST)
    assert await desk.do(ripening.ripen, needs)
    assert (await desk.store.counts())["default"][Status.QUEUED] == ripening.MOST
    assert not await desk.do(ripening.ripen, needs)
    assert (await desk.store.counts())["default"][Status.QUEUED] == ripening.MOST + 1


async def test_waking_comes_before_retention() -> None:
    """When more is due than a batch takes, jobs that wait go before those that are only to be forgotten."""
    desk = memory()
    desk.limits = Limits(retention=dict.fromkeys(Status, 0.0))
    await ended(desk, 1)
    waiting = await desk.submit([draft(delay=1)] * ripening.MOST)
    desk.clock.advance(1)
    await desk.do(ripening.ripen, Needs(most_due=ripening.MOST))
    counts = (await desk.store.counts())["default"]
    assert (counts[Status.QUEUED], counts[Status.CANCELLED]) == (len(waiting.jobs), 1)
