"""A thread of one's own for one connection: work goes in one piece at a time, the loop never waits for a disk.

Trio's own `to_thread` would do, at three times the price of a hop and with another thread each time; a fault injected
at the n-th write of *the* writing thread (tests/e2e) needs it to stay the same one.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

import outcome
import trio

T = TypeVar("T")


class Runner(Protocol):
    """Runs blocking work to its end somewhere, one piece at a time, and gives back what it returned or raised."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Run it. A cancelled caller waits all the same: work is never abandoned half-way."""

    def close(self) -> None:
        """Take no more work; what was given is finished."""


class OneThread:
    """A `Runner` on one daemon thread."""

    def __init__(self, name: str) -> None:
        self._work: SimpleQueue[tuple[Callable[[], Any], Callable[[outcome.Outcome[Any]], None]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    async def __call__(self, work: Callable[[], T], /) -> T:
        token = trio.lowlevel.current_trio_token()
        ended = trio.Event()
        results: list[outcome.Outcome[T]] = []

        def arrive() -> None:
            ended.set()

        def deliver(result: outcome.Outcome[Any]) -> None:
            results.append(result)
            token.run_sync_soon(arrive)

        self._work.put((work, deliver))
        with trio.CancelScope(shield=True):
            await ended.wait()
        return results[0].unwrap()

    def close(self) -> None:
        """End the thread after its last piece of work."""
        self._work.put(None)
        self._thread.join()

    def _loop(self) -> None:
        while True:
            item = self._work.get()
            if item is None:
                return
            work, deliver = item
            result = outcome.capture(work)
            try:
                deliver(result)
            except trio.RunFinishedError:
                return  # the program has ended without waiting
            del item, work, deliver, result
