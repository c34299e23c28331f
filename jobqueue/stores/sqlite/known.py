"""All queues as a reader sees them: their settings, their counts, and since when the first in line has waited."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apsw

from jobqueue.clock import Micros
from jobqueue.job import Status
from jobqueue.queue import Known, Queue
from jobqueue.stores.contract import MOST_HEADS
from jobqueue.stores.sqlite.settings import queue_of

COUNTS = "SELECT queue, status, n FROM counts WHERE ?1 IS NULL OR queue = ?1"
SETTINGS = "SELECT name, data FROM queues WHERE data IS NOT NULL AND (?1 IS NULL OR name = ?1)"
# of the first of each lane; the oldest lanes are asked, and a job that was delayed waits from the moment it was due
WAITS_SINCE = (
    "SELECT min(max(jobs.created_at, coalesce(json_extract(bodies.options, '$.run_at'), 0)))"  # noqa: S608 - constants
    f" FROM (SELECT lane FROM lanes WHERE queue = ? AND queued > 0 ORDER BY lane LIMIT {MOST_HEADS}) AS waiting"
    " JOIN jobs ON jobs.seq ="
    " (SELECT seq FROM jobs WHERE jobs.lane = waiting.lane AND status = 2 ORDER BY place LIMIT 1)"
    " JOIN bodies ON bodies.seq = jobs.seq"
)


def known(connection: apsw.Connection, name: str | None) -> list[Known]:
    """All queues that are known, by name, or the one of that name."""
    found: list[Known] = []
    with connection:  # one moment for all of it
        found += _known(connection, name)
    return found


def _known(connection: apsw.Connection, name: str | None) -> Iterator[Known]:
    counts: dict[str, list[int]] = {}
    queue: Any
    status: Any
    n: Any
    for queue, status, n in connection.execute(COUNTS, (name,)):
        counts.setdefault(queue, [0] * len(Status))[status] = n
    settings: dict[str, Queue] = {}
    data: Any
    for queue, data in connection.execute(SETTINGS, (name,)):
        settings[queue] = queue_of(data)
    for queue in sorted(counts.keys() | settings.keys()):
        of_queue = counts.get(queue, [0] * len(Status))
        since = _since(connection, queue) if of_queue[Status.QUEUED] else None
        yield Known(settings.get(queue) or Queue(queue), tuple(of_queue), since)


def _since(connection: apsw.Connection, queue: str) -> Micros | None:
    found: Any = connection.execute(WAITS_SINCE, (queue,)).get
    return None if found is None else int(found)
