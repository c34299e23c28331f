"""The oracle of order: first in, first out within a lane; higher priorities first; groups served round by round."""

from __future__ import annotations

from jobqueue.job import Job, LaneKey

LEAD_MOST = 2  # turns of two lanes differ by at most one at any time, so over any span their claims by at most two


class Lanes:
    """Who waits where, and who of two lanes that both have work was served more often."""

    def __init__(self) -> None:
        self._waiting: dict[LaneKey, dict[str, int]] = {}
        self._leads: dict[tuple[LaneKey, LaneKey], int] = {}
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
            self._leads = {pair: lead for pair, lead in self._leads.items() if job.lane not in pair}

    def claim(self, job: Job) -> str | None:
        """It is started, from where it waited. What is wrong with that."""
        fault = self._fault(job)
        self.leave(job)
        return fault

    def _fault(self, job: Job) -> str | None:
        lane = job.lane
        first = min(self._waiting[lane].values())
        if job.place != first:
            return f"{job.id} (place {job.place}) was started before the one at place {first} of its lane"
        if lane.suspect:
            return None
        fault = None
        for other in self._waiting:
            if other.queue != lane.queue or other.suspect:
                continue
            if other.priority > lane.priority:
                return f"{job.id} of priority {lane.priority} was started while one of {other.priority} waited"
            if other.priority == lane.priority and other != lane:
                lead = self._leads.get((lane, other), 0) + 1
                self._leads[lane, other] = lead
                self._leads[other, lane] = -lead
                if lead > LEAD_MOST:
                    fault = f"group {lane.group} was served {lead} times more than {other.group}, which waited as well"
        return fault
