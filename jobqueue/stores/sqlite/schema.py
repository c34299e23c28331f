"""The file: its tables, its version, and the checks before it is trusted.

A damaged file, one of a newer version or one in use stops the boot with a clear line and is never replaced.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from jobqueue.errors import StartupError
from jobqueue.stores.sqlite.codec import Damaged

APPLICATION_ID = 0x6A716A71  # "jqjq", so that a foreign SQLite file is told from ours

QUICK_CHECK_MOST_BYTES = 64 << 20

VERSION_1 = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO meta VALUES('seq', 0);

-- small changing columns apart from the wide ones: an UPDATE rewrites its row
CREATE TABLE jobs(
  seq INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,
  queue TEXT NOT NULL, priority INTEGER NOT NULL, grp TEXT NOT NULL, kind TEXT NOT NULL, created_at INTEGER NOT NULL,
  status INTEGER NOT NULL, lane INTEGER NOT NULL, place INTEGER NOT NULL,
  attempt INTEGER NOT NULL, crashes INTEGER NOT NULL, epoch INTEGER NOT NULL, alone INTEGER NOT NULL,
  due_at INTEGER, started_at INTEGER, finished_at INTEGER, next_attempt_at INTEGER, cancel_requested_at INTEGER,
  reason TEXT, worker TEXT, boot_id TEXT
);
CREATE INDEX jobs_ready ON jobs(lane, place) WHERE status = 2;
-- every job that has not ended, but for those that jobs_ready has in order of seq (sources.py)
CREATE INDEX jobs_open ON jobs(status, queue)
  WHERE status < 2 OR status = 3 OR status = 2 AND (place <> seq OR grp <> '');
CREATE INDEX jobs_waking ON jobs(due_at) WHERE status < 4 AND due_at IS NOT NULL;
CREATE INDEX jobs_fading ON jobs(due_at) WHERE status >= 4 AND due_at IS NOT NULL;
-- for lists, which go through jobs by seq from the newest on (blocks.py, sources.py)
CREATE INDEX jobs_group ON jobs(grp) WHERE grp <> '';
CREATE TABLE tags(tag TEXT, seq INTEGER, PRIMARY KEY(tag, seq)) WITHOUT ROWID;
CREATE TABLE blocks(trait TEXT, block INTEGER, PRIMARY KEY(trait, block)) WITHOUT ROWID;
CREATE INDEX blocks_traits ON blocks(block);
CREATE TABLE setbacks(seq INTEGER PRIMARY KEY);

CREATE TABLE bodies(seq INTEGER PRIMARY KEY, options TEXT, payload TEXT NOT NULL);  -- the wide one last
CREATE TABLE attempts(
  seq INTEGER NOT NULL, epoch INTEGER NOT NULL, attempt INTEGER NOT NULL, started_at INTEGER NOT NULL,
  finished_at INTEGER NOT NULL, ending TEXT NOT NULL, worker TEXT, result TEXT, error TEXT,
  PRIMARY KEY(seq, epoch)
) WITHOUT ROWID;
CREATE TABLE progress(seq INTEGER PRIMARY KEY, data TEXT NOT NULL);
CREATE TABLE lines(
  seq INTEGER NOT NULL, n INTEGER NOT NULL, at INTEGER NOT NULL, attempt INTEGER NOT NULL, level TEXT NOT NULL,
  message TEXT NOT NULL, PRIMARY KEY(seq, n)
) WITHOUT ROWID;

CREATE TABLE lanes(
  lane INTEGER PRIMARY KEY, queue TEXT NOT NULL, priority INTEGER NOT NULL, grp TEXT NOT NULL, suspect INTEGER NOT NULL,
  queued INTEGER NOT NULL, running INTEGER NOT NULL, turn REAL NOT NULL, opens_at INTEGER NOT NULL,
  UNIQUE(queue, priority, grp, suspect)
);
CREATE INDEX lanes_alone ON lanes(queue) WHERE grp = '';
CREATE INDEX lanes_opening ON lanes(opens_at) WHERE opens_at > 0;
CREATE TABLE bands(queue TEXT, priority INTEGER, turn REAL NOT NULL, PRIMARY KEY(queue, priority)) WITHOUT ROWID;
CREATE TABLE counts(queue TEXT, status INTEGER, n INTEGER NOT NULL, PRIMARY KEY(queue, status)) WITHOUT ROWID;

CREATE TABLE idempotency(
  scope TEXT, key TEXT, digest BLOB NOT NULL, ids TEXT NOT NULL, returned TEXT NOT NULL, expires_at INTEGER NOT NULL,
  PRIMARY KEY(scope, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_stale ON idempotency(expires_at);
CREATE TABLE uniques(queue TEXT, key TEXT, id BLOB NOT NULL, PRIMARY KEY(queue, key)) WITHOUT ROWID;
CREATE TABLE links(parent INTEGER, child INTEGER, met INTEGER NOT NULL, PRIMARY KEY(parent, child)) WITHOUT ROWID;
CREATE INDEX links_children ON links(child, met);
CREATE TABLE resolving(upto INTEGER, parent INTEGER, met INTEGER NOT NULL, PRIMARY KEY(upto, parent)) WITHOUT ROWID;
CREATE TABLE queues(name TEXT PRIMARY KEY, data TEXT, redated INTEGER) WITHOUT ROWID;
CREATE TABLE windows(
  queue TEXT, grp TEXT, data TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY(queue, grp)
) WITHOUT ROWID;
CREATE INDEX windows_over ON windows(until);
CREATE TABLE schedules(name TEXT PRIMARY KEY, fires_at INTEGER, data TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX schedules_firing ON schedules(fires_at, name) WHERE fires_at IS NOT NULL;
CREATE TABLE removed(n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, at INTEGER NOT NULL);
"""


def _create(connection: apsw.Connection) -> None:
    connection.execute(VERSION_1)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


# MIGRATIONS[n] brings a file of version n to version n + 1, within one transaction. Only ever append.
MIGRATIONS: tuple[Callable[[apsw.Connection], None], ...] = (_create,)

PRAGMAS: dict[str, Any] = {  # set, then read back
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: an fsync before every answer
    "foreign_keys": 1,
    "trusted_schema": 0,
    "mmap_size": 0,  # an I/O error must come as an error, not as a signal
    "wal_autocheckpoint": 0,  # the engine does it, so that an error of it is seen
}


@contextmanager
def refusing(path: str) -> Iterator[None]:
    """Whatever is wrong with the file comes out as StartupError, with exit code 74."""
    try:
        yield
    except (apsw.Error, Damaged, OSError, UnicodeDecodeError) as error:
        raise StartupError(f"store {path}: {_plain(error)}", exit_code=74) from error


def open_file(path: str, *, synchronous: str = "FULL", vfs: str | None = None) -> apsw.Connection:
    """The writing connection to a file that has been checked and brought up to date.

    Raises StartupError for a foreign or newer file; use it in `refusing` for the other faults.
    """
    connection = apsw.Connection(path, vfs=vfs)
    connection.set_busy_timeout(5000)
    _check(connection, path)
    _settle(connection, path, synchronous)
    _sync_folder(path)
    _migrate(connection)
    return connection


def open_readonly(path: str, vfs: str | None = None) -> apsw.Connection:
    """A connection for reads that decide nothing."""
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs)
    connection.set_busy_timeout(5000)
    return connection


def _plain(error: Exception) -> str:
    kinds: dict[type, str] = {
        apsw.NotADBError: "is not a jobqueue database, or is damaged",
        apsw.CorruptError: "is damaged",
        apsw.CantOpenError: "cannot be opened",
        apsw.ReadOnlyError: "cannot be written",
        apsw.FullError: "is on a full disk",
        apsw.BusyError: "is in use by another program",
        Damaged: "is damaged",
        UnicodeDecodeError: "is damaged",
    }
    return f"{kinds.get(type(error), 'cannot be used')} ({error})"


def _check(connection: apsw.Connection, path: str) -> None:
    version = connection.pragma("user_version")
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").get == 0
    if not empty and (version < 1 or connection.pragma("application_id") != APPLICATION_ID):
        raise StartupError(f"store {path}: is an SQLite file, but not one of jobqueue", exit_code=74)
    if version > len(MIGRATIONS):
        raise StartupError(
            f"store {path}: has schema version {version}, newer than this program's {len(MIGRATIONS)}", exit_code=74
        )
    if connection.readonly("main"):
        raise StartupError(f"store {path}: cannot be written", exit_code=74)
    # a large file would take too long: there every page is checked as it is used
    if not empty and Path(path).stat().st_size <= QUICK_CHECK_MOST_BYTES:
        found = connection.execute("PRAGMA quick_check(1)").get
        if found != "ok":
            raise StartupError(f"store {path}: is damaged ({found})", exit_code=74)


def _settle(connection: apsw.Connection, path: str, synchronous: str) -> None:
    wanted = dict(PRAGMAS)
    if synchronous != "FULL":
        wanted["synchronous"] = 1  # tests only: to show that the power-loss test can see a loss
    for name, value in wanted.items():
        connection.pragma(name, value)
        found = connection.pragma(name)
        if found != value:
            raise StartupError(f"store {path}: {name} is {found}, but must be {value}", exit_code=74)


def _sync_folder(path: str) -> None:
    """Make the names of the file and its log safe. SQLite does the same, but lets an error of it pass."""
    folder = os.open(Path(path).resolve().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _migrate(connection: apsw.Connection) -> None:
    while (version := connection.pragma("user_version")) < len(MIGRATIONS):
        with connection:
            MIGRATIONS[version](connection)
            connection.pragma("user_version", version + 1)


class FileLock:
    """Holds PATH.lock for this process, so that a second server on the same file refuses to start.

    The lock file also remembers that a store was made beside it: SQLite takes a file that was cut to nothing for a new
    one, and so would we.
    """

    def __init__(self, path: str) -> None:
        self._store = Path(path)
        try:
            self._file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartupError(f"store {path}: cannot be opened ({error.strerror})", exit_code=74) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise StartupError(f"store {path}: is in use by another jobqueue server", exit_code=2) from None

    def check(self) -> None:
        """Raises StartupError if the store was made, and is now empty."""
        emptied = self._store.exists() and self._store.stat().st_size <= 1  # SQLite takes one byte for none
        if emptied and os.fstat(self._file).st_size:
            raise StartupError(f"store {self._store}: is empty, but held a store: it is damaged", exit_code=74)

    def remember(self) -> None:
        """The store is made."""
        os.pwrite(self._file, b"made\n", 0)

    def release(self) -> None:
        """Let go; the file stays, since another process may hold it open already."""
        os.close(self._file)
