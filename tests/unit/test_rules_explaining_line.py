"""Why a QUEUED job is not running: its place in line, the caps that hold it, and the estimated start."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueue.clock import SECOND, iso
from jobqueue.job import Ending, Status
from jobqueue.queue import Caps, Rate
from jobqueue.rules import acceptance, explaining, lifecycle
from jobqueue.rules.explaining import Around, Cause, Explanation
from jobqueue.stores.contract import Filter, Needs
from tests.helpers import EPOCH, draft, memory
from tests.unit.explaining_kit import causes, configure, explain


async def test_the_next_one() -> None:
    """Place 1: nothing goes before it, it waits for a free worker."""
    desk = memory()
    await desk.add()
    await desk.claim()
    found = await explain(desk, await desk.add())
    detail = "it is the next one, and waits for a free worker"
    assert found == Explanation((Cause("behind", detail, {"ahead": 0, "running": 1}),), 1, None, None)


async def test_behind_others() -> None:
    """behind: how many go before it, and when it may start at the rate of late."""
    desk = memory()
    jobs = [await desk.add() for _ in range(6)]
    found = await explain(desk, jobs[-1], Around(local=("default",), per_second=0.5))
    assert found.causes == (Cause("behind", "5 jobs go before it", {"ahead": 5, "running": 0}),)
    assert (found.place, found.estimated_start) == (6, EPOCH + 12 * SECOND)
    assert (await explain(desk, jobs[-1])).estimated_start is None


@pytest.mark.parametrize("settings", [{}, {"weights": {"a": 4}}, {"group": Caps(concurrency=1)}])
async def test_the_place_is_where_it_will_be_served(settings: dict[str, Any]) -> None:
    """Over priorities, groups, weights and retries the places are the order in which a lone worker gets the jobs."""
    desk = memory()
    await configure(desk, **settings)
    for index in range(40):
        await desk.add(group=("a", "b", None)[index % 5 % 3], priority=index % 7 // 5)
    for job in await desk.claim(3):
        await desk.settle(job, Ending.RELEASED if job.group else Ending.DONE)
    cancelled = [job for job in (await desk.store.page(Filter(), None, 99)).jobs if job.status is Status.QUEUED][5]
    await desk.cancel(cancelled)
    await desk.retry(cancelled)
    waiting = [job for job in (await desk.store.page(Filter(), None, 99)).jobs if job.status is Status.QUEUED]
    places = {(await explain(desk, job)).place: job.id for job in waiting}
    served = []
    while claimed := await desk.claim():
        served.append(claimed[0].id)
        await desk.settle(claimed[0])
    assert [places[place] for place in range(1, len(waiting) + 1)] == served


async def test_the_place_sees_its_own_batch() -> None:
    """What was submitted or cancelled in the same commit counts."""
    desk = memory()
    first, second, third = [await desk.add() for _ in range(3)]

    def rule(table: Any, times: Any) -> list[int]:
        lifecycle.cancel(table, first.id, times)
        (new,) = acceptance.accept(table, [draft()], times)
        return [explaining.place_of(table, job) for job in (second, third, new)]

    assert await desk.do(rule, Needs(jobs={first.id}, lines={"default"})) == [1, 2, 3]


async def test_the_line_is_counted_up_to_1000() -> None:
    """No further place is told; and the start is estimated by all that wait."""
    desk = memory()
    jobs = (await desk.submit([draft()] * 1500)).jobs
    found = await explain(desk, jobs[999])
    assert (found.place, found.causes[0].detail) == (1000, "at least 999 jobs go before it")
    found = await explain(desk, jobs[-1], Around(local=("default",), per_second=10.0))
    assert (found.place, found.estimated_start) == (1000, EPOCH + 150 * SECOND)


async def test_a_cap_of_the_queue() -> None:
    """Its scope, limit and how many run."""
    desk = memory()
    await configure(desk, caps=Caps(concurrency=2))
    await desk.submit([draft()] * 3)
    await desk.claim(9)
    job = await desk.add()
    found = await explain(desk, job)
    assert [cause.cause for cause in found.causes] == ["concurrency", "behind"]
    assert found.causes[0].more == {"scope": "queue", "queue": "default", "limit": 2, "running": 2}
    assert found.causes[0].detail == "2 jobs of queue default run, of at most 2"


async def test_a_cap_of_the_group() -> None:
    """The cap of the group; a job of another is not held by it, and has its place before."""
    desk = memory()
    await configure(desk, group=Caps(concurrency=1))
    await desk.submit([draft(group="a")] * 3)
    await desk.claim(9)
    held = await desk.add(group="a")
    free = await desk.add(group="b")
    found = await explain(desk, held)
    assert found.causes[0].more == {
        "scope": "group", "queue": "default", "group": "a", "limit": 1, "running": 1,
    }  # fmt: skip
    assert await causes(desk, free) == ["behind"]


async def test_a_cap_that_is_not_reached_is_no_cause() -> None:
    """With room left nothing is said of caps."""
    desk = memory()
    rate = Rate(5, 60)
    await configure(desk, caps=Caps(2, rate), group=Caps(2, rate))
    await desk.add(group="a")
    await desk.claim()
    assert await causes(desk, await desk.add(group="a")) == ["behind"]


@pytest.mark.parametrize("scope", ["queue", "group"])
async def test_a_rate(scope: str) -> None:
    """rate: scope, limit, per, and until when nothing may start."""
    desk = memory()
    limits = Caps(rate=Rate(2, 50))
    await configure(desk, **{"caps" if scope == "queue" else "group": limits})
    await desk.submit([draft(group="a")] * 4)
    assert len(await desk.claim(9)) == 2
    desk.clock.advance(10)
    job = await desk.add(group="a")
    found = await explain(desk, job)
    cause = found.causes[0]
    until = EPOCH + 51 * SECOND  # the window, and the slot of a fiftieth
    named = {"scope": scope, "queue": "default"} | ({"group": "a"} if scope == "group" else {})
    assert cause.more == {**named, "limit": 2, "per": 50, "until": iso(until)}
    assert (cause.cause, cause.until) == ("rate", until)
    assert found.estimated_start is not None
    assert found.estimated_start >= until


async def test_a_rate_moves_the_estimate() -> None:
    """The third pair of a rate of 2 in 50 s starts after two windows, however fast the queue is drained."""
    desk = memory()
    await configure(desk, caps=Caps(rate=Rate(2, 50)))
    jobs = (await desk.submit([draft()] * 6)).jobs
    around = Around(local=("default",), per_second=1000.0)
    starts = [(await explain(desk, job, around)).estimated_start for job in jobs]
    assert [round(((start or 0) - EPOCH) / SECOND) for start in starts] == [0, 0, 50, 50, 100, 100]
    await desk.claim(9)
    assert (await explain(desk, jobs[5], around)).estimated_start == EPOCH + 101 * SECOND


async def test_several_causes_in_their_order() -> None:
    """First what needs somebody to act, then the caps, then the line."""
    desk = memory()
    await configure(desk, caps=Caps(1, Rate(1, 60)), group=Caps(1, Rate(1, 60)))
    await desk.submit([draft(group="a")] * 2)
    await desk.claim()
    job = await desk.add(group="a")
    await configure(desk, caps=Caps(1, Rate(1, 60)), group=Caps(1, Rate(1, 60)), paused=True)
    found = await explain(desk, job)
    names = [(cause.cause, cause.more.get("scope")) for cause in found.causes]
    assert names == [
        ("paused", None),
        ("concurrency", "queue"),
        ("concurrency", "group"),
        ("rate", "queue"),
        ("rate", "group"),
        ("behind", None),
    ]
    assert found.place == 2
