"""What one batch changes, as a `Table` notes it and a store engine commits it: rows whole, counters by difference."""

from __future__ import annotations

import msgspec

from jobqueue.clock import Micros
from jobqueue.job import OPEN, AttemptRecord, Job, Lane, LaneKey, Line, Progress
from jobqueue.queue import Queue, Window
from jobqueue.schedule import Schedule

__all__ = ["Changes", "KeyRecord", "LaneEdit", "Line"]


class KeyRecord(msgspec.Struct, frozen=True):
    """What an idempotency key stands for: the digest of its body and the jobs it made. scope: API key and route."""

    scope: str
    key: str
    digest: bytes
    ids: tuple[str, ...]
    expires_at: Micros


class LaneEdit:
    """A lane in change."""

    __slots__ = ("key", "opens_at", "queued", "running", "turn")

    def __init__(self, lane: Lane) -> None:
        self.key = lane.key
        self.queued = lane.queued
        self.running = lane.running
        self.turn = lane.turn
        self.opens_at = lane.opens_at

    def lane(self) -> Lane:
        """Its present value."""
        return Lane(self.key, self.queued, self.running, self.turn, self.opens_at)

    @property
    def ready(self) -> bool:
        """It has queued jobs, and they may start."""
        return self.queued > 0 and self.opens_at == OPEN

    @property
    def forgettable(self) -> bool:
        """An idle lane of a group, or of suspects, is not kept: groups may come without end."""
        return not (self.queued or self.running) and (self.key.group is not None or self.key.suspect)


class Changes:
    """What a batch changed. `jobs` maps an id to (before, after); a before of None is new, an after of None removed.

    holders: (queue, unique key) to the id of the job that holds it now; released: (queue, unique key, id) of those that
    no longer do, which counts only where that job is still the holder, and comes before `holders`.
    linked: (parent, child) by seq of dependencies, to the child's id; met: of those that need not be waited for;
    unlinked: children whose dependencies no longer matter. resolving: ended parents, whose children have yet to hear
    of it (True), or have (False).
    redating: queue to the seq up to which its ended jobs have got their new `due_at`; None = all have.
    """

    __slots__ = (
        "attempts", "bands", "counts", "dropped_keys", "holders", "jobs", "keys", "lanes", "lines", "linked", "met",
        "progress", "queues", "redating", "released", "resolving", "schedules", "seq", "unlinked", "windows",
    )  # fmt: skip

    def __init__(self) -> None:
        self.jobs: dict[str, tuple[Job | None, Job | None]] = {}
        self.attempts: list[AttemptRecord] = []
        self.lanes: dict[LaneKey, LaneEdit] = {}
        self.bands: dict[tuple[str, int], float] = {}
        self.counts: dict[str, list[int]] = {}
        self.keys: dict[tuple[str, str], KeyRecord] = {}
        self.dropped_keys: list[KeyRecord] = []
        self.lines: list[Line] = []
        self.progress: dict[int, Progress] = {}
        self.seq = 0
        self.holders: dict[tuple[str, str], str] = {}
        self.released: dict[tuple[str, str, str], None] = {}
        self.linked: dict[tuple[int, int], str] = {}
        self.met: dict[tuple[int, int], None] = {}
        self.unlinked: dict[int, None] = {}
        self.resolving: dict[str, bool] = {}
        self.queues: dict[str, Queue] = {}
        self.windows: dict[tuple[str, str | None], Window] = {}
        self.redating: dict[str, int | None] = {}
        self.schedules: dict[str, Schedule | None] = {}

    def empty(self) -> bool:
        """Nothing to commit."""
        rows = self.jobs or self.attempts or self.keys or self.dropped_keys or self.lines or self.progress
        settings = self.queues or self.schedules or self.redating or self.resolving
        return not (rows or self.seq or settings or self.lanes)
