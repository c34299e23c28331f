"""What a page of the list costs with very many jobs in the file, filter by filter.

    python -m tests.benchmarks.lists FILE JOBS

Makes the file, and prints for each filter the slowest of its first pages, in milliseconds; of each page the quickest of
three looks counts, for noise can only add.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import trio

from jobqueue.job import Status
from jobqueue.stores.contract import Filter
from jobqueue.stores.sqlite import SqliteStore
from tests.benchmarks import crowd

LIMIT = 200
PAGES = 5
LOOKS = 3
MATCHES = 1_000


def filters(jobs: int) -> dict[str, Filter]:
    """What is asked for: each part, frequent and rare, alone and with others."""

    def of(*statuses: Status, **fields: Any) -> Filter:
        return Filter(status=frozenset(statuses), **fields)

    def made(first: int, last: int, **fields: Any) -> Filter:
        born = crowd.BORN
        return Filter(created_after=born + first * crowd.APART, created_before=born + last * crowd.APART, **fields)

    done, failed, queued = Status.DONE, Status.FAILED, Status.QUEUED
    ann, nobody = ((("user", "name"), '"Ann"'),), ((("to",), '"nobody"'),)
    return {
        "all": Filter(),
        **{f"{status.name}": of(status) for status in Status},
        "all but DONE": of(*(status for status in Status if status is not done)),
        "QUEUED, RUNNING": of(queued, Status.RUNNING),
        "queue": Filter(queue="mail"),
        "queue, 1 %": Filter(queue="q3"),
        "queue, rare": Filter(queue="rare"),
        "queue, none": Filter(queue="none"),
        "queue DONE": of(done, queue="mail"),
        "queue FAILED": of(failed, queue="mail"),
        "queue QUEUED": of(queued, queue="mail"),
        "queue rare, DONE": of(done, queue="rare"),
        "kind": Filter(kind="common"),
        "kind, 1 %": Filter(kind="k7"),
        "kind, 0.01 %": Filter(kind="kk7"),
        "kind, rare": Filter(kind="rare"),
        "kind FAILED": of(failed, kind="common"),
        "kind 0.01 %, FAILED": of(failed, kind="kk7"),
        "kind 0.01 %, queue DONE": of(done, kind="kk7", queue="mail"),
        "group": Filter(group="g7"),
        "group, rare": Filter(group="rare"),
        "group DONE": of(done, group="g7"),
        "tag": Filter(tag="t7"),
        "tag, rare": Filter(tag="rare"),
        "tag DONE": of(done, tag="t7"),
        "tag, kind 0.01 %": Filter(tag="t7", kind="kk7"),
        "tag, queue FAILED": of(failed, tag="t7", queue="mail"),
        "made last": made(jobs - jobs // 1000, jobs + 1),
        "made first": made(0, 30),
        "made between": made(jobs // 3, jobs // 3 + 20),
        "made in the first half": made(0, jobs // 2),
        "made in the first half, queue FAILED": of(
            failed, queue="mail", created_before=crowd.BORN + jobs // 2 * crowd.APART
        ),
        "made first, kind rare": made(0, 30, kind="rare"),
        "payload": Filter(payload=ann),
        "payload, none": Filter(payload=nobody),
        "payload, kind": Filter(kind="common", payload=nobody),
        "payload, kind rare": Filter(kind="rare", payload=ann),
        "payload, group": Filter(group="g7", payload=nobody),
        "payload, queue FAILED": of(failed, queue="mail", payload=((("items", "0", "sku"), '"s3"'),)),
    }


async def measure(file: Path, jobs: int) -> dict[str, float]:
    """Milliseconds of the slowest page, by filter."""
    crowd.fill(file, jobs)
    figures: dict[str, float] = {}
    async with SqliteStore(str(file), lambda: crowd.BORN) as store:
        for name, wanted in filters(jobs).items():
            figures[name] = await _slowest(store, wanted)
            figures[f"ids: {name}"] = await _quickest(store, wanted, None, ids=True)
    return figures


async def _slowest(store: SqliteStore, wanted: Filter) -> float:
    slowest, before = 0.0, None
    for _ in range(PAGES):
        slowest = max(slowest, await _quickest(store, wanted, before))
        before = (await store.page(wanted, before, LIMIT, wide=False)).before
        if before is None:
            break
    return slowest


async def _quickest(store: SqliteStore, wanted: Filter, before: int | None, *, ids: bool = False) -> float:
    taken: list[float] = []
    for _ in range(LOOKS):
        began = time.perf_counter()
        if ids:
            await store.matching(wanted, before, MATCHES)
        else:
            await store.page(wanted, before, LIMIT, wide=False)
        taken.append(1e3 * (time.perf_counter() - began))
    return min(taken)


if __name__ == "__main__":
    print(json.dumps(trio.run(measure, Path(sys.argv[1]), int(sys.argv[2]))))
