"""Queues that are changed live: takers who wait hear of it, and of every moment at which more may start."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from jobqueue.actors.dispatcher import Dispatch
from jobqueue.actors.state_handle import State
from jobqueue.errors import Invalid, JobQueueError
from jobqueue.job import Ending, Job, Outcome, Status
from jobqueue.mailbox import Nudge
from jobqueue.queue import Caps, Queue, Rate
from jobqueue.rules.lifecycle import replace
from tests.actors.engine import Engine, Outside
from tests.actors.kit import Call, add, claim, serving, settle, settled, take, taking
from tests.helpers import draft

ONE = Caps(concurrency=1)


async def configure(state: State, name: str = "default", **settings: Any) -> Queue:
    """Change a queue."""
    return await state.configure(name, lambda queue: replace(queue, **settings))


def over(calls: list[Call]) -> int:
    """How many have got a job."""
    return sum(call.over for call in calls)


def leave(calls: list[Call]) -> None:
    """Let the takers go who still wait."""
    for call in calls:
        call.leave()


def done(job: Job) -> Outcome:
    """The report that it is done."""
    return Outcome(job.id, job.epoch, Ending.DONE)


async def test_settings_change_one_after_the_other(state: State) -> None:
    """Each change sees what the one before it left; the answer shows it."""
    await configure(state, paused=True)
    assert await configure(state, max_queued=5) == Queue("default", paused=True, max_queued=5)


async def test_a_refused_change_is_the_answer_of_its_asker_alone(state: State) -> None:
    """The others of its batch go through."""

    def refuse(_queue: Queue) -> Queue:
        raise Invalid("no")

    outcomes: list[object] = []

    async def one() -> None:
        try:
            await state.configure("default", refuse)
        except JobQueueError as error:
            outcomes.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one)
        nursery.start_soon(add, state)
        nursery.start_soon(configure, state, "other")
    assert [type(outcome) for outcome in outcomes] == [Invalid]


async def test_the_end_of_a_pause_wakes_who_waits(state: State, dispatch: Dispatch, nursery: trio.Nursery) -> None:
    """While a queue is paused its takers get nothing; when it is not any more they get all at once."""
    await configure(state, paused=True)
    calls = await taking(dispatch, nursery, "a", "b", "c")
    await state.submit([draft(), draft()])
    await settled()
    assert over(calls) == 0
    await configure(state, paused=False)
    await settled()
    assert over(calls) == 2
    leave(calls)


async def test_a_raised_cap_wakes_who_waits(state: State, dispatch: Dispatch, nursery: trio.Nursery) -> None:
    """As many takers get a job as there is room for, and one more for each cap that is lifted."""
    await configure(state, caps=ONE, group=ONE)
    await state.submit([draft(group=group) for group in "aab"])
    calls = await taking(dispatch, nursery, "a", "b", "c", "d")
    assert over(calls) == 1
    await configure(state, caps=Caps())
    await settled()
    assert over(calls) == 2
    await configure(state, group=Caps())
    await settled()
    assert over(calls) == 3
    leave(calls)


@pytest.mark.parametrize("settings", [{"caps": ONE}, {"group": ONE}], ids=["queue", "group"])
@pytest.mark.parametrize("way", ["dispatcher", "turn", "give-back"])
async def test_an_end_wakes_who_waits(
    state: State, dispatch: Dispatch, nursery: trio.Nursery, settings: dict[str, Any], way: str
) -> None:
    """On whichever path the running job of a full queue or group ends, the next starts."""
    await configure(state, **settings)
    await state.submit([draft(group="a")] * 2)
    running = await take(dispatch, "first")
    calls = await taking(dispatch, nursery, "second")
    assert over(calls) == 0
    if way == "dispatcher":
        calls.append(Call(nursery, lambda: take(dispatch, "first", done(running))))
    elif way == "turn":
        await settle(state, running)
    else:
        await state.stop_all(give_back=True)
    await settled()
    assert over(calls) == 1
    leave(calls)


async def test_who_comes_while_the_end_is_committed_is_not_forgotten(
    engine: Engine, state: State, dispatch: Dispatch, nursery: trio.Nursery
) -> None:
    """A taker of a queue that was full a moment ago gets the slot that comes free in the batch under way."""
    await configure(state, caps=ONE)
    await state.submit([draft()] * 2)
    running = await take(dispatch, "first")
    calls = await taking(dispatch, nursery, "second")
    leave(calls)
    await settled()
    engine.door = trio.Event()
    nursery.start_soon(settle, state, running)
    await settled()
    late = await taking(dispatch, nursery, "late")
    engine.door.set()
    await settled()
    assert over(late) == 1


async def test_a_rate_wakes_who_waits_when_it_allows_more(
    state: State, dispatch: Dispatch, nursery: trio.Nursery
) -> None:
    """Two a minute: two start at once, the others a minute later, to within a fiftieth; nobody asks meanwhile."""
    await configure(state, caps=Caps(rate=Rate(2, 60)))
    await state.submit([draft()] * 5)
    calls = await taking(dispatch, nursery, *"abcde")
    began = trio.current_time()
    for call in calls:
        await call.wait()
    times = sorted(round(call.at - began, 1) for call in calls if call.at is not None)
    assert times[:2] == [0, 0]
    assert all(60 <= at <= 61.2 for at in times[2:4])
    assert 120 <= times[4] <= 122.4


async def test_a_groups_rate_wakes_who_waits_too(state: State, dispatch: Dispatch, nursery: trio.Nursery) -> None:
    """Its lanes open by themselves."""
    await configure(state, group=Caps(rate=Rate(1, 10)))
    await state.submit([draft(group="a")] * 3)
    calls = await taking(dispatch, nursery, *"abc")
    began = trio.current_time()
    for call in calls:
        await call.wait()
    times = sorted(call.at - began for call in calls if call.at is not None)
    assert [round(at) for at in times] == [0, 10, 20]


async def test_a_rate_wakes_nobody_in_vain(
    engine: Engine, state: State, dispatch: Dispatch, nursery: trio.Nursery
) -> None:
    """While a queue is at its rate nothing is asked of the store again and again."""
    await configure(state, caps=Caps(rate=Rate(1, 3600)))
    await state.submit([draft()] * 2)
    calls = await taking(dispatch, nursery, "a", "b")
    before = len(engine.batches)
    await trio.sleep(3000)
    assert len(engine.batches) - before <= 1
    leave(calls)


@pytest.mark.parametrize("which", ["caps", "group"])
async def test_a_clock_set_back_blocks_nothing(
    outside: Outside, state: State, dispatch: Dispatch, nursery: trio.Nursery, which: str
) -> None:
    """Who waits for a queue or group at its rate is served within seconds, although its moment is an hour away."""
    settings: dict[str, Any] = {which: Caps(rate=Rate(1, 10))}
    await configure(state, **settings)
    await state.submit([draft(group="a")] * 2)
    calls = await taking(dispatch, nursery, "a", "b")
    outside.shift = -3600
    await trio.sleep(6)
    assert over(calls) == 2


async def test_a_new_retention_takes_effect_by_itself(engine: Engine, state: State) -> None:
    """Jobs that ended before are gone without anybody asking."""
    for _ in range(3):
        await add(state)
    await settle(state, *(await claim(state, 3)))
    await configure(state, retention={"DONE": 0.0})
    await trio.sleep(1)
    assert engine.statuses() == []


async def test_how_much_goes_through_a_queue(state: State) -> None:
    """Submitted and ended jobs a second over the last minute, by queue; what was idle for a minute is not told."""
    await state.submit([draft() for _ in range(30)] + [draft(queue="other")])
    await settle(state, *(await claim(state, 12)))
    await state.cancel((await add(state, queue="other")).id)
    flow = await state.flow()
    assert flow["default"] == pytest.approx((0.5, 0.2))
    assert flow["other"] == pytest.approx((2 / 60, 1 / 60))
    await trio.sleep(61)
    assert await state.flow() == {}


async def test_the_flow_slides(state: State) -> None:
    """What is older than a minute drops out second by second."""
    for _ in range(4):
        await add(state)
        await trio.sleep(19)
    assert (await state.flow())["default"] == pytest.approx((3 / 60, 0))


async def test_a_capped_queue_survives_a_restart(engine: Engine, outside: Outside, claimable: Nudge) -> None:
    """What ran when the process died is given back, and makes room again; the cap still holds."""
    async with serving(engine, outside, claimable) as state:
        await configure(state, caps=Caps(concurrency=2), group=ONE)
        await state.submit([draft(group=group) for group in "aabbc"])
        assert len(await claim(state, 9)) == 2
    outside.boot_id = "boot-2"
    async with serving(engine, outside, claimable) as state:
        jobs = await claim(state, 9)
        assert len(jobs) == len({job.group for job in jobs}) == 2
    assert engine.statuses().count(Status.RUNNING) == 2
