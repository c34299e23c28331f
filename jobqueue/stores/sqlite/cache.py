"""What the engine keeps in memory of its file, since it alone writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from jobqueue.clock import Micros
from jobqueue.job import SPARED, Job, Lane, LaneKey, Status
from jobqueue.rules.changes import Changes
from jobqueue.stores.sqlite import codec
from jobqueue.stores.sqlite.blocks import Noted
from jobqueue.stores.sqlite.lanes import LaneIndex
from jobqueue.stores.sqlite.links import has_links
from jobqueue.stores.sqlite.settings import SettingsCache

LANES = "SELECT lane, queue, priority, grp, suspect, queued, running, turn, opens_at FROM lanes"
MOST_RECENT = 1024
SMALL_BYTES = 2048
NONE = (0,) * len(Status)


class Cache:
    """What the engine keeps in memory because it alone writes the file: changed only after a COMMIT.

    lanes and their row numbers, bands, counts, the running jobs, and the greatest number given. Of queued jobs only
    some small ones that have just come (`recent`), of ended ones none: a million of them cost disk, not memory.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self.lanes = LaneIndex()
        self.bands: dict[tuple[str, int], float] = {}
        self.counts: dict[str, list[int]] = {}
        self.running: dict[str, Job] = {}
        self.recent: dict[int, Job] = {}
        self.settings = SettingsCache(connection)
        self.links = has_links(connection)
        self.noted = Noted(connection)
        self.spared = _spared(connection)
        for row, *columns in connection.execute(LANES):
            self.lanes.load(_lane(columns), row)
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

    def take(self, changes: Changes, new_lanes: dict[LaneKey, int], now: Micros) -> None:
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
        lanes = self.lanes
        lanes.rows.update(new_lanes)
        lanes.last_row += len(new_lanes)
        for key, edit in changes.lanes.items():
            if edit.forgettable:
                lanes.drop(key)
            else:
                lanes.put(edit.lane())
        if changes.spared or self.spared:
            self.spared += sum(_is_spared(after) - _is_spared(before) for before, after in changes.jobs.values())
        self.settings.take(changes, now)
        self.noted.take()
        self.bands.update(changes.bands)
        for queue, deltas in changes.counts.items():
            counts = self.counts.get(queue)
            if counts is None:
                counts = self.counts[queue] = [0] * len(Status)
            for status, delta in enumerate(deltas):
                counts[status] += delta
            self.ended += sum(deltas[Status.DONE :])


def _is_spared(job: Job | None) -> bool:
    return job is not None and job.status.ended and job.due_at is not None and job.due_at >= SPARED


def _spared(connection: apsw.Connection) -> int:
    found: Any = connection.execute("SELECT count(*) FROM jobs WHERE status >= 4 AND due_at >= ?", (SPARED,)).get
    return int(found)


def _last_seq(connection: apsw.Connection) -> int:
    given: Any = connection.execute("SELECT value FROM meta WHERE name = 'seq'").get
    used: Any = connection.execute("SELECT max(seq) FROM jobs").get
    if not isinstance(given, int) or given < (used or 0):
        raise codec.Damaged(f"the last number is {given!r}, but {used} is in use")
    return given


def _lane(columns: Sequence[Any]) -> Lane:
    queue, priority, group, suspect, queued, running, turn, opens_at = columns
    return Lane(LaneKey(queue, priority, group or None, bool(suspect)), queued, running, turn, opens_at)
