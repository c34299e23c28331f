"""`overlap: replace`: the last job gives way only to one that comes in its place."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from jobqueue.job import Status, Unique
from tests.helpers import draft, run
from tests.unit.scheduling_kit import Bench


def waiting(bench: Bench, **fields: Any) -> None:
    """A schedule whose first job waits."""
    bench.put(overlap="replace", **fields)
    bench.fire(10)
    assert [job.status for job in bench.jobs()] == [Status.QUEUED]


def test_in_a_queue_that_holds_too_many_it_changes_one_for_one() -> None:
    """Retries and given back jobs may fill a queue beyond its bound; the waiting job still makes room for the next."""
    bench = Bench(max_queued=1)
    waiting(bench)
    run(bench.desk.retry(run(bench.desk.cancel(run(bench.desk.add(queue="other"))))))
    run(bench.desk.configure(max_queued=0))
    assert bench.fire(20).dropped == ()
    mine = [job.status for job in bench.jobs() if job.queue == "default"]
    assert mine == [Status.CANCELLED, Status.QUEUED]


@pytest.mark.parametrize("on_conflict, waits", [("reject", Status.QUEUED), ("replace", Status.CANCELLED)])
def test_who_is_refused_for_a_unique_key_leaves_the_last_as_it_was(
    on_conflict: Literal["reject", "replace"], waits: Status
) -> None:
    """The key of the new job is held by a third: the fire makes no job, and the waiting one stays, or both give way."""
    bench = Bench()
    waiting(bench)
    run(bench.desk.add(unique=Unique("k")))
    bench.put(overlap="replace", draft=draft(unique=Unique("k", on_conflict=on_conflict)))
    bench.fire(20)
    assert bench.jobs()[0].status is waits
    assert bool(bench.now().last_error) == (waits is Status.QUEUED)
