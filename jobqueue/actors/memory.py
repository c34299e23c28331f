"""What the state actor remembers beside the table, and what dies with the process: attempts, waiters, a rate."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Container, Iterable

from jobqueue.actors.commands import TIMEOUT, Order
from jobqueue.clock import Micros, Sleeper, micros
from jobqueue.job import Job, Status
from jobqueue.mailbox import Orders, Reply

STUCK_SECONDS = 10.0
RATE_SECONDS = 60


class Running:
    """One running attempt: whom to order, and since when it has been told to stop (monotonic seconds).

    local: a worker of this process runs it.
    """

    __slots__ = ("epoch", "local", "orders", "stopped_at")

    def __init__(self, epoch: int, orders: Orders[Order], *, local: bool) -> None:
        self.epoch = epoch
        self.local = local
        self.orders = orders
        self.stopped_at: float | None = None


class Attempts:
    """The running attempts of this process, and their timeouts."""

    def __init__(self) -> None:
        self._running: dict[str, Running] = {}
        self._timeouts: list[tuple[Micros, str, int]] = []  # the first, of what will then have elapsed
        self.stirs = 0  # how often one started or ended, or there was more to claim

    def __len__(self) -> int:
        return len(self._running)

    def running(self) -> Iterable[tuple[str, int]]:
        """(id, epoch) of each."""
        return [(id, running.epoch) for id, running in self._running.items()]

    def started(self, job: Job, orders: Orders[Order], elapsed: Micros) -> None:
        """A claim was committed."""
        self.stirs += 1
        self._running[job.id] = Running(job.epoch, orders, local=job.boot_id is not None)
        heapq.heappush(self._timeouts, (elapsed + micros(job.options.timeout), job.id, job.epoch))
        if len(self._timeouts) > 64 + 4 * len(self._running):  # most end long before their timeout
            self._timeouts = [entry for entry in self._timeouts if self._at(entry[1], entry[2])]
            heapq.heapify(self._timeouts)

    def ended(self, id: str, after: Job | None) -> bool:
        """The job changed; True if that ended its attempt."""
        running = self._running.get(id)
        if running is None:
            return False
        if after is not None and after.status is Status.RUNNING and after.epoch == running.epoch:
            return False
        del self._running[id]
        self.stirs += 1
        return True

    def stop(self, id: str, why: str, monotonic: float) -> None:
        """Order the attempt to end; the first order counts."""
        running = self._running.get(id)
        if running is not None and running.stopped_at is None:
            running.stopped_at = monotonic
            running.orders.give(Order(id, running.epoch, why))

    def stop_all(self, why: str, monotonic: float) -> None:
        """Order all of them to end."""
        for id in self._running:
            self.stop(id, why, monotonic)

    def time_out(self, elapsed: Micros, monotonic: float) -> None:
        """Order those to end whose time is over."""
        while self._timeouts and self._timeouts[0][0] <= elapsed:
            _, id, epoch = heapq.heappop(self._timeouts)
            if self._at(id, epoch):
                self.stop(id, TIMEOUT, monotonic)

    def next_timeout(self) -> Micros | None:
        """The first timeout, perhaps of an attempt that has ended."""
        return self._timeouts[0][0] if self._timeouts else None

    def forget_timeouts(self) -> None:
        """Let the first timeout be of an attempt that runs."""
        while self._timeouts and not self._at(*self._timeouts[0][1:]):
            heapq.heappop(self._timeouts)

    def awake(self, asleep: Container[Sleeper]) -> Iterable[Sleeper]:
        """Those at work here: they do not sleep, or have been told to end."""
        return [
            (id, running.epoch)
            for id, running in self._running.items()
            if running.local and (running.stopped_at is not None or (id, running.epoch) not in asleep)
        ]

    def stuck(self, monotonic: float) -> int:
        """How many have not ended long after they were told to."""
        return sum(
            1
            for running in self._running.values()
            if running.stopped_at is not None and monotonic - running.stopped_at >= STUCK_SECONDS
        )

    def _at(self, id: str, epoch: int) -> bool:
        running = self._running.get(id)
        return running is not None and running.epoch == epoch


class Waiters:
    """Those who wait for the end of a job. One who has left is noticed at the latest at the next clean-up."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Reply[Job | None]]] = {}
        self._count = 0
        self._sweep_at = 1024

    def add(self, id: str, watcher: Reply[Job | None]) -> None:
        """Remember a waiter."""
        self._waiting.setdefault(id, []).append(watcher)
        self._count += 1
        if self._count >= self._sweep_at:
            self._sweep()

    def tell(self, id: str, job: Job | None) -> None:
        """The job has ended."""
        for watcher in self._waiting.pop(id, ()):
            self._count -= 1
            watcher.send(job)

    def tell_all(self, job: Job | None) -> None:
        """Let nobody wait any longer."""
        for id in tuple(self._waiting):
            self.tell(id, job)

    def _sweep(self) -> None:
        for id, watchers in tuple(self._waiting.items()):
            here = [watcher for watcher in watchers if not watcher.abandoned]
            self._count -= len(watchers) - len(here)
            if here:
                self._waiting[id] = here
            else:
                del self._waiting[id]
        self._sweep_at = max(1024, 2 * self._count)


class Rate:
    """How many a second, over the last minute."""

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()

    def count(self, monotonic: float, times: int = 1) -> None:
        """So many more."""
        second = int(monotonic)
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1][1] += times
        else:
            self._seconds.append([second, times])
            if len(self._seconds) > RATE_SECONDS:
                self._seconds.popleft()

    def per_second(self, monotonic: float) -> float | None:
        """The rate; None if nothing came in the last minute."""
        while self._seconds and self._seconds[0][0] <= monotonic - RATE_SECONDS:
            self._seconds.popleft()
        if not self._seconds:
            return None
        span = max(1.0, monotonic - self._seconds[0][0])
        return sum(count for _, count in self._seconds) / span
