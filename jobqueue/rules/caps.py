"""Caps: how many jobs of a queue or of a group may run at once, and how many may start in a time.

A rate is a sliding window: at most `limit` starts in ANY `per` seconds. Starts are counted in slots of a fiftieth of
that time, and a slot counts until its last moment has left the window: so the cap is never exceeded, and is reached to
within a fiftieth. (A token bucket as long as the limit would let twice the limit through.)
"""

from __future__ import annotations

from collections.abc import Sequence

from jobqueue.clock import Micros, micros
from jobqueue.job import NEVER, OPEN
from jobqueue.queue import Caps, Rate, Window

SLOTS = 50


def count(window: Window | None, rate: Rate, now: Micros, starts: int) -> Window:
    """The window with so many starts more, and without what counts no longer."""
    per, width = _sizes(rate)
    kept = dict(_counted(window, per, width, now))
    slot = now - now % width
    kept[slot] = kept.get(slot, 0) + starts
    return Window(tuple(sorted(kept.items())), max(kept) + width + per)


def room(window: Window | None, rate: Rate, now: Micros) -> int:
    """How many may start now."""
    per, width = _sizes(rate)
    return max(0, rate.limit - sum(n for _, n in _counted(window, per, width, now)))


def reopens(window: Window | None, rate: Rate, now: Micros) -> Micros:
    """When one may start, as far as what has started is concerned: OPEN = at once."""
    per, width = _sizes(rate)
    left = rate.limit
    for at, n in reversed(_counted(window, per, width, now)):
        left -= n
        if left <= 0:
            return at + width + per
    return OPEN


def opens_at(caps: Caps, running: int, window: Window | None, now: Micros) -> Micros:
    """When the next job of a group may start: OPEN, a moment, or NEVER before one of its jobs has ended."""
    if full(caps, running):
        return NEVER
    return OPEN if caps.rate is None else reopens(window, caps.rate, now)


def full(caps: Caps, running: int) -> bool:
    """Whether as many run as may."""
    return caps.concurrency is not None and running >= caps.concurrency


def _sizes(rate: Rate) -> tuple[Micros, Micros]:
    per = micros(rate.per)
    return per, max(1, per // SLOTS)


def _counted(window: Window | None, per: Micros, width: Micros, now: Micros) -> Sequence[tuple[int, int]]:
    """The slots that still count. One that is further ahead than a window is from before the clock was set back."""
    if window is None:
        return ()
    return [(at, n) for at, n in window.slots if now - per - width < at <= now + per]
