"""What rules read: the rows that an engine has loaded for one batch. `Table` overlays them with what it changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from jobqueue.clock import Micros
from jobqueue.job import Job, Lane, LaneKey
from jobqueue.rules.changes import KeyRecord


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
        """The first `count` lanes with queued jobs: highest priority first, then smallest turn, then by group."""

    def heads(self, lane: LaneKey, count: int) -> Sequence[Job]:
        """The first `count` queued jobs of a lane, by place."""

    def queues(self) -> Sequence[str]:
        """The queues that have queued jobs."""

    def counts(self, queue: str) -> Sequence[int]:
        """How many jobs of the queue have each status, in the order of `Status`."""

    def ended(self) -> int:
        """How many jobs of all queues have ended and are still held."""

    def due(self, now: Micros, count: int) -> Sequence[Job]:
        """Up to `count` jobs whose `due_at` has come: those that have not ended first, then the longest ended."""

    def surplus(self, keep: int, count: int) -> Sequence[Job]:
        """Up to `count` of the ended jobs beyond the newest `keep`, those first whose retention ends first."""

    def stale_keys(self, now: Micros, count: int) -> Sequence[KeyRecord]:
        """Up to `count` idempotency keys past their time."""

    def orphans(self, boot_id: str, count: int) -> Sequence[Job]:
        """Up to `count` RUNNING jobs that belong to another life of the process than `boot_id`."""

    def last_seq(self) -> int:
        """The greatest seq or place ever given."""
