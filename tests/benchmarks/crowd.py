"""A file with very many jobs of all sorts, made by SQL within seconds: what lists are measured on.

The older half has ended, the newer half waits. Queues, kinds, groups, tags and ends are mixed at random, some frequent,
some not; three jobs, far apart and old, have what no other has.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from jobqueue.stores.sqlite import schema
from jobqueue.stores.sqlite.blocks import SHIFT

BORN = 1_800_000_000_000_000
APART = 10_000  # microseconds from one job to the next

END = "CASE status WHEN 4 THEN 'DONE' WHEN 5 THEN 'FAILED' ELSE 'CANCELLED' END"
# what the engine notes of the jobs beside their rows, counted anew
TRAITS = (
    f"SELECT 'kind ' || kind, seq >> {SHIFT} FROM jobs UNION SELECT 'queue ' || queue, seq >> {SHIFT} FROM jobs"
    f" UNION SELECT {END}, seq >> {SHIFT} FROM jobs WHERE status > 3"
    f" UNION SELECT {END} || ' ' || queue, seq >> {SHIFT} FROM jobs WHERE status > 3"
)
TAGS = "SELECT value, bodies.seq FROM bodies, json_each(bodies.options, '$.tags')"

DICE = """
CREATE TEMP TABLE dice AS
WITH RECURSIVE numbers(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM numbers WHERE seq < :jobs)
SELECT seq, seq IN (17, :jobs / 3, :jobs / 2 - 9) AS rare, seq * 2654435761 >> 7 & 0xFFFFFF AS a,
  seq * 2246822519 >> 9 & 0xFFFFFF AS b, seq * 3266489917 >> 8 & 0xFFFFFF AS c, seq * 668265263 >> 6 & 0xFFFFFF AS d
FROM numbers
"""
JOBS = """
INSERT INTO jobs(
  seq, id, queue, priority, grp, kind, created_at, status, lane, place, attempt, crashes, epoch, alone
) SELECT
  seq, randomblob(16),
  CASE WHEN rare THEN 'rare' WHEN a % 10 < 6 THEN 'default' WHEN a % 10 < 9 THEN 'mail' ELSE 'q' || (a / 10 % 10) END,
  0,
  CASE WHEN rare THEN 'rare' WHEN b % 2 THEN 'g' || (b / 2 % (:jobs / 100)) ELSE '' END,
  CASE WHEN rare THEN 'rare' WHEN c % 10 < 7 THEN 'common' WHEN c % 10 < 9 THEN 'k' || (c / 10 % 20)
    ELSE 'kk' || (c / 10 % 1000) END,
  :born + seq * :apart,
  CASE WHEN rare THEN 6 WHEN seq < :jobs / 2 THEN CASE WHEN d % 100 < 5 THEN 5 ELSE 4 END
    WHEN seq % 20000 = 0 THEN 3 WHEN d % 20 = 0 THEN 0 WHEN d % 5000 = 1 THEN 1 ELSE 2 END,
  0, CASE WHEN d % 50 = 2 THEN :jobs + seq ELSE seq END, 0, 0, 0, 0
FROM dice
"""
LANES = """
INSERT INTO lanes(queue, priority, grp, suspect, queued, running, turn, opens_at)
SELECT queue, 0, grp, 0, sum(status = 2), sum(status = 3), 0, 0 FROM jobs WHERE status IN (2, 3) GROUP BY queue, grp
"""
IN_LANES = """
UPDATE jobs SET lane = (SELECT lane FROM lanes WHERE lanes.queue = jobs.queue AND lanes.priority = 0
  AND lanes.grp = jobs.grp AND suspect = 0) WHERE status = 2
"""
BODIES = """
INSERT INTO bodies SELECT
  seq, CASE WHEN rare THEN '{"tags":["rare"]}' WHEN d % 3 = 0 THEN '{"tags":["t' || (d / 3 % 100) || '"]}' END,
  '{"to":"user' || (a % 5000) || '@example.org","user":{"id":' || (b % 100000) || ',"name":"Ann"},"items":[{"sku":"s'
  || (c % 7) || '","n":1}],"text":"' || hex(zeroblob(40)) || '"}'
FROM dice
"""


def fill(file: Path, jobs: int) -> None:
    """Make the file."""
    connection = schema.open_file(str(file), synchronous="NORMAL")
    connection.pragma("cache_size", -500_000)
    with connection:
        connection.execute(DICE, {"jobs": jobs})
        connection.execute(JOBS, {"jobs": jobs, "born": BORN, "apart": APART})
        for sql in (LANES, IN_LANES, BODIES):
            connection.execute(sql)
        connection.execute(f"INSERT INTO blocks {TRAITS}")
        connection.execute(f"INSERT INTO tags {TAGS}")
        connection.execute("INSERT INTO counts SELECT queue, status, count(*) FROM jobs GROUP BY queue, status")
        connection.execute("UPDATE meta SET value = ? WHERE name = 'seq'", (2 * jobs,))
        connection.execute("DROP TABLE dice")
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.close()
