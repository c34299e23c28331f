"""What the state actor remembers beside the table: all of it bounded."""

from __future__ import annotations

import pytest

from jobqueue.actors.commands import TIMEOUT, Order
from jobqueue.actors.memory import RATE_SECONDS, Attempts, Rate, Waiters
from jobqueue.clock import SECOND
from jobqueue.job import Job, Options, Status
from jobqueue.mailbox import Orders, Pending, Reply, one_shot
from tests.helpers import planted


def running(epoch: int = 1, *, timeout: float = 10) -> Job:
    return planted(Status.RUNNING, epoch=epoch, options=Options(timeout=timeout))


def waiter(waiters: Waiters, id: str) -> Pending[Job | None]:
    reply: Reply[Job | None]
    reply, pending = one_shot()
    waiters.add(id, reply)
    return pending


# -- those who wait


async def test_waiters_that_left_are_forgotten() -> None:
    """However many come and go, no more are kept than twice those who wait, and a few."""
    waiters = Waiters()
    staying = [waiter(waiters, "long") for _ in range(100)]
    for number in range(20_000):
        waiter(waiters, f"job-{number % 500}").__exit__()
        assert waiters._count <= 1024
    assert sum(len(kept) for kept in waiters._waiting.values()) == waiters._count
    waiters.tell("long", None)
    for pending in staying:
        assert await pending.get() is None


async def test_many_that_stay_are_all_told() -> None:
    """The clean-up costs no one who is still there, and is not done again for each that comes."""
    waiters = Waiters()
    staying = [waiter(waiters, f"job-{number}") for number in range(5000)]
    assert waiters._sweep_at > 5000
    job = running()
    for number in range(5000):
        waiters.tell(f"job-{number}", job)
    for pending in staying:
        assert await pending.get() is job
    assert (waiters._count, waiters._waiting) == (0, {})


async def test_telling_all_leaves_nobody() -> None:
    """After it, nobody waits."""
    waiters = Waiters()
    staying = [waiter(waiters, f"job-{number}") for number in range(3)]
    waiters.tell_all(None)
    assert [await pending.get() for pending in staying] == [None] * 3
    assert waiters._count == 0


# -- running attempts


async def test_timeouts_of_ended_attempts_are_forgotten() -> None:
    """A thousand short attempts leave no thousand timeouts behind."""
    attempts = Attempts()
    for number in range(10_000):
        job = running(number + 1, timeout=86_400)
        attempts.started(job, Orders(), number * SECOND)
        assert attempts.ended(job.id, None)
    assert len(attempts._timeouts) <= 64 + 4
    assert len(attempts) == 0


async def test_timeouts_of_running_attempts_are_kept() -> None:
    """The clean-up loses no timeout of an attempt that runs."""
    attempts = Attempts()
    orders: Orders[Order] = Orders()
    job = running(timeout=500)
    attempts.started(job, orders, 0)
    for number in range(1000):
        short = running(number + 1, timeout=1000)
        attempts.started(short, Orders(), 0)
        attempts.ended(short.id, None)
    assert attempts.next_timeout() == 500 * SECOND
    attempts.time_out(500 * SECOND, 500.0)
    assert await orders.take() == Order(job.id, 1, TIMEOUT)


async def test_an_attempt_ends_with_its_epoch() -> None:
    """A change that leaves the attempt running does not end it; a new epoch, or another status, does."""
    attempts = Attempts()
    job = running()
    attempts.started(job, Orders(), 0)
    assert not attempts.ended(job.id, job)
    assert not attempts.ended("another", None)
    assert attempts.ended(job.id, planted(Status.RUNNING, id=job.id, epoch=2))
    assert not attempts.ended(job.id, None)
    assert attempts.next_timeout() is not None  # of the ended one: it wakes the actor once, for nothing
    attempts.forget_timeouts()
    assert attempts.next_timeout() is None


async def test_who_is_at_work_here() -> None:
    """Neither those who sleep, unless they were told to end, nor those on whom somebody else works."""
    attempts = Attempts()
    working, asleep, stopped = (running() for _ in range(3))
    remote = planted(Status.RUNNING, boot_id=None)
    for job in (working, asleep, stopped, remote):
        attempts.started(job, Orders(), 0)
    attempts.stop(stopped.id, TIMEOUT, 0.0)
    assert attempts.awake({(asleep.id, 1), (stopped.id, 1)}) == [(working.id, 1), (stopped.id, 1)]
    assert attempts.stirs == 4
    attempts.ended(working.id, None)
    assert attempts.stirs == 5


# -- the rate


def test_the_rate_is_of_the_last_minute() -> None:
    """What came before is forgotten, and so is the time in which nothing had come."""
    rate = Rate()
    assert rate.per_second(0.0) is None
    for second in range(600):
        for _ in range(5):
            rate.count(float(second))
        assert len(rate._seconds) <= RATE_SECONDS
    assert rate.per_second(600.0) == pytest.approx(5, rel=0.05)
    assert rate.per_second(600.0 + RATE_SECONDS) is None


def test_a_single_end_is_no_storm() -> None:
    """One end in the present second is one a second, not a thousand."""
    rate = Rate()
    rate.count(5.2)
    assert rate.per_second(5.201) == 1
