"""Dependencies: what the parents' ends do to those who wait, at submission and afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import pytest

from jobqueue.clock import SECOND
from jobqueue.errors import BadState, Invalid
from jobqueue.job import Ending, Job, Reason, Status
from tests.helpers import EPOCH, Desk, draft, memory, new_id

Mode = Literal["cancel", "run"]


async def waits(desk: Desk) -> Job:
    return await desk.add(queue="parents")


async def later(desk: Desk) -> Job:
    return await desk.add(queue="parents", delay=60)


async def blocked(desk: Desk) -> Job:
    return await desk.add(depends_on=((await waits(desk)).id,))


async def running(desk: Desk) -> Job:
    await waits(desk)
    return (await desk.claim(1, "parents"))[0]


async def done(desk: Desk) -> Job:
    return await desk.settle(await running(desk))


async def failed(desk: Desk) -> Job:
    return await desk.settle(await running(desk), Ending.ERROR, fatal=True)


async def cancelled(desk: Desk) -> Job:
    return await desk.cancel(await waits(desk))


Parent = Callable[[Desk], Awaitable[Job]]
PARENTS: dict[Parent, tuple[Status, Status]] = {  # what the child is, if it is to be cancelled, and if it is to run
    waits: (Status.BLOCKED, Status.BLOCKED),
    later: (Status.BLOCKED, Status.BLOCKED),
    blocked: (Status.BLOCKED, Status.BLOCKED),
    running: (Status.BLOCKED, Status.BLOCKED),
    done: (Status.QUEUED, Status.QUEUED),
    failed: (Status.CANCELLED, Status.QUEUED),
    cancelled: (Status.CANCELLED, Status.QUEUED),
}


@pytest.mark.parametrize("mode", ["cancel", "run"])
@pytest.mark.parametrize("parent", PARENTS, ids=lambda parent: str(parent.__name__))
async def test_at_submission(parent: Parent, mode: Mode) -> None:
    """Ended parents act at once: DONE is met, any other end cancels, or is met where the job is to run anyway."""
    desk = memory()
    first = await parent(desk)
    child = await desk.add("child", depends_on=(first.id,), on_dependency_failure=mode)
    expected = PARENTS[parent][mode == "run"]
    assert child.status is expected
    assert child.reason == (Reason.DEPENDENCY if expected is Status.CANCELLED else None)
    assert child.finished_at == (EPOCH if expected is Status.CANCELLED else None)
    assert await desk.get(child) == child


ENDS: dict[str, tuple[Ending, Status, Status]] = {
    "done": (Ending.DONE, Status.QUEUED, Status.QUEUED),
    "failed": (Ending.ERROR, Status.CANCELLED, Status.QUEUED),
    "timed out": (Ending.TIMEOUT, Status.CANCELLED, Status.QUEUED),
    "released": (Ending.RELEASED, Status.BLOCKED, Status.BLOCKED),
    "crashed": (Ending.CRASHED, Status.BLOCKED, Status.BLOCKED),
}


@pytest.mark.parametrize("mode", ["cancel", "run"])
@pytest.mark.parametrize("end", ENDS)
async def test_when_the_parent_ends(end: str, mode: Mode) -> None:
    """The child hears of the end in the commit that makes it."""
    desk = memory()
    first = await running(desk)
    child = await desk.add("child", depends_on=(first.id,), on_dependency_failure=mode)
    ending, *expected = ENDS[end]
    await desk.settle(first, ending, **({"fatal": True} if ending in (Ending.ERROR, Ending.TIMEOUT) else {}))
    assert (await desk.get(child)).status is expected[mode == "run"]


async def test_another_try_is_no_end() -> None:
    """A parent that is to be tried again keeps its children waiting."""
    desk = memory()
    first = await running(desk)
    child = await desk.add("child", depends_on=(first.id,))
    await desk.settle(first, Ending.ERROR)
    assert (await desk.get(child)).status is Status.BLOCKED


@pytest.mark.parametrize("mode, reason", [("cancel", Reason.DEPENDENCY), ("run", None)])
async def test_a_parent_that_is_cancelled_or_expires(mode: Mode, reason: Reason | None) -> None:
    """Every way to end acts on the children: a cancel while it waits, and its expiry too."""
    desk = memory()
    first, second = await waits(desk), await desk.add(queue="parents", expires_at=EPOCH + SECOND)
    children = [
        await desk.add("child", depends_on=(parent.id,), on_dependency_failure=mode) for parent in (first, second)
    ]
    await desk.cancel(first)
    desk.clock.advance(1)
    await desk.ripen()
    found = [await desk.get(child) for child in children]
    assert [child.reason for child in found] == [reason] * 2
    assert {child.status for child in found} == {Status.CANCELLED if reason else Status.QUEUED}


async def test_all_must_be_met() -> None:
    """A child of many starts after the last of them; whether named once or twice, and of those that ended before."""
    desk = memory()
    parents = [await done(desk), *[await waits(desk) for _ in range(3)]]
    child = await desk.add("child", depends_on=tuple(parent.id for parent in (*parents, *parents)))
    assert child.options.depends_on == tuple(parent.id for parent in parents)
    for parent in await desk.claim(9, "parents"):
        assert (await desk.get(child)).status is Status.BLOCKED
        assert await desk.claim() == []
        await desk.settle(parent)
    assert [job.id for job in await desk.claim()] == [child.id]


async def test_run_waits_for_all_ends() -> None:
    """`run` starts when all have ended however, not with the first failure."""
    desk = memory()
    parents = [await waits(desk) for _ in range(2)]
    child = await desk.add(depends_on=tuple(parent.id for parent in parents), on_dependency_failure="run")
    await desk.cancel(parents[0])
    assert (await desk.get(child)).status is Status.BLOCKED
    await desk.cancel(parents[1])
    assert (await desk.get(child)).status is Status.QUEUED


async def test_its_time_may_be_ahead() -> None:
    """All met, it is SCHEDULED where run_at or delay is ahead, and QUEUED at its time."""
    desk = memory()
    first = await running(desk)
    delayed = await desk.add("child", depends_on=(first.id,), delay=10)
    passed = await desk.add("child", depends_on=(first.id,), delay=3)
    assert (delayed.status, delayed.due_at, delayed.next_attempt_at) == (Status.BLOCKED, None, None)
    desk.clock.advance(5)
    await desk.ripen()
    await desk.settle(first)
    found = await desk.get(delayed)
    assert (found.status, found.next_attempt_at) == (Status.SCHEDULED, EPOCH + 10 * SECOND)
    assert (await desk.get(passed)).status is Status.QUEUED
    desk.clock.advance(5)
    await desk.ripen()
    assert (await desk.get(delayed)).status is Status.QUEUED


async def test_expiry_of_a_blocked_job() -> None:
    """A BLOCKED job expires like any that waits, and what its parents do then means nothing to it."""
    desk = memory()
    first = await running(desk)
    child = await desk.add("child", depends_on=(first.id,), expires_at=EPOCH + SECOND)
    desk.clock.advance(1)
    await desk.ripen()
    found = await desk.get(child)
    assert (found.status, found.reason) == (Status.FAILED, Reason.EXPIRED)
    await desk.settle(first)
    assert await desk.get(child) == found


async def test_a_freed_job_stands_behind_those_who_waited() -> None:
    """Its place in the lane is that of the moment in which it was set free."""
    desk = memory()
    first = await running(desk)
    child = await desk.add("child", depends_on=(first.id,))
    other = await desk.add()
    await desk.settle(first)
    assert [job.id for job in await desk.claim(9)] == [other.id, child.id]


# -- commands to a child


async def test_cancel_of_a_blocked_job() -> None:
    """It is CANCELLED, once and for all."""
    desk = memory()
    first = await running(desk)
    child = await desk.add("child", depends_on=(first.id,))
    await desk.cancel(child)
    await desk.settle(first)
    found = await desk.get(child)
    assert (found.status, found.reason) == (Status.CANCELLED, Reason.CANCELLED)


async def test_retry_of_a_child_ignores_its_dependencies() -> None:
    """Explicitly retried it is QUEUED now, though its parents never were DONE; they do not cancel it again."""
    desk = memory()
    first, second = await running(desk), await waits(desk)
    child = await desk.add("child", depends_on=(first.id, second.id))
    await desk.settle(first, Ending.ERROR, fatal=True)
    assert (await desk.retry(child)).status is Status.QUEUED
    await desk.cancel(second)
    assert (await desk.get(child)).status is Status.QUEUED


async def test_a_blocked_job_cannot_be_retried() -> None:
    """Only what has FAILED or was CANCELLED can be."""
    desk = memory()
    with pytest.raises(BadState):
        await desk.retry(await blocked(desk))


# -- commands to a parent


async def test_retry_of_a_parent_does_not_call_its_children_back() -> None:
    """What a failure has cancelled stays so, what it has set free goes on; the next child waits for the next end."""
    desk = memory()
    first = await running(desk)
    gone = await desk.add("child", depends_on=(first.id,))
    free = await desk.add("child", depends_on=(first.id,), on_dependency_failure="run")
    await desk.settle(first, Ending.ERROR, fatal=True)
    await desk.retry(first)
    new = await desk.add("child", depends_on=(first.id,))
    assert [(await desk.get(job)).status for job in (gone, free, new)] == [
        Status.CANCELLED, Status.QUEUED, Status.BLOCKED,
    ]  # fmt: skip
    await desk.settle((await desk.claim(1, "parents"))[0])
    assert (await desk.get(new)).status is Status.QUEUED


async def test_removal_of_a_parent() -> None:
    """A parent may be removed when it has ended: what it has met stays met. Then nobody can depend on it any more."""
    desk = memory()
    first, second = await done(desk), await waits(desk)
    child = await desk.add("child", depends_on=(first.id, second.id))
    await desk.remove(first)
    with pytest.raises(Invalid):
        await desk.add(depends_on=(first.id,))
    await desk.settle((await desk.claim(1, "parents"))[0])
    assert (await desk.get(child)).status is Status.QUEUED


# -- what is refused


@pytest.mark.parametrize("bad", ["#0", "#1", "#9999", new_id(), "no id"])
async def test_unknown_parents(bad: str) -> None:
    """An unknown id, the job itself or a later one of the array: 422, with a pointer to it."""
    desk = memory()
    first = await waits(desk)
    with pytest.raises(Invalid) as caught:
        await desk.submit([draft(depends_on=(first.id, bad)), draft()])
    assert [fault.pointer for fault in caught.value.faults] == ["/0/depends_on/1"]
    assert (await desk.add()).seq == first.seq + 1


async def test_earlier_items_of_the_array() -> None:
    """With "#n" a job names an earlier item, by its id from then on; a whole workflow comes in one submission."""
    desk = memory()
    drafts = [draft("a"), draft("b", depends_on=("#0",)), draft("c", depends_on=("#0", "#1", "#0"))]
    a, b, c = (await desk.submit(drafts)).jobs
    assert (b.options.depends_on, c.options.depends_on) == ((a.id,), (a.id, b.id))
    for expected in (a, b, c):
        (job,) = await desk.claim(9)
        assert job.id == expected.id
        await desk.settle(job)
