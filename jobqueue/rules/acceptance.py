"""How drafts become jobs: all of a submission or none, within the bounds of their queues.

The front ends make drafts (`wire/submission.py`); `idempotency.py` sees to it that a key makes them once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from jobqueue.clock import micros
from jobqueue.errors import Fault, OutOfRange
from jobqueue.job import Draft, Job, Status
from jobqueue.rules import bounds, defaults
from jobqueue.rules.arrivals import Arrivals, tied
from jobqueue.rules.lifecycle import Times, due_at
from jobqueue.rules.table import Table

replace = msgspec.structs.replace


NONE: frozenset[int] = frozenset()


def accept(table: Table, drafts: Sequence[Draft], times: Times) -> list[Job]:
    """Take all drafts in, in order, or none.

    Raises QueueFull; Invalid, OutOfRange, Duplicate, with a pointer like /0/queue.
    """
    return take(table, drafts, times)[0]


def take(
    table: Table, drafts: Sequence[Draft], times: Times, freed: Mapping[str, int] = bounds.NOTHING_FREED
) -> tuple[list[Job], frozenset[int]]:
    """The same; and the places of the drafts for which the holder of their unique key stands instead of a new job.

    freed: by queue, how many jobs have just given way to the drafts, and so have left room even in a full queue.
    """
    _check_expiry(drafts, times)
    if not any(tied(draft.options) for draft in drafts):
        bounds.check(table, drafts, times, freed)
        return [table.add(_make(table, draft, times, table.next_seq())) for draft in drafts], NONE
    arrivals = Arrivals(table, times, lambda draft, seq: _make(table, draft, times, seq))
    for draft in drafts:
        arrivals.take(draft)
    arrivals.freed.update(freed)
    bounds.check(table, drafts, times, arrivals.freed)
    return arrivals.let_in(), frozenset(arrivals.returned)


def _check_expiry(drafts: Sequence[Draft], times: Times) -> None:
    """At the commit, not before: what an idempotency key has made already may have expired meanwhile."""
    for index, draft in enumerate(drafts):
        options = draft.options
        if options.expires_at is None:
            continue
        starts_at = max(options.run_at or times.now, times.now + micros(draft.delay or 0))
        if options.expires_at <= starts_at:
            fault = Fault(f"/{index}/expires_at", "is too early")
            raise OutOfRange("expires_at must be after now and after run_at", faults=(fault,))


def _make(table: Table, draft: Draft, times: Times, seq: int) -> Job:
    """The job of a draft, as it is where nothing stands in its way."""
    queue = table.queue(draft.queue)
    options = draft.options if queue is None else defaults.options(draft, queue)
    if draft.delay is not None:
        options = replace(options, run_at=times.now + micros(draft.delay))
    later = options.run_at is not None and options.run_at > times.now
    job = Job(
        seq=seq,
        id=times.new_id(),
        kind=draft.kind,
        queue=draft.queue,
        priority=draft.priority,
        group=draft.group,
        payload=draft.payload,
        options=options,
        created_at=times.now,
        status=Status.SCHEDULED if later else Status.QUEUED,
        place=seq,
        next_attempt_at=options.run_at if later else None,
        due_at=options.expires_at,
    )
    return replace(job, due_at=due_at(job)) if later else job
