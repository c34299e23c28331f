"""When those come back whom a full queue refused: spread over the time that it takes to make room for them."""

from __future__ import annotations

from collections import Counter

import pytest

from jobqueue.actors.turnstile import MOST_QUEUES, SHARE, Turnstile
from jobqueue.errors import RETRY_AFTER_MAX_SECONDS

RATE = 100.0


def test_nothing_is_known_while_nothing_drains() -> None:
    """Without a rate there is no moment to name."""
    assert Turnstile().comeback("q", 1, None, 0.0) is None


def test_one_is_told_when_room_for_it_is_made() -> None:
    """When the queue has drained as many jobs."""
    assert Turnstile().comeback("q", 10, RATE, 5.0) == pytest.approx(10 / RATE)


def test_many_are_spread() -> None:
    """However many are refused in one moment, in no second do more come back than the queue can take."""
    turnstile = Turnstile()
    moments = [turnstile.comeback("q", 1, RATE, 0.0) or 0 for _ in range(1000)]
    assert max(Counter(int(moment) for moment in moments).values()) <= SHARE * RATE + 1
    assert max(moments) == pytest.approx(1000 / (SHARE * RATE), rel=0.01)


def test_promises_run_out() -> None:
    """A quiet time later the next one is served as if nobody had been before it."""
    turnstile = Turnstile()
    for _ in range(1000):
        turnstile.comeback("q", 1, RATE, 0.0)
    assert turnstile.comeback("q", 1, RATE, 60.0) == pytest.approx(1 / RATE)


def test_queues_do_not_wait_for_each_other() -> None:
    """Each queue has a line of its own."""
    turnstile = Turnstile()
    for _ in range(1000):
        turnstile.comeback("full", 1, RATE, 0.0)
    assert turnstile.comeback("other", 1, RATE, 0.0) == pytest.approx(1 / RATE)


def test_nobody_is_sent_away_for_ever() -> None:
    """No promise is further ahead than the longest Retry-After."""
    turnstile = Turnstile()
    moments = [turnstile.comeback("q", 1000, RATE, 0.0) or 0 for _ in range(1000)]
    assert max(moments) == RETRY_AFTER_MAX_SECONDS


def test_it_is_bounded() -> None:
    """It remembers no more queues than there may be."""
    turnstile = Turnstile()
    for number in range(2 * MOST_QUEUES):
        turnstile.comeback(f"q{number}", 1, RATE, 0.0)
    assert len(turnstile._promised) <= MOST_QUEUES
