"""What is left when all is over: the store of a server that has stopped, held against what its callers were told."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from jobqueue.job import Status
from tests.e2e.callers import Told
from tests.e2e.crash_handlers import Entry
from tests.e2e.server_process import ServerProcess
from tests.e2e.store_judge import inconsistencies

END_SECONDS = 600.0


def end_all_jobs(server: ServerProcess) -> None:
    """Wait for the end of each job that has none yet; suspects run one by one.

    The one that is asked about was submitted last, so it may wait for thousands; but it comes nearer all the time.
    """
    end = time.monotonic() + END_SECONDS
    while time.monotonic() < end:
        jobs = server.client.get("/jobs?status=QUEUED,RUNNING,SCHEDULED,BLOCKED&limit=1").json()["items"]
        if not jobs:
            return
        server.wait(jobs[0]["id"])
    raise AssertionError(f"jobs do not end:\n{server.log}")


def wrongs(store: Path, told: Told, journal: Sequence[Entry]) -> list[str]:
    """Everything that may not be."""
    connection = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        rows: Any = connection.execute("SELECT lower(hex(id)), status, attempt, epoch FROM jobs").fetchall()
        completions: Any = dict(
            connection.execute(
                "SELECT lower(hex(id)), sum(ending = 'done') FROM attempts JOIN jobs USING(seq) GROUP BY seq"
            )
        )
        payloads = Counter(
            json.loads(payload)["key"] for (payload,) in connection.execute("SELECT payload FROM bodies")
        )
        found = [*told.wrong, *inconsistencies(connection)]
    finally:
        connection.close()
    ends = {id: Status(status) for id, status, _, _ in rows}
    found += _accepted(ends, told, payloads)
    found += _ended(ends, told, completions)
    found += _ran({id: epoch for id, _, _, epoch in rows}, ends, journal)
    return found


def _accepted(ends: dict[str, Status], told: Told, payloads: Counter[str]) -> Iterator[str]:
    """Every answered job exists, and a key that was retried exists once."""
    for key, id in told.jobs.items():
        if id.replace("-", "") not in ends:
            yield f"key {key}: job {id} was accepted and is gone"
    wanted = Counter(key.partition("/")[0] for key in told.jobs)
    if payloads != wanted:
        yield f"jobs by key differ: {dict((payloads - wanted) + (wanted - payloads))}"


def _ended(ends: dict[str, Status], told: Told, completions: dict[str, int]) -> Iterator[str]:
    """Every job has one end, the one that was seen before; a completion was accepted for those DONE, and once."""
    for id, status in ends.items():
        if not status.ended:
            yield f"job {id} has no end: {status.name}"
        if completions.get(id, 0) != (status is Status.DONE):
            yield f"job {id} is {status.name} with {completions.get(id, 0)} completions"
    for id, end in told.ends.items():
        now = ends.get(id.replace("-", ""))
        if now is not None and now.name != end:
            yield f"job {id} was {end}, now it is {now.name}"


def _ran(epochs: dict[str, int], ends: dict[str, Status], journal: Sequence[Entry]) -> Iterator[str]:
    """No attempt ran twice, none that the store does not know of, and no job is DONE that did not run to its end."""
    for (what, id, epoch), count in Counter((entry.what, entry.id, entry.epoch) for entry in journal).items():
        if count > 1:
            yield f"attempt {epoch} of {id} {what} {count} times"
    for entry in journal:
        if entry.epoch > epochs.get(entry.id.replace("-", ""), 0):
            yield f"attempt {entry.epoch} of {entry.id} ran and was not committed"
    ran = {entry.id.replace("-", "") for entry in journal if entry.what == "ended"}
    yield from (f"job {id} is DONE and never ran" for id, end in ends.items() if end is Status.DONE and id not in ran)
