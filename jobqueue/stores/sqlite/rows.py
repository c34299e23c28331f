"""What a batch reads of the file: `Rows`, on the writing connection and inside its transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from jobqueue.clock import SECOND, Micros
from jobqueue.job import SPARED, Job, Lane, LaneKey, Status
from jobqueue.rules.changes import KeyRecord
from jobqueue.stores.contract import MOST_LOOKED, TOMBSTONE_SECONDS
from jobqueue.stores.sqlite import codec
from jobqueue.stores.sqlite.cache import NONE, Cache
from jobqueue.stores.sqlite.links import SqliteLinks
from jobqueue.stores.sqlite.settings import SqliteSettings

_SELECT = f"SELECT {codec.JOB}, {codec.BODY} FROM jobs JOIN bodies USING(seq)"  # noqa: S608 - constants of ours
BY_ID = f"{_SELECT} WHERE id = ?"
HEADS = f"{_SELECT} WHERE lane = ? AND status = 2 ORDER BY place LIMIT ?"
AHEAD = "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE lane = ? AND status = 2 AND place < ? LIMIT ?)"
ENDED_OF = f"{_SELECT} WHERE queue = ? AND status >= 4 AND jobs.seq > ? AND jobs.seq <= ? ORDER BY jobs.seq LIMIT ?"
LAST_LOOKED = "SELECT max(seq), count(*) FROM (SELECT seq FROM jobs WHERE seq > ? ORDER BY seq LIMIT ?)"
HEAD_SEQS = "SELECT seq FROM jobs WHERE lane = ? AND status = 2 ORDER BY place LIMIT ?"
WAKING = f"{_SELECT} WHERE status < 4 AND due_at <= ? ORDER BY due_at LIMIT ?"
FADING = f"{_SELECT} WHERE status >= 4 AND due_at <= ? ORDER BY due_at LIMIT ?"
LONGEST_ENDED = f"{_SELECT} WHERE status >= 4 AND due_at < {SPARED} ORDER BY due_at LIMIT ?"
SPARED_DUE = f"{_SELECT} WHERE status >= 4 AND due_at >= {SPARED} AND due_at <= ? ORDER BY due_at LIMIT ?"
ORPHANS = f"{_SELECT} WHERE status = 3 AND boot_id <> ? LIMIT ?"


def is_removed(connection: apsw.Connection, key: bytes, now: Micros) -> bool:
    """Whether a tombstone stands there that is not too old."""
    since = now - TOMBSTONE_SECONDS * SECOND
    return connection.execute("SELECT 1 FROM removed WHERE id = ? AND at > ?", (key, since)).fetchone() is not None


class SqliteRows(SqliteLinks, SqliteSettings):
    """One batch's reads."""

    def __init__(self, connection: apsw.Connection, cache: Cache, now: Micros) -> None:
        self._connection = connection
        self._cache = cache
        self._now = now

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
        return is_removed(self._connection, key, self._now)

    def key(self, scope: str, key: str) -> KeyRecord | None:
        """By scope and key."""
        sql = "SELECT * FROM idempotency WHERE scope = ? AND key = ?"
        found = self._connection.execute(sql, (scope, key)).fetchone()
        return None if found is None else codec.key(found)

    def lane(self, key: LaneKey) -> Lane | None:
        """A lane."""
        return self._cache.lanes.lanes.get(key)

    def lanes(self, queue: str) -> int:
        """How many."""
        return self._cache.lanes.count(queue)

    def lanes_of(self, queue: str, group: str) -> Sequence[Lane]:
        """The lanes of a group."""
        return self._cache.lanes.of_group(queue, group)

    def closed(self, queue: str) -> Sequence[Lane]:
        """Those of a queue that are not open."""
        return self._cache.lanes.closed(queue)

    def opening(self, now: Micros, count: int) -> Sequence[Lane]:
        """Those whose moment to open has come."""
        return self._cache.lanes.opening(now, count)

    def ahead(self, lane: LaneKey, place: int, most: int) -> int:
        """Queued jobs before a place."""
        row = self._cache.lanes.rows.get(lane)
        if row is None:
            return 0
        found: Any = self._connection.execute(AHEAD, (row, place, most)).get
        return int(found)

    def band(self, queue: str, priority: int) -> float:
        """A priority's virtual time."""
        return self._cache.bands.get((queue, priority), 0.0)

    def ready(self, queue: str, count: int, *, suspect: bool) -> Sequence[Lane]:
        """Lanes with queued jobs, in the order of service."""
        return self._cache.lanes.ready(queue, count, suspect=suspect)

    def heads(self, lane: LaneKey, count: int) -> Sequence[Job]:
        """The first of a lane."""
        row = self._cache.lanes.rows.get(lane)
        if row is None:
            return ()
        recent = self._cache.recent
        if self._cache.lanes.lanes[lane].queued <= len(recent):  # with more of them some head is surely unknown
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
        return self._cache.ended - self._cache.spared

    def due(self, now: Micros, count: int) -> Sequence[Job]:
        """What time changes."""
        due = [*self._jobs(WAKING, now, count)]
        due += self._jobs(FADING, now, count - len(due))
        if self._cache.spared:
            due += self._jobs(SPARED_DUE, SPARED + now, count - len(due))
        return due

    def surplus(self, keep: int, count: int) -> Sequence[Job]:
        """Ended jobs that are too many."""
        held = self.ended()
        return () if held <= keep else self._jobs(LONGEST_ENDED, min(count, held - keep))

    def stale_keys(self, now: Micros, count: int) -> Sequence[KeyRecord]:
        """Keys past their time."""
        sql = "SELECT * FROM idempotency WHERE expires_at <= ? LIMIT ?"
        return [codec.key(row) for row in self._connection.execute(sql, (now, count))]

    def orphans(self, boot_id: str, count: int) -> Sequence[Job]:
        """RUNNING jobs of another life."""
        return self._jobs(ORPHANS, boot_id, count)

    def ended_of(self, queue: str, after: int, count: int) -> tuple[Sequence[Job], int | None]:
        """Ended jobs of a queue, by seq."""
        last: Any
        looked: Any
        last, looked = self._connection.execute(LAST_LOOKED, (after, MOST_LOOKED)).fetchone() or (None, 0)
        if last is None:
            return (), None
        jobs = self._jobs(ENDED_OF, queue, after, last, count)
        if len(jobs) == count:
            return jobs, jobs[-1].seq
        return jobs, last if looked == MOST_LOOKED else None

    def names(self) -> int:
        """How many queues are known."""
        return len(self._cache.counts.keys() | self._cache.settings.queues.keys())

    def known(self, queue: str) -> bool:
        """Whether a queue is known."""
        return queue in self._cache.counts or queue in self._cache.settings.queues

    def last_seq(self) -> int:
        """The greatest number given."""
        return self._cache.seq

    def _jobs(self, sql: str, *bindings: Any) -> Sequence[Job]:
        return [codec.job(row) for row in self._connection.execute(sql, bindings)]
