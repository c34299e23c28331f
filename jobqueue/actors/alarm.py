"""When the state actor must look again although nobody asks: its one deadline, made of a few.

What is due goes by the wall clock, since users name those times, timeouts by what has elapsed, all else by the
monotonic clock. A manual clock reaches the first two only by being moved: `pulse` says where to.
"""

from __future__ import annotations

import math

from jobqueue.actors.memory import Attempts
from jobqueue.actors.notes import Feel, Pulse
from jobqueue.clock import LOOK_SECONDS, SECOND, Micros, World
from jobqueue.errors import StoreUnavailable
from jobqueue.rules.admission import Claims
from jobqueue.rules.isolation import Isolation
from jobqueue.rules.table import Changes

AGAIN_SECONDS = 1.0  # between two tries on a store that failed


class Alarm:
    """The deadlines. due: when time next changes a job, as far as is known."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.due: Micros | None = None
        self._again = 0.0  # before this moment a store that failed is left alone
        self._blind_until = 0.0  # the same of one that could not say what is due
        self._quarantine_at = math.inf  # when a quarantine or a hold runs out
        self._start_at: Micros | None = None  # when a queue that is at its rate may go on
        self._offset = self._seen = self._ahead()

    def earlier(self, due: Micros) -> None:
        """Something becomes due then."""
        if self.due is None or due < self.due:
            self.due = due

    def unknown(self) -> None:
        """The store could not say what is due next: ask again in a moment."""
        self.due = self._world.now()
        self._blind_until = self._world.monotonic() + AGAIN_SECONDS

    def _blind(self) -> bool:
        return self._world.monotonic() < self._blind_until

    def follow(self, changes: Changes) -> None:
        """A batch was committed: what depends on the wall clock is up to it, and what was changed becomes due."""
        self._offset = self._seen
        for _, after in changes.jobs.values():
            if after is not None and after.due_at is not None:
                self.earlier(after.due_at)
        for record in changes.keys.values():
            self.earlier(record.expires_at)
        if changes.opening is not None:
            self.earlier(changes.opening)
        if changes.redating:
            self.earlier(self._world.now())

    def ripe(self) -> bool:
        """Whether time has something to do now."""
        due = self.due is not None and self.due <= self._world.now()
        return (self.rewound() or due) and self.may_try() and not self._blind()

    def _ahead(self) -> Micros:
        return self._world.now() - self._world.elapsed()

    def rewound(self) -> bool:
        """Whether the wall clock was set back since it was last followed."""
        self._seen = self._ahead()
        return self._seen < self._offset - SECOND

    def claimed(self, claims: Claims) -> None:
        """What a claim says: of the quarantine, and of the moment at which rates allow more to start."""
        self.quarantine(claims.isolation)
        moment = claims.again_at
        if moment is not None and (self._start_at is None or moment < self._start_at):
            self._start_at = moment

    def may_start(self) -> bool:
        """Whether that moment has just come; said once."""
        if self._start_at is None or self._world.now() < self._start_at:
            return False
        self._start_at = None
        return True

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

    def wake_at(self, timeout: Micros | None, *, failing: bool) -> float:
        """The monotonic moment of the next look; `timeout` is that of the running attempts."""
        world = self._world
        wake = min(self._quarantine_at, world.monotonic() + LOOK_SECONDS)
        if timeout is not None:
            wake = min(wake, world.moment(timeout))
        if failing:  # an idle server must notice, too, that the store works again
            wake = min(wake, self._again)
        if self._start_at is not None:
            wake = min(wake, self._moment(self._start_at))
        if self.due is not None:
            wake = min(wake, max(self._moment(self.due), self._again, self._blind_until))
        return wake

    def _moment(self, at: Micros) -> float:
        """The monotonic moment at which the wall clock will say so, unless it is set."""
        world = self._world
        return world.moment(world.elapsed() + max(0, at - world.now()))

    def feel(self, note: Feel, attempts: Attempts) -> None:
        """Say what keeps a manual clock where it is, and where it may go on to."""
        if self._blind():
            note.reply.fail(StoreUnavailable("the store cannot say what is due next"))
            return
        clock = note.clock
        attempts.forget_timeouts()
        moments = (self.due, self._start_at, attempts.next_timeout(), clock.first())
        first = min((moment for moment in moments if moment is not None), default=None)
        note.reply.send(Pulse(first, frozenset((*attempts.awake(clock.asleep), *clock.awake())), attempts.stirs))
