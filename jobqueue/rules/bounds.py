"""Bounds on what may wait: how many jobs a queue holds, how many lanes, and how many queues there are (promise 5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from jobqueue.errors import Fault, Invalid, QueueFull, retry_after
from jobqueue.job import Draft, LaneKey
from jobqueue.rules.lifecycle import Times
from jobqueue.rules.table import Table

NOTHING_FREED: Mapping[str, int] = MappingProxyType({})
MOST_QUEUES = 1_000
MOST_LANES = 100_000  # of a queue


def check(table: Table, drafts: Sequence[Draft], times: Times, freed: Mapping[str, int] = NOTHING_FREED) -> None:
    """Whether there is room for all of the drafts. Raises QueueFull; Invalid for a queue too many.

    freed: by queue, how many fewer jobs will wait than there are drafts.
    """
    single = len(drafts) == 1
    wanted = {drafts[0].queue: 1} if single else Counter(draft.queue for draft in drafts)
    new: list[str] = []
    for queue, count in wanted.items():
        waiting = table.waiting(queue)
        _check_room(table, queue, waiting, count - freed.get(queue, 0) if freed else count, times)
        if not waiting and not table.known(queue):
            new.append(queue)
    if new and table.names() + len(new) > MOST_QUEUES:
        first = next(index for index, draft in enumerate(drafts) if draft.queue in new)
        raise too_many_queues(f"/{first}/queue")
    if single and drafts[0].group is None and not drafts[0].priority:
        return
    grouped = [draft for draft in drafts if draft.group is not None or draft.priority]
    if grouped:
        _check_lanes(table, grouped, times)


def too_many_queues(pointer: str) -> Invalid:
    """The error that refuses another queue."""
    detail = f"there are {MOST_QUEUES:,} queues already, and that is the limit"
    return Invalid(detail, faults=(Fault(pointer, detail),))


def _check_room(table: Table, queue: str, waiting: int, count: int, times: Times) -> None:
    settings = table.queue(queue)
    own = None if settings is None else settings.max_queued
    most = times.limits.max_queued if own is None else own
    if waiting + count > most and count > 0:
        raise _full(f"queue {queue} holds {waiting} waiting jobs of at most {most}", queue, count, times)


def _check_lanes(table: Table, drafts: Sequence[Draft], times: Times) -> None:
    """A new group, or a new priority of one, is a new lane."""
    lanes = dict.fromkeys(LaneKey(draft.queue, draft.priority, draft.group) for draft in drafts)
    new = Counter(lane.queue for lane in lanes if not table.has_lane(lane))
    for queue, count in new.items():
        if table.lanes(queue) + count > MOST_LANES:
            raise _too_many_lanes(queue, count, times)


def check_lane(table: Table, lane: LaneKey, times: Times) -> None:
    """Whether a job may move to that lane. Raises QueueFull."""
    if not table.has_lane(lane) and table.lanes(lane.queue) >= MOST_LANES:
        raise _too_many_lanes(lane.queue, 1, times)


def _too_many_lanes(queue: str, count: int, times: Times) -> QueueFull:
    detail = f"queue {queue} holds jobs of {MOST_LANES:,} groups and priorities, and that is the limit"
    return _full(detail, queue, count, times)


def _full(detail: str, queue: str, count: int, times: Times) -> QueueFull:
    return QueueFull(detail, headers=retry_after(times.comeback(queue, count)))
