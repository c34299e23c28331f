"""Lanes and counters: they follow what becomes of jobs, and admission moves their turns on."""

from __future__ import annotations

from jobqueue.clock import Micros
from jobqueue.job import OPEN, SUSPECT_CRASHES, Job, Lane, LaneKey, Status
from jobqueue.queue import Queue
from jobqueue.rules import caps
from jobqueue.rules.changes import LaneEdit
from jobqueue.rules.table.settings import Settings


class Lanes(Settings):
    """The lanes of all queues, the virtual time of their priorities, and how many jobs have which status."""

    __slots__ = ()

    def ahead(self, job: Job, most: int) -> int:
        """How many queued jobs stand before this one in its lane; counted up to `most`."""
        return self._rows.ahead(job.lane, job.place, most)

    def count(self, queue: str, status: Status) -> int:
        """How many jobs of the queue have the status."""
        deltas = self.changes.counts.get(queue)
        return self._rows.counts(queue)[status] + (deltas[status] if deltas else 0)

    def waiting(self, queue: str) -> int:
        """How many jobs of the queue wait: for their time, for others, or for a worker."""
        kept = self._rows.counts(queue)
        deltas = self.changes.counts.get(queue)
        waiting = kept[0] + kept[1] + kept[2]
        return waiting + deltas[0] + deltas[1] + deltas[2] if deltas else waiting

    def ended(self) -> int:
        """How many ended jobs there are, in all queues."""
        deltas = self.changes.counts.values()
        return self._rows.ended() + sum(sum(counts[Status.DONE :]) for counts in deltas)

    def queues(self) -> list[str]:
        """The queues that may have queued jobs, in order of name."""
        return sorted({*self._rows.queues(), *(key.queue for key in self.changes.lanes)})

    def band(self, queue: str, priority: int) -> float:
        """The virtual time of one priority of a queue."""
        band = self.changes.bands.get((queue, priority))
        return self._rows.band(queue, priority) if band is None else band

    def ready(self, queue: str, count: int, *, suspect: bool = False) -> list[Lane]:
        """The first `count` lanes with queued jobs, in the order in which they are to be served."""
        edits = [edit for key, edit in self.changes.lanes.items() if key.queue == queue and key.suspect == suspect]
        lanes = [
            lane
            for lane in self._rows.ready(queue, count + len(edits), suspect=suspect)
            if lane.key not in self.changes.lanes
        ]
        if edits:
            lanes += [edit.lane() for edit in edits if edit.ready]
            lanes.sort(key=_service_order)
        return lanes[:count]

    def heads(self, lane: LaneKey, count: int) -> list[Job]:
        """The first `count` queued jobs of a lane, by place."""
        touched = self.changes.jobs
        own = [new for _, new in touched.values() if new is not None and new.status is Status.QUEUED]
        own = [job for job in own if job.lane == lane]
        left = sum(1 for old, _ in touched.values() if old is not None and old.status is Status.QUEUED)
        jobs = [job for job in self._rows.heads(lane, count + left) if job.id not in touched]
        if own:
            jobs = sorted(jobs + own, key=_by_place)
        return jobs[:count]

    def serve(self, lane: LaneKey, began: float, turn: float) -> None:
        """Note that the lane was served, last from `began` to `turn`; its priority's virtual time follows."""
        if not lane.suspect:  # those go before all others, so their turns say nothing about the time of the rest
            band = (lane.queue, lane.priority)
            self.changes.bands[band] = max(self.band(*band), began)
        self._edit(lane).turn = turn

    def _edit_of(self, job: Job) -> LaneEdit:
        """The edit of a job's lane; most often that of the job before, which is found without making a key."""
        last = self._last
        if last is not None:
            key = last.key
            if (
                key.group == job.group
                and key.priority == job.priority
                and key.queue == job.queue
                and key.suspect == (job.crashes >= SUSPECT_CRASHES)
            ):
                return last
        last = self._last = self._edit(job.lane)
        return last

    def _edit(self, key: LaneKey) -> LaneEdit:
        edit = self.changes.lanes.get(key)
        if edit is None:
            edit = LaneEdit(self._rows.lane(key) or Lane(key))
            self.changes.lanes[key] = edit
        return edit

    def _counts(self, queue: str) -> list[int]:
        counts = self.changes.counts.get(queue)
        if counts is None:
            counts = self.changes.counts[queue] = [0] * len(Status)
        return counts

    def _enter(self, edit: LaneEdit, status: Status) -> None:
        if status is Status.RUNNING:
            edit.running += 1
            self._follow_caps(edit.key)
            return
        if not edit.queued:
            # a lane that fills anew starts at the present turn: it neither starves nor has saved up
            edit.turn = max(edit.turn, self.band(edit.key.queue, edit.key.priority))
            self._follow_caps(edit.key)
        edit.queued += 1

    def _exit(self, edit: LaneEdit, status: Status) -> None:
        if status is Status.RUNNING:
            edit.running -= 1
            self._follow_caps(edit.key)
        else:
            edit.queued -= 1
        if edit.forgettable and not edit.key.suspect:
            self._leave(edit)

    def _follow_caps(self, key: LaneKey) -> None:
        if key.group is not None:
            queue = self.queue(key.queue)
            if queue is not None and queue.group:
                self.regroup(queue, key.group)

    def _leave(self, edit: LaneEdit) -> None:
        """Forget an idle lane and its turn: virtual time moves to half a step beyond where the lane was served.

        So who comes back with one job at a time never starves the others, and who is new still comes within a round.
        """
        band = (edit.key.queue, edit.key.priority)
        turn = edit.turn - self.step(edit.key) / 2
        if turn > self.band(*band):
            self.changes.bands[band] = turn

    def step(self, lane: LaneKey) -> float:
        """What a claim moves the lane's turn on by: 1 / weight."""
        if lane.group is None:
            return 1.0
        queue = self.queue(lane.queue)
        return 1.0 if queue is None else 1.0 / queue.weight(lane.group)

    def group_lanes(self, queue: str, group: str) -> list[LaneEdit]:
        """All lanes of a group, to be changed."""
        keys = {lane.key for lane in self._rows.lanes_of(queue, group)}
        keys.update(key for key in self.changes.lanes if key.group == group and key.queue == queue)
        return [self._edit(key) for key in sorted(keys)]

    def regroup(self, queue: Queue, group: str) -> None:
        """Open or close the lanes of a group, by what runs of it and what has started."""
        lanes = self.group_lanes(queue.name, group)
        running = sum(edit.running for edit in lanes)
        opens_at = caps.opens_at(queue.group, running, self.window(queue.name, group))
        for edit in lanes:
            edit.opens_at = opens_at

    def open_due(self, now: Micros, count: int) -> int:
        """Open the lanes whose moment has come; how many."""
        due = [lane for lane in self._rows.opening(now, count) if lane.key not in self.changes.lanes]
        for lane in due:
            self._edit(lane.key).opens_at = OPEN
        return len(due)

    def configure(self, queue: Queue) -> None:
        """Give a queue these settings; what was closed by a cap is open until a claim finds the new one reached."""
        self.changes.queues[queue.name] = queue
        for lane in self._rows.closed(queue.name):
            self._edit(lane.key).opens_at = OPEN
        for key, edit in self.changes.lanes.items():
            if key.queue == queue.name:
                edit.opens_at = OPEN


def _service_order(lane: Lane) -> tuple[int, float, str]:
    return (-lane.key.priority, lane.turn, lane.key.group or "")


def _by_place(job: Job) -> int:
    return job.place
