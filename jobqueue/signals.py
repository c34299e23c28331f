"""SIGTERM and SIGINT: the first drains, the second gives back at once, the third ends the process.

Handlers of our own rather than Trio's receiver: the third must work even when a handler of a user blocks the loop, and
the last net must be hung at the first. It works as PID 1 too, where a signal without a handler is ignored.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
from collections.abc import Iterator
from types import FrameType

import trio

EXIT_FORCED = 1
HANG_SECONDS = 10.0  # beyond the grace; then the process is ended from a thread that needs no loop
WATCHED = (signal.SIGTERM, signal.SIGINT)


class Stopping:
    """What the signals asked for so far."""

    def __init__(self, grace_seconds: float) -> None:
        self.asked = trio.Event()
        self.at_once = trio.Event()
        self._grace_seconds = grace_seconds
        self._count = 0
        self._token = trio.lowlevel.current_trio_token()

    def ask(self) -> None:
        """What a signal does; also for those who stop the server without one."""
        self._count += 1
        if self._count == 1:
            faulthandler.dump_traceback_later(self._grace_seconds + HANG_SECONDS, exit=True)
        if self._count > 2:
            os._exit(EXIT_FORCED)
        event = self.asked if self._count == 1 else self.at_once
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(event.set)


@contextlib.contextmanager
def watching(grace_seconds: float) -> Iterator[Stopping]:
    """Catch the signals while inside; on the main thread only, where Python lets us."""
    stopping = Stopping(grace_seconds)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stopping.ask()

    before = {number: signal.signal(number, on_signal) for number in WATCHED}
    try:
        yield stopping
    finally:
        faulthandler.cancel_dump_traceback_later()
        for number, handler in before.items():
            signal.signal(number, handler)
