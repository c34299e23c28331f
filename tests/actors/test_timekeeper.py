"""A manual clock: what is due comes in order, to the microsecond, and is done before time goes on."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest
import trio

from jobqueue.actors.memory import STUCK_SECONDS
from jobqueue.actors.timekeeper import MOMENT_SECONDS, PATIENCE_SECONDS
from jobqueue.clock import SECOND, micros
from jobqueue.job import Reason, Retry, Status
from jobqueue.queue import Caps, Rate
from jobqueue.rules.caps import SLOTS
from jobqueue.rules.lifecycle import replace as replace_setting
from jobqueue.stores.contract import REMOVED
from tests.actors.engine import schedule
from tests.actors.kit import Call, add, settled
from tests.actors.stage import HOUR, Play, Stage
from tests.actors.test_scheduler import every
from tests.helpers import DAY, EPOCH, draft

# -- in order, and exactly


async def test_it_stands_still(stage: Stage) -> None:
    """Neither delays nor retention nor timeouts pass by themselves, however long one waits; and nobody polls."""
    job = await add(stage.state, delay=1)
    await settled()
    calls = stage.engine.calls
    await trio.sleep(HOUR)
    assert stage.engine.calls == calls
    assert stage.seen(job)[0] is Status.SCHEDULED
    assert stage.at() == 0


async def test_what_is_due_runs_at_its_moment_and_in_order(stage: Stage) -> None:
    """Delayed jobs and a retry between them: each starts exactly when it is due."""
    await add(stage.state, payload='"last"', delay=90.5)
    await add(stage.state, payload='"first"', delay=10)
    await add(stage.state, "fail", payload='"retry"', retry=Retry("list", delays=(60,)), max_attempts=2)
    assert await stage.advance(100) == 100
    assert stage.ran == [(0, "retry"), (10, "first"), (60, "retry"), (90.5, "last")]


async def test_no_more_comes_than_was_asked_for(stage: Stage) -> None:
    """What is due at the last moment is done, what is due a microsecond later is not."""
    job = await add(stage.state, delay=10)
    assert await stage.advance(9.999_999) == 9.999_999
    assert stage.seen(job)[0] is Status.SCHEDULED
    await stage.advance(0.000_001)
    assert stage.seen(job) == (Status.DONE, 10, 10)


async def test_a_chain_of_retries_runs_within_one_advance(stage: Stage) -> None:
    """The next attempt is due only once the last has failed: time waits for it, and no longer."""
    job = await add(stage.state, "fail", max_attempts=612, retry=Retry(jitter="none"))
    assert await stage.advance(25 * DAY) == 25 * DAY
    moments = [at for at, _ in stage.ran]
    assert moments[:13] == [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 2047, 4095]
    assert {later - earlier for earlier, later in pairwise(moments[12:])} == {HOUR}
    assert (len(moments), stage.job(job).status) == (611, Status.SCHEDULED)
    await stage.advance(HOUR)
    assert (stage.job(job).status, stage.job(job).reason, stage.job(job).attempt) == (Status.FAILED, Reason.ERROR, 612)
    assert trio.current_time() < PATIENCE_SECONDS  # all of it without waiting once


async def test_more_jobs_than_workers_are_all_run_at_their_moment(stage: Stage) -> None:
    """Time does not go on while one still waits for a worker."""
    for number in range(20):
        await add(stage.state, payload=str(number), delay=5)
    await add(stage.state, payload='"later"', delay=6)
    await stage.advance(60)
    assert [at for at, _ in stage.ran] == [5] * 20 + [6]


async def test_simulate_takes_its_two_seconds_of_job_time(stage: Stage) -> None:
    """Its sleep is a due moment among the others, and the workers are taken meanwhile."""
    jobs = [await add(stage.state, "simulate") for _ in range(5)]
    await stage.advance(1.5)
    assert [stage.seen(job)[0] for job in jobs] == [Status.RUNNING] * 2 + [Status.QUEUED] * 3
    await stage.advance(4.5)
    assert [stage.seen(job)[1:] for job in jobs] == [(0, 2), (0, 2), (2, 4), (2, 4), (4, 6)]
    assert trio.current_time() < PATIENCE_SECONDS


async def test_a_timeout_comes_in_its_turn(stage: Stage) -> None:
    """Between other moments; the work has really ended then, and a job that waited for the worker starts at once."""
    await add(stage.state, "simulate", timeout=1.25, max_attempts=1)
    hanging = await add(stage.state, "real", payload="1e9", timeout=300.000_001, max_attempts=1)
    await add(stage.state, delay=300, payload='"before"')
    await add(stage.state, delay=300.5, payload='"after"')
    await stage.advance(HOUR)
    assert stage.ran == [(300, "before"), (300.5, "after")]
    assert stage.seen(hanging) == (Status.FAILED, 0, 300.000_001)
    assert stage.job(hanging).reason is Reason.TIMEOUT
    simulated = next(job for job in stage.engine.tables.jobs.values() if job.kind == "simulate")
    assert (simulated.reason, simulated.finished_at) == (Reason.TIMEOUT, EPOCH + micros(1.25))


@pytest.mark.parametrize("length", [0.1, 0.123_456_7, 0.3, 1.1, 2.2, 86_399.9])
@pytest.mark.parametrize("start", [0.0, 0.1, 1 / 3, 12_345.678_901, 3 * 365 * DAY + 0.7])
async def test_a_timeout_is_exact_to_the_microsecond(play: Play, start: float, length: float) -> None:
    """Whatever numbers its beginning and its length are."""
    async with play() as stage:
        await stage.advance(start)
        began = stage.clock.now()
        job = await add(stage.state, "real", payload="1e9", timeout=length, max_attempts=1)
        await stage.advance(100_000)
        assert stage.job(job).finished_at == began + micros(length)


async def test_expiry_retention_and_keys_are_moments_too(stage: Stage) -> None:
    """A job that nobody takes expires, an ended one is removed, exactly then."""
    waiting = await add(stage.state, queue="parked", expires_at=EPOCH + 7 * SECOND)
    done = await add(stage.state)
    await stage.advance(7)
    assert stage.seen(waiting) == (Status.FAILED, None, 7)
    assert stage.job(waiting).reason is Reason.EXPIRED
    await stage.advance(DAY - 8)
    assert stage.seen(done)[0] is Status.DONE
    await stage.advance(1)
    assert await stage.engine.get([done.id]) == [REMOVED]
    assert await stage.advance(7 * DAY) == 8 * DAY
    assert await stage.engine.get([waiting.id]) == [REMOVED]


@pytest.mark.parametrize("seed", range(5))
async def test_a_schedule_fires_at_each_of_its_moments(stage: Stage, seed: int) -> None:
    """However many lie within one advance, each makes its job then, and the job runs then; none is missed."""
    schedule(seed)
    await stage.state.put_schedule(every(HOUR, draft=draft(payload='"tick"')))
    await add(stage.state, delay=1.5 * HOUR, payload='"between"')
    await stage.advance(DAY)
    assert stage.ran[:3] == [(HOUR, "tick"), (1.5 * HOUR, "between"), (2 * HOUR, "tick")]
    assert [at for at, what in stage.ran if what == "tick"] == [HOUR * number for number in range(1, 25)]
    assert trio.current_time() < PATIENCE_SECONDS
    await stage.state.drop_schedule("s")
    await stage.advance(DAY)
    assert len(stage.ran) == 25


async def test_a_queue_at_its_rate_goes_on_when_it_may(stage: Stage) -> None:
    """The moment at which it may is one of those that are passed."""
    await stage.state.configure("default", lambda queue: replace_setting(queue, caps=Caps(rate=Rate(1, 60))))
    for number in range(5):
        await add(stage.state, payload=str(number))
    await stage.advance(HOUR)
    moments = [at for at, _ in stage.ran]
    assert [what for _, what in stage.ran] == [0, 1, 2, 3, 4]
    assert all(60 < later - earlier <= 60 * (1 + 2 / SLOTS) for earlier, later in pairwise(moments))
    assert trio.current_time() < PATIENCE_SECONDS


async def test_an_advance_of_nothing_waits_for_what_is_due_now(stage: Stage) -> None:
    """So a test may submit, and then see it done."""
    job = await add(stage.state)
    assert await stage.advance(0) == 0
    assert stage.seen(job) == (Status.DONE, 0, 0)


async def test_one_advance_after_the_other(stage: Stage, nursery: trio.Nursery) -> None:
    """Those asked for at the same time add up."""
    await add(stage.state, "real", payload="0.5")
    calls = []
    for seconds in (10, 20, 30):
        calls.append(Call(nursery, partial(stage.advance, seconds)))
        await settled()
    assert not calls[0].over
    assert [await call.wait() for call in calls] == [10, 30, 60]


async def test_a_flood_of_due_jobs_is_taken_in_whole(stage: Stage) -> None:
    """More than a batch moves at once: time waits for all of them."""
    await stage.state.submit([draft(delay=10, payload="1") for _ in range(1200)])
    await stage.advance(10)
    assert stage.ran == [(10, 1)] * 1200


async def test_without_local_workers_it_goes_on(play: Play) -> None:
    """Nobody is waited for; what is due is QUEUED."""
    async with play(workers=0) as stage:
        job = await add(stage.state, delay=10)
        assert await stage.advance(20) == 20
        assert stage.job(job).status is Status.QUEUED


# -- work that takes real time


async def test_a_handler_that_takes_its_time_is_waited_for(stage: Stage) -> None:
    """As long as there is news now and then: what it leads to counts from the moment at which it started."""
    jobs = [await add(stage.state, "really.fail", payload="0.9", retry=Retry("list", delays=(5,))) for _ in range(6)]
    await stage.advance(4)
    assert [stage.job(job).next_attempt_at for job in jobs] == [EPOCH + 5 * SECOND] * 6
    assert trio.current_time() == pytest.approx(2.7)


async def test_a_handler_that_takes_long_holds_the_clock_once(stage: Stage) -> None:
    """At most a second without news in one advance, however many moments come; the next waits for it again."""
    slow = await add(stage.state, "real", payload="1000", timeout=DAY)
    await add(stage.state, "fail", retry=Retry("list", delays=(1,)), max_attempts=500)
    await stage.advance(100)
    assert len(stage.ran) == 101
    assert trio.current_time() == pytest.approx(PATIENCE_SECONDS)
    assert stage.seen(slow)[0] is Status.RUNNING
    await stage.advance(100)
    assert trio.current_time() == pytest.approx(2 * PATIENCE_SECONDS)


async def test_what_others_do_is_no_news(stage: Stage, nursery: trio.Nursery) -> None:
    """A handler that reports without end is not waited for any longer than a silent one, nor while clients submit."""

    async def client() -> None:
        while True:
            await add(stage.state, queue="parked")
            await trio.sleep(PATIENCE_SECONDS / 3)

    nursery.start_soon(client)
    await add(stage.state, "chatty")
    await stage.advance(100)
    assert trio.current_time() == pytest.approx(PATIENCE_SECONDS)
    nursery.cancel_scope.cancel()


async def test_work_that_does_not_end_when_it_is_told_to_is_left_alone(stage: Stage) -> None:
    """After its timeout, too; it is stuck by real time."""
    job = await add(stage.state, "deaf", payload="30", timeout=5, max_attempts=1)
    assert await stage.advance(60) == 60
    assert stage.seen(job)[0] is Status.RUNNING
    assert trio.current_time() <= 2 * PATIENCE_SECONDS
    assert (await stage.state.vitals()).stuck == 0
    await trio.sleep(STUCK_SECONDS)
    assert (await stage.state.vitals()).stuck == 1
    await trio.sleep(30 - STUCK_SECONDS)
    assert stage.seen(job) == (Status.DONE, 0, 60)


async def test_what_leads_to_ever_more_at_one_moment_cannot_hold_the_clock_for_ever(stage: Stage) -> None:
    """The clock goes on after a minute, and what is still to come, comes later."""
    await add(stage.state, "breed", payload="1000")
    assert await stage.advance(10) == 10
    assert trio.current_time() <= 2 * MOMENT_SECONDS + 2 * PATIENCE_SECONDS


@pytest.mark.parametrize("seed", range(10))
async def test_a_part_of_the_program_may_sleep_on_the_clock(stage: Stage, nursery: trio.Nursery, seed: int) -> None:
    """It is woken in its turn, and what it then does, and has others do, is waited for."""
    schedule(seed)
    fired: list[float] = []

    async def part() -> None:
        with stage.world.part("part"):
            for moment in (10, 20, 30):
                with stage.world.until(EPOCH + moment * SECOND, "part"):
                    await trio.sleep_forever()
                fired.append(stage.at())
                await trio.sleep(0.5)  # something that takes real time
                await add(stage.state, payload=str(moment))

    nursery.start_soon(part)
    await settled()
    await add(stage.state, payload='"between"', delay=15)
    await stage.advance(35)
    assert fired == [10, 20, 30]
    assert stage.ran == [(10, 10), (15, "between"), (20, 20), (30, 30)]
