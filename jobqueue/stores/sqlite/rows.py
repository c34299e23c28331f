"""What a batch reads of the file: `Rows`, on the writing connection and inside its transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from jobqueue.clock import Micros
from jobqueue.job import Job, Lane, LaneKey, Status
from jobqueue.rules.changes import Changes, KeyRecord
from jobqueue.stores.sqlite import codec
from jobqueue.stores.sqlite.ready import ReadyLanes

_SELECT = f"SELECT {codec.JOB}, {codec.BODY} FROM jobs JOIN bodies USING(seq)"  # noqa: S608 - constants of ours
BY_ID = f"{_SELECT} WHERE id = ?"
HEADS = f"{_SELECT} WHERE lane = ? AND status = 2 ORDER BY place LIMIT ?"
HEAD_SEQS = "SELECT seq FROM jobs WHERE lane = ? AND status = 2 ORDER BY place LIMIT ?"
WAKING = f"{_SELECT} WHERE status < 4 AND due_at <= ? ORDER BY due_at LIMIT ?"
FADING = f"{_SELECT} WHERE status >= 4 AND due_at <= ? ORDER BY due_at LIMIT ?"
LONGEST_ENDED = f"{_SELECT} WHERE status >= 4 AND due_at IS NOT NULL ORDER BY due_at LIMIT ?"
ORPHANS = f"{_SELECT} WHERE status = 3 AND boot_id <> ? LIMIT ?"


MOST_RECENT = 1024
SMALL_BYTES = 2048
NONE = (0,) * len(Status)


class Cache:
    """What the engine keeps in memory because it alone writes the file: changed only after a COMMIT.

    lanes and their row numbers, bands, counts, the running jobs, and the greatest number given. Of queued jobs only
    some small ones that have just come (`recent`), of ended ones none: a million of them cost disk, not memory.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self.lanes: dict[LaneKey, Lane] = {}
        self.ready = ReadyLanes()
        self.lane_rows: dict[LaneKey, int] = {}
        self.bands: dict[tuple[str, int], float] = {}
        self.counts: dict[str, list[int]] = {}
        self.running: dict[str, Job] = {}
        self.recent: dict[int, Job] = {}
        self.last_lane_row = 0
        for row, *columns in connection.execute(
            "SELECT lane, queue, priority, grp, suspect, queued, running, turn FROM lanes"
        ):
            lane = _lane(columns)
            self.lanes[lane.key] = lane
            self.ready.put(None, lane)
            self.lane_rows[lane.key] = row
            self.last_lane_row = max(self.last_lane_row, row)
        for queue, priority, turn in connection.execute("SELECT queue, priority, turn FROM bands"):
            self.bands[queue, priority] = turn
        for queue, status, n in connection.execute("SELECT queue, status, n FROM counts"):
            self.counts.setdefault(queue, [0] * len(Status))[status] = n
        self.ended = sum(sum(counts[Status.DONE :]) for counts in self.counts.values())
        self.seq = _last_seq(connection)

    def _remember(self, queued: Job) -> None:
        """It is likely to be claimed soon, and then need not be read; as it would be read, if it is small."""
        if len(queued.payload) <= SMALL_BYTES and queued.error is None and queued.result is None:
            self.recent[queued.seq] = queued

    def forget_recent(self) -> None:
        """Now and then: what nobody claims must not keep the place of what somebody will."""
        self.recent.clear()

    def take(self, changes: Changes, new_lanes: dict[LaneKey, int]) -> None:
        """Follow what was committed."""
        self.seq = max(self.seq, changes.seq)
        running, recent = self.running, self.recent
        for id, (before, after) in changes.jobs.items():
            if before is not None:
                recent.pop(before.seq, None)
            if after is not None and after.status is Status.RUNNING:
                running[id] = after
                continue
            running.pop(id, None)
            if after is not None and after.status is Status.QUEUED and len(recent) < MOST_RECENT:
                self._remember(after)
        self.lane_rows.update(new_lanes)
        self.last_lane_row += len(new_lanes)
        for key, edit in changes.lanes.items():
            old = self.lanes.get(key)
            if edit.forgettable:
                self.ready.put(old, None)
                self.lanes.pop(key, None)
                self.lane_rows.pop(key, None)
            else:
                new = self.lanes[key] = edit.lane()
                self.ready.put(old, new)
        self.bands.update(changes.bands)
        for queue, deltas in changes.counts.items():
            counts = self.counts.get(queue)
            if counts is None:
                counts = self.counts[queue] = [0] * len(Status)
            for status, delta in enumerate(deltas):
                counts[status] += delta
            self.ended += sum(deltas[Status.DONE :])


class SqliteRows:
    """One batch's reads."""

    __slots__ = ("_cache", "_connection")

    def __init__(self, connection: apsw.Connection, cache: Cache) -> None:
        self._connection = connection
        self._cache = cache

    def job(self, id: str) -> Job | None:
        """By id."""
        running = self._cache.running.get(id)
        if running is not None:
            return running
        try:
            key = codec.blob(id)
        except ValueError:
            return None
        row = self._connection.execute(BY_ID, (key,)).fetchone()
        return None if row is None else codec.job(row)

    def removed(self, id: str) -> bool:
        """Whether a tombstone stands there."""
        try:
            key = codec.blob(id)
        except ValueError:
            return False
        return self._connection.execute("SELECT 1 FROM removed WHERE id = ?", (key,)).fetchone() is not None

    def key(self, scope: str, key: str) -> KeyRecord | None:
        """By scope and key."""
        found = self._connection.execute(
            "SELECT digest, ids, expires_at FROM idempotency WHERE scope = ? AND key = ?", (scope, key)
        ).fetchone()
        return None if found is None else KeyRecord(scope, key, found[0], tuple(found[1].split()), found[2])

    def lane(self, key: LaneKey) -> Lane | None:
        """A lane."""
        return self._cache.lanes.get(key)

    def band(self, queue: str, priority: int) -> float:
        """A priority's virtual time."""
        return self._cache.bands.get((queue, priority), 0.0)

    def ready(self, queue: str, count: int, *, suspect: bool) -> Sequence[Lane]:
        """Lanes with queued jobs, in the order of service."""
        return self._cache.ready.first(queue, count, suspect=suspect)

    def heads(self, lane: LaneKey, count: int) -> Sequence[Job]:
        """The first of a lane."""
        row = self._cache.lane_rows.get(lane)
        if row is None:
            return ()
        recent = self._cache.recent
        if self._cache.lanes[lane].queued <= len(recent):  # with more of them some head is surely unknown
            heads = [recent.get(seq) for (seq,) in self._connection.execute(HEAD_SEQS, (row, count))]
            known = [job for job in heads if job is not None]
            if len(known) == len(heads):
                return known
        return self._jobs(HEADS, row, count)

    def queues(self) -> Sequence[str]:
        """Queues with queued jobs."""
        return [queue for queue, counts in self._cache.counts.items() if counts[Status.QUEUED]]

    def counts(self, queue: str) -> Sequence[int]:
        """Jobs by status."""
        return self._cache.counts.get(queue, NONE)

    def ended(self) -> int:
        """Ended jobs."""
        return self._cache.ended

    def due(self, now: Micros, count: int) -> Sequence[Job]:
        """What time changes."""
        waking = self._jobs(WAKING, now, count)
        return [*waking, *self._jobs(FADING, now, count - len(waking))]

    def surplus(self, keep: int, count: int) -> Sequence[Job]:
        """Ended jobs that are too many."""
        held = self._cache.ended
        return () if held <= keep else self._jobs(LONGEST_ENDED, min(count, held - keep))

    def stale_keys(self, now: Micros, count: int) -> Sequence[KeyRecord]:
        """Keys past their time."""
        rows = self._connection.execute(
            "SELECT scope, key, digest, ids, expires_at FROM idempotency WHERE expires_at <= ? LIMIT ?", (now, count)
        )
        return [KeyRecord(scope, key, digest, tuple(ids.split()), at) for scope, key, digest, ids, at in rows]

    def orphans(self, boot_id: str, count: int) -> Sequence[Job]:
        """RUNNING jobs of another life."""
        return self._jobs(ORPHANS, boot_id, count)

    def last_seq(self) -> int:
        """The greatest number given."""
        return self._cache.seq

    def _jobs(self, sql: str, *bindings: Any) -> Sequence[Job]:
        return [codec.job(row) for row in self._connection.execute(sql, bindings)]


def _last_seq(connection: apsw.Connection) -> int:
    given: Any = connection.execute("SELECT value FROM meta WHERE name = 'seq'").get
    used: Any = connection.execute("SELECT max(seq) FROM jobs").get
    if not isinstance(given, int) or given < (used or 0):
        raise codec.Damaged(f"the last number is {given!r}, but {used} is in use")
    return given


def _lane(columns: Sequence[Any]) -> Lane:
    queue, priority, group, suspect, queued, running, turn = columns
    return Lane(LaneKey(queue, priority, group or None, bool(suspect)), queued, running, turn)
