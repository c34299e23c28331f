"""New settings of a queue: retention, of jobs that ended before too, and how many queues there may be."""

from __future__ import annotations

import pytest

from jobqueue.clock import micros
from jobqueue.errors import Invalid, OutOfRange, QueueFull
from jobqueue.job import Ending, Job
from jobqueue.queue import Caps, Queue, Rate
from jobqueue.rules import bounds, configuring, ripening
from jobqueue.rules.table import Table
from jobqueue.stores.contract import REMOVED, Needs
from tests.helpers import DAY, Desk, draft, memory


async def ended(desk: Desk, ending: Ending = Ending.DONE, queue: str = "default") -> Job:
    """A job that has ended now."""
    job = await desk.add(queue=queue, max_attempts=1)
    await desk.claim(1, queue)
    return await desk.settle((await desk.get(job)), ending)


async def kept(desk: Desk, job: Job) -> float:
    """For how many seconds from its end the job is kept."""
    found = await desk.get(job)
    assert found.due_at is not None
    assert found.finished_at is not None
    return (found.due_at - found.finished_at) / micros(1)


@pytest.mark.parametrize("ending, status", [(Ending.DONE, "DONE"), (Ending.ERROR, "FAILED")])
async def test_a_queue_says_how_long_its_jobs_are_kept(ending: Ending, status: str) -> None:
    """Each end state by itself; one that the queue does not name is kept as the server says."""
    desk = memory()
    await desk.configure(retention={status: 60.0})
    assert await kept(desk, await ended(desk, ending)) == 60
    assert await kept(desk, await ended(desk, ending, "other")) >= DAY


async def test_a_cancelled_and_an_expired_job_are_kept_by_it_too() -> None:
    """Whichever rule ends a job."""
    desk = memory()
    await desk.configure(retention={"CANCELLED": 1.0, "FAILED": 2.0})
    cancelled, expired = await desk.add(), await desk.add(expires_at=desk.clock.now() + 5)
    await desk.cancel(cancelled)
    desk.clock.advance(1)
    await desk.ripen()
    assert await desk.look(cancelled) is REMOVED
    assert await kept(desk, expired) == 2


async def test_kept_for_no_time_is_removed_at_once() -> None:
    """By the next batch; then it is known to have been there."""
    desk = memory()
    await desk.configure(retention={"DONE": 0.0})
    job = await ended(desk)
    await desk.ripen()
    assert await desk.look(job) is REMOVED


async def test_a_new_retention_holds_for_what_ended_before() -> None:
    """Shorter: what is too old goes now; longer: what would have gone stays; null: as the server has it."""
    desk = memory()
    job = await ended(desk)
    for retention, expected in (({"DONE": 60.0}, 60), ({"DONE": 9 * DAY}, 9 * DAY), ({}, DAY)):
        await desk.configure(retention=retention)
        await desk.ripen()
        assert await kept(desk, job) == expected
    desk.clock.advance(3600)
    await desk.configure(retention={"DONE": 60.0})
    await desk.ripen()
    assert await desk.look(job) is REMOVED


async def test_other_queues_and_statuses_keep_theirs() -> None:
    """A new retention of one queue changes no job of another, nor one that has not ended."""
    desk = memory()
    other, failed, waiting = await ended(desk, queue="other"), await ended(desk, Ending.ERROR), await desk.add()
    await desk.configure(retention={"DONE": 1.0})
    await desk.ripen()
    assert (await kept(desk, other), await kept(desk, failed)) == (DAY, 7 * DAY)
    assert (await desk.get(waiting)).due_at is None


async def test_it_is_done_in_pieces() -> None:
    """At most so many jobs a batch, until all have their new moment; the piece is told as unfinished."""
    desk = memory()
    jobs = [await ended(desk) for _ in range(5)]
    await desk.configure(retention={"DONE": 60.0})
    left = [await desk.do(lambda table, times: configuring.redate(table, times, 2)) for _ in range(3)]
    assert left == [True, True, False]
    assert [await kept(desk, job) for job in jobs] == [60] * 5
    assert await desk.do(lambda table, times: configuring.redate(table, times, 2)) is False


async def test_new_settings_begin_it_anew() -> None:
    """A second change in the midst of a first starts again from the first job."""
    desk = memory()
    jobs = [await ended(desk) for _ in range(3)]
    await desk.configure(retention={"DONE": 60.0})
    await desk.do(lambda table, times: configuring.redate(table, times, 1))
    await desk.configure(retention={"DONE": 70.0})
    await desk.ripen()
    assert [await kept(desk, job) for job in jobs] == [70] * 3


async def test_settings_that_leave_retention_alone_look_at_no_job() -> None:
    """Pausing a queue with a million ended jobs costs nothing."""
    desk = memory()
    await ended(desk)
    await desk.configure(paused=True)
    assert await desk.do(lambda table, _: table.redating()) == {}


async def test_a_refused_change_leaves_all_as_it_was() -> None:
    """An error of the change is the answer, and no queue comes of it."""
    desk = memory()

    def refuse(_queue: Queue) -> Queue:
        raise OutOfRange("no")

    with pytest.raises(OutOfRange):
        await desk.do(lambda table, _: configuring.configure(table, "a", refuse))
    assert not await desk.do(lambda table, _: table.known("a"))


async def test_the_thousand_and_first_queue_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a job names it or a change of settings; those that are known go on."""
    monkeypatch.setattr(bounds, "MOST_QUEUES", 3)
    monkeypatch.setattr(configuring, "MOST_QUEUES", 3)
    desk = memory()
    await desk.configure("a")
    await desk.add(queue="b")
    with pytest.raises(Invalid) as refused:
        await desk.submit([draft(queue="a"), draft(queue="c"), draft(queue="d")])
    assert refused.value.faults[0].pointer == "/1/queue"
    await desk.add(queue="c")
    with pytest.raises(Invalid):
        await desk.add(queue="d")
    with pytest.raises(Invalid):
        await desk.configure("d")
    await desk.submit([draft(queue="a"), draft(queue="c")])
    await desk.configure("b", paused=True)


async def test_queues_of_one_batch_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two commands of a batch that name a new queue each are two."""
    monkeypatch.setattr(configuring, "MOST_QUEUES", 1)
    desk = memory()

    def both(table: Table, _times: object) -> None:
        configuring.configure(table, "a", lambda queue: queue)
        configuring.configure(table, "a", lambda queue: queue)
        with pytest.raises(Invalid):
            configuring.configure(table, "b", lambda queue: queue)

    await desk.do(both)


async def test_a_queue_may_hold_less_or_more_than_the_server_says() -> None:
    """`max_queued` of the queue stands before the server's."""
    desk = memory()
    await desk.configure(max_queued=2)
    await desk.submit([draft()] * 2)
    with pytest.raises(QueueFull, match="2 waiting jobs of at most 2"):
        await desk.add()
    await desk.configure(max_queued=None)
    await desk.add()


async def test_the_lanes_of_a_queue_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of a group too many is refused as by a full queue, until a group has nothing left; known lanes go on."""
    monkeypatch.setattr(bounds, "MOST_LANES", 3)
    desk = memory()
    await desk.submit([draft(group="a"), draft(group="a", priority=5), draft(group="b")])
    for refused in ([draft(group="c")], [draft(group="a"), draft(group="b", priority=1)]):
        with pytest.raises(QueueFull, match="3 groups and priorities"):
            await desk.submit(refused)
    await desk.submit([draft(group="a"), draft(group="b"), draft()])
    await desk.add(queue="other", group="c")
    for job in await desk.claim(99):
        await desk.settle(job)
    await desk.add(group="c")


async def test_opening_lanes_is_done_in_pieces() -> None:
    """No more than so many a batch, however many groups were at their rate."""
    desk = memory()
    await desk.configure(group=Caps(rate=Rate(1, 10)))
    await desk.submit([draft(group=group) for group in "abc" for _ in range(2)])
    await desk.claim(9)
    desk.clock.advance(10.2)
    needs = Needs(most_due=ripening.MOST)
    assert [await desk.do(lambda table, times: table.open_due(times.now, 2), needs) for _ in range(3)] == [2, 1, 0]
