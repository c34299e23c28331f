"""A queue as its users set it up: live settings, kept in the store. Values only; `rules/` act on them."""

from __future__ import annotations

import msgspec

from jobqueue.clock import Micros
from jobqueue.job import Retry


class Rate(msgspec.Struct, frozen=True):
    """At most `limit` starts in any `per` seconds."""

    limit: int
    per: float


class Caps(msgspec.Struct, frozen=True, omit_defaults=True):
    """What may run at once, and how often something may start; None = as much as one likes."""

    concurrency: int | None = None
    rate: Rate | None = None

    def __bool__(self) -> bool:
        return self.concurrency is not None or self.rate is not None


class Defaults(msgspec.Struct, frozen=True, omit_defaults=True):
    """What jobs of the queue get where neither they nor their handler say; None = the server's."""

    max_attempts: int | None = None
    retry: Retry | None = None
    timeout: float | None = None

    def __bool__(self) -> bool:
        return self.max_attempts is not None or self.retry is not None or self.timeout is not None


class Queue(msgspec.Struct, frozen=True, omit_defaults=True):
    """One queue's settings. group: the caps of each group in it. weights: a group's share, 1 if absent.

    retention: seconds by the name of an end state, where they differ from the server's.
    """

    name: str
    paused: bool = False
    caps: Caps = Caps()
    group: Caps = Caps()
    weights: dict[str, float] = {}
    defaults: Defaults = Defaults()
    retention: dict[str, float] = {}
    max_queued: int | None = None

    def weight(self, group: str | None) -> float:
        """A group's share of the queue."""
        return self.weights.get(group, 1.0) if group is not None and self.weights else 1.0


class Known(msgspec.Struct, frozen=True):
    """A queue as it is: its settings, how many jobs have each status, and since when the first in line has waited."""

    settings: Queue
    counts: tuple[int, ...]
    waits_since: Micros | None = None


class Window(msgspec.Struct, frozen=True):
    """The starts that still count against a rate: how many in each slot of time (rules/caps.py).

    until: when all of them are forgotten.
    """

    slots: tuple[tuple[int, int], ...]
    until: Micros
