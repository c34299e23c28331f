"""At boot: the jobs that an earlier life of the process was running are given back, before anything else is served."""

from __future__ import annotations

from collections.abc import Callable

from jobqueue.rules import dependencies, lifecycle
from jobqueue.rules.lifecycle import Times
from jobqueue.rules.table import Table
from jobqueue.stores.contract import Needs, Store

MOST = 500  # jobs a commit


async def recover(store: Store, boot_id: str, times: Callable[[], Times]) -> int:
    """Give them back; how many they were. Raises store errors."""
    total = 0
    while True:
        now = times()

        def decide(table: Table, now: Times = now) -> int:
            orphans = table.orphans(boot_id, MOST)
            for job in orphans:
                lifecycle.recover(table, job, now)
            dependencies.resolve(table, now)
            return len(orphans)

        count = await store.apply(lambda: Needs(orphans_of=boot_id), decide)
        total += count
        if count < MOST:
            return total
