"""The seam to time, chance and names: everything nondeterministic that the program asks of the outside.

One `World` is made at the top (`server.py`, or a test) and handed down, so the whole program runs under a virtual clock
and a seeded generator. No other module reads a clock, draws a random number or makes an id.

Stored times are `Micros`: whole microseconds since 1970-01-01 UTC, exact and sortable. Durations are seconds.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import trio
import uuid_utils

Micros = int

SECOND: Micros = 1_000_000


def micros(seconds: float) -> Micros:
    """A duration in seconds as whole microseconds."""
    return round(seconds * SECOND)


@dataclass(frozen=True, slots=True)
class World:
    """What the program is told about the outside.

    now: the wall clock, UTC. For what is stored and shown, and for times that users name.
    monotonic: seconds that only grow, for timeouts, leases and grace: a jump of the wall clock does not touch them.
    chance: a number in [0, 1), for jitter and the built-in handlers.
    new_id: a fresh UUIDv7 (RFC 9562) in its text form.
    boot_id: names this life of the process; a local attempt belongs to it.
    """

    now: Callable[[], Micros]
    monotonic: Callable[[], float]
    chance: Callable[[], float]
    new_id: Callable[[], str]
    boot_id: str


def system_world() -> World:
    """The real outside."""
    return World(
        now=lambda: time.time_ns() // 1000,
        monotonic=trio.current_time,
        chance=random.SystemRandom().random,
        new_id=lambda: str(uuid_utils.uuid7()),
        boot_id=str(uuid_utils.uuid7()),
    )


def iso(at: Micros) -> str:
    """RFC 3339 in UTC with microseconds, as every time is shown."""
    whole, fraction = divmod(at, SECOND)
    return f"{_second(whole)}.{fraction:06d}Z"


@lru_cache(maxsize=1024)  # most times that are shown are of the last few seconds
def _second(whole: int) -> str:
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}"


def from_datetime(moment: datetime) -> Micros:
    """An aware datetime as Micros."""
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds
