"""Why a job is not running: for every status and cause the right answer."""

from __future__ import annotations

import pytest

from jobqueue.clock import SECOND, iso, micros
from jobqueue.errors import NotFound, Removed
from jobqueue.job import Ending, Job, Status
from jobqueue.rules.explaining import Around, Cause, Explanation, Taker
from jobqueue.rules.isolation import Quarantine
from jobqueue.stores.contract import Filter
from tests.helpers import EPOCH, draft, memory, planted
from tests.unit.explaining_kit import SERVED, causes, configure, explain, only


@pytest.mark.parametrize("status", [Status.RUNNING, Status.DONE, Status.FAILED, Status.CANCELLED])
@pytest.mark.parametrize("around", [SERVED, Around()])
async def test_what_runs_or_has_ended_waits_for_nothing(status: Status, around: Around) -> None:
    """No causes, no place, no start; not even in a paused queue that nobody serves."""
    desk = memory()
    await configure(desk, paused=True)
    assert await explain(desk, await desk.plant(planted(status)), around) == Explanation()


async def test_an_unknown_and_a_removed_job() -> None:
    """NotFound and Removed."""
    desk = memory()
    with pytest.raises(NotFound):
        await explain(desk, planted(Status.QUEUED))
    job = await desk.plant(planted(Status.DONE))
    await desk.remove(job)
    with pytest.raises(Removed):
        await explain(desk, job)


async def test_a_delayed_job() -> None:
    """scheduled: until when; it starts then at the earliest, and stands in no line."""
    desk = memory()
    job = await desk.add(delay=60)
    found = await explain(desk, job)
    at = EPOCH + 60 * SECOND
    assert found == Explanation(
        (Cause("scheduled", f"it is due at {iso(at)}", {"until": iso(at)}, at),), None, at, None
    )


async def test_a_job_between_two_tries() -> None:
    """scheduled: which try is due when."""
    desk = memory()
    await desk.add()
    await desk.settle((await desk.claim())[0], Ending.ERROR, retry_in=5)
    job = (await desk.store.get([(await desk.store.page(Filter(), None, 1)).jobs[0].id]))[0]
    assert isinstance(job, Job)
    assert (await only(desk, job)).detail == f"try 2 is due at {iso(EPOCH + 5 * SECOND)}"


async def test_a_delayed_job_in_a_paused_queue() -> None:
    """Its own time first, then what will hold it then; the estimate is no earlier than the time."""
    desk = memory()
    await configure(desk, paused=True)
    job = await desk.add(delay=60)
    assert await causes(desk, job, Around()) == ["scheduled", "paused", "no-worker"]
    assert (await explain(desk, job, Around())).estimated_start == EPOCH + 60 * SECOND


async def test_a_job_that_waits_for_others() -> None:
    """dependency: how many have yet to end, and which they are."""
    desk = memory()
    done = await desk.add()
    await desk.settle((await desk.claim())[0])
    parents = [await desk.add(), await desk.add(delay=60)]
    job = await desk.add(depends_on=(done.id, *(parent.id for parent in parents)))
    found = await explain(desk, job)
    jobs = [{"id": parent.id, "status": parent.status.name} for parent in parents]
    assert found.causes == (Cause("dependency", "2 jobs have to end before it", {"unmet": 2, "jobs": jobs}),)
    assert (found.place, found.estimated_start) == (None, None)


async def test_of_many_parents_a_few_are_named() -> None:
    """All are counted, 20 are named."""
    desk = memory()
    parents = (await desk.submit([draft()] * 30)).jobs
    ids = tuple(parent.id for parent in parents)
    job = await desk.add(depends_on=ids)
    more = (await only(desk, job)).more
    assert (more["unmet"], [one["id"] for one in more["jobs"]]) == (30, list(ids[:20]))


async def test_all_parents_have_just_ended() -> None:
    """The job is about to go on, and is told so."""
    desk = memory()
    done = await desk.plant(planted(Status.DONE))
    job = await desk.plant(planted(Status.BLOCKED, seq=2, options=draft(depends_on=(done.id,)).options))
    assert (await only(desk, job)).more == {"unmet": 0, "jobs": []}


async def test_a_paused_queue() -> None:
    """paused; the place in line is known, the start is not."""
    desk = memory()
    first, second = [await desk.add() for _ in range(2)]
    await configure(desk, paused=True)
    assert await only(desk, first) == Cause("paused", "queue default is paused", {"queue": "default"})
    found = await explain(desk, second, Around(local=("default",), per_second=5.0))
    assert [cause.cause for cause in found.causes] == ["paused", "behind"]
    assert (found.place, found.estimated_start) == (2, None)


@pytest.mark.parametrize(
    "around, cause",
    [
        (Around(), "no-worker"),
        (Around(local=("default",)), "behind"),
        (Around(local=("a", "default")), "behind"),
        (Around(local=("*",)), "behind"),
        (Around(local=("a",)), "no-worker"),
        (Around(takers=[Taker(("default",), 0)]), "behind"),
        (Around(takers=[Taker(("*",), 119.0)]), "behind"),
        (Around(takers=[Taker(("default",), 121.0)]), "no-worker"),
        (Around(takers=[Taker(("a", "b"), 0)]), "no-worker"),
        (Around(takers=[Taker(("a", "default"), 500.0), Taker(("default", "b"), 3.0)]), "behind"),
    ],
)
async def test_nobody_takes_jobs_of_the_queue(around: Around, cause: str) -> None:
    """no-worker: no local worker serves it, and no other has asked of late."""
    desk = memory()
    assert await causes(desk, await desk.add(), around) == [cause]


async def test_since_when_nobody_asks() -> None:
    """The last one who asked is remembered."""
    desk = memory()
    desk.clock.advance(1000)
    cause = await only(desk, await desk.add(), Around(takers=[Taker(("default",), 400.0)]))
    assert cause.more == {"queue": "default", "last_asked": iso(EPOCH + 600 * SECOND)}
    assert "no local worker serves queue default" in cause.detail
    assert (await only(desk, await desk.plant(planted(Status.QUEUED, queue="x")), Around())).more["last_asked"] is None


async def test_who_works_will_come_back() -> None:
    """While a job of the queue runs, somebody takes its jobs, however long ago that was."""
    desk = memory()
    await desk.add()
    await desk.claim()
    assert await causes(desk, await desk.add(), Around()) == ["behind"]


async def test_a_suspect_waits_to_run_alone() -> None:
    """A concurrency of the node."""
    desk = memory()
    job = await desk.plant(planted(Status.QUEUED, crashes=2))
    cause = await only(desk, job, Around(local=("default",), running=3))
    assert (cause.cause, cause.more) == ("concurrency", {"scope": "node", "limit": 1, "running": 3})
    assert "died under it 2 times" in cause.detail
    assert (await explain(desk, job)).place == 1


async def test_others_wait_while_a_suspect_runs_alone() -> None:
    """A concurrency of the node, as long as it really runs."""
    desk = memory()
    suspect = await desk.plant(planted(Status.RUNNING, crashes=2, alone=True))
    job = await desk.add()
    around = Around(local=("default",), quarantine=Quarantine(suspect.id), running=1)
    cause = await only(desk, job, around)
    assert cause.more == {"scope": "node", "limit": 1, "running": 1, "alone": suspect.id}
    await desk.settle(suspect)
    assert await causes(desk, job, around) == ["behind"]


async def test_others_wait_while_the_node_becomes_idle() -> None:
    """A concurrency of the node: nothing is started for a moment."""
    desk = memory()
    around = Around(local=("default",), quarantine=Quarantine(None, holding=True), running=2)
    assert (await only(desk, await desk.add(), around)).more == {"scope": "node", "limit": 0, "running": 2}


async def test_when_it_expires() -> None:
    """The moment at which it would fail stands beside the estimate."""
    desk = memory()
    at = EPOCH + micros(60)
    for job in (await desk.add(expires_at=at), await desk.add(expires_at=at, delay=5)):
        assert (await explain(desk, job)).expires_at == at
