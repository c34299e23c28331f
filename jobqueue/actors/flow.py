"""How much goes through each queue: what was submitted and what ended, in the last minute."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from jobqueue.actors.memory import Rate
from jobqueue.rules.table import Changes

SECONDS = 60


class Flow:
    """Counts by queue and second; a queue that was idle for a minute is forgotten."""

    def __init__(self) -> None:
        self.ended = Rate()  # of all queues
        self._queues: dict[str, deque[list[int]]] = {}  # (second, submitted, ended)

    def follow(self, changes: Changes, monotonic: float) -> None:
        """Count what a batch did."""
        second = int(monotonic)
        ended = 0
        for before, after in changes.jobs.values():
            if after is None:
                continue
            if before is None:
                self._counts(after.queue, second)[1] += 1
            if after.status >= 4 and (before is None or before.status < 4):  # it has ended; the property is slower
                self._counts(after.queue, second)[2] += 1
                ended += 1
        if ended:
            self.ended.count(monotonic, ended)

    def rates(self, monotonic: float) -> Mapping[str, tuple[float, float]]:
        """For each queue how many a second were submitted, and how many ended, over the last minute."""
        since = int(monotonic) - SECONDS
        rates = {}
        for queue, counts in list(self._queues.items()):
            while counts and counts[0][0] <= since:
                counts.popleft()
            if counts:
                rates[queue] = (sum(one[1] for one in counts) / SECONDS, sum(one[2] for one in counts) / SECONDS)
            else:
                del self._queues[queue]
        return rates

    def _counts(self, queue: str, second: int) -> list[int]:
        counts = self._queues.get(queue)
        if counts is None:
            counts = self._queues[queue] = deque(maxlen=SECONDS + 1)
        if not counts or counts[-1][0] != second:
            counts.append([second, 0, 0])
        return counts[-1]
