"""When somebody whom a full queue refused should come back: each is told a moment of its own.

Were all told the same, all would come at once, and again, and the more of them the longer an overload lasts. So the
refused stand in line, though nobody keeps them: each is given the moment at which room for it is likely, as the queue
drains now. They are spread a little thinner than it drains (`SHARE`), so that a full queue becomes an idle one again.
"""

from __future__ import annotations

from jobqueue.errors import RETRY_AFTER_MAX_SECONDS

SHARE = 0.8  # of what drains goes to those who come back
MOST_QUEUES = 1_000


class Turnstile:
    """The moment (monotonic seconds) up to which each queue's room is promised to those who were refused."""

    def __init__(self) -> None:
        self._promised: dict[str, float] = {}

    def comeback(self, queue: str, count: int, rate: float | None, monotonic: float) -> float | None:
        """Seconds after which `count` jobs may be tried again; None if nothing drains. rate: jobs a second."""
        if not rate:
            return None
        begin = max(self._promised.get(queue, 0.0), monotonic)
        if queue not in self._promised and len(self._promised) >= MOST_QUEUES:
            self._promised.clear()
        self._promised[queue] = min(begin + count / (SHARE * rate), monotonic + RETRY_AFTER_MAX_SECONDS)
        return min(begin + count / rate - monotonic, RETRY_AFTER_MAX_SECONDS)
