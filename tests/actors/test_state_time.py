"""Time: the state actor wakes at the next due moment and at no other, and a clock that jumps costs nobody a job."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import trio

from jobqueue.actors.dispatcher import Dispatch
from jobqueue.actors.state_handle import State
from jobqueue.clock import LOOK_SECONDS, SECOND
from jobqueue.errors import QueueFull
from jobqueue.job import Ending, Outcome, Reason, Retry, Status
from jobqueue.mailbox import Closed, Nudge
from jobqueue.rules.idempotency import IdempotencyKey
from jobqueue.rules.lifecycle import Limits
from jobqueue.stores.contract import REMOVED
from tests.actors.engine import Engine, Outside
from tests.actors.kit import Call, add, claim, serving, settle, settled, take
from tests.helpers import EPOCH, draft

HOUR = 3600.0
DAY = 86_400.0
FIXED = Retry(backoff="list", delays=(30,))


# -- it wakes when something is due


async def test_a_delayed_job_is_due_at_its_moment(state: State, claimable: Nudge) -> None:
    """It is QUEUED, and the dispatcher nudged, at the very moment for which it was put off."""
    await add(state, delay=12.5)
    await claimable.take()
    assert trio.current_time() == pytest.approx(12.5, abs=1e-5)


async def test_the_earliest_moment_counts(engine: Engine, state: State) -> None:
    """Jobs become due each at its own moment, whichever was submitted first."""
    for delay in (30, 10, 20, 10):
        await add(state, delay=delay)
    await trio.sleep(100)
    due = [(round(batch.at, 3), len(batch.jobs)) for batch in engine.batches[4:]]
    assert due == [(10, 2), (20, 1), (30, 1)]


async def test_a_retry_is_due_at_its_moment(state: State, claimable: Nudge) -> None:
    """The next attempt starts when the retry policy says."""
    await add(state, retry=FIXED)
    await claimable.take()
    (job,) = await claim(state)
    await trio.sleep(2)
    await settle(state, job, ending=Ending.ERROR)
    await claimable.take()
    assert trio.current_time() == pytest.approx(32, abs=1e-5)


async def test_a_job_that_nobody_takes_expires_at_its_moment(
    engine: Engine, state: State, nursery: trio.Nursery
) -> None:
    """A QUEUED job is FAILED at its `expires_at`, and who waits for it is told then."""
    job = await add(state, expires_at=EPOCH + 7 * SECOND)
    with await state.watch(job.id) as pending:
        ended = await pending.get()
    assert trio.current_time() == pytest.approx(7, abs=1e-5)
    assert ended is not None
    assert (ended.status, ended.reason) == (Status.FAILED, Reason.EXPIRED)


async def test_who_has_nothing_to_do_asks_the_store_nothing(engine: Engine, state: State) -> None:
    """Nobody polls: an hour in which nothing is due costs the store not one call, and the loop a look in 5 s."""
    await add(state)
    await add(state, delay=2 * HOUR)
    await settled()
    calls = engine.calls
    await trio.sleep(HOUR)
    assert engine.calls == calls


async def test_it_wakes_no_oftener_than_to_look_at_the_clock(state: State) -> None:
    """Without work its task runs once in `LOOK_SECONDS`, and to see a jump of the wall clock it must."""
    steps = Steps("run")
    trio.lowlevel.add_instrument(steps)
    await add(state, delay=2 * HOUR)
    await settled()
    steps.count = 0
    await trio.sleep(HOUR)
    trio.lowlevel.remove_instrument(steps)
    assert steps.count <= HOUR / LOOK_SECONDS + 1


class Steps(trio.abc.Instrument):
    """Counts the steps of the state actor's task."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """One more."""
        if task.name.endswith("StateActor.run"):
            self.count += 1


async def test_a_flood_of_due_jobs_holds_nobody_up(engine: Engine, state: State, nursery: trio.Nursery) -> None:
    """Due jobs are moved 500 a batch, and a submission that comes meanwhile goes with the next of these."""
    await state.submit([draft(delay=10) for _ in range(1200)])
    await trio.sleep(9.5)
    engine.door = trio.Event()
    nursery.start_soon(add, state)
    await trio.sleep(1)
    late = Call(nursery, lambda: add(state, "late"))
    await settled()
    engine.door.set()
    await trio.sleep(0.1)
    assert late.over
    moved = [len(batch.jobs) for batch in engine.batches[2:]]
    assert moved == [501, 500, 200]
    assert all(status is Status.QUEUED for status in engine.statuses())


# -- retention


@pytest.mark.parametrize("ending, days", [(Ending.DONE, 1), (Ending.ERROR, 7)])
async def test_an_ended_job_is_removed_after_its_time(
    engine: Engine, state: State, outside: Outside, ending: Ending, days: int
) -> None:
    """DONE is kept a day, FAILED a week; then a tombstone stands for the job."""
    await add(state, max_attempts=1)
    (job,) = await claim(state)
    await settle(state, job, ending=ending)
    outside.shift += days * DAY - 10
    await trio.sleep(9)
    assert await engine.get([job.id]) != [REMOVED]
    await trio.sleep(2)
    assert await engine.get([job.id]) == [REMOVED]


async def test_a_key_is_forgotten_after_a_day(engine: Engine, state: State, outside: Outside) -> None:
    """Within a day the same key is the same job; after it a new one, and the table no longer holds the old."""
    key = IdempotencyKey("scope", "key", b"digest")
    first = await state.submit([draft()], key)
    outside.shift += DAY - 10
    again = await state.submit([draft()], key)
    assert (again.replayed, again.jobs[0].id) == (True, first.jobs[0].id)
    await trio.sleep(20)
    assert not engine.tables.keys
    assert not (await state.submit([draft()], key)).replayed


async def test_ended_jobs_beyond_the_bound_go_early(engine: Engine, outside: Outside) -> None:
    """Promise 5: history is bounded by number too; the oldest go, though nothing else is due."""
    async with serving(engine, outside, limits=Limits(max_ended=10)) as state:
        for _ in range(30):
            await add(state)
            await settle(state, *(await claim(state)))
        await trio.sleep(60)
        assert len(engine.tables.jobs) == 10


async def test_what_retention_removes_is_no_progress(engine: Engine, outside: Outside) -> None:
    """The rate at which a full queue drains, told in Retry-After, does not count what is removed from history."""
    async with serving(engine, outside, limits=Limits(max_queued=100)) as state:
        for _ in range(50):
            await add(state)
            await settle(state, *(await claim(state)))
        await state.submit([draft() for _ in range(100)])
        await trio.sleep(100)
        outside.shift += DAY
        await trio.sleep(LOOK_SECONDS + 1)
        assert len(engine.tables.jobs) == 100
        with pytest.raises(QueueFull) as told:
            await add(state)
        assert dict(told.value.headers)["retry-after"] == "30"  # the answer when nothing has drained


# -- jumps of the wall clock


async def test_a_jump_forward_is_noticed(state: State, outside: Outside, claimable: Nudge) -> None:
    """What the wall clock says is due is due, at the latest a look later, though no message came."""
    await add(state, delay=HOUR)
    outside.shift += HOUR
    await claimable.take()
    assert trio.current_time() <= LOOK_SECONDS + 1e-5


async def test_a_jump_back_puts_off_but_does_not_lose(state: State, outside: Outside, claimable: Nudge) -> None:
    """A job for 08:01 waits for 08:01 as the clock now has it, and is then due once."""
    await add(state, delay=60)
    await trio.sleep(30)
    outside.shift -= HOUR
    await claimable.take()
    assert trio.current_time() == pytest.approx(HOUR + 60, abs=LOOK_SECONDS)
    assert len(await claim(state, 5)) == 1


async def test_a_clock_set_back_and_right_again_costs_nothing(state: State, outside: Outside, claimable: Nudge) -> None:
    """When the clock is right again, the job is due as if it had never been wrong."""
    await add(state, delay=60)
    outside.shift -= HOUR
    await trio.sleep(20)
    outside.shift += HOUR
    await claimable.take()
    assert trio.current_time() == pytest.approx(60, abs=LOOK_SECONDS)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_jump_does_not_touch_what_runs(
    state: State, outside: Outside, nursery: trio.Nursery, jump: float
) -> None:
    """A running attempt neither times out nor lives longer: timeouts are on the monotonic clock."""
    await add(state, timeout=100)
    (job,) = await claim(state)
    await trio.sleep(50)
    outside.shift += jump
    await trio.sleep(49)
    (fate,) = await settle(state, job)
    assert not isinstance(fate, Exception)
    assert fate.status is Status.DONE


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_jump_does_not_block_what_waits(state: State, outside: Outside, jump: float) -> None:
    """Queued jobs are claimed, and new ones accepted, whatever the clock says."""
    await add(state)
    outside.shift += jump
    await add(state)
    assert len(await claim(state, 5)) == 2


@pytest.mark.parametrize("seed", range(10))
async def test_jumps_neither_lose_nor_double_a_job(
    state: State, dispatch: Dispatch, outside: Outside, nursery: trio.Nursery, seed: int
) -> None:
    """While the clock jumps about, every job starts, fails once, is tried again and ends: each exactly once."""
    chance = random.Random(seed)
    ends: Counter[str] = Counter()

    async def worker(name: str) -> None:
        done: Outcome | None = None
        while True:
            job = await take(dispatch, name, done)
            await trio.sleep(chance.uniform(0, 20))
            ending = Ending.ERROR if job.attempt == 1 else Ending.DONE
            ends[job.id] += ending is Ending.DONE
            done = Outcome(job.id, job.epoch, ending)

    for number in range(4):
        nursery.start_soon(quietly, worker, f"w{number}")
    jobs = [await add(state, delay=chance.choice([None, 5, 600]), retry=FIXED) for _ in range(40)]
    for _ in range(12):
        await trio.sleep(chance.uniform(0, 100))
        outside.shift += chance.choice([HOUR, -HOUR, 1, -1])
    outside.shift = max(outside.shift, 0.0)
    await trio.sleep(2 * HOUR)
    assert ends == dict.fromkeys((job.id for job in jobs), 1)
    nursery.cancel_scope.cancel()


async def quietly(worker: object, name: str) -> None:
    """A worker that goes home when the dispatcher does."""
    try:
        await worker(name)  # type: ignore[operator]  # known from the case
    except Closed:
        return
