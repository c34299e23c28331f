"""Writes `Changes` inside the open transaction: one statement per kind of change, each run over all its rows."""

from __future__ import annotations

from typing import Any

import apsw

from jobqueue.clock import SECOND, Micros
from jobqueue.job import Job, LaneKey, Status
from jobqueue.rules.changes import Changes, LaneEdit
from jobqueue.stores.contract import MOST_ATTEMPTS, MOST_LINES, MOST_TOMBSTONES, TOMBSTONE_SECONDS
from jobqueue.stores.sqlite import blocks, codec, links, settings
from jobqueue.stores.sqlite.cache import Cache

_COLUMNS = ", ".join(("seq", "id", "queue", "grp", "kind", "created_at", *codec.CHANGING))
INSERT_JOB = f"INSERT INTO jobs({_COLUMNS}) VALUES({', '.join('?' * (6 + len(codec.CHANGING)))})"
UPDATE_JOB = (
    f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in codec.CHANGING)}"  # noqa: S608 - constants of ours
    " WHERE seq = ? AND status = ? AND epoch = ?"
)
UPDATE_LANE = "UPDATE lanes SET queued = ?, running = ?, turn = ?, opens_at = ? WHERE lane = ?"
INSERT_LINE = "INSERT INTO lines SELECT ?1, coalesce(max(n), 0) + 1, ?2, ?3, ?4, ?5 FROM lines WHERE seq = ?1"


class Guarded(Exception):
    """A changed job no longer had the (status, epoch) it was decided on: two writers, or a bug."""


def write(connection: apsw.Connection, cache: Cache, changes: Changes, now: Micros) -> dict[LaneKey, int]:
    """Write all; the lanes that got a row number. Raises apsw errors and Guarded: the caller rolls back."""
    rows = cache.lanes.rows
    new_lanes = _lanes(connection, cache, changes)
    added: list[tuple[Any, ...]] = []
    bodies: list[tuple[Any, ...]] = []
    changed: list[tuple[Job, Job]] = []
    updates: list[tuple[Any, ...]] = []
    born: list[Job] = []
    ended: list[Job] = []
    removed: list[Job] = []
    for before, after in changes.jobs.values():
        if after is None:
            if before is not None:
                removed.append(before)
            continue
        lane = 0  # only a queued job needs the row of its lane
        if after.status is Status.QUEUED:
            key = after.lane
            lane = new_lanes[key] if key in new_lanes else rows[key]
        elif after.status > 3:
            ended.append(after)
        if before is None:
            born.append(after)
            added.append(codec.new_row(after, lane))
            bodies.append(codec.body_row(after))
        else:
            updates.append((*codec.changing(after, lane), before.seq, before.status, before.epoch))
            if after.options is not before.options or _afresh(before, after):
                changed.append((before, after))
    if added:
        connection.executemany(INSERT_JOB, added)
        connection.executemany("INSERT INTO bodies VALUES(?, ?, ?)", bodies)
    if updates:
        _update(connection, updates, changed)
    if removed:
        _remove(connection, removed, now)
    _rest(connection, changes)
    blocks.write(connection, cache.noted, born, ended, removed)
    links.write(connection, changes)
    settings.write(connection, changes, now)
    return new_lanes


def _update(connection: apsw.Connection, updates: list[tuple[Any, ...]], changed: list[tuple[Job, Job]]) -> None:
    total = connection.total_changes()
    connection.executemany(UPDATE_JOB, updates)
    if connection.total_changes() - total != len(updates):
        raise Guarded("a job changed under the batch")
    options = [
        (codec.options_text(after.options), after.seq)
        for before, after in changed
        if after.options is not before.options
    ]
    restarted = [(after.seq,) for before, after in changed if _afresh(before, after)]
    if options:
        connection.executemany("UPDATE bodies SET options = ? WHERE seq = ?", options)
    if restarted:
        connection.executemany("DELETE FROM progress WHERE seq = ?", restarted)


def _afresh(before: Job, after: Job) -> bool:
    """Whether the job starts again, or is to start afresh: what it said of its progress is over."""
    return before.epoch > 0 and (after.epoch != before.epoch or (before.status >= 4 and after.status < 4))


def _remove(connection: apsw.Connection, removed: list[Job], now: Micros) -> None:
    seqs = [(job.seq,) for job in removed]
    for table in ("jobs", "bodies", "attempts", "progress", "lines"):
        connection.executemany(f"DELETE FROM {table} WHERE seq = ?", seqs)  # noqa: S608 - constants of ours

    connection.executemany(
        "INSERT OR REPLACE INTO removed(id, at) VALUES(?, ?)", [(codec.blob(job.id), now) for job in removed]
    )
    connection.execute("DELETE FROM removed WHERE n <= (SELECT max(n) FROM removed) - ?", (MOST_TOMBSTONES,))
    # tombstones stand in order of time, so the old ones are the first ones
    connection.execute(
        "DELETE FROM removed WHERE n < (SELECT min(n) FROM removed WHERE at > ?)", (now - TOMBSTONE_SECONDS * SECOND,)
    )


def _attempts(connection: apsw.Connection, changes: Changes) -> None:
    connection.executemany(
        "INSERT INTO attempts VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [codec.attempt_row(record) for record in changes.attempts],
    )
    old = [(record.seq, record.epoch - MOST_ATTEMPTS) for record in changes.attempts if record.epoch > MOST_ATTEMPTS]
    if old:
        connection.executemany("DELETE FROM attempts WHERE seq = ? AND epoch <= ?", old)


def _lanes(connection: apsw.Connection, cache: Cache, changes: Changes) -> dict[LaneKey, int]:
    """Write lanes and counters; a new lane gets the next row number."""
    new: dict[LaneKey, int] = {}
    updates: list[tuple[Any, ...]] = []
    inserts: list[tuple[Any, ...]] = []
    deletes: list[tuple[int]] = []
    for key, edit in changes.lanes.items():
        row = cache.lanes.rows.get(key)
        if row is None:
            row = new[key] = cache.lanes.last_row + len(new) + 1
            inserts.append((row, key.queue, key.priority, key.group or "", key.suspect, *_state(edit)))
        else:
            updates.append((*_state(edit), row))
        if edit.forgettable:
            deletes.append((row,))
    if inserts:
        connection.executemany("INSERT INTO lanes VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)", inserts)
    if updates:
        connection.executemany(UPDATE_LANE, updates)
    if deletes:
        connection.executemany("DELETE FROM lanes WHERE lane = ?", deletes)
    return new


def _state(edit: LaneEdit) -> tuple[int, int, float, int]:
    return edit.queued, edit.running, edit.turn, edit.opens_at


def _rest(connection: apsw.Connection, changes: Changes) -> None:
    many = connection.executemany
    if changes.attempts:
        _attempts(connection, changes)
    if changes.bands:
        many(
            "INSERT OR REPLACE INTO bands VALUES(?, ?, ?)",
            [(queue, priority, turn) for (queue, priority), turn in changes.bands.items()],
        )
    counts = [
        (queue, status, delta)
        for queue, deltas in changes.counts.items()
        for status, delta in enumerate(deltas)
        if delta
    ]
    if counts:
        many("INSERT INTO counts VALUES(?1, ?2, ?3) ON CONFLICT DO UPDATE SET n = n + ?3", counts)
    if changes.seq:
        connection.execute("UPDATE meta SET value = ? WHERE name = 'seq'", (changes.seq,))
    if changes.keys:
        many(
            "INSERT OR REPLACE INTO idempotency VALUES(?, ?, ?, ?, ?, ?)",
            [codec.key_row(key) for key in changes.keys.values()],
        )
    if changes.dropped_keys:
        many(
            "DELETE FROM idempotency WHERE scope = ? AND key = ? AND expires_at = ?",
            [(key.scope, key.key, key.expires_at) for key in changes.dropped_keys],
        )
    if changes.progress:
        many(
            "INSERT OR REPLACE INTO progress VALUES(?, ?)",
            [(seq, codec.progress_text(progress)) for seq, progress in changes.progress.items()],
        )
    if changes.lines:
        many(INSERT_LINE, [(n, at, attempt, line.level, line.message) for n, at, attempt, line in changes.lines])
        many(
            "DELETE FROM lines WHERE seq = ?1 AND n <= (SELECT max(n) FROM lines WHERE seq = ?1) - ?2",
            [(seq, MOST_LINES) for seq in {line.seq for line in changes.lines}],
        )
