"""The crew: the local workers, each in a task of its own that is begun again when the worker itself fails."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import structlog
import trio

from jobqueue.actors.dispatcher import Dispatch
from jobqueue.actors.reader import Reads
from jobqueue.actors.state_handle import State
from jobqueue.actors.worker import Worker
from jobqueue.child import Child
from jobqueue.clock import World
from jobqueue.handlers import Handlers

log = structlog.get_logger(__name__)

FAILURES_MOST = 5
FAILURES_SECONDS = 60.0


class Crew:
    """The workers of one server."""

    def __init__(
        self,
        size: int,
        queues: tuple[str, ...],
        dispatch: Dispatch,
        state: State,
        reads: Reads,
        handlers: Handlers,
        registries: Sequence[str],
        world: World,
    ) -> None:
        self._size = size
        self._queues = queues
        self._dispatch = dispatch
        self._state = state
        self._reads = reads
        self._handlers = handlers
        self._registries = registries
        self._world = world
        self._failures: deque[float] = deque(maxlen=FAILURES_MOST)
        self.left = trio.Event()  # every worker has gone home

    async def run(self) -> None:
        """Work until the dispatcher closes. Raises when workers fail too often."""
        async with trio.open_nursery() as nursery:
            for number in range(1, self._size + 1):
                nursery.start_soon(self._work, f"local-{number}")
        self.left.set()

    async def _work(self, name: str) -> None:
        async with Child(self._registries) as child:
            worker = Worker(
                name, self._queues, self._dispatch, self._state, self._reads, self._handlers, child, self._world
            )
            while True:
                try:
                    await worker.run()
                except Exception as error:
                    if self._too_often():
                        raise
                    log.error("worker failed, and begins again", worker=name, exc_info=error)
                else:
                    return

    def _too_often(self) -> bool:
        now = self._world.monotonic()
        self._failures.append(now)
        return len(self._failures) == FAILURES_MOST and now - self._failures[0] < FAILURES_SECONDS
