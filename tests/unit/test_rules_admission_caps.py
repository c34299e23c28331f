"""Claims under caps: of queues and of groups, by how many run and by how often something starts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from jobqueue.clock import micros
from jobqueue.job import NEVER, OPEN, Ending, Job, LaneKey, Outcome, Status
from jobqueue.queue import Caps, Rate
from jobqueue.rules.admission import Claims, Node, Want, claim, freed, unbind
from jobqueue.rules.isolation import Isolation
from jobqueue.rules.lifecycle import Times, ended
from jobqueue.rules.table import Table
from jobqueue.stores.contract import Needs
from tests.helpers import Desk, draft, memory

ONE = Caps(concurrency=1)
WANT = [Want(("default",), ("w",) * 9)]


async def claims(desk: Desk, wants: list[Want] = WANT) -> Claims:
    """A claim, and all that it says."""
    needs = Needs(claims={queue: 9 for want in wants for queue in want.queues})
    return await desk.do(lambda table, times: claim(table, wants, Node(0, Isolation(), 0.0), times), needs)


def groups(jobs: list[Job]) -> list[str | None]:
    """Whose they are."""
    return [job.group for job in jobs]


def opens_at(desk: Desk, group: str, priority: int = 0) -> int:
    """When the lane opens."""
    lanes = desk.store.tables.lanes  # type: ignore[attr-defined]  # these desks stand on memory
    at: int = lanes[LaneKey("default", priority, group)].opens_at
    return at


async def test_a_paused_queue_starts_nothing() -> None:
    """What waits in it stays QUEUED, what runs goes on; when the pause ends all of it may start."""
    desk = memory()
    await desk.submit([draft()] * 3)
    running = (await desk.claim(1))[0]
    await desk.configure(paused=True)
    assert await desk.claim(9) == []
    assert (await desk.settle(running)).status is Status.DONE
    await desk.configure(paused=False)
    assert len(await desk.claim(9)) == 2


async def test_as_many_run_as_may() -> None:
    """A queue of concurrency 3 runs three, over several claims and over several wants of one claim."""
    desk = memory()
    await desk.configure(caps=Caps(concurrency=3))
    await desk.submit([draft()] * 9)
    want = Want(("default",), ("w0", "w1"))
    assert [len(jobs) for jobs in await desk.turn((), [want, want, want])] == [2, 1, 0]
    assert await desk.claim(9) == []


async def test_an_end_makes_room_in_its_own_batch() -> None:
    """Who hands in a result and wants the next gets it, though the queue was full."""
    desk = memory()
    await desk.configure(caps=ONE)
    await desk.submit([draft()] * 2)
    first = (await desk.claim())[0]
    outcome = Outcome(first.id, first.epoch, Ending.DONE)
    assert [len(jobs) for jobs in await desk.turn([outcome], WANT)] == [1]


@pytest.mark.parametrize("ending", list(Ending))
async def test_whichever_way_it_ends(ending: Ending) -> None:
    """Every end of an attempt makes room for exactly one other, of the queue and of the group."""
    desk = memory()
    await desk.configure(caps=ONE, group=ONE)
    await desk.submit([draft(group="a", max_attempts=1)] * 3)
    job = (await desk.claim(9))[0]
    await desk.settle(job, ending)
    assert len(await desk.claim(9)) == 1


async def test_a_lowered_cap_waits_until_enough_have_ended() -> None:
    """Lowered from 4 to 2 while four run, nothing starts until one of the last two has ended."""
    desk = memory()
    await desk.configure(caps=Caps(concurrency=4))
    await desk.submit([draft()] * 9)
    running = await desk.claim(4)
    await desk.configure(caps=Caps(concurrency=2))
    started = []
    for job in running:
        await desk.settle(job)
        started.append(len(await desk.claim(9)))
    assert started == [0, 0, 1, 1]


async def test_a_raised_cap_holds_at_once() -> None:
    """Raised from 1 to 3, two more start; lifted, all."""
    desk = memory()
    await desk.configure(caps=ONE)
    await desk.submit([draft()] * 9)
    counts = [len(await desk.claim(9))]
    for cap in (Caps(concurrency=3), Caps()):
        await desk.configure(caps=cap)
        counts.append(len(await desk.claim(9)))
    assert counts == [1, 2, 6]


async def test_each_group_has_its_own_room() -> None:
    """Two of each group run; what has no group is not capped."""
    desk = memory()
    await desk.configure(group=Caps(concurrency=2))
    await desk.submit([draft(group=group) for group in ("a", "b", None) for _ in range(5)])
    assert Counter(groups(await desk.claim(99))) == {"a": 2, "b": 2, None: 5}


async def test_a_group_is_one_over_all_its_priorities() -> None:
    """Its cap is not one for each lane: at 2, one of priority 9 and one of 5 leave none for 0."""
    desk = memory()
    await desk.configure(group=Caps(concurrency=2))
    await desk.submit([draft(group="a", priority=p) for p in (0, 5, 9)])
    assert [job.priority for job in await desk.claim(9)] == [9, 5]


async def test_a_group_at_its_cap_holds_up_no_other() -> None:
    """Behind a thousand jobs of a higher priority whose groups are full, the next in line starts."""
    desk = memory()
    await desk.configure(group=ONE)
    await desk.submit([draft(group=f"g{n}", priority=5) for n in range(50) for _ in range(2)])
    await desk.submit([draft(group="late"), draft()])
    assert len(await desk.claim(50)) == 50
    assert groups(await desk.claim(9)) == [None, "late"]


async def test_many_lanes_of_one_full_group_hold_up_no_other() -> None:
    """Of a group with many priorities one starts, and within the same claim what stands behind all of them."""
    desk = memory()
    await desk.configure(group=ONE)
    await desk.submit([*(draft(group="a", priority=p) for p in range(1, 40)), draft(group="b")])
    assert groups(await desk.claim(5)) == ["a", "b"]


async def test_a_full_group_leaves_the_ready_index() -> None:
    """All its lanes are closed, also one that fills later; they open when one of its jobs ends."""
    desk = memory()
    await desk.configure(group=ONE)
    await desk.submit([draft(group="a")] * 2)
    job = (await desk.claim())[0]
    await desk.add(group="a", priority=7)
    assert (opens_at(desk, "a"), opens_at(desk, "a", 7)) == (NEVER, NEVER)
    await desk.settle(job)
    assert (opens_at(desk, "a"), opens_at(desk, "a", 7)) == (OPEN, OPEN)


async def test_a_suspect_counts_in_its_group() -> None:
    """It runs alone in a lane of its own, and its group is full all the same."""
    desk = memory()
    job = await desk.add(group="a")
    for boot in ("boot-2", "boot-3"):
        await desk.claim()
        await desk.restart(boot)
    await desk.configure(group=ONE)
    await desk.add(group="a")
    suspect = (await desk.claim())[0]
    assert (suspect.id, suspect.alone) == (job.id, True)
    desk.isolation = Isolation()  # as after 30 s
    assert await desk.claim() == []
    await desk.settle(suspect)
    assert len(await desk.claim()) == 1


async def test_a_suspect_counts_against_the_rates() -> None:
    """Its start is one, of its queue and of its group."""
    desk = memory()
    await desk.add(group="a")
    for boot in ("boot-2", "boot-3"):
        await desk.claim()
        await desk.restart(boot)
    await desk.configure(caps=Caps(rate=Rate(2, 60)), group=Caps(rate=Rate(1, 60)))
    suspect = (await desk.claim())[0]
    await desk.settle(suspect)
    await desk.submit([draft(group="a"), draft(), draft()])
    assert (suspect.alone, groups(await desk.claim(9))) == (True, [None])


async def test_a_suspect_of_a_full_group_holds_up_no_other() -> None:
    """While its group is at its rate, a suspect of another group is started."""
    desk = memory()
    for group in ("a", "b"):
        await desk.add(group=group)
    for boot in ("boot-2", "boot-3"):
        await desk.claim(2)
        await desk.restart(boot)
    await desk.configure(group=Caps(rate=Rate(1, 60)))
    first = (await desk.claim())[0]
    await desk.settle(first, Ending.RELEASED)  # no longer a suspect
    assert [job.group for job in await desk.claim()] == ["b"]


async def test_at_most_so_many_start_in_a_time() -> None:
    """Three a minute: after three none, however soon they end, until the minute is over."""
    desk = memory()
    await desk.configure(caps=Caps(rate=Rate(3, 60)))
    await desk.submit([draft()] * 9)
    for job in await desk.claim(9):
        await desk.settle(job)
    desk.clock.advance(60)
    assert await desk.claim(9) == []
    desk.clock.advance(1.2)
    assert len(await desk.claim(9)) == 3


async def test_a_claim_says_when_the_rate_allows_more() -> None:
    """So that takers who wait are woken then; not while nothing waits, nor when all were served."""
    desk = memory()
    await desk.configure(caps=Caps(rate=Rate(2, 60)))
    await desk.submit([draft()] * 3)
    again_at = (await claims(desk)).again_at
    assert again_at is not None
    assert micros(60) <= again_at - desk.clock.now() <= micros(61.2)
    desk.clock.advance(61.2)
    assert (await claims(desk)).again_at is None


async def test_a_job_given_back_counts_again() -> None:
    """Each start counts, also of one job that was given back and starts anew."""
    desk = memory()
    await desk.configure(caps=Caps(rate=Rate(2, 60)), group=Caps(rate=Rate(2, 60)))
    await desk.add(group="a")
    for _ in range(2):
        await desk.settle((await desk.claim())[0], Ending.RELEASED)
    assert await desk.claim() == []


async def test_a_group_at_its_rate_opens_when_its_time_has_come() -> None:
    """It leaves the ready index until then; other groups start meanwhile."""
    desk = memory()
    await desk.configure(group=Caps(rate=Rate(1, 60)))
    await desk.submit([draft(group=group) for group in ("a", "a", "b")])
    assert groups(await desk.claim(9)) == ["a", "b"]
    at = opens_at(desk, "a")
    assert micros(60) <= at - desk.clock.now() <= micros(61.2)
    desk.clock.advance(61.2)
    await desk.ripen()
    assert opens_at(desk, "a") == OPEN
    assert groups(await desk.claim(9)) == ["a"]


async def test_a_clock_set_back_blocks_no_group() -> None:
    """Lanes that were to open at a moment now hours away are opened; claims find anew whether the rate is reached."""
    desk = memory()
    await desk.configure(group=Caps(rate=Rate(1, 60)))
    await desk.submit([draft(group="a")] * 3)
    await desk.claim()
    desk.clock.advance(-3600)
    assert await desk.claim() == []
    await desk.do(lambda table, _: unbind(table))
    assert groups(await desk.claim()) == ["a"]


async def test_new_settings_are_looked_at_before_old_closings() -> None:
    """What a cap closed is open as soon as the cap is lifted or raised, and closed again where it is still reached."""
    desk = memory()
    await desk.configure(group=ONE)
    await desk.submit([draft(group="a")] * 5)
    counts = [len(await desk.claim(9))]
    for cap in (Caps(concurrency=1, rate=Rate(9, 60)), Caps(concurrency=2), Caps()):
        await desk.configure(group=cap)
        counts.append(len(await desk.claim(9)))
    assert counts == [1, 0, 1, 3]


@pytest.mark.parametrize(
    "settings, expected",
    [({}, False), ({"caps": ONE}, True), ({"group": ONE}, True), ({"caps": ONE, "paused": True}, False)],
    ids=["no-caps", "queue", "group", "paused"],
)
async def test_an_end_in_a_capped_queue_calls_the_takers(settings: dict[str, Any], expected: bool) -> None:  # noqa: FBT001 - a case's parameter
    """Takers who were told that there is nothing are to ask again; where nothing was held back they need not."""
    desk = memory()
    await desk.submit([draft(group="a")] * 3)
    job = (await desk.claim())[0]
    await desk.configure(**settings)

    def end(table: Table, times: Times) -> bool:
        table.put(table.job(job.id), ended(job, Status.DONE, None, times))
        return freed(table, times)

    assert await desk.do(end, Needs(jobs={job.id})) is expected
