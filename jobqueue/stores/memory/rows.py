"""What a batch reads of the memory engine, held to what it declared."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from jobqueue.clock import Micros
from jobqueue.job import OPEN, Job, Lane, LaneKey, Status
from jobqueue.queue import Queue, Window
from jobqueue.rules.changes import KeyRecord
from jobqueue.schedule import Schedule
from jobqueue.stores.contract import (
    Needs,
)
from jobqueue.stores.memory.tables import Tables


class Undeclared(Exception):
    """A rule read what the batch's needs do not name."""


class MemoryRows:
    """What one batch reads, held to what it declared."""

    def __init__(self, tables: Tables, needs: Needs) -> None:
        self._tables = tables
        self._needs = needs
        self._loaded: set[str] = set(needs.jobs)

    def job(self, id: str) -> Job | None:
        """By id, if declared or loaded on another way."""
        self._require(id in self._loaded, f"job {id}")
        return self._tables.jobs.get(id)

    def removed(self, id: str) -> bool:
        """Whether a tombstone stands there."""
        return id in self._tables.removed

    def key(self, scope: str, key: str) -> KeyRecord | None:
        """By scope and key; the jobs that it names are loaded with it."""
        self._require((scope, key) in self._needs.keys, f"key {key}")
        record = self._tables.keys.get((scope, key))
        if record is not None:
            self._loaded.update(record.ids)
        return record

    def lane(self, key: LaneKey) -> Lane | None:
        """A lane."""
        return self._tables.lanes.get(key)

    def lanes_of(self, queue: str, group: str) -> Sequence[Lane]:
        """The lanes of a group."""
        return [lane for key, lane in self._tables.lanes.items() if key.queue == queue and key.group == group]

    def closed(self, queue: str) -> Sequence[Lane]:
        """Those of a queue that are not open."""
        return [lane for key, lane in self._tables.lanes.items() if key.queue == queue and lane.opens_at != OPEN]

    def opening(self, now: Micros, count: int) -> Sequence[Lane]:
        """Those whose moment to open has come."""
        self._require(count <= self._needs.most_due, "opening lanes")
        return [lane for lane in self._tables.lanes.values() if OPEN < lane.opens_at <= now][:count]

    def ahead(self, lane: LaneKey, place: int, most: int) -> int:
        """Queued jobs before a place."""
        return min(most, bisect_left(self._tables.queued.get(lane, []), (place, "")))

    def band(self, queue: str, priority: int) -> float:
        """A priority's virtual time."""
        return self._tables.bands.get((queue, priority), 0.0)

    def ready(self, queue: str, count: int, *, suspect: bool) -> Sequence[Lane]:
        """Lanes with queued jobs, in the order of service."""
        self._require_claim(queue)
        lanes = [
            lane
            for key, lane in self._tables.lanes.items()
            if key.queue == queue and key.suspect == suspect and lane.queued and lane.opens_at == OPEN
        ]
        lanes.sort(key=lambda lane: (-lane.key.priority, lane.turn, lane.key.group or ""))
        return lanes[:count]

    def heads(self, lane: LaneKey, count: int) -> Sequence[Job]:
        """The first of a lane."""
        self._require_claim(lane.queue)
        return self._load(id for _, id in self._tables.queued.get(lane, [])[:count])

    def queues(self) -> Sequence[str]:
        """Queues with queued jobs."""
        return list({key.queue for key in self._tables.queued})

    def counts(self, queue: str) -> Sequence[int]:
        """Jobs by status."""
        return self._tables.counts.get(queue, [0] * len(Status))

    def ended(self) -> int:
        """Ended jobs."""
        return len(self._tables.fading)

    def due(self, now: Micros, count: int) -> Sequence[Job]:
        """What time changes."""
        self._require(count <= self._needs.most_due, "due jobs")
        waking = self._until(self._tables.waking, now, count)
        return self._load(waking + self._until(self._tables.fading, now, count - len(waking)))

    def surplus(self, keep: int, count: int) -> Sequence[Job]:
        """Ended jobs that are too many."""
        self._require(count <= self._needs.most_due, "surplus jobs")
        fading = self._tables.fading
        return self._load(id for _, _, id in fading[: max(0, min(count, len(fading) - keep))])

    def stale_keys(self, now: Micros, count: int) -> Sequence[KeyRecord]:
        """Keys past their time; they were kept in order of time."""
        self._require(count <= self._needs.most_due, "stale keys")
        stale: list[KeyRecord] = []
        for record in self._tables.keys.values():
            if record.expires_at > now or len(stale) == count:
                break
            stale.append(record)
        return stale

    def orphans(self, boot_id: str, count: int) -> Sequence[Job]:
        """RUNNING jobs of another life."""
        self._require(boot_id == self._needs.orphans_of, "orphans")
        jobs = self._tables.jobs.values()
        return self._load(
            [job.id for job in jobs if job.status is Status.RUNNING and job.boot_id not in (None, boot_id)][:count]
        )

    def holder(self, queue: str, key: str) -> str | None:
        """Who holds a unique key; the holder is loaded with it."""
        holder = self._tables.holders.get((queue, key))
        if holder is not None:
            self._loaded.add(holder)
        return holder

    def links(self) -> int:
        """How many dependencies there are."""
        return len(self._tables.links)

    def children(self, parent: int, count: int) -> Sequence[Job]:
        """Who waits for a parent."""
        seqs = sorted(child for (seq, child), met in self._tables.links.items() if seq == parent and not met)
        return self._load(self._tables.ids[seq] for seq in seqs[:count])

    def dependents(self, parent: int) -> int:
        """How many depend on a parent."""
        return sum(1 for seq, _ in self._tables.links if seq == parent)

    def unmet(self, child: int, count: int) -> Sequence[int]:
        """Whom a child waits for."""
        return [parent for (parent, seq), met in self._tables.links.items() if seq == child and not met][:count]

    def resolving(self, count: int) -> Sequence[str]:
        """Whose end is still to be told."""
        ids = list(self._tables.resolving)[:count]
        self._loaded.update(ids)
        return ids

    def queue(self, name: str) -> Queue | None:
        """A queue's settings."""
        return self._tables.queues.get(name)

    def names(self) -> int:
        """How many queues are known."""
        return len(self._tables.counts.keys() | self._tables.queues.keys())

    def known(self, queue: str) -> bool:
        """Whether a queue is known."""
        return queue in self._tables.counts or queue in self._tables.queues

    def window(self, queue: str, group: str | None) -> Window | None:
        """What counts against a rate."""
        return self._tables.windows.get((queue, group))

    def redating(self) -> Mapping[str, int]:
        """Queues whose ended jobs get another due time."""
        return self._tables.redating

    def ended_of(self, queue: str, after: int, count: int) -> Sequence[Job]:
        """Ended jobs of a queue, by seq."""
        jobs = [job for job in self._tables.jobs.values() if job.queue == queue and job.status.ended]
        return self._load(job.id for job in sorted(jobs, key=lambda job: job.seq) if job.seq > after)[:count]

    def schedule(self, name: str) -> Schedule | None:
        """A schedule; the job of its last fire is loaded with it."""
        self._require(self._needs.schedules & {name, "*"}, f"schedule {name}")
        schedule = self._tables.schedules.get(name)
        if schedule is not None and schedule.last_id is not None:
            self._loaded.add(schedule.last_id)
        return schedule

    def schedules(self) -> int:
        """How many there are."""
        return len(self._tables.schedules)

    def firing(self, now: Micros, count: int) -> Sequence[Schedule]:
        """Those whose time has come."""
        self._require("*" in self._needs.schedules, "what fires")
        due = [(at, schedule.name) for schedule in self._active() if (at := schedule.next_at or 0) <= now]
        found = [self._tables.schedules[name] for _, name in sorted(due)[:count]]
        self._loaded.update(schedule.last_id for schedule in found if schedule.last_id is not None)
        return found

    def next_fire(self) -> Micros | None:
        """The earliest fire time."""
        return min((schedule.next_at or 0 for schedule in self._active()), default=None)

    def _active(self) -> list[Schedule]:
        return [
            schedule
            for schedule in self._tables.schedules.values()
            if not schedule.paused and schedule.next_at is not None
        ]

    def last_seq(self) -> int:
        """The greatest number given."""
        return self._tables.seq

    def _until(self, index: list[tuple[Micros, int, str]], now: Micros, count: int) -> list[str]:
        return [id for due_at, _, id in index[:count] if due_at <= now]

    def _load(self, ids: Iterable[str]) -> Sequence[Job]:
        jobs = [self._tables.jobs[id] for id in ids]
        self._loaded.update(job.id for job in jobs)
        return jobs

    def _require_claim(self, queue: str) -> None:
        self._require({queue, "*"} & self._needs.claims.keys(), f"claims of {queue}")

    def _require(self, declared: object, what: str) -> None:
        if not declared:
            raise Undeclared(f"the batch did not declare that it reads {what}")
