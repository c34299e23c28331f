"""The default engine: the job table in one SQLite file (WAL, synchronous=FULL).

One connection writes, on one thread: load, decide and commit of a batch are one hop there (`rows`, then the rules, then
`commit`). Reads that decide nothing have a read-only connection on a thread of its own, and no transaction of theirs
spans an await. Lists are `listing`, which leans on what `blocks` notes. `schema` opens and checks the file, `codec`
turns rows into values, `thread` is the hop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self, TypeVar

import apsw

from jobqueue.clock import Micros
from jobqueue.errors import StorageFull, StoreUnavailable
from jobqueue.job import NEVER, SPARED, AttemptRecord, Job, LaneKey, Line
from jobqueue.queue import Known
from jobqueue.rules.changes import Changes
from jobqueue.rules.table import Table
from jobqueue.schedule import Schedule
from jobqueue.stores.contract import REMOVED, Engine, Filter, Matches, Needs, Page, Removed, RowRefused, StoreFailed
from jobqueue.stores.sqlite import codec, commit, listing, schema, settings
from jobqueue.stores.sqlite.cache import Cache
from jobqueue.stores.sqlite.known import known
from jobqueue.stores.sqlite.links import has_links
from jobqueue.stores.sqlite.listing import WHOLE
from jobqueue.stores.sqlite.rows import BY_ID, SqliteRows, is_removed
from jobqueue.stores.sqlite.thread import OneThread, Runner

T = TypeVar("T")

WHOLE_BY_ID = f"{WHOLE} WHERE id = ?"
NEXT_DUE = (
    "SELECT min(due) FROM ("  # noqa: S608 - a constant of ours
    "SELECT min(due_at) AS due FROM jobs WHERE status < 4 AND due_at IS NOT NULL UNION ALL "
    "SELECT min(due_at) FROM jobs WHERE status >= 4 AND due_at IS NOT NULL UNION ALL "
    f"SELECT min(due_at) - {SPARED} FROM jobs WHERE status >= 4 AND due_at >= {SPARED} UNION ALL "
    "SELECT min(expires_at) FROM idempotency UNION ALL "
    f"SELECT min(opens_at) FROM lanes WHERE opens_at > 0 AND opens_at < {NEVER} UNION ALL "
    "SELECT 0 WHERE EXISTS(SELECT 1 FROM resolving) UNION ALL "
    "SELECT 0 WHERE EXISTS(SELECT 1 FROM queues WHERE redated IS NOT NULL))"
)
LATEST = (
    "SELECT max(at) FROM ("
    "SELECT max(max(created_at, ifnull(started_at, 0), ifnull(finished_at, 0))) AS at FROM jobs UNION ALL "
    "SELECT max(finished_at) FROM attempts UNION ALL SELECT max(at) FROM removed)"
)
CHECKPOINT_PAGES = 4000  # of the log, before it is moved into the file
SHM_FULL = {apsw.SQLITE_IOERR_SHMSIZE, apsw.SQLITE_IOERR_SHMMAP}  # the wal-index could not grow: the disk is full

BROKEN = (
    apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError, codec.Damaged, UnicodeDecodeError,
)  # fmt: skip


class SqliteStore:
    """The table in the file `path`. `runner` makes the thread that a connection lives on (tests run it inline)."""

    engine = Engine("sqlite", "fsync: an answered submission survives kill -9 and power loss")

    def __init__(
        self,
        path: str,
        now: Callable[[], Micros],
        *,
        runner: Callable[[str], Runner] = OneThread,
        synchronous: str = "FULL",
        vfs: str | None = None,
    ) -> None:
        self._path = path
        self._now = now
        self._make_runner = runner
        self._synchronous = synchronous
        self._vfs = vfs
        self._failed: StoreFailed | None = None
        self._log_pages = 0

    async def __aenter__(self) -> Self:
        os.umask(0o077)
        with ExitStack() as undo:
            self._lock = schema.FileLock(self._path)
            undo.callback(self._lock.release)
            self._write = self._make_runner("store-writer")
            undo.callback(self._write.close)
            self._connection, self._cache = await self._write(self._open)
            self._read = self._make_runner("store-reader")
            undo.callback(self._read.close)
            self._reading = await self._read(lambda: schema.open_readonly(self._path, self._vfs))
            undo.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        with ExitStack() as rest:
            rest.callback(self._lock.release)
            rest.callback(self._write.close)
            rest.callback(self._read.close)
            await self._read(self._reading.close)
            await self._write(self._close)

    def _open(self) -> tuple[apsw.Connection, Cache]:
        with schema.refusing(self._path):
            self._lock.check()
            connection = schema.open_file(self._path, synchronous=self._synchronous, vfs=self._vfs)
            self._lock.remember()
            connection.set_wal_hook(self._logged)
            return connection, Cache(connection)

    def _close(self) -> None:
        try:
            self._checkpoint()
        finally:
            if self._failed is not None:  # closing would sync once more
                self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._connection.close()

    def _logged(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """Move the log into the file. SQLite's own checkpoint would hide an I/O error, then sync that file again."""
        if self._failed is not None:
            return
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            reason = self._translate(error)
            if isinstance(reason, StoreFailed):
                raise reason from error
            # full or busy: all is safe in the log, and the next commit tries again

    async def apply(self, needs: Callable[[], Needs], decide: Callable[[Table], T]) -> T:  # noqa: ARG002 - the rows are a call away
        """Load, decide, commit: one hop."""
        return await self._write(lambda: self._apply(decide))

    def _apply(self, decide: Callable[[Table], T]) -> T:
        if self._failed is not None:
            raise self._failed
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            table = Table(SqliteRows(connection, self._cache, self._now()))
            result = decide(table)
            if table.changes.empty():
                connection.execute("ROLLBACK")
                return result
            new_lanes = self._commit(table.changes)
            changes = table.changes
            linked = has_links(connection) if changes.linked or changes.resolving or self._cache.links else False
            connection.execute("COMMIT")
        except (apsw.Error, codec.Damaged, UnicodeDecodeError) as error:
            self._roll_back()
            raise self._translate(error) from error
        except BaseException:
            self._roll_back()
            raise
        self._cache.take(table.changes, new_lanes, self._now())
        self._cache.links = linked
        if self._log_pages >= CHECKPOINT_PAGES:
            self._checkpoint()
            self._cache.forget_recent()
        return result

    def _commit(self, changes: Changes) -> dict[LaneKey, int]:
        try:
            return commit.write(self._connection, self._cache, changes, self._now())
        except (UnicodeEncodeError, OverflowError) as error:  # a value that no column can hold
            raise RowRefused(str(error)) from error

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error as error:  # then nothing that follows can be trusted
            self._failed = StoreFailed(f"the store failed ({type(error).__name__})")

    def _translate(self, error: Exception) -> Exception:
        extended = getattr(error, "extendedresult", 0)
        if isinstance(error, apsw.FullError) or extended in SHM_FULL:
            return StorageFull("the disk is full; nothing was changed")
        if isinstance(error, BROKEN):
            # a second fsync on the same file may report a success that is none (Rebello et al., ATC 2020)
            self._failed = StoreFailed(f"the store failed ({error})")
            return self._failed
        if isinstance(error, (apsw.BusyError, apsw.LockedError, apsw.NoMemError)):
            return StoreUnavailable(f"the store is busy ({error})")
        return RowRefused(str(error))

    async def next_due(self) -> Micros | None:
        """The first moment at which time changes anything."""
        return await self._look(lambda: self._reading.execute(NEXT_DUE).get)

    async def latest(self) -> Micros | None:
        """How far time has come."""
        return await self._look(lambda: self._reading.execute(LATEST).get)

    async def get(self, ids: Sequence[str], *, whole: bool = True) -> Sequence[Job | Removed | None]:
        """Jobs by id."""
        sql = WHOLE_BY_ID if whole else BY_ID
        return await self._look(lambda: [self._get(id, sql) for id in ids])

    def _get(self, id: str, sql: str) -> Job | Removed | None:
        try:
            key = codec.blob(id)
        except ValueError:
            return None
        row = self._reading.execute(sql, (key,)).fetchone()
        if row is not None:
            return codec.job(row)
        return REMOVED if is_removed(self._reading, key, self._now()) else None

    async def page(self, wanted: Filter, before: int | None, limit: int, *, wide: bool = True) -> Page:
        """Newest first."""
        return await self._look(lambda: listing.page(self._reading, wanted, before, limit, wide=wide))

    async def matching(self, wanted: Filter, before: int | None, limit: int) -> Matches:
        """Newest first."""
        return await self._look(lambda: listing.matching(self._reading, wanted, before, limit))

    async def attempts(self, seq: int) -> Sequence[AttemptRecord]:
        """Newest first."""
        sql = "SELECT * FROM attempts WHERE seq = ? ORDER BY epoch DESC"
        return [codec.attempt(row) for row in await self._look(lambda: self._reading.execute(sql, (seq,)).fetchall())]

    async def lines(self, seq: int) -> Sequence[Line]:
        """Oldest first."""
        sql = "SELECT at, attempt, level, message FROM lines WHERE seq = ? ORDER BY n"
        rows = await self._look(lambda: self._reading.execute(sql, (seq,)).fetchall())
        return [codec.line(seq, row) for row in rows]

    async def queues(self, name: str | None = None) -> Sequence[Known]:
        """Queues by name."""
        return await self._look(lambda: known(self._reading, name))

    async def counts(self) -> Mapping[str, Sequence[int]]:
        """Jobs by queue and status."""
        rows = await self._look(lambda: self._reading.execute("SELECT queue, status, n FROM counts").fetchall())
        counts: dict[str, list[int]] = {}
        queue: Any
        status: Any
        n: Any
        for queue, status, n in rows:
            counts.setdefault(queue, [0] * len(codec.STATUSES))[status] = n
        return counts

    async def schedule(self, name: str) -> Schedule | None:
        """A schedule."""
        return await self._look(lambda: settings.read_schedule(self._reading, name))

    async def schedules(self, after: str, most: int) -> tuple[Sequence[Schedule], bool]:
        """By name."""
        return await self._look(lambda: settings.read_schedules(self._reading, after, most))

    async def _look(self, read: Callable[[], T]) -> T:
        try:
            return await self._read(read)
        except (apsw.Error, codec.Damaged, UnicodeDecodeError) as error:
            raise StoreUnavailable(f"the store cannot be read ({error})") from error
