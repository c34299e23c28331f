"""What one batch changes, as a `Table` notes it and a store engine commits it: rows whole, counters by difference."""

from __future__ import annotations

import msgspec

from jobqueue.clock import Micros
from jobqueue.job import AttemptRecord, Job, Lane, LaneKey, Line, Progress

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

    __slots__ = ("key", "queued", "running", "turn")

    def __init__(self, lane: Lane) -> None:
        self.key = lane.key
        self.queued = lane.queued
        self.running = lane.running
        self.turn = lane.turn

    def lane(self) -> Lane:
        """Its present value."""
        return Lane(self.key, self.queued, self.running, self.turn)

    @property
    def forgettable(self) -> bool:
        """An idle lane of a group, or of suspects, is not kept: groups may come without end."""
        return not (self.queued or self.running) and (self.key.group is not None or self.key.suspect)


class Changes:
    """What a batch changed. `jobs` maps an id to (before, after); a before of None is new, an after of None removed."""

    __slots__ = ("attempts", "bands", "counts", "dropped_keys", "jobs", "keys", "lanes", "lines", "progress", "seq")

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

    def empty(self) -> bool:
        """Nothing to commit."""
        rows = self.jobs or self.attempts or self.keys or self.dropped_keys or self.lines or self.progress
        return not (rows or self.seq)
