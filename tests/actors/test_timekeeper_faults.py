"""A manual clock cannot hang, is never half set, and what keeps the program itself alive does not stand with it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import trio

from jobqueue.actors import timekeeper
from jobqueue.actors.alarm import AGAIN_SECONDS
from jobqueue.actors.memory import STUCK_SECONDS
from jobqueue.actors.timekeeper import PATIENCE_SECONDS
from jobqueue.clock import ManualClock, micros
from jobqueue.config import Config
from jobqueue.errors import Draining, OutOfRange, Overloaded, StorageFull, StoreUnavailable
from jobqueue.handlers import builtins
from jobqueue.job import Retry, Status
from jobqueue.mailbox import Closed
from jobqueue.server import assembled
from tests.actors.engine import Engine, Outside, raising
from tests.actors.kit import Call, add, settled
from tests.actors.stage import Play, Stage
from tests.helpers import DAY, EPOCH


async def test_too_many_moments_end_an_advance(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how far it came, and the clock is there."""
    monkeypatch.setattr(timekeeper, "MOMENTS_MOST", 3)
    await add(stage.state, "fail", retry=Retry("list", delays=(1,)), max_attempts=500)
    with pytest.raises(Overloaded, match=r"2027-01-15T08:00:03\.000000Z") as raised:
        await stage.advance(10)
    assert dict(raised.value.headers)["retry-after"] == "1"
    assert (stage.at(), len(stage.ran)) == (3, 4)
    monkeypatch.undo()
    assert await stage.advance(2) == 5


async def test_a_timeout_that_did_not_come_is_no_moment(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts that have ended leave none behind."""
    monkeypatch.setattr(timekeeper, "MOMENTS_MOST", 3)
    for number in range(1, 20):
        await add(stage.state, timeout=number)
    assert await stage.advance(60) == 60


async def test_the_clock_has_an_end(stage: Stage) -> None:
    """Before the dates have: nothing could be shown after it."""
    with pytest.raises(OutOfRange):
        await stage.advance(7_000 * 366 * DAY)
    assert stage.at() == 0


async def test_whoever_leaves_stops_the_clock_at_a_moment(stage: Stage, nursery: trio.Nursery) -> None:
    """All of that moment has been, nothing of the next; and others may go on."""
    await add(stage.state, payload="1", delay=10)
    await add(stage.state, "real", payload="1000", delay=20)
    await add(stage.state, payload="3", delay=30)
    call = Call(nursery, partial(stage.advance, 100))
    while stage.at() < 20:
        await trio.lowlevel.checkpoint()
    call.leave()
    await settled()
    await trio.sleep(2 * PATIENCE_SECONDS)
    assert (stage.at(), stage.ran) == (20, [(10, 1)])
    assert await stage.advance(10) == 30
    assert stage.ran == [(10, 1), (30, 3)]


async def test_a_drain_ends_an_advance(stage: Stage, nursery: trio.Nursery) -> None:
    """As it does everything new; the clock stays at the moment at which it is."""
    await add(stage.state, "real", payload="5", delay=10)
    call = Call(nursery, partial(stage.advance, 100))
    while stage.at() < 10:
        await trio.lowlevel.checkpoint()
    await stage.state.drain(refuse=True)
    with pytest.raises(Draining):
        await call.wait()
    assert stage.at() == 10


async def test_who_waits_for_an_advance_is_told_when_the_program_ends(play: Play, nursery: trio.Nursery) -> None:
    """The one under way, and those behind it."""
    async with play() as stage:
        await add(stage.state, "real", payload="1000")
        calls = [Call(nursery, partial(stage.advance, 100)) for _ in range(3)]
        await settled()
    for call in calls:
        with pytest.raises(Closed):
            await call.wait()


async def test_a_full_disk_is_told_and_heals_in_real_time(stage: Stage) -> None:
    """What was due is done as soon as there is room, though the clock stands still; and then it goes on."""
    job = await add(stage.state, delay=10)
    later = await add(stage.state, delay=20)
    stage.engine.fault = raising(StorageFull("full"))
    with pytest.raises(StorageFull):
        await stage.advance(30)
    assert stage.at() == 10
    with pytest.raises(StorageFull):
        await stage.advance(30)
    assert stage.at() == 10
    stage.engine.fault = lambda _: None
    await trio.sleep(3 * AGAIN_SECONDS)
    assert stage.seen(job) == (Status.DONE, 10, 10)
    assert await stage.advance(30) == 40
    assert stage.seen(later) == (Status.DONE, 20, 20)


async def test_a_result_that_a_full_disk_did_not_take_is_kept(stage: Stage) -> None:
    """It is tried again in real time, and the turn that holds it does not hang the clock."""
    job = await add(stage.state, "real", payload="0.5")
    await settled()
    stage.engine.fault = raising(StorageFull("full"))
    with pytest.raises(StorageFull):
        await stage.advance(5)
    assert trio.current_time() < 10 * PATIENCE_SECONDS
    stage.engine.fault = lambda _: None
    await trio.sleep(3 * AGAIN_SECONDS)
    assert stage.job(job).status is Status.DONE


async def test_a_store_that_cannot_say_what_is_due_is_asked_again(stage: Stage) -> None:
    """In real time; until then nothing moves, or a moment might be missed."""
    faults = [StoreUnavailable("cannot be read")]

    def due_fault() -> None:
        if faults:
            raise faults.pop()

    await add(stage.state, payload="1", delay=10)
    await add(stage.state, payload="2", delay=11)
    stage.engine.due_fault = due_fault
    with pytest.raises(StoreUnavailable):
        await stage.advance(30)
    assert stage.at() == 10
    await trio.sleep(AGAIN_SECONDS)
    assert await stage.advance(20) == 30
    assert stage.ran == [(10, 1), (11, 2)]


async def test_what_keeps_the_program_alive_goes_by_real_time(stage: Stage) -> None:
    """Work that was told to end, and does not, is stuck after ten real seconds and not after a day of job time."""
    await add(stage.state, "deaf", payload="60")
    await settled()
    await stage.state.stop_all()
    await stage.advance(DAY)
    assert (await stage.state.vitals()).stuck == 0
    await trio.sleep(STUCK_SECONDS)
    assert (await stage.state.vitals()).stuck == 1
    assert stage.at() == DAY


async def test_a_start_does_not_go_back_behind_what_was(outside: Outside) -> None:
    """The clock begins with the latest moment that the store knows, if that is ahead."""
    clock = ManualClock(EPOCH)
    engine = Engine(clock.now)
    world = replace(outside.world(), now=clock.now, manual=clock)
    config = Config(store="memory:", workers=1)
    for _ in range(2):
        async with assembled(config, world, engine, builtins(world)) as server:
            time = server.front._parts.time
            assert time is not None
            job = await add(server.state, "simulate", delay=3 * DAY)
            await time.advance(micros(4 * DAY))
    ended = engine.tables.jobs[job.id]
    assert ended.status in (Status.DONE, Status.FAILED)
    world = replace(world, now=(later := ManualClock(EPOCH + 5)).now, manual=later)
    async with assembled(config, world, engine, builtins(world)):
        assert later.now() == ended.finished_at
