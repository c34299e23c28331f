"""Lanes and counters: they follow what becomes of jobs, and admission moves their turns on."""

from __future__ import annotations

from jobqueue.clock import Micros
from jobqueue.job import NEVER, OPEN, SUSPECT_CRASHES, Job, Lane, LaneKey, Status
from jobqueue.queue import Queue
from jobqueue.rules import caps
from jobqueue.rules.changes import LaneEdit
from jobqueue.rules.table.settings import Settings


class Lanes(Settings):
    """The lanes of all queues, the virtual time of their priorities, and how many jobs have which status."""

    __slots__ = ()

    def ahead(self, job: Job, most: int) -> int:
        """How many queued jobs stand before this one in its lane; counted up to `most`."""
        lane, place = job.lane, job.place
        left = come = 0
        for old, new in self.changes.jobs.values():
            left += old is not None and old.status is Status.QUEUED and old.place < place and old.lane == lane
            come += new is not None and new.status is Status.QUEUED and new.place < place and new.lane == lane
        return min(most, self._rows.ahead(lane, place, most + left) - left + come)

    def lane(self, key: LaneKey) -> Lane:
        """A lane as it now is."""
        edit = self.changes.lanes.get(key)
        return edit.lane() if edit is not None else self._rows.lane(key) or Lane(key)

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
            lane = self._rows.lane(key)
            if lane is None:
                edit = LaneEdit(Lane(key), self.queue(key.queue))
                self._born[key.queue] = self._born.get(key.queue, 0) + 1
            else:
                edit = LaneEdit(lane, self.queue(key.queue), kept=not (lane.queued or lane.running))
            self.changes.lanes[key] = edit
            if key.group is not None:
                self._groups.setdefault((key.queue, key.group), []).append(key)
        return edit

    def lanes(self, queue: str) -> int:
        """How many lanes the queue has."""
        return self._rows.lanes(queue) + self._born.get(queue, 0)

    def has_lane(self, key: LaneKey) -> bool:
        """Whether the lane is one of them."""
        return key in self.changes.lanes or self._rows.lane(key) is not None

    def _counts(self, queue: str) -> list[int]:
        counts = self.changes.counts.get(queue)
        if counts is None:
            counts = self.changes.counts[queue] = [0] * len(Status)
        return counts

    def _enter(self, edit: LaneEdit, status: Status) -> None:
        if status is Status.RUNNING:
            edit.running += 1
            if edit.settings is not None:
                self._fill(edit.key, edit.settings)
            return
        if not edit.queued:
            # a lane that fills anew starts at the present turn: it neither starves nor has saved up
            edit.turn = max(edit.turn, self.band(edit.key.queue, edit.key.priority))
            if edit.settings is not None:
                self._fill(edit.key, edit.settings)
        edit.queued += 1

    def _exit(self, edit: LaneEdit, status: Status) -> None:
        if status is Status.RUNNING:
            edit.running -= 1
            if edit.settings is not None:
                self._free(edit.key, edit.settings)
        else:
            edit.queued -= 1
        if not (edit.queued or edit.running or edit.key.suspect) and edit.key.group is not None:
            self._leave(edit)

    def _fill(self, key: LaneKey, queue: Queue) -> None:
        """Close the lanes of a group of which as many run as may."""
        if key.group is None or queue.group.concurrency is None:
            return
        if caps.full(queue.group, self.group_running(key.queue, key.group)):
            self._set_opening(key.queue, key.group, NEVER)

    def _free(self, key: LaneKey, queue: Queue) -> None:
        """One less runs: more may start, in the group too."""
        if queue.caps.concurrency is not None:
            self.changes.freed[key.queue] = None
        if key.group is None or queue.group.concurrency is None:
            return
        self.changes.freed[key.queue] = None
        if not caps.full(queue.group, self.group_running(key.queue, key.group)):
            for edit in self._closed_of(key.queue, key.group):
                if edit.opens_at == NEVER:
                    self._open(edit)  # if its rate is reached, a claim will find that

    def _leave(self, edit: LaneEdit) -> None:
        """Forget an idle lane and its turn: virtual time moves to half a step beyond where the lane was served.

        So who comes back with one job at a time never starves the others, and who is new still comes within a round.
        A group of a small share is remembered until its turn comes: a long step would leave the others behind.
        """
        band = (edit.key.queue, edit.key.priority)
        now = self.band(*band)
        step = self.step(edit.key)
        edit.kept = step > 1 and edit.turn > now + 1
        turn = edit.turn - step / 2
        if turn > now and not edit.kept:
            self.changes.bands[band] = turn

    def step(self, lane: LaneKey) -> float:
        """What a claim moves the lane's turn on by: 1 / weight."""
        if lane.group is None:
            return 1.0
        queue = self.queue(lane.queue)
        return 1.0 if queue is None else 1.0 / queue.weight(lane.group)

    def group_running(self, queue: str, group: str) -> int:
        """How many jobs of a group run, over all its lanes."""
        edits = self.changes.lanes
        untouched = sum(lane.running for lane in self._rows.lanes_of(queue, group) if lane.key not in edits)
        return untouched + sum(edits[key].running for key in self._groups.get((queue, group), ()))

    def regroup(self, queue: Queue, group: str, now: Micros) -> None:
        """Open or close the lanes of a group, by what runs of it and what has started."""
        running = self.group_running(queue.name, group)
        self._set_opening(queue.name, group, caps.opens_at(queue.group, running, self.window(queue.name, group), now))

    def _set_opening(self, queue: str, group: str, at: Micros) -> None:
        for lane in sorted(self._rows.lanes_of(queue, group), key=_key):
            if lane.opens_at != at:
                self._edit(lane.key)
        for key in self._groups.get((queue, group), ()):
            edit = self.changes.lanes[key]
            if at == OPEN:
                self._open(edit)
            edit.opens_at = at
        if OPEN < at < NEVER and (self.changes.opening is None or at < self.changes.opening):
            self.changes.opening = at

    def _open(self, edit: LaneEdit) -> None:
        """Open a lane. As one that fills anew it starts at the present turn: it has saved nothing up behind its cap."""
        if edit.opens_at != OPEN:
            edit.opens_at = OPEN
            edit.turn = max(edit.turn, self.band(edit.key.queue, edit.key.priority))

    def _closed_of(self, queue: str, group: str) -> list[LaneEdit]:
        """The closed lanes of a group, to be changed."""
        for lane in sorted(self._rows.lanes_of(queue, group), key=_key):
            if lane.opens_at != OPEN:
                self._edit(lane.key)
        edits = [self.changes.lanes[key] for key in self._groups.get((queue, group), ())]
        return [edit for edit in edits if edit.opens_at != OPEN]

    def open_due(self, now: Micros, count: int) -> int:
        """Open the lanes whose moment has come; how many."""
        due = [lane for lane in self._rows.opening(now, count) if lane.key not in self.changes.lanes]
        for lane in due:
            self._open(self._edit(lane.key))
            self.changes.freed[lane.key.queue] = None
        return len(due)

    def open_all(self, queue: str) -> None:
        """Open what a cap has closed: a claim will find whether it is still reached."""
        for lane in sorted(self._rows.closed(queue), key=_key):
            self._edit(lane.key)
        for key, edit in self.changes.lanes.items():
            if key.queue == queue:
                self._open(edit)
        self.changes.freed[queue] = None

    def configure(self, after: Queue) -> None:
        """Give a queue these settings, from this moment on."""
        name = after.name
        before = self.queue(name) or Queue(name)
        self.changes.queues[name] = after
        self._named = name, after
        for key, edit in self.changes.lanes.items():
            if key.queue == name:
                edit.settings = after
        if before.group != after.group:
            self.open_all(name)
        for group in sorted(before.weights.keys() | after.weights.keys()):
            if before.weight(group) != after.weight(group):
                self._reweigh(name, group)
        self.changes.freed[name] = None

    def _reweigh(self, queue: str, group: str) -> None:
        """A group's share changed: its next turn is not further off than one step of the new one."""
        for lane in sorted(self._rows.lanes_of(queue, group), key=_key):
            self._edit(lane.key)
        for key in self._groups.get((queue, group), ()):
            edit = self.changes.lanes[key]
            edit.kept = False
            edit.turn = min(edit.turn, self.band(queue, key.priority) + self.step(key))


def _key(lane: Lane) -> tuple[int, str, bool]:
    return (lane.key.priority, lane.key.group or "", lane.key.suspect)


def _service_order(lane: Lane) -> tuple[int, float, str]:
    return (-lane.key.priority, lane.turn, lane.key.group or "")


def _by_place(job: Job) -> int:
    return job.place
