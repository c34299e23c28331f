"""Rates: at most so many starts in any span of so many seconds, reached to within a fiftieth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.clock import SECOND, Micros, micros
from jobqueue.job import NEVER, OPEN
from jobqueue.queue import Caps, Rate, Window
from jobqueue.rules import caps
from tests.helpers import EPOCH


def start(rate: Rate, *moments: Micros, each: int = 1) -> Window | None:
    """The window after so many starts at each of the moments."""
    window = None
    for moment in moments:
        window = caps.count(window, rate, moment, each)
    return window


def most_in_any_span(starts: list[Micros], span: Micros) -> int:
    """The greatest number of starts within a span, wherever it lies."""
    return max((sum(1 for other in starts if at <= other < at + span) for at in starts), default=0)


def test_nothing_started_leaves_all_of_it() -> None:
    """An untouched rate lets its limit start at once, and no more."""
    assert caps.room(None, Rate(7, 60), EPOCH) == 7
    assert caps.reopens(None, Rate(7, 60), EPOCH) == OPEN


def test_what_started_counts_until_it_has_left_the_span() -> None:
    """Seven of ten started: three are left, for at least the whole span and at most a fiftieth longer."""
    rate = Rate(10, 60)
    window = start(rate, EPOCH, each=7)
    assert caps.room(window, rate, EPOCH + 60 * SECOND) == 3
    assert caps.room(window, rate, EPOCH + micros(61.2)) == 10


def test_it_reopens_when_the_oldest_start_that_is_in_the_way_is_forgotten() -> None:
    """With two of two started at 0 and 30, the next may start when the first has left; not before."""
    rate = Rate(2, 60)
    window = start(rate, EPOCH, EPOCH + 30 * SECOND)
    reopens = caps.reopens(window, rate, EPOCH + 31 * SECOND)
    assert EPOCH + 60 * SECOND <= reopens <= EPOCH + micros(61.2)
    assert (caps.room(window, rate, reopens - 1), caps.room(window, rate, reopens)) == (0, 1)


def test_a_lowered_limit_counts_what_started_before() -> None:
    """Ten started under a limit of ten; under one of three none may start until seven more than two have left."""
    window = start(Rate(10, 60), *(EPOCH + n * SECOND for n in range(10)))
    lowered = Rate(3, 60)
    assert caps.room(window, lowered, EPOCH + 10 * SECOND) == 0
    assert caps.reopens(window, lowered, EPOCH + 10 * SECOND) >= EPOCH + 67 * SECOND


def test_a_clock_set_back_a_little_forgets_nothing() -> None:
    """A start that is now a moment ahead still counts: no clock correction lets twice the limit through."""
    rate = Rate(5, 60)
    window = start(rate, EPOCH, each=5)
    assert caps.room(window, rate, EPOCH - 2 * SECOND) == 0


def test_a_clock_set_back_far_blocks_nothing() -> None:
    """Starts that are hours ahead are from before the clock was set back, and count no longer."""
    rate = Rate(5, 60)
    window = start(rate, EPOCH, each=5)
    earlier = EPOCH - 3600 * SECOND
    assert caps.room(window, rate, earlier) == 5
    assert caps.reopens(window, rate, earlier) == OPEN
    counted = caps.count(window, rate, earlier, 1)
    assert [n for _, n in counted.slots] == [1]


def test_a_window_says_when_it_is_over() -> None:
    """It is kept until all of its starts are forgotten, so a restart forgets none."""
    rate = Rate(5, 60)
    window = start(rate, EPOCH, EPOCH + 20 * SECOND)
    assert window is not None
    assert caps.room(window, rate, window.until - 1) < 5
    assert caps.room(window, rate, window.until) == 5


def test_a_window_stays_small() -> None:
    """However many start, it holds a slot for each fiftieth of the span."""
    rate = Rate(1_000_000, 10)
    window = start(rate, *(EPOCH + n * 1_000 for n in range(0, 30_000, 7)))
    assert window is not None
    assert len(window.slots) <= caps.SLOTS + 2


@pytest.mark.parametrize(
    "running, expected", [(0, OPEN), (1, OPEN), (2, NEVER), (3, NEVER)], ids=["idle", "room", "full", "over"]
)
def test_a_full_group_waits_for_an_end(running: int, expected: Micros) -> None:
    """A group of which as many run as may opens when one ends, at no moment that is known."""
    assert caps.opens_at(Caps(concurrency=2), running, None, EPOCH) == expected


def test_a_group_at_both_caps_waits_for_an_end_first() -> None:
    """When one has ended, its rate is looked at."""
    both = Caps(concurrency=1, rate=Rate(1, 60))
    assert both.rate is not None
    window = start(both.rate, EPOCH)
    assert caps.opens_at(both, 1, window, EPOCH) == NEVER
    assert caps.opens_at(both, 0, window, EPOCH) > EPOCH + 60 * SECOND - 1


@given(
    st.integers(1, 40),
    st.sampled_from([0.1, 1.0, 7.3, 60.0]),
    st.lists(st.tuples(st.floats(0, 1.5), st.integers(1, 50)), max_size=60),
)
def test_no_span_holds_more_than_the_limit(limit: int, per: float, steps: list[tuple[float, int]]) -> None:
    """Whoever takes as much as is allowed, whenever they come, never gets more than the limit in any span."""
    rate = Rate(limit, per)
    now, window = EPOCH, None
    starts: list[Micros] = []
    for step, wanted in steps:
        now += micros(step * per)
        got = min(wanted, caps.room(window, rate, now))
        if got:
            window = caps.count(window, rate, now, got)
            starts += [now] * got
        reopens = caps.reopens(window, rate, now)
        assert (reopens > now) == (caps.room(window, rate, now) == 0)
    assert most_in_any_span(starts, micros(per)) <= limit


@given(st.integers(1, 500), st.sampled_from([0.1, 1.0, 60.0]))
def test_the_limit_is_reached_to_within_a_fiftieth(limit: int, per: float) -> None:
    """Whoever takes all that is allowed as soon as it is gets at least 98 % of the limit over a long time."""
    rate = Rate(limit, per)
    now, window, started = EPOCH, None, 0
    while now < EPOCH + micros(60 * per):
        got = caps.room(window, rate, now)
        window = caps.count(window, rate, now, got)
        started += got
        now = caps.reopens(window, rate, now)
    assert started >= 0.98 * limit * 60
