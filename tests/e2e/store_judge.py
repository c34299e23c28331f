"""The judge of what a crash left of a `store_history`.

It boots on the file as a server would. The table must be as it stood after one of the batches, and not after an older
one than the last that was answered; counters equal a recount; and when all jobs are run, each comes to one end.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from jobqueue.clock import SECOND
from jobqueue.job import Ending, Job, Outcome, Status
from jobqueue.rules import admission, lifecycle, ripening
from jobqueue.rules.admission import Node, Want
from jobqueue.rules.isolation import Isolation
from jobqueue.rules.lifecycle import Limits, Times
from jobqueue.rules.table import Table
from jobqueue.stores.sqlite import SqliteStore
from tests.benchmarks import crowd
from tests.e2e.store_history import ANYTHING, EPOCH, Answer, digest

MOST_ROUNDS = 500
FRESH_BOOT = "ffffffff-0000-7000-8000-000000000000"


@dataclass(frozen=True)
class Findings:
    """What was found wrong with a file after a crash. lost: answered and gone; broken: anything that may never be."""

    lost: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.lost or self.broken)


async def judge(path: Path, answers: Sequence[Answer], undisturbed: Sequence[Answer]) -> Findings:
    """Boot on the file as a server would, and look for what was answered; then run every job to its end.

    answers: what the history was told before the crash. undisturbed: the answers of the same seed without a crash.
    """
    async with SqliteStore(str(path), lambda: EPOCH) as store:
        connection = store._connection
        lost = await _lost(store, answers)
        broken = [*inconsistencies(connection)]
        found = digest(connection)
        batches = [answer.batch for answer in undisturbed if answer.digest == found]
        last = max((answer.batch for answer in answers), default=-1)
        if not batches and connection.execute("SELECT count(*) FROM jobs").get:
            broken.append("the table is not as any batch left it")
        elif last >= 0 and max(batches, default=-1) < last:
            lost.append(f"batch {last} was answered, the file is as of {max(batches, default=-1)}")
        ends = {id: job.status for id, job in (await _all_jobs(store)).items() if job.status is Status.DONE}
        if not broken:
            await run_to_the_end(store)
            broken += [*inconsistencies(connection), *_ends(await _all_jobs(store), ends, answers, lost)]
            broken += _two_ends(connection)
    return Findings(tuple(lost), tuple(broken))


async def _lost(store: SqliteStore, answers: Iterable[Answer]) -> list[str]:
    """Answered jobs that are gone, or older than what was said of them."""
    told: dict[str, tuple[int, int]] = {}
    for answer in answers:
        told.update(answer.jobs)
    jobs = await store.get(list(told))
    lost: list[str] = []
    for (id, (status, epoch)), job in zip(told.items(), jobs, strict=True):
        if not isinstance(job, Job):
            lost.append(f"job {id} is gone")
        elif job.epoch < epoch or (status == Status.DONE and job.status is not Status.DONE):
            lost.append(f"job {id} is {job.status.name} {job.epoch}, was {Status(status).name} {epoch}")
    for answer in answers:
        for key, ids in answer.keys.items():
            row = store._connection.execute("SELECT ids FROM idempotency WHERE key = ?", (key,)).get
            if row != " ".join(ids):
                lost.append(f"key {key} stands for {row}, not for {ids}")
    return lost


def inconsistencies(connection: apsw.Connection) -> Iterator[str]:
    """What the file says twice and differently, or what SQLite itself finds wrong."""
    whole = connection.execute("PRAGMA integrity_check").get
    if whole != "ok":
        yield f"integrity_check: {whole}"
    recounts = {
        "counters": "SELECT queue, status, n FROM counts WHERE n <> 0 EXCEPT"
        " SELECT queue, status, count(*) FROM jobs GROUP BY queue, status",
        "counters that miss": "SELECT queue, status, count(*) FROM jobs GROUP BY queue, status EXCEPT"
        " SELECT queue, status, n FROM counts",
        "queued in lanes": "SELECT lane, queued FROM lanes WHERE queued <> 0 EXCEPT"
        " SELECT lane, count(*) FROM jobs WHERE status = 2 GROUP BY lane",
        "queued outside lanes": "SELECT lane, count(*) FROM jobs WHERE status = 2 GROUP BY lane EXCEPT"
        " SELECT lane, queued FROM lanes",
        "running in lanes": "SELECT queue, sum(running) FROM lanes GROUP BY queue HAVING sum(running) <> 0 EXCEPT"
        " SELECT queue, count(*) FROM jobs WHERE status = 3 GROUP BY queue",
        "dependencies of jobs that have ended": "SELECT child FROM links EXCEPT SELECT seq FROM jobs WHERE status < 4",
        "blocked without waiting": "SELECT seq FROM jobs WHERE status = 1 EXCEPT SELECT child FROM links WHERE met = 0",
        "waiting without being blocked": "SELECT child FROM links WHERE met = 0 EXCEPT"
        " SELECT seq FROM jobs WHERE status = 1",
        "ended parents that nobody heard of": "SELECT parent FROM links JOIN jobs ON seq = parent"
        " WHERE met = 0 AND status >= 4 EXCEPT SELECT parent FROM resolving",
        "keys and their holders": "SELECT u.queue, u.key FROM uniques u"
        " LEFT JOIN jobs USING(id) LEFT JOIN bodies USING(seq)"
        " WHERE options IS NULL OR u.queue <> jobs.queue OR u.key <> json_extract(options, '$.unique.key')"
        " OR (status >= 4 AND coalesce(json_extract(options, '$.unique.while'), 'active') <> 'exists')",
        "bodies": "SELECT seq FROM jobs EXCEPT SELECT seq FROM bodies",
        "orphaned bodies": "SELECT seq FROM bodies EXCEPT SELECT seq FROM jobs",
        "what lists know of their blocks": f"{crowd.TRAITS} EXCEPT SELECT trait, block FROM blocks",
        "tags": f"{crowd.TAGS} EXCEPT SELECT tag, seq FROM tags",
        "orphaned tags": f"SELECT tag, seq FROM tags EXCEPT {crowd.TAGS}",
        "the greatest seq": "SELECT max(seq, place) FROM jobs WHERE max(seq, place) >"
        " (SELECT value FROM meta WHERE name = 'seq')",
    }
    for what, sql in recounts.items():
        differing = connection.execute(sql).fetchall()
        if differing:
            yield f"{what} differ: {differing[:3]}"


def _two_ends(connection: apsw.Connection) -> Iterator[str]:
    """Jobs with more than one accepted completion, or with one and another end."""
    sql = (
        "SELECT seq, status, n FROM jobs JOIN (SELECT seq, sum(ending = 'done') AS n FROM attempts GROUP BY seq)"
        " USING(seq) WHERE n > 1 OR (n = 1) <> (status = 4)"
    )
    for row in connection.execute(sql):
        yield f"(seq, status, completions) {row}"


def _ends(
    jobs: Mapping[str, Job], done: Mapping[str, Status], answers: Iterable[Answer], lost: Sequence[str]
) -> Iterator[str]:
    """Jobs that did not come to their one end."""
    for id, job in jobs.items():
        if not job.status.ended:
            yield f"job {id} never ended: {job.status.name}"
        if id in done and job.status is not Status.DONE:
            yield f"job {id} was DONE, then {job.status.name}"
    if not lost:
        for answer in answers:
            yield from (f"job {id} was answered and has no end" for id in answer.jobs if id not in jobs)


async def _all_jobs(store: SqliteStore) -> dict[str, Job]:
    rows: Any = await store._read(lambda: store._reading.execute("SELECT id FROM jobs").fetchall())
    found = await store.get([str(uuid.UUID(bytes=id)) for (id,) in rows])
    return {job.id: job for job in found if isinstance(job, Job)}


async def run_to_the_end(store: SqliteStore) -> None:
    """What a server does that boots on the file and has only willing handlers: orphans back, then all jobs DONE."""
    clock = EPOCH + 3600 * SECOND
    isolation = Isolation()
    running: set[tuple[str, int]] = set()

    def decide(table: Table) -> bool:
        nonlocal isolation, running
        times = Times(clock, lambda: 0.5, lambda: str(uuid.uuid4()), FRESH_BOOT, Limits())
        for job in table.orphans(FRESH_BOOT, 1_000):
            lifecycle.recover(table, job, times)
        ripening.ripen(table, times)
        for id, epoch in running:
            lifecycle.settle(table, Outcome(id, epoch, Ending.DONE, result="1"), times)
        workers = tuple(f"local-{n}" for n in range(200))
        claims = admission.claim(
            table, [Want(admission.ALL_QUEUES, workers)], Node(0, isolation, float(clock // SECOND)), times
        )
        isolation = claims.isolation
        running = {(job.id, job.epoch) for job in claims.jobs[0]}
        return bool(table.changes.jobs)

    for _ in range(MOST_ROUNDS):
        clock += 60 * SECOND
        if not await store.apply(ANYTHING, decide):
            return
    raise AssertionError("the jobs do not come to an end")
