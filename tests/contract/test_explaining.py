"""What an explanation reads, on each engine: places in line over lanes, priorities and turns; nothing is written."""

from __future__ import annotations

from typing import Any

from jobqueue.job import Job, Status
from jobqueue.queue import Caps, Queue
from jobqueue.rules import explaining
from jobqueue.rules.explaining import Around
from jobqueue.stores.contract import Filter, Needs
from tests.helpers import Desk, draft


async def place(desk: Desk, job: Job) -> int:
    """The job's place, which must be asked for without a change."""

    def rule(table: Any, times: Any) -> int:
        found = explaining.explain(table, job.id, Around(local=("*",)), times)
        assert table.changes.empty()
        assert found.place is not None
        return found.place

    return await desk.do(rule, Needs(jobs={job.id}, lines={job.queue}))


async def test_places_are_the_order_of_service(desk: Desk) -> None:
    """After claims, give-backs of turns and a removal from the middle of a lane."""
    await desk.submit([draft(group=group, priority=n % 3) for n in range(9) for group in ("a", "b", None)])
    await desk.claim(5)
    waiting = [job for job in (await desk.store.page(Filter(), None, 99)).jobs if job.status is Status.QUEUED]
    await desk.cancel(waiting.pop(7))
    places = {await place(desk, job): job.id for job in waiting}
    served = [(await desk.claim())[0].id for _ in waiting]
    assert [places[n] for n in range(1, len(waiting) + 1)] == served


async def test_a_group_at_its_cap_has_places_too(desk: Desk) -> None:
    """A closed lane is not among the ready ones; its jobs stand behind those that its turn lets go first."""
    await desk.do(lambda table, _: table.configure(Queue("default", group=Caps(concurrency=1))))
    await desk.submit([draft(group="a")] * 3)
    await desk.claim(3)
    held, behind = (await desk.store.page(Filter(), None, 2)).jobs[::-1]
    free = await desk.add(group="b")
    assert sorted([await place(desk, held), await place(desk, free)]) == [1, 2]
    assert await place(desk, behind) == 3


async def test_what_a_job_waits_for(desk: Desk) -> None:
    """Those of its parents that have not ended, in the order in which they came; in the end none."""
    parents = (await desk.submit([draft()] * 4)).jobs
    child = await desk.add(depends_on=tuple(parent.id for parent in reversed(parents)))
    seen = []
    for started in [None, *await desk.claim(4)]:
        if started is not None:
            await desk.settle(started)
        seen.append(await desk.do(lambda table, _: table.parents(child, 9), Needs(jobs={child.id})))
    ids = [parent.id for parent in parents]
    assert seen == [ids, ids[1:], ids[2:], ids[3:], []]


async def test_a_long_line_is_counted_up_to_its_bound(desk: Desk) -> None:
    """The last of 1,200 stands at 1,000."""
    jobs = (await desk.submit([draft()] * 1200)).jobs
    assert [await place(desk, jobs[index]) for index in (0, 500, 999, 1000, 1199)] == [1, 501, 1000, 1000, 1000]
