"""Ids by a filter, on each engine: those of the pages that the list shows."""

from __future__ import annotations

import pytest

from jobqueue.job import Status
from jobqueue.stores.contract import Filter
from tests.helpers import Desk, draft

FILTERS = [
    Filter(),
    Filter(status=frozenset({Status.QUEUED})),
    Filter(queue="a", kind="y"),
    Filter(tag="t", group="g"),
    Filter(queue="none"),
]


@pytest.mark.parametrize("wanted", FILTERS, ids=range(len(FILTERS)))
@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_ids_are_those_of_the_pages(desk: Desk, wanted: Filter, limit: int) -> None:
    """Page by page the same jobs in the same order, with the same places to go on from."""
    await desk.submit(
        [
            draft("xy"[n % 2], queue="ab"[n % 3 % 2], group="g" if n % 4 else None, tags=("t",) if n % 5 else ())
            for n in range(20)
        ]
    )
    await desk.claim(3, "a")
    before = None
    while True:
        page = await desk.store.page(wanted, before, limit)
        matches = await desk.store.matching(wanted, before, limit)
        assert (list(matches.ids), matches.before) == ([job.id for job in page.jobs], page.before)
        before = page.before
        if before is None:
            break
