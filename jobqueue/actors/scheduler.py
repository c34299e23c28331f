"""The scheduler: asks the state actor to fire what is due, and sleeps until the next fire time.

It decides nothing and keeps nothing but how long it has watched the clock: a fire time since its last look is on time,
however long the answer took; an older one was missed (`rules/scheduling.py`).
"""

from __future__ import annotations

import structlog
import trio

from jobqueue.actors.state_handle import State
from jobqueue.clock import LOOK_SECONDS, Micros, Pause, World, micros
from jobqueue.errors import Draining, JobQueueError, StorageFull, StoreUnavailable
from jobqueue.mailbox import Closed, Nudge

log = structlog.get_logger(__name__)

NAME = "scheduler"
AGAIN_SECONDS = 1.0  # between two tries while the store takes nothing
RESTART_SECONDS = 1.0  # a fire time that the last life of the process may have been about to commit is not missed
LATEST_SECONDS = 60.0  # what a store that failed for longer holds up is missed


class Scheduler:
    """The loop. `changed` is nudged when it is to look again: there may be another next fire time.

    next_at: when it means to fire next, as far as it knows.
    """

    handle = None  # nobody asks it

    def __init__(self, state: State, changed: Nudge, world: World) -> None:
        self._state = state
        self._changed = changed
        self._world = world
        self._looked: Micros = 0  # what had elapsed when all was done
        self.next_at: Micros | None = None
        self.begun = trio.Event()  # what was due at the start has fired

    async def run(self) -> None:
        """Fire until cancelled, or until the server drains."""
        self._looked = self._world.elapsed() - micros(RESTART_SECONDS)
        with self._world.part(NAME):
            while True:
                try:
                    pause = await self._fire()
                except (Draining, Closed):
                    return
                finally:
                    self.begun.set()
                with pause:
                    await self._changed.take()

    async def _fire(self) -> Pause:
        """Ask; until when to wait before asking again."""
        world = self._world
        now, elapsed = world.now(), world.elapsed()
        watched = min(elapsed - self._looked, micros(LATEST_SECONDS))
        try:
            fired = await self._state.fire(now - watched, now)
        except (Draining, Closed):
            raise
        except (StorageFull, StoreUnavailable):  # it is logged below
            return trio.move_on_after(AGAIN_SECONDS)
        except JobQueueError:  # a fault of ours, logged too: as seldom as may be
            return trio.move_on_after(LOOK_SECONDS)
        self.next_at = fired.next_at
        for name, detail in fired.dropped:
            log.warning("schedule made no job", schedule=name, detail=detail)
        if fired.next_at is not None and fired.next_at <= now:
            return trio.move_on_after(0)  # more is due than one batch takes
        self._looked = elapsed
        return world.until(fired.next_at, NAME)
