"""How drafts become jobs: all of a submission or none, within the bounds of their queues.

The front ends make drafts (`wire/submission.py`); `idempotency.py` sees to it that a key makes them once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from jobqueue.clock import micros
from jobqueue.errors import Fault, OutOfRange, QueueFull, retry_after
from jobqueue.job import Draft, Job, Status
from jobqueue.rules.lifecycle import Times, due_at
from jobqueue.rules.table import Table

replace = msgspec.structs.replace


def accept(table: Table, drafts: Sequence[Draft], times: Times) -> list[Job]:
    """Take all drafts in, in order, or none. Raises QueueFull; OutOfRange, with a pointer such as /0/expires_at."""
    _check_expiry(drafts, times)
    _check_room(table, drafts, times)
    return [_accept(table, draft, times) for draft in drafts]


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


def _check_room(table: Table, drafts: Sequence[Draft], times: Times) -> None:
    wanted = {drafts[0].queue: 1} if len(drafts) == 1 else Counter(draft.queue for draft in drafts)
    for queue, count in wanted.items():
        waiting = table.waiting(queue)
        if waiting + count > times.limits.max_queued:
            raise QueueFull(
                f"queue {queue} holds {waiting} waiting jobs of at most {times.limits.max_queued}",
                headers=retry_after(times.comeback(queue, count)),
            )


def _accept(table: Table, draft: Draft, times: Times) -> Job:
    options = draft.options
    if draft.delay is not None:
        options = replace(options, run_at=times.now + micros(draft.delay))
    seq = table.next_seq()
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
    if later:
        job = replace(job, due_at=due_at(job))
    return table.add(job)
