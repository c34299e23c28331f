"""The scheduler at work on virtual time: it wakes for each fire time, and knows which it has missed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
import trio

from jobqueue.actors.scheduler import LATEST_SECONDS, Scheduler
from jobqueue.actors.state import StateActor
from jobqueue.actors.state_handle import State
from jobqueue.clock import LOOK_SECONDS, SECOND, micros
from jobqueue.errors import StorageFull
from jobqueue.job import Job
from jobqueue.mailbox import Nudge
from jobqueue.rules.changes import Changes
from jobqueue.rules.lifecycle import Limits
from jobqueue.rules.scheduling import FIRES_MOST
from jobqueue.schedule import Schedule
from jobqueue.server import running
from tests.actors.engine import Engine, Outside
from tests.actors.kit import Plant, settled
from tests.helpers import EPOCH, draft


@asynccontextmanager
async def scheduling(engine: Engine, outside: Outside, **limits: Any) -> AsyncIterator[State]:
    """One life of a server that has schedules, and no workers."""
    actor = StateActor(engine, outside.world(), Limits(**limits), Nudge())
    async with running(actor) as state:
        scheduler = Scheduler(state, actor.scheduled, outside.world())
        async with running(scheduler):
            await scheduler.begun.wait()
            yield state


@pytest.fixture
async def state(engine: Engine, outside: Outside) -> AsyncIterator[State]:
    async with scheduling(engine, outside) as state:
        yield state


def every(seconds: float, name: str = "s", **fields: Any) -> Schedule:
    """A schedule to be put."""
    said: dict[str, Any] = {"overlap": "queue", "draft": draft(), **fields}
    return Schedule(name=name, job="{}", anchor=0, every=seconds, **said)


def jobs(engine: Engine) -> list[Job]:
    """All jobs, in the order in which they were made."""
    return sorted(engine.tables.jobs.values(), key=lambda job: job.seq)


def fired(engine: Engine) -> list[float]:
    """Their fire times, in seconds."""
    return [((job.options.run_at or 0) - EPOCH) / SECOND for job in jobs(engine)]


def made(engine: Engine) -> list[float]:
    """When they were made."""
    return [(job.created_at - EPOCH) / SECOND for job in jobs(engine)]


async def test_each_fire_time_makes_a_job_at_that_moment(engine: Engine, state: State) -> None:
    """It sleeps until the next one, and no longer."""
    await state.put_schedule(every(7))
    await trio.sleep(30)
    assert fired(engine) == made(engine) == [7, 14, 21, 28]


async def test_it_hears_of_a_new_schedule_at_once(engine: Engine, state: State) -> None:
    """However long it had meant to sleep."""
    await state.put_schedule(every(100, "long"))
    await trio.sleep(0.5)
    await state.put_schedule(every(1))
    await trio.sleep(2.1)
    assert made(engine) == [1.5, 2.5]


async def test_it_asks_for_nothing_where_there_is_nothing(engine: Engine, state: State) -> None:
    """Without schedules nothing is ever committed."""
    await trio.sleep(3600)
    assert engine.batches == []


async def test_a_dropped_schedule_fires_no_more(engine: Engine, state: State) -> None:
    """Its jobs stay."""
    await state.put_schedule(every(2))
    await trio.sleep(3)
    await state.drop_schedule("s")
    await trio.sleep(30)
    assert fired(engine) == [2]


@pytest.mark.parametrize("catch_up, made_at", [("none", []), ("one", [7])])
async def test_a_clock_that_is_put_forward_skips_fire_times(
    engine: Engine, outside: Outside, state: State, catch_up: Any, made_at: list[float]
) -> None:
    """They were missed; it is noticed within a look, and at most one job is made for all of them."""
    await state.put_schedule(every(7, catch_up=catch_up))
    await trio.sleep(2)
    outside.shift = 70.5
    await trio.sleep(LOOK_SECONDS - 0.1)
    assert fired(engine) == [*made_at, 77]
    await trio.sleep(7)
    assert fired(engine) == [*made_at, 77, 84]


async def test_a_clock_that_is_put_back_fires_nothing_twice(engine: Engine, outside: Outside, state: State) -> None:
    """What has fired has; the next one comes when the clock shows it."""
    await state.put_schedule(every(7))
    await trio.sleep(15)
    outside.shift = -10
    await trio.sleep(16.5)
    assert fired(engine) == [7, 14, 21]
    assert made(engine) == [7, 14, 21]


@pytest.mark.parametrize("catch_up, made_at", [("none", []), ("one", [7])])
async def test_what_passed_while_the_server_was_down_was_missed(
    engine: Engine, outside: Outside, catch_up: Any, made_at: list[float]
) -> None:
    """At most one job for all of it, at the start of the next life."""
    async with scheduling(engine, outside) as state:
        await state.put_schedule(every(7, catch_up=catch_up))
    await trio.sleep(37.5)
    async with scheduling(engine, outside):
        assert fired(engine) == made_at
        await trio.sleep(10)
    assert fired(engine) == [*made_at, 42]


async def test_a_fire_time_that_the_last_life_did_not_get_to_commit_is_not_lost(
    engine: Engine, outside: Outside
) -> None:
    """Just before the next life began, it counts as on time, whatever catch_up says."""
    async with scheduling(engine, outside) as state:
        await state.put_schedule(every(7))
        await trio.sleep(6.9)
    await trio.sleep(0.6)
    async with scheduling(engine, outside):
        assert (fired(engine), made(engine)) == ([7], [7.5])


async def test_a_batch_that_has_to_wait_makes_nothing_late(engine: Engine, state: State) -> None:
    """Each fire time that came meanwhile gets its job, as soon as the store goes on."""
    await state.put_schedule(every(2))
    engine.door = trio.Event()
    await trio.sleep(11)
    engine.door.set()
    await settled()
    assert fired(engine) == [2, 4, 6, 8, 10]


async def test_a_full_disk_holds_fire_times_up(engine: Engine, state: State) -> None:
    """For a while they are made up for, each with its job; it is logged once."""
    await state.put_schedule(every(7))
    with structlog.testing.capture_logs() as entries:
        engine.fault = full
        await trio.sleep(22)
        engine.fault = lambda _: None
        await trio.sleep(4)
    assert fired(engine) == [7, 14, 21]
    assert [entry["event"] for entry in entries] == ["store failing"]


async def test_a_disk_that_is_full_for_long_lets_fire_times_be_missed(engine: Engine, state: State) -> None:
    """So that no flood follows."""
    await state.put_schedule(every(7))
    engine.fault = full
    await trio.sleep(700.5)
    engine.fault = lambda _: None
    await trio.sleep(2.5)
    assert 1 <= len(jobs(engine)) <= LATEST_SECONDS / 7 + 1
    assert fired(engine)[-1] == 700


def full(changes: Changes) -> None:
    """The disk takes no jobs."""
    if changes.jobs:
        raise StorageFull


async def test_more_than_a_batch_takes_goes_on_at_once(engine: Engine, state: State) -> None:
    """At a full hour all fire at that hour."""
    count = 2 * FIRES_MOST + 50
    for number in range(count):
        await state.put_schedule(every(10, str(number)))
    await trio.sleep(10)
    await settled()
    assert made(engine) == [10] * count
    assert max(len(batch.jobs) for batch in engine.batches) == FIRES_MOST


async def test_nothing_fires_once_the_server_drains(engine: Engine, state: State) -> None:
    """Not even while it still takes submissions."""
    await state.put_schedule(every(2))
    await trio.sleep(3)
    await state.drain(refuse=False)
    await trio.sleep(30)
    assert fired(engine) == [2]


async def test_a_fire_that_makes_no_job_is_logged(engine: Engine, outside: Outside) -> None:
    """With the schedule's name and why; the next fire time is tried again."""
    with structlog.testing.capture_logs() as entries:
        async with scheduling(engine, outside, max_queued=1) as state:
            await state.put_schedule(every(2))
            await trio.sleep(5)
    assert fired(engine) == [2]
    (entry,) = [entry for entry in entries if entry["log_level"] == "warning"]
    assert (entry["event"], entry["schedule"]) == ("schedule made no job", "s")
    assert "waiting jobs" in entry["detail"]


async def test_a_server_runs_the_jobs_of_its_schedules(engine: Engine, plant: Plant) -> None:
    """From the fire time to the worker nothing is waited for."""
    async with plant() as tree:
        await tree.state.put_schedule(every(3, draft=draft("sleep", payload="0")))
        await trio.sleep(7)
    assert [micros(3) + EPOCH, micros(6) + EPOCH] == [job.finished_at for job in jobs(engine)]
