"""Dependencies: jobs that wait for others, and how the end of one reaches those who wait for it.

A job names its parents when it is submitted, and only jobs that are there already, so there are no circles. It is
BLOCKED until each of them is met: DONE counts as met, and for a job that is to `run` anyway every other end does too.
For one that is not, the first parent that FAILED or was CANCELLED cancels it, at once.

The ends of a batch are told in that batch, breadth first: what they cancel has children of its own. A batch tells at
most `MOST` children; the rest is kept in the store (`resolving`) and makes the next batch due at once, so a crowd of
children holds nobody up, and no crash loses one. An end means those children only that were there when it came: if the
parent is started afresh meanwhile, whoever comes later waits for its next end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from jobqueue.errors import Fault, Invalid
from jobqueue.job import Job, Options, Reason, Status
from jobqueue.rules.changes import End
from jobqueue.rules.lifecycle import Times, due_at, ended, queued, replace
from jobqueue.rules.table import Table

MOST = 1_000  # children told a batch
DEPENDENTS_MOST = 1_000  # of one job
LINKS_MOST = 100_000  # that come in one submission, so that it holds nobody up for long


def parents_of(
    options: Options, pointer: str, earlier: Callable[[int], Job | None], find: Callable[[str], Job | None]
) -> dict[str, Job]:
    """The jobs that a draft depends on, by id, each once; "#n" is the n-th of `earlier`. Raises Invalid."""
    parents: dict[str, Job] = {}
    for index, said in enumerate(options.depends_on):
        if said.startswith("#"):
            parent, fault = earlier(int(said[1:])), f"{said} is no earlier job of the same array"
        else:
            parent, fault = find(said), f"there is no job {said}"
        if parent is None:
            raise Invalid(fault, faults=(Fault(f"{pointer}/depends_on/{index}", fault),))
        parents[parent.id] = parent
    return parents


def too_many(options: Options, parent: Job, pointer: str) -> Invalid:
    """The error that refuses one dependent more."""
    fault = f"{DEPENDENTS_MOST:,} jobs depend on {parent.id} already"
    index = next((index for index, said in enumerate(options.depends_on) if said == parent.id), None)
    place = "/depends_on" if index is None else f"/depends_on/{index}"
    return Invalid(fault, faults=(Fault(pointer + place, fault),))


def too_many_at_once(pointer: str) -> Invalid:
    """The error that refuses a submission with too many dependencies."""
    fault = f"with this job the array has more than {LINKS_MOST:,} dependencies: submit it in parts"
    return Invalid(fault, faults=(Fault(f"{pointer}/depends_on", fault),))


def blocked(job: Job, parents: Sequence[Job], times: Times) -> Job:
    """The new job, as its parents let it be: BLOCKED, CANCELLED at once, or as it is."""
    if job.options.on_dependency_failure == "cancel" and any(_failed(parent) for parent in parents):
        return ended(job, Status.CANCELLED, Reason.DEPENDENCY, times)
    if all(parent.status.ended for parent in parents):
        return job
    return replace(job, status=Status.BLOCKED, next_attempt_at=None, due_at=job.options.expires_at)


def _failed(parent: Job) -> bool:
    return parent.status in (Status.FAILED, Status.CANCELLED)


def resolve(table: Table, times: Times) -> bool:
    """Tell those who wait what has ended; True if some are left for the next batch."""
    if not table.links():
        return False
    kept = table.resolving(MOST)
    old, ends, touched = set(kept), deque(kept), dict[str, None]()
    left = MOST
    first = len(kept) == MOST  # there may be more of them, and they come before those of this batch
    ends += [] if first else table.ends()
    while ends and left > 0:
        end = ends.popleft()
        children = table.children(end, left + 1)
        for seq, id in children[:left]:
            if not _tell(table, end, seq, id, times):
                touched[id] = None
        if len(children) > left:
            ends.appendleft(end)
        elif end in old:
            table.resolved(end)
        left -= len(children)
        ends += [] if first else table.ends()
    for id in touched:
        _release(table, table.job(id), times)
    more = [end for end in [*ends, *table.ends()] if end in old or table.children(end, 1)]
    for end in more:
        if end not in old:
            table.resolve_later(end)
    return bool(more)


def _tell(table: Table, end: End, seq: int, id: str, times: Times) -> bool:
    """One child hears of the end; True if that cancels it."""
    if not end.met:
        child = table.job(id)
        if child.options.on_dependency_failure == "cancel":
            table.put(child, ended(child, Status.CANCELLED, Reason.DEPENDENCY, times))
            return True
    table.meet(end.parent, seq)
    return False


def _release(table: Table, child: Job, times: Times) -> None:
    """The child need not wait any longer, if it does not: it is QUEUED, or SCHEDULED where its time is ahead."""
    if child.status is not Status.BLOCKED or table.waits(child):
        return
    run_at = child.options.run_at
    if run_at is None or run_at <= times.now:
        table.put(child, queued(child, place=table.next_seq()))
        return
    waiting = replace(child, status=Status.SCHEDULED, next_attempt_at=run_at)
    table.put(child, replace(waiting, due_at=due_at(waiting)))
