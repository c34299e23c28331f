"""Unique keys: of those who name the same key in a queue, one job holds it, and the others are told so.

How long it is held stands in the job (`Job.holds_key`): until its first start, until it has ended, or until it is
removed. The table follows that by itself; here is what becomes of a second one who comes meanwhile.
"""

from __future__ import annotations

from jobqueue.errors import Duplicate, Fault
from jobqueue.job import Job, Status, Unique
from jobqueue.rules.table import Table


def meets(unique: Unique, holder: Job, pointer: str) -> bool:
    """What a new job does that finds its key held: it replaces the holder (True), or stands back for it (False).

    Raises Duplicate, pointing there: it is to be refused, or the holder that it should replace is running.
    """
    if unique.on_conflict == "return":
        return False
    if unique.on_conflict == "reject" or holder.status is Status.RUNNING:
        raise _duplicate(unique, holder.id, holder.status, pointer)
    return True


def check_retry(table: Table, job: Job) -> None:
    """Whether the job may start afresh, as far as its key is concerned. Raises Duplicate."""
    unique = job.options.unique
    if unique is None:
        return
    holder = table.holder(job.queue, unique.key)
    if holder is not None and holder != job.id:
        raise _duplicate(unique, holder, None, "")


def _duplicate(unique: Unique, holder: str, status: Status | None, pointer: str) -> Duplicate:
    held = f"is held by job {holder}" + (f", which is {status.name}" if status is not None else "")
    faults = (Fault(pointer, held),) if pointer else ()
    return Duplicate(f"the unique key {unique.key} {held}", faults=faults, extra={"id": holder})
