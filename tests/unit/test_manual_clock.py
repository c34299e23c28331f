"""Job time that stands still: who sleeps on it and is woken when, and what the seam makes of it."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from jobqueue.clock import LOOK_SECONDS, SECOND, ManualClock, World, manual_world, system_world
from tests.helpers import EPOCH


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(EPOCH)


def world_of(manual: ManualClock | None) -> World:
    """The outside, at EPOCH."""
    return World(
        now=lambda: EPOCH if manual is None else manual.now(),
        monotonic=trio.current_time,
        chance=lambda: 0.5,
        new_id=lambda: "id",
        boot_id="boot",
        manual=manual,
    )


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


# -- the clock


def test_it_stands_where_it_was_moved_to(clock: ManualClock) -> None:
    """It goes on to a moment, and never back."""
    assert clock.now() == EPOCH
    clock.move(EPOCH + 5)
    clock.move(EPOCH + 3)
    assert clock.now() == EPOCH + 5


async def test_sleepers_are_woken_when_their_moment_is_reached(clock: ManualClock, nursery: trio.Nursery) -> None:
    """Neither before nor later, however far it is moved; the first of them is known."""
    woken: list[str] = []

    async def sleep(name: str, seconds: int) -> None:
        with clock.until(EPOCH + seconds * SECOND, name):
            await trio.sleep_forever()
        woken.append(name)

    for name, seconds in (("late", 3), ("first", 1), ("second", 2)):
        nursery.start_soon(sleep, name, seconds)
    await settled()
    assert clock.first() == EPOCH + SECOND
    clock.move(EPOCH + SECOND - 1)
    await settled()
    assert woken == []
    clock.move(EPOCH + SECOND)
    await settled()
    assert woken == ["first"]
    clock.move(EPOCH + 9 * SECOND)
    await settled()
    assert sorted(woken) == ["first", "late", "second"]
    assert clock.first() is None


async def test_a_sleeper_is_awake_from_the_moment_that_wakes_it(clock: ManualClock, nursery: trio.Nursery) -> None:
    """Also before it has run: or what it is about to do would be overlooked."""

    async def sleep() -> None:
        await world_of(clock).sleep(2, ("id", 1))

    nursery.start_soon(sleep)
    await settled()
    assert ("id", 1) in clock.asleep
    assert ("id", 2) not in clock.asleep
    clock.move(EPOCH + 2 * SECOND)
    assert ("id", 1) not in clock.asleep


async def test_a_moment_that_has_passed_is_not_slept_for(clock: ManualClock) -> None:
    """The scope ends at its next checkpoint."""
    with clock.until(EPOCH, "part") as scope:
        assert "part" not in clock.asleep
        await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_whoever_leaves_no_longer_sleeps(clock: ManualClock) -> None:
    """By itself, or cancelled; what another one of that name does is its own affair."""
    with clock.until(EPOCH + 1, ("id", 1)):
        pass
    with trio.move_on_after(0), clock.until(EPOCH + 1, ("id", 1)):
        await trio.sleep_forever()
    assert clock.first() is None


async def test_a_part_of_the_program_is_awake_whenever_it_does_not_sleep(clock: ManualClock) -> None:
    """As long as it runs; it may sleep without end."""
    with world_of(None).part("part"), world_of(clock).part("part"):
        assert clock.awake() == ["part"]
        for at in (EPOCH + 1, None):
            with clock.until(at, "part"), clock.until(EPOCH + 2, ("id", 1)):
                assert clock.awake() == []
            assert clock.awake() == ["part"]
        with clock.until(None, "part"):
            assert clock.first() is None
            clock.move(EPOCH + 10 * SECOND)
            assert "part" in clock.asleep
        stirred = clock.stirred()
    assert clock.awake() == []
    assert stirred.is_set()


async def test_a_stir_is_heard_by_who_listened_before(clock: ManualClock) -> None:
    """By a stir after, and by every sleep that begins; an old one is not news."""
    clock.stir()
    stirred = clock.stirred()
    assert not stirred.is_set()
    assert clock.stirred() is stirred
    with clock.until(EPOCH + 1, "part"):
        assert stirred.is_set()


# -- the seam


async def test_a_manual_clock_is_job_time_and_nothing_else(clock: ManualClock) -> None:
    """`now` and `elapsed` stand still, and move together; `monotonic` goes on."""
    world = world_of(clock)
    before = world.elapsed()
    assert world.monotonic() == pytest.approx(trio.current_time(), abs=60)
    clock.move(EPOCH + 7)
    assert world.elapsed() - before == 7
    assert world.now() == EPOCH + 7


async def test_no_moment_of_a_manual_clock_comes_by_itself(clock: ManualClock) -> None:
    """What has come has come, all else must be moved to; by the system's clock it is a monotonic moment."""
    world = world_of(clock)
    assert world.moment(world.elapsed()) <= world.monotonic()
    assert world.moment(world.elapsed() + 1) == math.inf
    real = world_of(None)
    assert real.moment(real.elapsed() + SECOND) == pytest.approx(trio.current_time() + 1, abs=0.5)


@pytest.mark.parametrize("seconds, slept", [(2, 2), (-2, 0), (60, LOOK_SECONDS), (None, LOOK_SECONDS)])
async def test_by_the_systems_clock_it_is_slept_in_real_time(
    autojump_clock: trio.testing.MockClock, seconds: int | None, slept: float
) -> None:
    """Never longer than to the next look at the wall clock, which may have been set."""
    with world_of(None).until(None if seconds is None else EPOCH + seconds * SECOND, "part"):
        await trio.sleep_forever()
    assert trio.current_time() == pytest.approx(slept)


async def test_a_sleep_is_as_long_as_it_was_asked_to_be(
    autojump_clock: trio.testing.MockClock, clock: ManualClock, nursery: trio.Nursery
) -> None:
    """By the system's clock in seconds of its own, by a manual one until it is moved."""
    await world_of(None).sleep(60, ("id", 1))
    assert trio.current_time() == 60
    with trio.move_on_after(1000) as scope:
        await world_of(clock).sleep(2, ("id", 1))
    assert scope.cancelled_caught
    world_of(None).stir()  # is nothing


def test_a_manual_world_begins_with_the_real_time() -> None:
    """And stays there."""
    world = manual_world()
    assert world.manual is not None
    assert abs(world.now() - system_world().now()) < 60 * SECOND
    assert world.now() == world.manual.now() == world.elapsed()
    assert world.boot_id != manual_world().boot_id
