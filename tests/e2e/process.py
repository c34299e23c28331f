"""A process that a test has started: waited for by the kernel's own event, ended by its own pid only."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable


class Process:
    """`reap` gives the exit code of the process once it has ended, as subprocess does: -9 for SIGKILL."""

    def __init__(self, pid: int, reap: Callable[[], int]) -> None:
        self.pid = pid
        self._reap = reap
        self._pidfd: int | None = os.pidfd_open(pid)
        self.code: int | None = None

    def wait(self, seconds: float) -> int:
        """Its exit code. Raises TimeoutError if it has not ended by then."""
        if self._pidfd is not None:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            if not poll.poll(seconds * 1000):
                raise TimeoutError(f"process {self.pid} still runs after {seconds} s")
            os.close(self._pidfd)
            self._pidfd = None
            self.code = self._reap()
        assert self.code is not None
        return self.code

    def send(self, number: int) -> None:
        """Send a signal; nothing if it has ended."""
        if self._pidfd is not None:
            signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> int:
        """End it now, and wait."""
        self.send(signal.SIGKILL)
        return self.wait(10)
