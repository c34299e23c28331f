"""The dictionaries of the memory engine, and how changes go into them."""

from __future__ import annotations

from bisect import bisect_left, insort

import msgspec

from jobqueue.clock import SECOND, Micros
from jobqueue.job import AttemptRecord, Job, Lane, LaneKey, Line, Progress, Status
from jobqueue.queue import Queue, Window
from jobqueue.rules.changes import Changes, End, KeyRecord
from jobqueue.schedule import Schedule
from jobqueue.stores.contract import (
    MOST_ATTEMPTS,
    MOST_LINES,
    MOST_TOMBSTONES,
    TOMBSTONE_SECONDS,
)


class Tables:
    """The dictionaries. Sorted lists stand for the indexes of a database."""

    def __init__(self) -> None:
        self.seq = 0
        self.jobs: dict[str, Job] = {}
        self.removed: dict[str, Micros] = {}
        self.attempts: dict[int, list[AttemptRecord]] = {}
        self.lines: dict[int, list[Line]] = {}
        self.progress: dict[int, Progress] = {}
        self.keys: dict[tuple[str, str], KeyRecord] = {}
        self.lanes: dict[LaneKey, Lane] = {}
        self.bands: dict[tuple[str, int], float] = {}
        self.counts: dict[str, list[int]] = {}
        self.queued: dict[LaneKey, list[tuple[int, str]]] = {}  # (place, id)
        self.waking: list[tuple[Micros, int, str]] = []  # (due_at, seq, id) of jobs that have not ended
        self.fading: list[tuple[Micros, int, str]] = []  # the same of jobs that have
        self.holders: dict[tuple[str, str], str] = {}
        self.children: dict[int, dict[int, bool]] = {}  # of a parent, by seq, to whether they need not wait for it
        self.parents: dict[int, list[int]] = {}  # of a child
        self.ids: dict[int, str] = {}  # of children
        self.resolving: set[End] = set()
        self.queues: dict[str, Queue] = {}
        self.windows: dict[tuple[str, str | None], Window] = {}
        self.redating: dict[str, int] = {}
        self.schedules: dict[str, Schedule] = {}

    def whole(self, job: Job) -> Job:
        """The job with its progress."""
        progress = self.progress.get(job.seq)
        return job if progress is None else msgspec.structs.replace(job, progress=progress)

    def gone(self, id: str, now: Micros) -> bool:
        """Whether a job of this id was removed, as far as that is still to be known."""
        at = self.removed.get(id)
        return at is not None and at > now - TOMBSTONE_SECONDS * SECOND

    def commit(self, changes: Changes, now: Micros) -> None:
        """Make all changes; none of them can fail."""
        self.seq = max(self.seq, changes.seq)
        for id, (before, after) in changes.jobs.items():
            self._unindex(before)
            if after is None:
                self._forget(id, before, now)
            else:
                self.jobs[id] = after
                self._index(after)
                if before is not None and (after.epoch != before.epoch or before.status.ended > after.status.ended):
                    self.progress.pop(after.seq, None)
        for record in changes.attempts:
            kept = self.attempts.setdefault(record.seq, [])
            kept.append(record)
            del kept[:-MOST_ATTEMPTS]
        self.progress.update(changes.progress)
        for line in changes.lines:
            lines = self.lines.setdefault(line.seq, [])
            lines.append(line)
            del lines[:-MOST_LINES]
        for stale in changes.dropped_keys:
            self.keys.pop((stale.scope, stale.key), None)
        for key, bound in changes.keys.items():
            self.keys.pop(key, None)  # a key that is bound anew moves to the end: they stand in order of time
            self.keys[key] = bound
        self._commit_counters(changes)
        self._commit_links(changes)
        self._commit_settings(changes, now)

    def _commit_counters(self, changes: Changes) -> None:
        for key, edit in changes.lanes.items():
            if edit.forgettable:
                self.lanes.pop(key, None)
            else:
                self.lanes[key] = edit.lane()
        self.bands.update(changes.bands)
        for queue, deltas in changes.counts.items():
            counts = self.counts.setdefault(queue, [0] * len(Status))
            for status, delta in enumerate(deltas):
                counts[status] += delta

    def _commit_links(self, changes: Changes) -> None:
        for queue, key, id in changes.released:
            if self.holders.get((queue, key)) == id:
                del self.holders[queue, key]
        self.holders.update(changes.holders)
        if changes.linked:
            self.ids |= {new.seq: new.id for _, new in changes.jobs.values() if new and new.seq in changes.linked}
        for child, parents in changes.linked.items():
            self.parents[child] = parents
            for parent in parents:
                self.children.setdefault(parent, {})[child] = False
        for child, met in changes.met.items():
            for parent in met:
                self.children[parent][child] = True
        for child in changes.unlinked:
            self._unlink(child)
        for end, waits in changes.resolving.items():
            if waits:
                self.resolving.add(end)
            else:
                self.resolving.discard(end)

    def _unlink(self, child: int) -> None:
        self.ids.pop(child, None)
        for parent in self.parents.pop(child, ()):
            children = self.children[parent]
            del children[child]
            if not children:
                del self.children[parent]

    def _commit_settings(self, changes: Changes, now: Micros) -> None:
        self.queues.update(changes.queues)
        self.windows.update(changes.windows)
        for place in [place for place, window in self.windows.items() if window.until <= now]:
            del self.windows[place]
        for queue, seq in changes.redating.items():
            if seq is None:
                self.redating.pop(queue, None)
            else:
                self.redating[queue] = seq
        for name, schedule in changes.schedules.items():
            if schedule is None:
                self.schedules.pop(name, None)
            else:
                self.schedules[name] = schedule

    def _index(self, job: Job) -> None:
        if job.status is Status.QUEUED:
            insort(self.queued.setdefault(job.lane, []), (job.place, job.id))
        if job.due_at is not None:
            insort(self.fading if job.status.ended else self.waking, (job.due_at, job.seq, job.id))

    def _unindex(self, job: Job | None) -> None:
        if job is None:
            return
        if job.status is Status.QUEUED:
            lane = self.queued[job.lane]
            del lane[bisect_left(lane, (job.place, job.id))]
            if not lane:
                del self.queued[job.lane]
        if job.due_at is not None:
            index = self.fading if job.status.ended else self.waking
            del index[bisect_left(index, (job.due_at, job.seq, job.id))]

    def _forget(self, id: str, before: Job | None, now: Micros) -> None:
        self.jobs.pop(id, None)
        if before is not None:
            self.attempts.pop(before.seq, None)
            self.lines.pop(before.seq, None)
            self.progress.pop(before.seq, None)
        self.removed[id] = now
        while self.removed:
            oldest = next(iter(self.removed))
            if len(self.removed) <= MOST_TOMBSTONES and self.removed[oldest] > now - TOMBSTONE_SECONDS * SECOND:
                break
            del self.removed[oldest]
