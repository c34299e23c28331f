"""Which jobs are claimed, in which order, for whom."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueue.job import Ending, Job, Outcome, Status
from jobqueue.rules.admission import ALL_QUEUES, Want
from tests.helpers import Desk, draft, memory, run


def groups(jobs: list[Job]) -> list[str | None]:
    """Whose jobs they are, in order."""
    return [job.group for job in jobs]


async def one_by_one(desk: Desk, most: int) -> list[Job]:
    """Up to `most` jobs, each claimed in a batch of its own and done before the next."""
    done: list[Job] = []
    while len(done) < most and (claimed := await desk.claim()):
        done += claimed
        await desk.settle(claimed[0])
    return done


async def test_first_in_first_out() -> None:
    """Within a lane jobs start in the order in which they were accepted, over batches and within one."""
    desk = memory()
    jobs = [await desk.add(), *(await desk.submit([draft(), draft()])).jobs, await desk.add()]
    assert [job.id for job in await desk.claim(3) + await desk.claim(3)] == [job.id for job in jobs]


async def test_a_give_back_goes_first_a_retry_last() -> None:
    """What is given back starts before what was accepted after it; what is retried starts after what waited then."""
    desk = memory()
    jobs = (await desk.submit([draft(max_attempts=1) for _ in range(4)])).jobs
    first, second = await desk.claim(2)
    await desk.settle(first, Ending.ERROR)
    await desk.retry(first)
    await desk.settle(second, Ending.RELEASED)
    assert [job.seq for job in await desk.claim(9)] == [2, 3, 4, 1]
    assert [job.seq for job in jobs] == [1, 2, 3, 4]


async def test_highest_priority_first() -> None:
    """A higher priority of the queue is served before a lower one, whatever the groups and turns."""
    desk = memory()
    await desk.submit([draft(priority=p, group=g) for g in ("a", "b", None) for p in (0, 5, -5, 1000, -1000)] * 2)
    expected = [priority for priority in (1000, 5, 0, -5, -1000) for _ in range(6)]
    served = [job.priority for job in await one_by_one(desk, 11)]
    served += [job.priority for job in await desk.claim(99)]
    assert served == expected


async def test_lanes_take_turns() -> None:
    """Groups of one priority are served in rounds, however many jobs each has."""
    desk = memory()
    await desk.submit([draft(group="a")] * 9 + [draft(group="b")] * 2 + [draft()] * 3)
    assert groups(await desk.claim(9)) == [None, "a", "b", None, "a", "b", None, "a", "a"]


async def test_no_saving_up() -> None:
    """A lane that was empty for long and fills again gets its share from now on, not what it did not use."""
    desk = memory()
    await desk.submit([draft(group="a"), *[draft(group="b")] * 40])
    await one_by_one(desk, 20)
    await desk.submit([draft(group="a")] * 20)
    assert Counter(groups(await one_by_one(desk, 10)))["a"] in (5, 6)


async def test_a_new_tenant_is_served_within_one_round() -> None:
    """A single job of a new tenant waits for at most one job of each other, whatever their backlog and their past."""
    desk = memory()
    await desk.submit([draft(group=name) for name in "abc" for _ in range(300)])
    await one_by_one(desk, 100)
    await desk.add(group="new")
    before = groups(await one_by_one(desk, 4))
    before = before[: before.index("new")]
    assert max(Counter(before).values(), default=0) <= 1


@pytest.mark.parametrize("name", ["a", "z"])
async def test_who_comes_back_again_and_again_starves_nobody(name: str) -> None:
    """A tenant with one job at a time, the next sent as soon as one has ended, gets its share and no more."""
    desk = memory()
    await desk.submit([draft(group="m")] * 100)
    served = []
    for _ in range(40):
        await desk.add(group=name)
        served += await one_by_one(desk, 1)
    assert Counter(groups(served))["m"] >= 19


async def test_a_stream_of_new_tenants_starves_nobody() -> None:
    """Tenants that come with one job each, as fast as jobs are done, do not keep an older one from being served."""
    desk = memory()
    await desk.submit([draft(group="m")] * 100)
    served = []
    for index in range(90):
        await desk.add(group=f"a{index}")
        served += await one_by_one(desk, 1)
    assert Counter(groups(served))["m"] > 5


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 7), st.integers(1, 6), st.lists(st.integers(1, 9), min_size=1, max_size=9), st.randoms())
def test_fairness(tenants: int, rounds: int, batches: list[int], chance: random.Random) -> None:
    """Of tenants that always have jobs waiting each gets k claims, give or take one, in k rounds, however they come."""

    async def story() -> Counter[str | None]:
        desk = memory()
        await desk.submit([draft(group=f"g{index}") for index in range(tenants) for _ in range(rounds + 9)])
        claims: Counter[str | None] = Counter()
        left = rounds * tenants
        while left:
            for job in await desk.claim(min(left, chance.choice(batches))):
                claims[job.group] += 1
                left -= 1
                await desk.settle(job, chance.choice([Ending.DONE, Ending.ERROR]))
        return claims

    claims = run(story())
    assert all(abs(claims[f"g{index}"] - rounds) <= 1 for index in range(tenants))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_round_whatever_the_past(data: st.DataObject) -> None:
    """After any history of tenants that come, are served and go, a new one waits for at most one job of each other."""

    async def story() -> Counter[str | None]:
        desk = memory()
        for _ in range(data.draw(st.integers(1, 20), "steps")):
            if data.draw(st.booleans(), "submit"):
                name, count = data.draw(st.sampled_from("abcyz"), "group"), data.draw(st.integers(1, 4), "jobs")
                await desk.submit([draft(group=name)] * count)
            else:
                await one_by_one(desk, data.draw(st.integers(1, 4), "served"))
        await desk.add(group="new")
        before = groups(await one_by_one(desk, 99))
        return Counter(before[: before.index("new")])

    assert max(run(story()).values(), default=0) <= 1


async def test_one_job_a_worker() -> None:
    """Each worker that waits gets at most one job, the first of them first; nothing is claimed for nobody."""
    desk = memory()
    await desk.submit([draft()] * 5)
    claimed = await desk.turn((), [Want(("default",), ("x", "y")), Want(("default",), ("z",))])
    assert [[(job.seq, job.worker) for job in jobs] for jobs in claimed] == [[(1, "x"), (2, "y")], [(3, "z")]]
    assert (await desk.store.counts())["default"][Status.QUEUED] == 2


async def test_fewer_jobs_than_workers() -> None:
    """Where too little is queued the last workers go on waiting."""
    desk = memory()
    await desk.submit([draft()] * 2)
    assert [job.worker for job in await desk.claim(5)] == ["w0", "w1"]
    assert await desk.claim(5) == []


async def test_a_turn_settles_before_it_claims() -> None:
    """What a turn gives back can be claimed in the same turn, in its old place."""
    desk = memory()
    await desk.submit([draft()] * 3)
    (job,) = await desk.claim()
    (again,) = await desk.turn([Outcome(job.id, job.epoch, Ending.RELEASED)], [Want(("default",), ("x", "y"))])
    assert [(job.seq, job.epoch) for job in again] == [(1, 2), (2, 1)]


async def test_queues_take_turns() -> None:
    """Workers that wait for several queues get jobs of one after the other."""
    desk = memory()
    await desk.submit([draft(queue=queue) for queue in "abc" for _ in range(2)])
    claimed = [job.queue for job in await desk.claim(5, "a", "b", "c", "none")]
    assert sorted(claimed[:3]) == ["a", "b", "c"]
    assert sorted(claimed[3:]) == sorted(claimed[:2])


async def test_no_queue_starves() -> None:
    """Of several full queues each is served, also for one worker that asks again and again."""
    desk = memory()
    desk.chance = random.Random(1).random
    await desk.submit([draft(queue=queue) for queue in "abc" for _ in range(90)])
    served: Counter[str] = Counter()
    for _ in range(90):
        (job,) = await desk.claim(1, "a", "b", "c")
        served[job.queue] += 1
    assert min(served[queue] for queue in "abc") > 15


async def test_the_same_queue_twice() -> None:
    """A worker that names a queue twice gets each job once."""
    desk = memory()
    await desk.submit([draft()] * 2)
    assert [job.seq for job in await desk.claim(4, "default", "default")] == [1, 2]
    assert list((await desk.store.counts())["default"]) == [0, 0, 0, 2, 0, 0, 0]


async def test_all_queues() -> None:
    """A worker of all queues gets jobs of any, also of one that was made in the same batch; others only of theirs."""
    desk = memory()
    await desk.submit([draft(queue="a"), draft(queue="b")])
    assert await desk.claim(9, "c") == []
    assert sorted(job.queue for job in await desk.claim(9, *ALL_QUEUES)) == ["a", "b"]
