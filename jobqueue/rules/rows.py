"""What rules read: the rows that an engine has loaded for one batch. `Table` overlays them with what it changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from jobqueue.clock import Micros
from jobqueue.job import Job, Lane, LaneKey
from jobqueue.queue import Queue, Window
from jobqueue.rules.changes import End, KeyRecord
from jobqueue.schedule import Schedule


class Rows(Protocol):
    """What an engine has loaded, read only. Answers are as of the start of the batch; the overlay is the Table's."""

    def job(self, id: str) -> Job | None:
        """The job, or None."""

    def removed(self, id: str) -> bool:
        """Whether the id is that of a job that was removed, as far as is still known."""

    def key(self, scope: str, key: str) -> KeyRecord | None:
        """What the idempotency key stands for."""

    def lane(self, key: LaneKey) -> Lane | None:
        """A lane that holds queued or running jobs, or did."""

    def band(self, queue: str, priority: int) -> float:
        """The virtual time of one priority of a queue: the turn of the lane that was served last."""

    def ready(self, queue: str, count: int, *, suspect: bool) -> Sequence[Lane]:
        """The first `count` open lanes with queued jobs: highest priority first, then smallest turn, then by group."""

    def lanes(self, queue: str) -> int:
        """How many lanes the queue has."""

    def lanes_of(self, queue: str, group: str) -> Sequence[Lane]:
        """All lanes of a group."""

    def closed(self, queue: str) -> Sequence[Lane]:
        """All lanes of a queue that are not open."""

    def opening(self, now: Micros, count: int) -> Sequence[Lane]:
        """Up to `count` lanes that are not open, but may be from now on (`opens_at` has come)."""

    def ahead(self, lane: LaneKey, place: int, most: int) -> int:
        """How many queued jobs of the lane stand before that place; counted up to `most`."""

    def heads(self, lane: LaneKey, count: int) -> Sequence[Job]:
        """The first `count` queued jobs of a lane, by place."""

    def queues(self) -> Sequence[str]:
        """The queues that have queued jobs."""

    def counts(self, queue: str) -> Sequence[int]:
        """How many jobs of the queue have each status, in the order of `Status`."""

    def ended(self) -> int:
        """How many jobs of all queues have ended and are still held, without those that are spared."""

    def due(self, now: Micros, count: int) -> Sequence[Job]:
        """Up to `count` jobs whose `due_at` has come: those that have not ended first, then the longest ended.

        A spared job is due when `due_at - SPARED` has come.
        """

    def surplus(self, keep: int, count: int) -> Sequence[Job]:
        """Up to `count` of the ended jobs beyond the newest `keep`, those first whose retention ends first.

        Those that are spared do not count.
        """

    def stale_keys(self, now: Micros, count: int) -> Sequence[KeyRecord]:
        """Up to `count` idempotency keys past their time."""

    def orphans(self, boot_id: str, count: int) -> Sequence[Job]:
        """Up to `count` RUNNING jobs that belong to another life of the process than `boot_id`."""

    def holder(self, queue: str, key: str) -> str | None:
        """The id of the job that holds the unique key."""

    def links(self) -> bool:
        """Whether any job that has not ended depends on another, or some end is still to be told."""

    def children(self, end: End, count: int) -> Sequence[tuple[int, str]]:
        """Up to `count` jobs, by seq and id, that still wait for the parent and came before its end; by seq."""

    def dependents(self, parent: int) -> int:
        """How many jobs that have not ended depend on the parent (a seq), waiting for it or not."""

    def unmet(self, child: int, count: int) -> Sequence[int]:
        """Up to `count` parents (seq) that the child still waits for."""

    def parents(self, child: Job, count: int) -> Sequence[tuple[int, str]]:
        """The same, by seq and id."""

    def resolving(self, count: int) -> Sequence[End]:
        """Up to `count` ends of which some child has yet to hear; the longest waiting first."""

    def queue(self, name: str) -> Queue | None:
        """The queue's settings, if it has any."""

    def configured(self) -> Sequence[str]:
        """The queues that have settings."""

    def names(self) -> int:
        """How many queues are known, by their settings or their jobs."""

    def known(self, queue: str) -> bool:
        """Whether the queue is one of them."""

    def window(self, queue: str, group: str | None) -> Window | None:
        """The starts that count against the rate of the queue, or of one of its groups."""

    def redating(self) -> Mapping[str, int]:
        """Queues whose retention changed, with the seq up to which their ended jobs have been looked at."""

    def ended_of(self, queue: str, after: int, count: int) -> tuple[Sequence[Job], int | None]:
        """Up to `count` ended jobs of the queue whose seq is greater than `after`, in order of seq.

        And the seq up to which was looked, since no more than `MOST_LOOKED` rows are; None = there are no more.
        """

    def schedule(self, name: str) -> Schedule | None:
        """A schedule."""

    def schedules(self) -> int:
        """How many there are."""

    def fires(self, count: int) -> Sequence[tuple[Micros, str]]:
        """The first `count` fire times of schedules that are not paused, with their names: one of each, the next."""

    def last_seq(self) -> int:
        """The greatest seq or place ever given."""
