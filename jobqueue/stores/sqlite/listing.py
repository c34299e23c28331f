"""Pages of jobs by filter, newest first: whatever it finds, a page looks at a bounded number of rows.

A filter is a conjunction, and each part of it that the file serves is a source of candidates in order of seq
(`sources.py`). `Search` takes the next few of every source and follows the one that gets furthest back with them: so
nothing is estimated, and what is rare in any part is found at once. What no source tells is read of the rows of the
candidates; payloads are read last. A page that has looked long enough ends early, and says where to go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import apsw

from jobqueue.job import Job
from jobqueue.stores.contract import MOST_LOOKED, MOST_PAGE_BYTES, Filter, Matches, Page
from jobqueue.stores.paths import paths
from jobqueue.stores.sqlite import codec
from jobqueue.stores.sqlite.moments import spans
from jobqueue.stores.sqlite.sources import Step, Where, array, in_one_piece, numbers, sources

MOST_EFFORT = 10_000  # of reading the row of one job
MOST_STEP = 4_000

_THESE = "FROM json_each(?) CROSS JOIN"
WANTED = in_one_piece(f"SELECT seq {_THESE} jobs NOT INDEXED ON seq = value WHERE {{}}")
PAYLOADS = f"SELECT seq, payload {_THESE} bodies ON seq = value"
IDS = f"SELECT jobs.id {_THESE} jobs NOT INDEXED ON seq = value"
_REPORT = (
    "JOIN bodies USING(seq)"
    " LEFT JOIN attempts ON attempts.seq = jobs.seq AND attempts.epoch = jobs.epoch"
    " AND (jobs.attempt > 0 OR jobs.crashes > 0)"  # a retry hides how it ended before
    " LEFT JOIN progress ON progress.seq = jobs.seq"
)
WHOLE = f"SELECT {codec.JOB}, {codec.BODY}, {codec.REPORT} FROM jobs {_REPORT}"  # noqa: S608 - constants of ours
SLIM = (
    f"SELECT {codec.JOB}, 'null', options, NULL, json_remove(attempts.error, '$.traceback'), progress.data"  # noqa: S608 - constants of ours
    f" FROM jobs {_REPORT}"
)


class Search:
    """The numbers of the jobs that a filter wants, newest first, from `before` on; then `before` is where to go on."""

    def __init__(self, connection: apsw.Connection, wanted: Filter, before: int | None, few: int) -> None:
        self._connection = connection
        self._wanted = wanted
        self._where = Where(wanted)
        self._few = few
        self._effort = self._read = self._size = 0
        self._full = False
        self.before = before

    def __iter__(self) -> Iterator[int]:
        wanted, start, count = self._wanted, self.before, self._few
        found = sources(self._connection, wanted, self._where)
        for low, high in spans(self._connection, wanted.created_after, wanted.created_before):
            self.before = high if start is None else min(start, high)
            while low < self.before:
                if self._effort >= MOST_EFFORT:
                    return
                steps = [source(low, self.before, count) for source in found]
                step = min(steps, key=_worth)
                self._effort += sum(one.effort for one in steps)
                rows = self._rows_of(step)
                yield from self._payloads_of(rows) if wanted.payload else rows
                if self._full:
                    return
                self.before = step.low
                count = min(4 * count, MOST_STEP)
        self.before = None

    def _rows_of(self, step: Step) -> Sequence[int]:
        """Those candidates whose rows are as the filter wants them."""
        if step.sure or not step.seqs:
            return step.seqs
        self._effort += len(step.seqs)
        bindings = (array(step.seqs), *self._where.bindings)
        return numbers(self._connection, WANTED.format(self._where.sql), bindings)

    def _payloads_of(self, seqs: Sequence[int]) -> Iterator[int]:
        """Those whose payloads are, too; `before` follows where there are too many to read."""
        match = paths(self._wanted.payload).match
        read, size = self._read, self._size
        seq: Any
        payload: Any
        for seq, payload in self._connection.execute(PAYLOADS, (array(seqs),)):
            if match(payload):
                yield seq
            read += 1
            size += len(payload)
            if read == MOST_LOOKED or size >= MOST_PAGE_BYTES:
                self.before = seq
                self._full = True
                return
        self._read, self._size = read, size


def page(connection: apsw.Connection, wanted: Filter, before: int | None, limit: int, *, wide: bool) -> Page:
    """A page, as of one moment."""
    sql = f"{WHOLE if wide else SLIM} WHERE jobs.seq = ?"
    jobs: list[Job] = []
    size = 0
    with connection:
        search = Search(connection, wanted, before, limit + 1)
        for seq in search:
            if len(jobs) == limit or size >= MOST_PAGE_BYTES:
                return Page(tuple(jobs), jobs[-1].seq)
            row: Any = connection.execute(sql, (seq,)).fetchone()
            size += sum(len(column) for column in row if isinstance(column, str))
            jobs.append(codec.job(row))
    return Page(tuple(jobs), search.before)


def matching(connection: apsw.Connection, wanted: Filter, before: int | None, limit: int) -> Matches:
    """The ids alone."""
    seqs: list[int] = []
    with connection:
        search = Search(connection, wanted, before, limit + 1)
        for seq in search:
            if len(seqs) == limit:
                last: int | None = seqs[-1]
                break
            seqs.append(seq)
        else:
            last = search.before
        rows: list[Any] = connection.execute(IDS, (array(seqs),)).fetchall()
    return Matches(tuple(codec.text(id) for (id,) in rows), last)


def _worth(step: Step) -> tuple[int, int]:
    """The step that gets furthest back comes first, of those that get as far the one with the fewest candidates."""
    return step.low, len(step.seqs)
