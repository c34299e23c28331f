"""What an operator may change of a job, in every state, and what follows from it; and the removal of one."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from jobqueue.clock import SECOND
from jobqueue.errors import BadState, NotFound, OutOfRange, QueueFull, Removed
from jobqueue.job import Ending, Job, Reason, Status
from jobqueue.rules import amending, bounds
from jobqueue.rules.amending import Amendment
from jobqueue.stores.contract import REMOVED, Filter, Needs
from tests.helpers import EPOCH, Desk, draft, memory, new_id, planted

LIVE = (Status.SCHEDULED, Status.BLOCKED, Status.QUEUED, Status.RUNNING)
ENDED = (Status.DONE, Status.FAILED, Status.CANCELLED)
HOUR = 3600 * SECOND


async def amend(desk: Desk, job: Job, **fields: Any) -> Job:
    """Change the job; as it then is in the table."""
    amendment = Amendment(**fields)
    after = await desk.do(
        lambda table, times: amending.amend(table, job.id, amendment, times), Needs(jobs={job.id}, claims={"*": 0})
    )
    assert after == await desk.get(job)
    return after


async def remove(desk: Desk, id: str) -> Job:
    """Remove the job."""
    return await desk.do(lambda table, _: amending.remove(table, id), Needs(jobs={id}))


@pytest.mark.parametrize("status", LIVE)
@pytest.mark.parametrize(
    "fields", [{"priority": 7}, {"max_attempts": 9}, {"expires_at": EPOCH + 5 * HOUR}, {"expires_at": None}]
)
async def test_a_job_that_has_not_ended_can_be_changed(status: Status, fields: dict[str, Any]) -> None:
    """Its status, place and tries stay as they were; the rest of what was asked, too."""
    desk = memory()
    job = await desk.plant(planted(status, options=draft(tags=("t",), expires_at=EPOCH + HOUR).options))
    after = await amend(desk, job, **fields)
    shown = {
        "priority": after.priority,
        "max_attempts": after.options.max_attempts,
        "expires_at": after.options.expires_at,
    }
    assert shown == {"priority": 0, "max_attempts": 5, "expires_at": EPOCH + HOUR} | fields
    assert (after.status, after.place, after.attempt, after.epoch) == (status, job.place, job.attempt, job.epoch)
    assert (after.options.tags, after.next_attempt_at, after.started_at) == (
        ("t",),
        job.next_attempt_at,
        job.started_at,
    )


@pytest.mark.parametrize("status", ENDED)
@pytest.mark.parametrize("fields", [{}, {"priority": 1}, {"max_attempts": 9}, {"expires_at": None}, {"run_at": None}])
async def test_an_ended_job_cannot_be_changed(status: Status, fields: dict[str, Any]) -> None:
    """BadState, even where nothing is said."""
    desk = memory()
    job = await desk.plant(planted(status))
    with pytest.raises(BadState, match=status.name):
        await amend(desk, job, **fields)


@pytest.mark.parametrize("status", [Status.BLOCKED, Status.QUEUED, Status.RUNNING])
@pytest.mark.parametrize("run_at", [None, EPOCH + HOUR])
async def test_only_a_scheduled_job_has_a_time_to_change(status: Status, run_at: int | None) -> None:
    """run_at of any other: BadState, and nothing else of the change is made."""
    desk = memory()
    job = await desk.plant(planted(status))
    with pytest.raises(BadState, match="run_at"):
        await amend(desk, job, run_at=run_at, priority=3)
    assert (await desk.get(job)).priority == 0


async def test_nothing_said_changes_nothing() -> None:
    """An empty change, and one to what is so already, make no change at all."""
    desk = memory()
    job = await desk.add(delay=60)

    def twice(table: Any, times: Any) -> bool:
        amending.amend(table, job.id, Amendment(), times)
        same = Amendment(priority=0, max_attempts=5, expires_at=None, run_at=job.options.run_at)
        amending.amend(table, job.id, same, times)
        return bool(table.changes.empty())

    assert await desk.do(twice, Needs(jobs={job.id}))


async def test_a_changed_priority_counts_at_the_next_claim() -> None:
    """The job goes before, or after, those of other priorities."""
    desk = memory()
    low, middle, high = [await desk.add(priority=priority) for priority in (-1, 0, 1)]
    await amend(desk, low, priority=5)
    await amend(desk, high, priority=-5)
    assert [job.id for job in await desk.claim(9)] == [low.id, middle.id, high.id]


async def test_a_changed_priority_keeps_the_place() -> None:
    """In its new lane a job stands where it would if it had been accepted there."""
    desk = memory()
    jobs = [await desk.add(priority=priority) for priority in (3, 0, 3, 0, 3)]
    await amend(desk, jobs[1], priority=3)
    await amend(desk, jobs[3], priority=3)
    assert [job.id for job in await desk.claim(9)] == [job.id for job in jobs]


async def test_a_running_job_goes_back_to_its_new_priority() -> None:
    """The counters follow, and a give-back stands in the new lane."""
    desk = memory()
    await desk.submit([draft(), draft(priority=1)])
    high, low = await desk.claim(2)
    await amend(desk, low, priority=2)
    await desk.settle(low, Ending.RELEASED)
    await desk.settle(high, Ending.RELEASED)
    assert [job.id for job in await desk.claim(2)] == [low.id, high.id]


async def test_a_queue_has_so_many_lanes_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A priority that would need a lane too many is refused; one that has a lane already is not."""
    monkeypatch.setattr(bounds, "MOST_LANES", 2)
    desk = memory()
    job, _ = (await desk.submit([draft(), draft(priority=1)])).jobs
    with pytest.raises(QueueFull):
        await amend(desk, job, priority=2)
    assert (await amend(desk, job, priority=1)).priority == 1


async def test_fewer_tries() -> None:
    """A try that runs already is the last if there may be no more than it."""
    desk = memory()
    await desk.add(max_attempts=5)
    (job,) = await desk.claim()
    await amend(desk, job, max_attempts=1)
    assert (await desk.settle(job, Ending.ERROR)).status is Status.FAILED


async def test_more_tries() -> None:
    """A job that would fail for good is tried again."""
    desk = memory()
    await desk.add(max_attempts=1)
    (job,) = await desk.claim()
    await amend(desk, job, max_attempts=2)
    assert (await desk.settle(job, Ending.ERROR)).status is Status.SCHEDULED


async def test_a_promised_try_still_happens() -> None:
    """What waits for its second try has it, even if no more than one is now wanted; after it there is none."""
    desk = memory()
    await desk.add()
    await desk.settle((await desk.claim())[0], Ending.ERROR, retry_in=5)
    (job,) = (await desk.store.page(Filter(), None, 1)).jobs
    await amend(desk, job, max_attempts=1)
    desk.clock.advance(5)
    await desk.ripen()
    (again,) = await desk.claim()
    assert (await desk.settle(again, Ending.ERROR)).status is Status.FAILED


@pytest.mark.parametrize("before, after", [(60, 10), (10, 60), (60, 0)])
async def test_another_time(before: float, after: float) -> None:
    """A scheduled job is due at its new time, and not at its old one."""
    desk = memory()
    job = await desk.add(delay=before)
    at = EPOCH + int(after * SECOND)
    changed = await amend(desk, job, run_at=at)
    assert changed.options.run_at == at
    assert changed.status is (Status.SCHEDULED if after else Status.QUEUED)
    desk.clock.advance(after - 0.1)
    await desk.ripen()
    assert bool(await desk.claim()) is not bool(after)
    desk.clock.advance(0.1)
    await desk.ripen()
    assert bool(await desk.claim()) is bool(after)


async def test_null_is_now() -> None:
    """run_at None: QUEUED, behind those that wait already, with no time of its own."""
    desk = memory()
    job = await desk.add(delay=60)
    other = await desk.add()
    after = await amend(desk, job, run_at=None)
    assert (after.status, after.options.run_at, after.next_attempt_at) == (Status.QUEUED, None, None)
    assert [job.id for job in await desk.claim(2)] == [other.id, job.id]


async def test_a_retry_that_waits_can_be_had_at_once() -> None:
    """Between two tries a job is SCHEDULED, too."""
    desk = memory()
    await desk.add()
    (job,) = await desk.claim()
    await desk.settle(job, Ending.ERROR, retry_in=3600)
    await amend(desk, job, run_at=None)
    (again,) = await desk.claim()
    assert (again.id, again.attempt) == (job.id, 2)


@pytest.mark.parametrize(
    "fields, amendment, pointer",
    [
        ({}, {"expires_at": EPOCH}, "/expires_at"),
        ({"delay": 60}, {"expires_at": EPOCH + 60 * SECOND}, "/expires_at"),
        ({"delay": 60, "expires_at": EPOCH + HOUR}, {"run_at": EPOCH + HOUR}, "/run_at"),
        ({"delay": 60}, {"run_at": EPOCH + HOUR, "expires_at": EPOCH + HOUR}, "/expires_at"),
    ],
)
async def test_it_must_not_expire_before_it_starts(
    fields: dict[str, Any], amendment: dict[str, Any], pointer: str
) -> None:
    """As at submission: expires_at is after now and after run_at."""
    desk = memory()
    job = await desk.add(**fields)
    with pytest.raises(OutOfRange) as caught:
        await amend(desk, job, **amendment)
    assert [fault.pointer for fault in caught.value.faults] == [pointer]
    assert await desk.get(job) == job


async def test_an_old_time_is_no_matter_of_another_change() -> None:
    """What expires in this moment can still be given another priority."""
    desk = memory()
    job = await desk.add(expires_at=EPOCH + SECOND)
    desk.clock.advance(1)
    assert (await amend(desk, job, priority=1)).priority == 1


async def test_a_new_expiry_counts() -> None:
    """The job fails at the new moment, not at the old one, or never."""
    desk = memory()
    sooner, later, never = [await desk.add(expires_at=EPOCH + HOUR) for _ in range(3)]
    await amend(desk, sooner, expires_at=EPOCH + 10 * SECOND)
    await amend(desk, later, expires_at=EPOCH + 2 * HOUR)
    await amend(desk, never, expires_at=None)
    seen = []
    for seconds in (10, 3590, 3600):
        desk.clock.advance(seconds)
        await desk.ripen()
        seen.append([(await desk.get(job)).reason for job in (sooner, later, never)])
    expired = Reason.EXPIRED
    assert seen == [[expired, None, None], [expired, None, None], [expired, expired, None]]


async def test_a_running_job_does_not_expire() -> None:
    """A moment that is set while it runs ends it only once it waits again."""
    desk = memory()
    await desk.add()
    (job,) = await desk.claim()
    await amend(desk, job, expires_at=EPOCH + SECOND)
    desk.clock.advance(2)
    await desk.ripen()
    assert (await desk.get(job)).status is Status.RUNNING
    await desk.settle(job, Ending.RELEASED)
    await desk.ripen()
    assert (await desk.get(job)).reason is Reason.EXPIRED


@pytest.mark.parametrize("status", ENDED)
async def test_an_ended_job_can_be_removed(status: Status) -> None:
    """It is gone but for its tombstone, and can neither be changed nor removed again."""
    desk = memory()
    job = await desk.plant(planted(status))
    assert await remove(desk, job.id) == job
    assert await desk.look(job) is REMOVED
    with pytest.raises(Removed):
        await remove(desk, job.id)
    with pytest.raises(Removed):
        await amend(desk, job, priority=1)


@pytest.mark.parametrize("status", LIVE)
async def test_a_job_that_has_not_ended_cannot_be_removed(status: Status) -> None:
    """BadState, and it stays."""
    desk = memory()
    job = await desk.plant(planted(status))
    with pytest.raises(BadState, match=status.name):
        await remove(desk, job.id)
    assert await desk.get(job) == job


async def test_an_unknown_job() -> None:
    """NotFound."""
    desk = memory()
    with pytest.raises(NotFound):
        await remove(desk, new_id())
    with pytest.raises(NotFound):
        await amend(desk, planted(Status.QUEUED), priority=1)


def test_what_is_not_said_is_unset() -> None:
    """None has a meaning of its own."""
    assert Amendment() == Amendment(UNSET, UNSET, UNSET, UNSET) != Amendment(run_at=None)


async def test_what_others_wait_for_cannot_be_removed() -> None:
    """A job stays until all who depend on it have ended: they are to see how it went."""
    desk = memory()
    parent = await desk.add()
    (parent,) = await desk.claim()
    parent = await desk.settle(parent)
    other = await desk.add(delay=60)
    child = await desk.add(depends_on=(parent.id, other.id))
    assert child.status is Status.BLOCKED
    with pytest.raises(BadState, match="have not ended"):
        await remove(desk, parent.id)
    await desk.cancel(child)
    await remove(desk, parent.id)
    assert await desk.look(parent) is REMOVED
