"""How ends reach many children: in bounded batches, breadth first, losing none; and who is kept for whom."""

from __future__ import annotations

import pytest

from jobqueue.errors import Invalid
from jobqueue.job import Ending, Job, Outcome, Reason, Status
from jobqueue.rules import acceptance, dependencies, lifecycle, ripening
from jobqueue.rules.dependencies import DEPENDENTS_MOST, MOST
from jobqueue.rules.lifecycle import Limits, Times
from jobqueue.rules.table import Table
from jobqueue.stores.contract import REMOVED, Filter, Needs
from tests.helpers import DAY, Desk, draft, memory


async def statuses(desk: Desk, queue: str = "default") -> dict[str, int]:
    """How many jobs of the queue have which status."""
    counts = (await desk.store.counts())[queue]
    return {Status(status).name: n for status, n in enumerate(counts) if n}


async def parent_of(desk: Desk, count: int, mode: str = "cancel") -> Job:
    """A running job on which so many depend."""
    parent = await desk.add(queue="parents")
    await desk.submit([draft(depends_on=(parent.id,), on_dependency_failure=mode) for _ in range(count)])
    return (await desk.claim(1, "parents"))[0]


async def everything(desk: Desk) -> list[Job]:
    """All jobs."""
    return list((await desk.store.page(Filter(), None, 9999)).jobs)


async def next_batch(desk: Desk) -> bool:
    """A batch in which nothing else is to be done; whether some are left."""
    assert await desk.store.next_due() == 0
    await desk.do(lambda *_: None)
    return desk.untold


# -- fan-out


async def test_fan_out() -> None:
    """A thousand children of one job are all told in the batch of its end."""
    desk = memory()
    parent = await parent_of(desk, DEPENDENTS_MOST)
    await desk.settle(parent)
    assert (await statuses(desk), desk.untold) == ({"QUEUED": DEPENDENTS_MOST}, False)
    assert await desk.store.next_due() == parent.started_at + DAY * 1_000_000  # type: ignore[operator]  # known from the case


async def test_a_batch_tells_so_many() -> None:
    """One batch tells at most 1,000 children; the next is due at once, and goes on where that one stopped."""
    desk = memory()
    parents = [await parent_of(desk, 600) for _ in range(3)]
    await desk.turn([Outcome(parent.id, parent.epoch, Ending.DONE) for parent in parents], [])
    assert desk.untold
    assert await statuses(desk) == {"QUEUED": MOST, "BLOCKED": 800}
    assert not await next_batch(desk)
    assert await statuses(desk) == {"QUEUED": 1800}
    assert await desk.store.next_due() != 0


async def test_a_fresh_parent_does_not_end_late() -> None:
    """Retried while some have yet to hear of its failure, it still cancels those, but none who came afterwards."""
    desk = memory()
    first, second = [await parent_of(desk, 600, "run") for _ in range(2)]
    third = await parent_of(desk, 1)
    ends = [Outcome(job.id, job.epoch, Ending.ERROR, fatal=True) for job in (first, second, third)]
    await desk.turn(ends, [])
    retried = [await desk.retry(second), await desk.retry(third)]
    assert desk.untold is False  # the retry's own batch has told them
    late = [await desk.add("late", depends_on=(job.id,), on_dependency_failure="run") for job in retried]
    assert {(await desk.get(job)).status for job in late} == {Status.BLOCKED}
    assert await statuses(desk) == {"QUEUED": 1200, "CANCELLED": 1, "BLOCKED": 2}


async def test_who_came_after_the_end_is_not_meant_by_it() -> None:
    """An end that waits to be told means those who were there when it came."""
    desk = memory()
    parent = await parent_of(desk, 2, "run")

    def fail_retry_and_depend(table: Table, times: Times) -> Job:
        outcome = Outcome(parent.id, parent.epoch, Ending.ERROR, fatal=True)
        lifecycle.settle(table, outcome, times)
        lifecycle.retry(table, parent.id)
        return dependencies_of(table, times, parent)

    late = await desk.do(fail_retry_and_depend, Needs(jobs={parent.id}))
    assert (await desk.get(late)).status is Status.BLOCKED
    assert await statuses(desk) == {"QUEUED": 2, "BLOCKED": 1}


def dependencies_of(table: Table, times: Times, parent: Job) -> Job:
    """A job that depends on the parent."""
    return acceptance.accept(table, [draft(depends_on=(parent.id,), on_dependency_failure="run")], times)[0]


async def test_ends_are_told_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later end of the same parent never overtakes an earlier one that waits to be told."""
    monkeypatch.setattr(dependencies, "MOST", 1)
    desk = memory()
    first, second = await parent_of(desk, 2), await parent_of(desk, 0)
    child = await desk.add("child", depends_on=(second.id,))
    ends = [Outcome(first.id, first.epoch, Ending.DONE), Outcome(second.id, second.epoch, Ending.ERROR, fatal=True)]
    await desk.turn(ends, [])
    (waiting,) = [job for job in await everything(desk) if job.status is Status.BLOCKED and job.id != child.id]

    def and_now_it_is_done(table: Table, times: Times) -> None:
        lifecycle.cancel(table, waiting.id, times)  # then the batch has nothing to tell of the first end
        again = lifecycle.start(table, lifecycle.retry(table, second.id), "w0", times, alone=False)
        lifecycle.settle(table, Outcome(again.id, again.epoch, Ending.DONE), times)

    await desk.do(and_now_it_is_done, Needs(jobs={waiting.id, second.id}))
    while await next_batch(desk):
        pass
    assert (await desk.get(child)).reason is Reason.DEPENDENCY


async def test_removal_before_all_have_heard() -> None:
    """A parent that is removed before all have heard of its end keeps nobody waiting."""
    desk = memory()
    parents = [await parent_of(desk, 600) for _ in range(2)]

    def end_and_remove(table: Table, times: Times) -> None:
        for parent in parents:
            lifecycle.settle(table, Outcome(parent.id, parent.epoch, Ending.DONE), times)
            table.remove(table.job(parent.id))

    await desk.do(end_and_remove, Needs(jobs={parent.id for parent in parents}))
    assert await statuses(desk) == {"QUEUED": MOST, "BLOCKED": 200}
    assert not await next_batch(desk)
    assert await statuses(desk) == {"QUEUED": 1200}


async def test_the_limit_of_dependents() -> None:
    """On one job at most 1,000 that have not ended may depend, in one submission or many."""
    desk = memory()
    parent = await desk.add(queue="parents")
    many = [draft(depends_on=(parent.id,))] * (DEPENDENTS_MOST - 1)
    jobs = (await desk.submit(many)).jobs
    with pytest.raises(Invalid) as caught:
        await desk.submit([draft(), draft(depends_on=(parent.id,)), draft(depends_on=(parent.id,))])
    assert [fault.pointer for fault in caught.value.faults] == ["/2/depends_on/0"]
    await desk.add(depends_on=(parent.id,))
    with pytest.raises(Invalid):
        await desk.add(depends_on=(parent.id,))
    await desk.cancel(jobs[0])
    await desk.add(depends_on=(parent.id,))


async def test_a_submission_has_so_many_dependencies(monkeypatch: pytest.MonkeyPatch) -> None:
    """One array brings at most 100,000 of them."""
    monkeypatch.setattr(dependencies, "LINKS_MOST", 3)
    desk = memory()
    asked = [draft(), *[draft(depends_on=("#0",))] * 3]
    await desk.submit(asked)
    with pytest.raises(Invalid) as caught:
        await desk.submit([*asked, draft(depends_on=("#0",))])
    assert [fault.pointer for fault in caught.value.faults] == ["/4/depends_on"]


# -- fan-in and cascades


async def test_fan_in() -> None:
    """A child of a thousand is set free by the last of them, though they end in one batch."""
    desk = memory()
    await desk.submit([*[draft()] * 999, draft(depends_on=tuple(f"#{n}" for n in range(999)))])
    parents = await desk.claim(1000)
    assert len(parents) == 999
    ends = [Outcome(job.id, job.epoch, Ending.DONE) for job in parents]
    await desk.turn(ends[:-1], [])
    assert await statuses(desk) == {"DONE": 998, "RUNNING": 1, "BLOCKED": 1}
    await desk.turn(ends[-1:], [])
    assert await statuses(desk) == {"DONE": 999, "QUEUED": 1}


async def test_a_cascade_goes_on_until_it_is_done() -> None:
    """What a failed parent cancels cancels its own children in turn, down to the last."""
    desk = memory()
    chain = [draft(queue="parents"), *[draft(depends_on=(f"#{n}",)) for n in range(999)]]
    head = (await desk.submit(chain)).jobs[0]
    await desk.cancel(head)
    assert await statuses(desk) == {"CANCELLED": 999}


async def test_a_cascade_is_bounded_too() -> None:
    """A tree of 3 x 600 takes more than one batch, and ends CANCELLED with the reason `dependency`."""
    desk = memory()
    root = await desk.add(queue="parents")
    layer = [(await desk.submit([draft(depends_on=(root.id,))])).jobs[0] for _ in range(3)]
    for middle in layer:
        await desk.submit([draft(depends_on=(middle.id,))] * 600)
    await desk.cancel(root)
    assert desk.untold
    batches = 1
    while await next_batch(desk):
        batches += 1
    assert batches == 1
    assert await statuses(desk) == {"CANCELLED": 1803}
    assert {(await desk.get(middle)).reason for middle in layer} == {Reason.DEPENDENCY}


async def test_run_stops_a_cascade() -> None:
    """A job that is to run anyway ends as it ends itself, and so do its children."""
    desk = memory()
    drafts = [draft("a"), draft("b", depends_on=("#0",), on_dependency_failure="run"), draft("c", depends_on=("#1",))]
    a, b, c = (await desk.submit(drafts)).jobs
    await desk.cancel(a)
    assert [(await desk.get(job)).status for job in (b, c)] == [Status.QUEUED, Status.BLOCKED]
    await desk.settle((await desk.claim())[0])
    assert (await desk.get(c)).status is Status.QUEUED


async def test_nothing_is_asked_where_nobody_depends() -> None:
    """Without dependencies a batch leaves nothing to be told and nothing to be due."""
    desk = memory()
    await desk.add()
    await desk.settle((await desk.claim())[0])
    assert not await desk.do(dependencies.resolve)
    assert await desk.store.next_due() != 0


# -- retention


@pytest.mark.parametrize("met", [True, False])
async def test_parents_are_kept_for_those_who_have_not_ended(*, met: bool) -> None:
    """Retention spares a job on which one depends that has not ended, whether that still waits for it or not."""
    desk = memory()
    first, second = [await parent_of(desk, 0) for _ in range(2)]
    await desk.settle(first)
    child = await desk.add("child", depends_on=(first.id,) if met else (first.id, second.id))
    desk.clock.advance(DAY)
    await desk.ripen()
    assert (await desk.get(first)).status is Status.DONE
    desk.clock.advance(30 * DAY)
    await desk.ripen()
    assert (await desk.get(first)).status is Status.DONE
    await desk.cancel(child)
    desk.clock.advance(ripening.SPARED_SECONDS)
    await desk.ripen()
    assert await desk.look(first) is REMOVED


async def test_a_spared_job_is_looked_at_again() -> None:
    """The store is due again when it may be time, and not at once."""
    desk = memory()
    first = await parent_of(desk, 0)
    await desk.settle(first)
    await desk.add("child", depends_on=(first.id,))
    desk.clock.advance(DAY)
    assert await desk.ripen() == 1
    assert await desk.store.next_due() == desk.clock.now() + ripening.SPARED_SECONDS * 1_000_000


async def test_parents_do_not_stand_in_the_way_of_the_surplus() -> None:
    """Where too many ended jobs are held, parents stay and do not count, and the others go all the same."""
    desk = memory()
    desk.limits = Limits(max_ended=2)
    parents = [await desk.add(queue="parents") for _ in range(ripening.MOST + 5)]
    for parent in await desk.claim(ripening.MOST + 5, "parents"):
        await desk.settle(parent)
    ids = [parent.id for parent in parents]
    await desk.submit([draft(depends_on=tuple(ids[start::2])) for start in range(2)])
    others = (await desk.submit([draft(queue="others")] * 5)).jobs
    for job in others:
        desk.clock.advance(1)
        await desk.cancel(job)
    await desk.ripen()
    assert (await statuses(desk, "parents"), await statuses(desk, "others")) == (
        {"DONE": len(parents)},
        {"CANCELLED": 2},
    )
    assert not await desk.do(ripening.crowded)
