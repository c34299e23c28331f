"""Caps: how many jobs of a queue or of a group may run at once, and how many may start in a time.

A rate is a sliding window: at most `limit` starts in ANY `per` seconds. Starts are counted in slots of a fiftieth of
that time, and a slot counts until its last moment has left the window: so the cap is never exceeded, and is reached to
within a fiftieth. (A token bucket as long as the limit would let twice the limit through.)
"""

from __future__ import annotations

from jobqueue.clock import Micros, micros
from jobqueue.job import NEVER, OPEN
from jobqueue.queue import Caps, Rate, Window

SLOTS = 50


def count(window: Window | None, rate: Rate, now: Micros, starts: int) -> Window:
    """The window with so many starts more, and without what counts no longer."""
    per, width = _sizes(rate)
    slot = now - now % width
    kept = {at: n for at, n in (window.slots if window else ()) if _counts(at, per, width, now)}
    kept[slot] = kept.get(slot, 0) + starts
    return Window(tuple(sorted(kept.items())), max(kept) + width + per)


def room(window: Window | None, rate: Rate, now: Micros) -> int:
    """How many may start now."""
    per, width = _sizes(rate)
    slots = window.slots if window else ()
    return max(0, rate.limit - sum(n for at, n in slots if _counts(at, per, width, now)))


def reopens(window: Window | None, rate: Rate) -> Micros:
    """When one may start, as far as what has started is concerned: OPEN, or a moment that may have passed."""
    per, width = _sizes(rate)
    left = rate.limit
    for at, n in reversed(window.slots if window else ()):
        left -= n
        if left <= 0:
            return at + width + per
    return OPEN


def opens_at(caps: Caps, running: int, window: Window | None) -> Micros:
    """When the next job of a group may start: OPEN, a moment, or NEVER before one of its jobs has ended."""
    if caps.concurrency is not None and running >= caps.concurrency:
        return NEVER
    return OPEN if caps.rate is None else reopens(window, caps.rate)


def _sizes(rate: Rate) -> tuple[Micros, Micros]:
    per = micros(rate.per)
    return per, max(1, per // SLOTS)


def _counts(at: Micros, per: Micros, width: Micros, now: Micros) -> bool:
    """Whether the starts of a slot still count; a slot ahead of us is from before the clock was set back."""
    return now - per - width < at <= now
