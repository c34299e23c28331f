"""The quarantine of jobs under which the process died."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueue.job import Ending, Job, Reason, Status
from jobqueue.rules.isolation import ALONE_SECONDS, HOLD_SECONDS, REST_SECONDS
from tests.helpers import Desk, draft, memory, planted, run


async def suspect(desk: Desk) -> Job:
    """A queued job under which the process died twice."""
    return await desk.plant(planted(Status.QUEUED, crashes=2, epoch=2))


async def busy(desk: Desk) -> Job:
    """A job that runs."""
    await desk.add()
    return (await desk.claim())[0]


async def test_two_deaths_make_a_suspect() -> None:
    """A job under which the process died twice beside others next starts alone: nothing else is claimed then."""
    desk = memory()
    await desk.submit([draft()] * 4)
    for life in ("boot-2", "boot-3"):
        assert len(await desk.claim(2)) == 2
        await desk.restart(life)
    (alone,) = await desk.claim(9)
    assert (alone.seq, alone.alone, alone.crashes) == (1, True, 2)
    assert await desk.claim(9) == []


async def test_a_suspect_goes_first() -> None:
    """A suspect starts before all others of its node, however high their priority."""
    desk = memory()
    job = await suspect(desk)
    await desk.add(priority=1000)
    assert [job.id for job in await desk.claim(2)] == [job.id]


async def test_death_alone_convicts() -> None:
    """A death while it was alone convicts the suspect: FAILED, reason `crash-loop`, and the node is free."""
    desk = memory()
    job = await suspect(desk)
    other = await desk.add()
    await desk.claim(9)
    (dead,) = await desk.restart("boot-2")
    assert (dead.id, dead.status, dead.reason) == (job.id, Status.FAILED, Reason.CRASH_LOOP)
    assert [job.id for job in await desk.claim(9)] == [other.id]


async def test_death_beside_others_only_counts() -> None:
    """However often the process dies under a job that is not alone, that alone never ends it."""
    desk = memory()
    job = await desk.plant(planted(Status.RUNNING, crashes=7, boot_id="boot-0"))
    (back,) = await desk.restart("boot-1")
    assert (back.id, back.status, back.crashes) == (job.id, Status.QUEUED, 8)


@pytest.mark.parametrize("ending", [Ending.DONE, Ending.ERROR, Ending.TIMEOUT, Ending.RELEASED], ids=str)
async def test_another_end_clears_it(ending: Ending) -> None:
    """A suspect that ends otherwise is none any more, and the node claims again."""
    desk = memory()
    await suspect(desk)
    other = await desk.add()
    (job,) = await desk.claim(9)
    await desk.settle(job, ending, **({"retry_in": 0} if ending in (Ending.ERROR, Ending.TIMEOUT) else {}))
    assert not (await desk.get(job)).suspect
    assert other.id in [job.id for job in await desk.claim(9)]


async def test_a_suspect_is_alone_for_at_most_thirty_seconds() -> None:
    """After 30 s others start beside it, and from then on a death no longer convicts it."""
    desk = memory()
    await suspect(desk)
    await desk.add()
    (job,) = await desk.claim(9)
    desk.clock.advance(ALONE_SECONDS - 0.1)
    assert await desk.claim(9) == []
    desk.clock.advance(0.1)
    assert len(await desk.claim(9)) == 1
    assert not (await desk.get(job)).alone
    await desk.restart("boot-2")
    assert (await desk.get(job)).status is Status.QUEUED


async def test_a_busy_node_holds_for_a_suspect() -> None:
    """While other attempts run, the node claims nothing for at most 30 s, so that the suspect can start."""
    desk = memory()
    running = await busy(desk)
    job = await suspect(desk)
    await desk.add()
    assert await desk.claim(9) == []
    desk.clock.advance(HOLD_SECONDS - 0.1)
    assert await desk.claim(9) == []
    await desk.settle(running)
    assert [job.id for job in await desk.claim(9)] == [job.id]


async def test_a_hold_ends_and_rests() -> None:
    """If what runs does not end in 30 s the others go on; the next hold begins 300 s later at the earliest."""
    desk = memory()
    await busy(desk)
    await suspect(desk)
    await desk.submit([draft()] * 9)
    assert await desk.claim() == []
    desk.clock.advance(HOLD_SECONDS)
    assert len(await desk.claim()) == 1
    desk.clock.advance(REST_SECONDS - 1)
    assert len(await desk.claim()) == 1
    desk.clock.advance(1)
    assert await desk.claim() == []


async def test_a_cancelled_suspect_ends_the_hold() -> None:
    """When the suspect no longer waits, the node claims at once."""
    desk = memory()
    await busy(desk)
    job = await suspect(desk)
    await desk.add()
    assert await desk.claim() == []
    await desk.cancel(job)
    assert len(await desk.claim()) == 1


async def test_suspects_do_not_move_the_turns_of_the_rest() -> None:
    """However many suspects a tenant had, a new tenant is served within one round."""
    desk = memory()
    await desk.submit([draft(group="b")] * 9)
    for seq in range(50, 60):
        await desk.plant(planted(Status.QUEUED, crashes=2, group="a", seq=seq, place=seq))
    for _ in range(10):
        (job,) = await desk.claim()
        await desk.settle(job)
    await desk.add(group="new")
    assert "new" in [job.group for job in await desk.claim(2)]


@settings(max_examples=60, deadline=None)
@given(st.integers())
def test_only_the_guilty_are_convicted(seed: int) -> None:
    """In whatever order jobs run, end and kill the process: no innocent neighbour is convicted, every poison job is."""

    async def story() -> None:
        chance = random.Random(seed)
        desk = memory()
        lives = 0
        await desk.submit([draft(chance.choice(["innocent", "innocent", "poison"])) for _ in range(9)])

        async def step(workers: int, ends: float, *, kill: bool) -> bool:
            """Claim, end some, and die if poison is at work; False once nothing is left to do."""
            nonlocal lives
            await desk.claim(workers)
            jobs = [job for job in await everything(desk) if job.status is Status.RUNNING]
            if kill and any(job.kind == "poison" for job in jobs):
                lives += 1
                await desk.restart(f"life-{lives}")
                return True
            for job in jobs:
                if job.kind == "innocent" and chance.random() < ends:
                    await desk.settle(job)
            desk.clock.advance(chance.choice([0, 1, 29, 31]))
            return bool(jobs)

        for _ in range(chance.randint(0, 15)):
            await step(chance.randint(1, 5), ends=0.5, kill=chance.random() < 0.5)
        for _ in range(100):
            if not await step(chance.randint(1, 5), ends=1, kill=True):
                break
        for job in await everything(desk):
            guilty = job.kind == "poison"
            assert (job.status, job.reason) == ((Status.FAILED, Reason.CRASH_LOOP) if guilty else (Status.DONE, None))

    run(story())


async def everything(desk: Desk) -> list[Job]:
    """All jobs."""
    jobs = [await desk.get(planted(Status.QUEUED, id=id)) for id in desk.store.tables.jobs]  # type: ignore[attr-defined]  # a look inside
    return sorted(jobs, key=lambda job: job.seq)
