"""The oracle of queues' settings: pauses, caps and rates hold at every start; what is shown was so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobqueue.clock import Micros, micros
from jobqueue.job import Job, LaneKey, Status
from jobqueue.queue import Caps, Queue, Rate

NEAR = 1.2  # of the time of a rate: whether the program may think that it is reached
WAITING = (Status.SCHEDULED, Status.BLOCKED, Status.QUEUED)


class Bounds:
    """The settings as they were committed, and the starts that count against rates."""

    def __init__(self) -> None:
        self.settings: dict[str, Queue] = {}
        self._log: dict[str, list[tuple[int, Queue]]] = {}
        self._rates: dict[tuple[str, bool], Rate | None] = {}
        self._starts: dict[tuple[str, str | None], list[Micros]] = {}

    def configured(self, queue: Queue, tick: int) -> None:
        """These are its settings from now on. Starts before a rate was set do not count against it."""
        self.settings[queue.name] = queue
        self._log.setdefault(queue.name, []).append((tick, queue))
        for of_group, caps in ((False, queue.caps), (True, queue.group)):
            if self._rates.get((queue.name, of_group)) != caps.rate:
                self._rates[queue.name, of_group] = caps.rate
                for place in [place for place in self._starts if place[0] == queue.name]:
                    if (place[1] is not None) == of_group:
                        del self._starts[place]

    def since(self, name: str, tick: int) -> list[Queue]:
        """The settings that the queue has had since then; the first may be none of its own."""
        log = self._log.get(name, [])
        before = [queue for at, queue in log if at <= tick][-1:] or [Queue(name)]
        return before + [queue for at, queue in log if at > tick]

    def started(self, job: Job, jobs: Mapping[str, Job], *, timed: bool) -> str | None:
        """A job is about to start; `jobs` are as they were. timed: the clock runs evenly. What is wrong with that."""
        queue = self.settings.get(job.queue)
        if queue is None:
            return None
        if queue.paused:
            return f"{job.id} was started in {job.queue}, which is paused"
        running = [other for other in jobs.values() if other.status is Status.RUNNING and other.queue == job.queue]
        fault = self._fault(queue.caps, len(running), (job.queue, None), job.started_at or 0, timed=timed)
        if fault is None and job.group is not None:
            among = sum(1 for other in running if other.group == job.group)
            fault = self._fault(queue.group, among, (job.queue, job.group), job.started_at or 0, timed=timed)
        return None if fault is None else f"{job.id} of group {job.group} was started in {job.queue}: {fault}"

    def _fault(self, caps: Caps, running: int, place: tuple[str, str | None], at: Micros, *, timed: bool) -> str | None:
        if caps.concurrency is not None and running >= caps.concurrency:
            return f"{running} run already of at most {caps.concurrency}"
        if caps.rate is None:
            return None
        starts = self._starts.setdefault(place, [])
        starts.append(at)
        recent = [start for start in starts if at - micros(caps.rate.per) < start <= at]
        if timed and len(recent) > caps.rate.limit:
            return f"{len(recent)} starts in {caps.rate.per} s of at most {caps.rate.limit}"
        return None

    def closed(self, lane: LaneKey, jobs: Mapping[str, Job], now: Micros, *, timed: bool) -> bool:
        """Whether the group of the lane is at a cap of its own, or may be: then it need not be served."""
        queue = self.settings.get(lane.queue)
        if queue is None or lane.group is None or not queue.group:
            return False
        caps = queue.group
        if caps.concurrency is not None:
            there = [job for job in jobs.values() if job.queue == lane.queue and job.group == lane.group]
            if sum(1 for job in there if job.status is Status.RUNNING) >= caps.concurrency:
                return True
        if caps.rate is None:
            return False
        since = now - micros(caps.rate.per * NEAR + 10)
        starts = [start for start in self._starts.get((lane.queue, lane.group), ()) if start > since]
        return not timed or len(starts) >= caps.rate.limit

    def weight(self, lane: LaneKey) -> float:
        """The share of the lane's group."""
        queue = self.settings.get(lane.queue)
        return 1.0 if queue is None else queue.weights.get(lane.group or "", 1.0)

    def accepted(self, job: Job, jobs: Mapping[str, Job], most: int, held: int) -> str | None:
        """A job was taken in; `most` is what a queue may hold that does not say.

        A queue that held more, of retries and what was given back, may go on holding as many: one may replace another.
        """
        queue = self.settings.get(job.queue)
        if queue is not None and queue.max_queued is not None:
            most = queue.max_queued
        most = max(most, held)
        waiting = sum(1 for other in jobs.values() if other.queue == job.queue and other.status in WAITING)
        return f"{job.queue} took {job.id} in, but holds {waiting} of at most {most}" if waiting > most else None

    def retention(self, job: Job, *, shortest: bool) -> float | None:
        """How long its queue says to keep such a job; of all that it ever said the shortest, or the present one."""
        kept = self._log.get(job.queue, [])
        said = [queue.retention.get(job.status.name) for _, queue in (kept if shortest else kept[-1:])]
        return min((seconds for seconds in said if seconds is not None), default=None)

    def shown(self, shown: Mapping[str, Any], since: int) -> str | None:
        """An answer shows a queue. What is wrong with that."""
        had = [_fields(queue) for queue in self.since(shown["name"], since)]
        says = {name: shown[name] for name in had[0]}
        return None if says in had else f"{shown['name']} was shown as {says}, but was {had}"


def _fields(queue: Queue) -> dict[str, Any]:
    """What an answer shows of the settings, and no default can hide."""
    rate = queue.caps.rate
    return {
        "paused": queue.paused,
        "concurrency": queue.caps.concurrency,
        "rate": None if rate is None else {"limit": rate.limit, "per": rate.per},
        "weights": dict(queue.weights),
    }
