"""What lists must know of the jobs beside the indexes, written in the commit of the jobs themselves.

An index costs every job; this costs next to nothing, for most of it speaks of many jobs at once:

blocks    (trait, block): in this block of 128 numbers some job has, or had, this trait: a queue, a kind, an end, an end
          in a queue. A list looks only into the blocks that have what it is after. They go with their last job.
setbacks  the numbers at which the clock had been set back: from one to the next, a later job is no older.
tags      (tag, seq) of the jobs that have any.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import apsw

from jobqueue.clock import Micros
from jobqueue.job import Job, Status

SHIFT = 7
MOST_NOTED = 10_000
NEWEST = "SELECT seq, created_at FROM jobs ORDER BY seq DESC LIMIT 1"
EMPTIED = (
    "DELETE FROM blocks WHERE block = ?1"
    " AND NOT EXISTS(SELECT 1 FROM jobs WHERE seq >= ?1 << ?2 AND seq < ?1 + 1 << ?2)"
)
PASSED = "DELETE FROM setbacks WHERE seq <= (SELECT min(seq) FROM jobs)"
NAMES = tuple(status.name for status in Status)

Note = tuple[int, str, str]


def of_queue(queue: str) -> str:
    """The trait of the jobs of a queue."""
    return f"queue {queue}"


def of_kind(kind: str) -> str:
    """The trait of the jobs of a kind."""
    return f"kind {kind}"


def of_end(name: str, queue: str | None = None) -> str:
    """The trait of the jobs that ended so: in a queue, or wherever. No name holds a blank."""
    return name if queue is None else f"{name} {queue}"


class Noted:
    """What is in the file already, as far as it is known: the newest job, and traits. Changed only after a COMMIT."""

    def __init__(self, connection: apsw.Connection) -> None:
        found: Any = connection.execute(NEWEST).fetchone() or (0, 0)
        self.seq: int
        self.created_at: Micros
        self.seq, self.created_at = found
        self.notes: set[Note] = set()
        self._next: tuple[int, Micros, set[Note], bool] | None = None

    def hold(self, seq: int, created_at: Micros, notes: set[Note], *, afresh: bool) -> None:
        """What will be there once the open transaction is committed."""
        self._next = seq, created_at, notes, afresh

    def take(self) -> None:
        """It was committed."""
        if self._next is not None:
            self.seq, self.created_at, notes, afresh = self._next
            if afresh or len(self.notes) > MOST_NOTED:
                self.notes.clear()
            self.notes |= notes


def write(
    connection: apsw.Connection, noted: Noted, born: Sequence[Job], ended: Sequence[Job], removed: Sequence[Job]
) -> None:
    """Note what the jobs of a batch are that came, that are at an end, and that went, after their rows were written."""
    notes: set[Note] = set()
    newest, created_at = noted.seq, noted.created_at
    if born:
        notes = {(job.seq >> SHIFT, job.queue, job.kind) for job in born}
        newest, created_at = _welcome(connection, noted, born)
    if ended:  # their sign tells them from the others
        notes |= {(~(job.seq >> SHIFT), job.queue, NAMES[job.status]) for job in ended}
    notes -= noted.notes
    if notes:
        connection.executemany("INSERT OR IGNORE INTO blocks VALUES(?, ?)", _rows(notes))
    if removed:
        connection.executemany("DELETE FROM tags WHERE tag = ? AND seq = ?", _tags(removed))
        connection.executemany(EMPTIED, [(block, SHIFT) for block in sorted({job.seq >> SHIFT for job in removed})])
    noted.hold(newest, created_at, notes, afresh=bool(removed))


def _welcome(connection: apsw.Connection, noted: Noted, born: Sequence[Job]) -> tuple[int, Micros]:
    """Note the setbacks and the tags of new jobs; the newest of all, and when it was made."""
    newest, created_at = noted.seq, noted.created_at
    setbacks: list[tuple[int]] = []
    for job in born:
        seq = job.seq
        if seq < newest:  # it is put among others
            setbacks += [(seq,), (seq + 1,)]
        else:
            if job.created_at < created_at:
                setbacks.append((seq,))
            newest, created_at = seq, job.created_at
    if setbacks:
        connection.executemany("INSERT OR IGNORE INTO setbacks VALUES(?)", setbacks)
        connection.execute(PASSED)
    tagged = [job for job in born if job.options.tags]
    if tagged:
        connection.executemany("INSERT OR IGNORE INTO tags VALUES(?, ?)", _tags(tagged))
    return newest, created_at


def _rows(notes: Iterable[Note]) -> list[tuple[str, int]]:
    rows: list[tuple[str, int]] = []
    for block, queue, name in sorted(notes):
        if block >= 0:
            rows += [(of_queue(queue), block), (of_kind(name), block)]
        else:
            rows += [(of_end(name), ~block), (of_end(name, queue), ~block)]
    return rows


def _tags(jobs: Iterable[Job]) -> list[tuple[str, int]]:
    return [(tag, job.seq) for job in jobs for tag in job.options.tags]
