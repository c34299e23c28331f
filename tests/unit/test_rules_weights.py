"""Fair shares: what weights promise, and that nobody starves."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueue.job import Job, LaneKey
from jobqueue.queue import Caps
from tests.helpers import Desk, draft, memory, run


async def one_by_one(desk: Desk, most: int) -> list[Job]:
    """Up to `most` jobs, each claimed in a batch of its own and done before the next."""
    done: list[Job] = []
    while len(done) < most and (claimed := await desk.claim()):
        done += claimed
        await desk.settle(claimed[0])
    return done


def shares(jobs: list[Job]) -> Counter[str | None]:
    """How many of each group."""
    return Counter(job.group for job in jobs)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.sampled_from("abcde"), st.sampled_from([0.5, 1, 2, 3, 7]), min_size=2), st.integers(1, 6))
def test_shares_follow_the_weights(weights: dict[str, float], batch: int) -> None:
    """Of groups that always have jobs waiting each gets its share of the claims to within one, however they come."""

    async def story() -> None:
        desk = memory()
        await desk.configure(weights=weights)
        await desk.submit([draft(group=group) for group in weights for _ in range(200)])
        served: list[Job] = []
        while len(served) < 180:
            jobs = await desk.claim(batch)
            served += jobs
            for job in jobs:
                await desk.settle(job)
        for group, weight in weights.items():
            due = len(served) * weight / sum(weights.values())
            assert abs(shares(served)[group] - due) <= 1 + weight / min(weights.values())

    run(story())


async def test_over_a_long_run_shares_are_exact_to_a_few_percent() -> None:
    """Weights 5, 2, 1 and none named (1) over 1,800 claims."""
    desk = memory()
    await desk.configure(weights={"a": 5.0, "b": 2.0, "c": 1.0})
    await desk.submit([draft(group=group) for group in "abcd" for _ in range(1_100)])
    served = shares([job for _ in range(180) for job in await desk.claim(10)])
    assert {group: count / 200 for group, count in served.items()} == pytest.approx(
        {"a": 5, "b": 2, "c": 1, "d": 1}, rel=0.03
    )


async def test_a_tiny_weight_does_not_starve() -> None:
    """A group of share 0.01 gets one claim in a hundred of the other's, and its first at once."""
    desk = memory()
    await desk.configure(weights={"tiny": 0.01})
    await desk.submit([draft(group="big")] * 420 + [draft(group="tiny")] * 5)
    served = [job.group for job in await one_by_one(desk, 410)]
    assert served.index("tiny") <= 1
    assert served.count("tiny") == 5


async def test_a_tiny_weight_delays_no_newcomer() -> None:
    """When a group of share 0.001 is idle again, a new one is still served within a round of the others."""
    desk = memory()
    await desk.configure(weights={"tiny": 0.001})
    await desk.submit([draft(group="big")] * 50 + [draft(group="tiny")])
    await one_by_one(desk, 5)
    await desk.add(group="new")
    assert "new" in [job.group for job in await one_by_one(desk, 2)]


async def test_who_comes_back_again_and_again_keeps_to_a_small_share() -> None:
    """A group of share 0.1 that always has one job, the next sent as soon as one is done, gets one of eleven claims."""
    desk = memory()
    await desk.configure(weights={"small": 0.1})
    await desk.submit([draft(group="big")] * 130)
    served: list[Job] = []
    waits = False
    for _ in range(110):
        if not waits:
            await desk.add(group="small")
        job = (await one_by_one(desk, 1))[0]
        waits = job.group != "small"
        served.append(job)
    assert shares(served)["small"] == pytest.approx(10, abs=2)


async def test_a_remembered_lane_goes_when_its_turn_has_come() -> None:
    """An idle group of a small share is kept only as long as its turn is ahead; then it is forgotten as others are."""
    desk = memory()
    lanes = desk.store.tables.lanes  # type: ignore[attr-defined]  # this desk stands on memory
    await desk.configure(weights={"small": 0.1})
    await desk.submit([draft(group="big")] * 130)
    await desk.add(group="small")
    await one_by_one(desk, 4)
    assert LaneKey("default", 0, "small") in lanes
    await one_by_one(desk, 12)
    await desk.add(group="small")
    await one_by_one(desk, 2)
    await desk.configure(weights={})
    assert LaneKey("default", 0, "small") not in lanes


async def test_a_new_weight_holds_at_once() -> None:
    """A group whose share was tiny, so that its turn was far off, is served within a round once its share is 1."""
    desk = memory()
    await desk.configure(weights={"a": 0.001})
    await desk.submit([draft(group=group) for group in "ab" for _ in range(30)])
    await one_by_one(desk, 10)
    await desk.configure(weights={})
    assert shares(await one_by_one(desk, 10))["a"] in (4, 5, 6)


async def test_weights_say_nothing_of_jobs_without_a_group() -> None:
    """They are a lane of their own, with the share 1."""
    desk = memory()
    await desk.configure(weights={"a": 3.0})
    await desk.submit([draft(group=group) for group in ("a", None) for _ in range(50)])
    assert shares(await one_by_one(desk, 40)) == {"a": 30, None: 10}


async def test_a_full_tenant_delays_anothers_single_job_by_a_round_at_most() -> None:
    """With 20,000 jobs of one tenant queued, the only job of another is the first or the second to start."""
    desk = memory()
    await desk.submit([draft(group="full")] * 20_000)
    await one_by_one(desk, 20)
    await desk.add(group="single")
    assert "single" in [job.group for job in await desk.claim(2)]


async def test_a_group_behind_its_cap_saves_nothing_up() -> None:
    """However long it was at its cap: once that is lifted it is served in turn with the others, not before them."""
    desk = memory()
    await desk.configure(group=Caps(concurrency=1))
    await desk.submit([draft(group="capped") for _ in range(50)])
    await desk.claim()
    await desk.submit([draft(group="other") for _ in range(50)])
    for _ in range(30):
        await desk.settle((await desk.claim())[0])
    await desk.configure(group=Caps())
    assert max(shares(await desk.claim(10)).values()) <= 6
