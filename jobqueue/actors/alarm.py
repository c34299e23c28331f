"""When the state actor must look again although nobody asks: its one deadline, made of a few.

What is due goes by the wall clock, since users name those times; all else goes by the monotonic one.
"""

from __future__ import annotations

import math

from jobqueue.clock import SECOND, Micros, World
from jobqueue.rules.isolation import Isolation

LOOK_SECONDS = 5.0  # how late a jump of the wall clock may be noticed
AGAIN_SECONDS = 1.0  # between two tries on a store that failed


class Alarm:
    """The deadlines. due: when time next changes a job, as far as is known."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.due: Micros | None = None
        self._again = 0.0  # before this moment a store that failed is left alone
        self._quarantine_at = math.inf  # when a quarantine or a hold runs out

    def earlier(self, due: Micros) -> None:
        """Something becomes due then."""
        if self.due is None or due < self.due:
            self.due = due

    def ripe(self) -> bool:
        """Whether time has something to do now."""
        return self.due is not None and self.due <= self._world.now() and self.may_try()

    def failed(self) -> None:
        """The store did not take a batch: leave it alone for a moment."""
        self._again = self._world.monotonic() + AGAIN_SECONDS

    def healed(self) -> None:
        """The store took one."""
        self._again = 0.0

    def may_try(self) -> bool:
        """Whether what can wait may be tried on the store."""
        return self._world.monotonic() >= self._again

    def quarantine(self, isolation: Isolation) -> None:
        """The node's quarantine is now this."""
        monotonic = self._world.monotonic()
        moments = (isolation.alone_until if isolation.alone else 0.0, isolation.hold_until)
        self._quarantine_at = min((moment for moment in moments if moment > monotonic), default=math.inf)

    def quarantined(self) -> bool:
        """Whether a quarantine or a hold is on."""
        return self._quarantine_at < math.inf

    def quarantine_over(self) -> bool:
        """Whether it has just run out; said once."""
        if self._world.monotonic() < self._quarantine_at:
            return False
        self._quarantine_at = math.inf
        return True

    def wake_at(self, timeout: float, *, failing: bool) -> float:
        """The monotonic moment of the next look; `timeout` is that of the running attempts."""
        monotonic = self._world.monotonic()
        wake = min(timeout, self._quarantine_at, monotonic + LOOK_SECONDS)
        if failing:  # an idle server must notice, too, that the store works again
            wake = min(wake, self._again)
        if self.due is not None:
            due = monotonic + max(0.0, (self.due - self._world.now()) / SECOND)
            wake = min(wake, max(due, self._again))
        return wake
