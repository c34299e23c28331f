"""What one batch changes, as a `Table` notes it and a store engine commits it: rows whole, counters by difference."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from jobqueue.clock import Micros
from jobqueue.job import OPEN, AttemptRecord, Job, Lane, LaneKey, Line, Progress
from jobqueue.queue import Queue, Window
from jobqueue.schedule import Schedule

__all__ = ["Changes", "KeyRecord", "LaneEdit", "Line"]


class KeyRecord(msgspec.Struct, frozen=True):
    """What an idempotency key stands for: the digest of its body and the jobs it made. scope: API key and route.

    returned: the places of jobs that it did not make, but found.
    """

    scope: str
    key: str
    digest: bytes
    ids: tuple[str, ...]
    expires_at: Micros
    returned: tuple[int, ...] = ()


class End(NamedTuple):
    """The end of a job, as those who wait for it are to hear of it.

    upto: the greatest number given when it ended; who came later does not mean this end. parent: its seq. met: DONE.
    """

    upto: int
    parent: int
    met: bool


class LaneEdit:
    """A lane in change. settings: those of its queue, if it has any. kept: not forgotten although it is idle."""

    __slots__ = ("kept", "key", "opens_at", "queued", "running", "settings", "turn")

    def __init__(self, lane: Lane, settings: Queue | None = None, *, kept: bool = False) -> None:
        self.key = lane.key
        self.queued = lane.queued
        self.running = lane.running
        self.turn = lane.turn
        self.opens_at = lane.opens_at
        self.settings = settings
        self.kept = kept

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
        return not (self.queued or self.running or self.kept) and (self.key.group is not None or self.key.suspect)


class Changes:
    """What a batch changed. `jobs` maps an id to (before, after); a before of None is new, an after of None removed.

    holders: (queue, unique key) to the id of the job that holds it now; released: (queue, unique key, id) of those that
    no longer do, which counts only where that job is still the holder, and comes before `holders`.
    linked: by the seq of a child, the seqs of those it depends on; met: by the same, of whom it need no longer wait
    for; unlinked: children whose dependencies no longer matter. Done in this order. resolving: ends of which some
    child has yet to hear (True), or all have heard (False). spared: some ended job was, for those who depend on it.
    redating: queue to the seq up to which its ended jobs have got their new `due_at`; None = all have.

    Two say what follows from the rest, and are not stored. freed: queues with caps in which more may start than before.
    opening: the earliest moment at which a lane that was closed may open.
    """

    __slots__ = (
        "attempts", "bands", "counts", "dropped_keys", "freed", "holders", "jobs", "keys", "lanes", "lines", "linked",
        "met", "opening", "progress", "queues", "redating", "released", "resolving", "schedules", "schedules_more",
        "seq", "spared", "unlinked", "windows",
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
        self.linked: dict[int, list[int]] = {}
        self.met: dict[int, set[int]] = {}
        self.unlinked: dict[int, None] = {}
        self.resolving: dict[End, bool] = {}
        self.spared = False
        self.queues: dict[str, Queue] = {}
        self.windows: dict[tuple[str, str | None], Window] = {}
        self.redating: dict[str, int | None] = {}
        self.schedules: dict[str, Schedule | None] = {}
        self.schedules_more = 0
        self.freed: dict[str, None] = {}
        self.opening: Micros | None = None

    def empty(self) -> bool:
        """Nothing to commit."""
        rows = self.jobs or self.attempts or self.keys or self.dropped_keys or self.lines or self.progress
        settings = self.queues or self.schedules or self.redating or self.resolving or self.met or self.released
        return not (rows or self.seq or settings or self.lanes or self.windows)
