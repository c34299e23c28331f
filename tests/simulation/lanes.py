"""The oracle of order: first in, first out within a lane; higher priorities first; groups by shares, in rounds."""

from __future__ import annotations

from collections.abc import Callable

from jobqueue.job import Job, LaneKey

A_LITTLE = 1e-6


class Lanes:
    """Who waits where, and who of two lanes that both have work was served more than its share.

    A start moves a lane on by 1 / weight. It goes to the lane that is least far, so two that both wait are never
    further apart than one such step of the one or of the other; over any span a lead grows by at most their sum.
    """

    def __init__(self) -> None:
        self._waiting: dict[LaneKey, dict[str, int]] = {}
        self._leads: dict[tuple[LaneKey, LaneKey], float] = {}
        self._greatest = 0

    def enter(self, job: Job, *, kept: int | None) -> str | None:
        """A job begins to wait, at the place that it `kept` or at a new one. What is wrong with that."""
        fault = None
        if kept is not None and job.place != kept:
            fault = f"{job.id} was given back and lost its place {kept} for {job.place}"
        elif kept is None and job.place <= self._greatest:
            fault = f"{job.id} got the place {job.place}, but {self._greatest} was given before"
        self._greatest = max(self._greatest, job.place)
        self._waiting.setdefault(job.lane, {})[job.id] = job.place
        return fault

    def leave(self, job: Job) -> None:
        """It no longer waits."""
        lane = self._waiting[job.lane]
        del lane[job.id]
        if not lane:
            del self._waiting[job.lane]
            self._forget(lambda other: other == job.lane)

    def reshare(self, queue: str) -> None:
        """Caps or shares of the queue are others now."""
        self._forget(lambda lane: lane.queue == queue)

    def _forget(self, which: Callable[[LaneKey], bool]) -> None:
        self._leads = {pair: lead for pair, lead in self._leads.items() if not any(map(which, pair))}

    def claim(self, job: Job, closed: Callable[[LaneKey], bool], weight: Callable[[LaneKey], float]) -> str | None:
        """It is started, from where it waited. closed: who is at a cap. What is wrong with that."""
        fault = self._fault(job, closed, weight)
        self.leave(job)
        return fault

    def _fault(self, job: Job, closed: Callable[[LaneKey], bool], weight: Callable[[LaneKey], float]) -> str | None:
        lane = job.lane
        first = min(self._waiting[lane].values())
        if job.place != first:
            return f"{job.id} (place {job.place}) was started before the one at place {first} of its lane"
        if lane.suspect:
            return None
        fault = None
        for other in self._waiting:
            if other.queue != lane.queue or other.suspect or other == lane or other.priority < lane.priority:
                continue
            if closed(other):
                self._leads.pop((lane, other), None)
                self._leads.pop((other, lane), None)
            elif other.priority > lane.priority:
                return f"{job.id} of priority {lane.priority} was started while one of {other.priority} waited"
            else:
                step = 1 / weight(lane)
                lead = self._leads.get((lane, other), 0.0) + step
                self._leads[lane, other] = lead
                self._leads[other, lane] = -lead
                if lead > step + 1 / weight(other) + A_LITTLE:
                    fault = f"group {lane.group} was served {lead} more than {other.group}, which waited as well"
        return fault
