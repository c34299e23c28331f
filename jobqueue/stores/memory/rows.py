"""What a batch reads of the memory engine, held to what it declared."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from jobqueue.clock import Micros
from jobqueue.job import OPEN, SPARED, Job, Lane, LaneKey, Status
from jobqueue.queue import Queue, Window
from jobqueue.rules.changes import End, KeyRecord
from jobqueue.schedule import Schedule
from jobqueue.stores.contract import (
    Needs,
)
from jobqueue.stores.memory.tables import Tables


class Undeclared(Exception):
    """A rule read what the batch's needs do not name."""


class MemoryRows:
    """What one batch reads, held to what it declared."""

    def __init__(self, tables: Tables, needs: Needs, now: Micros) -> None:
        self._tables = tables
        self._now = now
        self._needs = needs
        self._loaded: set[str] = set(needs.jobs)
        self._uniques = set(needs.uniques)

    def job(self, id: str) -> Job | None:
        """By id, if declared or loaded on another way."""
        self._require(id in self._loaded, f"job {id}")
        return self._tables.jobs.get(id)

    def removed(self, id: str) -> bool:
        """Whether a tombstone stands there."""
        return self._tables.gone(id, self._now)

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

    def lanes(self, queue: str) -> int:
        """How many."""
        return sum(1 for key in self._tables.lanes if key.queue == queue)

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
        self._require(queue in self._needs.lines or {queue, "*"} & self._needs.claims.keys(), f"lanes of {queue}")
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
        """Ended jobs, without those that are spared: they stand at the end."""
        return bisect_left(self._tables.fading, (SPARED, 0, ""))

    def due(self, now: Micros, count: int) -> Sequence[Job]:
        """What time changes."""
        self._require(count <= self._needs.most_due, "due jobs")
        due = self._until(self._tables.waking, now, count)
        due += self._until(self._tables.fading, now, count - len(due))
        due += self._until(self._tables.fading[self.ended() :], SPARED + now, count - len(due))
        return self._load(due)

    def surplus(self, keep: int, count: int) -> Sequence[Job]:
        """Ended jobs that are too many."""
        self._require(count <= self._needs.most_due, "surplus jobs")
        return self._load(id for _, _, id in self._tables.fading[: max(0, min(count, self.ended() - keep))])

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
        """Who holds a unique key, if it is declared or that of a job that is; the holder is loaded with it."""
        loaded = (self._tables.jobs[id] for id in self._loaded if id in self._tables.jobs)
        theirs = ((job.queue, job.options.unique.key) for job in loaded if job.options.unique is not None)
        self._require((queue, key) in self._uniques or (queue, key) in theirs, f"unique key {key}")
        holder = self._tables.holders.get((queue, key))
        if holder is not None:
            self._loaded.add(holder)
        return holder

    def links(self) -> bool:
        """Whether there are dependencies."""
        return bool(self._tables.children or self._tables.resolving)

    def children(self, end: End, count: int) -> Sequence[tuple[int, str]]:
        """Who waits for a parent; they are loaded with it."""
        tables = self._tables
        seqs = [seq for seq, met in tables.children.get(end.parent, {}).items() if seq <= end.upto and not met][:count]
        found = [(seq, tables.ids[seq]) for seq in seqs]
        self._loaded.update(id for _, id in found)
        return found

    def dependents(self, parent: int) -> int:
        """How many depend on a parent."""
        return len(self._tables.children.get(parent, ()))

    def unmet(self, child: int, count: int) -> Sequence[int]:
        """Whom a child waits for."""
        children = self._tables.children
        return [parent for parent in self._tables.parents.get(child, ()) if not children[parent][child]][:count]

    def parents(self, child: Job, count: int) -> Sequence[tuple[int, str]]:
        """The same, by seq and id; they are loaded with it."""
        unmet = set(self.unmet(child.seq, len(child.options.depends_on)))
        named = [self._tables.jobs[id] for id in child.options.depends_on if id in self._tables.jobs]
        found = sorted((parent.seq, parent.id) for parent in named if parent.seq in unmet)[:count]
        self._loaded.update(id for _, id in found)
        return found

    def resolving(self, count: int) -> Sequence[End]:
        """Whose end is still to be told."""
        return sorted(self._tables.resolving)[:count]

    def queue(self, name: str) -> Queue | None:
        """A queue's settings."""
        return self._tables.queues.get(name)

    def configured(self) -> Sequence[str]:
        """Queues with settings."""
        return list(self._tables.queues)

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

    def ended_of(self, queue: str, after: int, count: int) -> tuple[Sequence[Job], int | None]:
        """Ended jobs of a queue, by seq; all rows are looked at."""
        jobs = [job for job in self._tables.jobs.values() if job.queue == queue and job.status.ended]
        later = sorted((job for job in jobs if job.seq > after), key=lambda job: job.seq)
        return self._load(job.id for job in later[:count]), later[count - 1].seq if len(later) > count else None

    def schedule(self, name: str) -> Schedule | None:
        """A schedule; the job that it made last and the holder of its unique key are loaded with it."""
        self._require(self._needs.schedules & {name, "*"}, f"schedule {name}")
        schedule = self._tables.schedules.get(name)
        if schedule is not None:
            if schedule.last_id is not None:
                self._loaded.add(schedule.last_id)
            draft = schedule.draft
            if draft.options.unique is not None:
                self._uniques.add((draft.queue, draft.options.unique.key))
        return schedule

    def schedules(self) -> int:
        """How many there are."""
        return len(self._tables.schedules)

    def fires(self, count: int) -> Sequence[tuple[Micros, str]]:
        """The first fire times."""
        self._require("*" in self._needs.schedules, "what fires")
        active = [schedule for schedule in self._tables.schedules.values() if not schedule.paused]
        return sorted((one.next_at, one.name) for one in active if one.next_at is not None)[:count]

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
