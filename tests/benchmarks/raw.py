"""The limit for what runs inside the process: the writes of a job's life on bare SQLite, with no queue round them.

The file, its indexes and pragmas are the engine's own (WAL, synchronous=FULL). Groups of 100: one commit that inserts
their rows and bodies, one that claims them, one that ends them and keeps their attempts, each with its counters; as in
the real thing the end of a group does not share a commit with its claim. Values are made beforehand, so nothing but
SQLite is timed.
"""

from __future__ import annotations

import time
from pathlib import Path

import apsw
import uuid_utils

from jobqueue.stores.sqlite import CHECKPOINT_PAGES, schema
from tests.benchmarks.load import PAYLOAD

GROUP = 100
NOW = 1_800_000_000_000_000
DAY = 86_400_000_000
INSERT = (
    "INSERT INTO jobs"
    "(seq, id, queue, priority, grp, kind, created_at, status, lane, place, attempt, crashes, epoch, alone)"
    " VALUES(?1, ?2, 'default', 0, '', 'noop', ?3, 2, 1, ?1, 0, 0, 0, 0)"
)
BODY = "INSERT INTO bodies VALUES(?, NULL, ?)"
CLAIM = (
    "UPDATE jobs SET status = 3, attempt = 1, epoch = 1, started_at = ?, worker = ?, boot_id = ?"
    " WHERE seq = ? AND status = 2 AND epoch = 0"
)
END = (
    "UPDATE jobs SET status = 4, finished_at = ?, due_at = ?, boot_id = NULL WHERE seq = ? AND status = 3 AND epoch = 1"
)
ATTEMPT = "INSERT INTO attempts VALUES(?, 1, 1, ?, ?, 'done', ?, 'null', NULL)"
COUNT = "INSERT INTO counts VALUES('default', ?1, ?2) ON CONFLICT DO UPDATE SET n = n + ?2"
BAND = "INSERT OR REPLACE INTO bands VALUES('default', 0, ?)"
LAST = "UPDATE meta SET value = ? WHERE name = 'seq'"
LANE = "UPDATE lanes SET queued = queued + ?, running = running + ? WHERE lane = 1"
QUEUED, RUNNING, DONE = 2, 3, 4
WORKER = "local-1"
BOOT = "0192f0c1-7e1a-7cc3-98c4-dc0c0c07398f"


def measure(file: Path, jobs: int) -> dict[str, float]:
    """Jobs a second, and microseconds of CPU a job."""
    connection = schema.open_file(str(file))
    connection.execute("INSERT INTO lanes VALUES(1, 'default', 0, '', 0, 0, 0, 0, 0)")
    payload = f'"{PAYLOAD}"'
    groups = []
    for start in range(1, jobs + 1, GROUP):
        seqs = range(start, start + GROUP)
        inserted = [(seq, uuid_utils.uuid7().bytes, NOW) for seq in seqs]
        groups.append(
            (
                (
                    (INSERT, inserted),
                    (BODY, [(seq, payload) for seq in seqs]),
                    (LANE, [(GROUP, 0)]),
                    (COUNT, [(QUEUED, GROUP)]),
                    (LAST, [(seqs[-1],)]),
                ),
                (
                    (CLAIM, [(NOW, WORKER, BOOT, seq) for seq in seqs]),
                    (LANE, [(-GROUP, GROUP)]),
                    (COUNT, [(QUEUED, -GROUP), (RUNNING, GROUP)]),
                    (BAND, [(float(start),)]),
                ),
                (
                    (END, [(NOW, NOW + DAY, seq) for seq in seqs]),
                    (ATTEMPT, [(seq, NOW, NOW, WORKER) for seq in seqs]),
                    (LANE, [(0, -GROUP)]),
                    (COUNT, [(RUNNING, -GROUP), (DONE, GROUP)]),
                ),
            )
        )
    log = _Log()
    connection.set_wal_hook(log.grown)
    used, began = time.process_time(), time.perf_counter()
    for commits in groups:
        for commit in commits:
            connection.execute("BEGIN IMMEDIATE")
            for statement, rows in commit:
                connection.executemany(statement, rows)
            connection.execute("COMMIT")
        if log.pages >= CHECKPOINT_PAGES:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    done = len(groups) * GROUP
    figures = {"rate": done / (time.perf_counter() - began), "cpu": 1e6 * (time.process_time() - used) / done}
    connection.close()
    return figures


class _Log:
    """How long the write-ahead log is."""

    pages = 0

    def grown(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        """SQLite tells, after each commit."""
        self.pages = pages
        return apsw.SQLITE_OK
