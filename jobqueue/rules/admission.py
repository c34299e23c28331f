"""Admission: which queued jobs are claimed, and for whom.

A claim looks at lanes, never at the jobs in them, so it costs the same with a thousand or a million queued. In a queue
the highest priority is served first; there the lane with the smallest turn (start-time fair queueing: P. Goyal, H. Vin,
H. Cheng, "Start-time Fair Queueing", SIGCOMM 1996), and in it the job with the lowest place. Each claim moves the
lane's turn on by 1/weight, so lanes are served round by round, however full one of them is. Of several queues that have
jobs none goes before the others: chance picks the first, then they take turns.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import NamedTuple

import msgspec

from jobqueue.job import Job, Lane, LaneKey, Status
from jobqueue.rules import lifecycle
from jobqueue.rules.isolation import Isolation
from jobqueue.rules.lifecycle import Times
from jobqueue.rules.table import Table

ALL_QUEUES = ("*",)
STEP = 1.0  # what a claim moves a lane's turn on by: 1 / weight


@dataclass(frozen=True, slots=True)
class Want:
    """Takers that wait for jobs of these queues (`ALL_QUEUES` = any), by name."""

    queues: tuple[str, ...]
    workers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """This node as admission sees it: how many attempts run on it, its quarantine, its monotonic clock in seconds."""

    running: int
    isolation: Isolation
    monotonic: float


@dataclass(frozen=True, slots=True)
class Claims:
    """What was claimed: for each want the started jobs, for its first workers in order; and the quarantine after."""

    jobs: tuple[tuple[Job, ...], ...]
    isolation: Isolation


def claim(table: Table, wants: Sequence[Want], node: Node, times: Times) -> Claims:
    """Start jobs for those who want them; as many as are ready and may start."""
    isolation, free = _quarantine(table, node)
    taken: list[tuple[Job, ...]] = []
    for want in wants:
        if not free:
            taken.append(())
            continue
        isolation, suspect, free = _suspect(table, want, replace(node, isolation=isolation), times)
        if suspect is not None:
            taken.append((suspect,))
        elif free:
            jobs = _start(table, _pick(table, want, times), want, times)
            node = replace(node, running=node.running + len(jobs))
            taken.append(jobs)
        else:
            taken.append(())
    return Claims(tuple(taken), isolation)


def _quarantine(table: Table, node: Node) -> tuple[Isolation, bool]:
    """The quarantine as it now is, and whether anything may be claimed."""
    isolation = node.isolation
    if isolation.alone is None:
        return isolation, True
    id, epoch = isolation.alone
    job = table.find(id)
    if job is not None and job.status is Status.RUNNING and job.epoch == epoch:
        if node.monotonic < isolation.alone_until:
            return isolation, False
        # from now on others run beside it, and a death no longer convicts it
        table.put(job, msgspec.structs.replace(job, alone=False))
    return replace(isolation, alone=None), True


def _suspect(table: Table, want: Want, node: Node, times: Times) -> tuple[Isolation, Job | None, bool]:
    """Start a suspect alone, if one waits and nothing runs. The bool: whether others may be claimed."""
    isolation = node.isolation
    for queue in _queues(table, want):
        lanes = table.ready(queue, 1, suspect=True)
        if not lanes:
            continue
        if node.running:
            if isolation.rested(node.monotonic):
                isolation = isolation.hold(node.monotonic)
            return isolation, None, not isolation.holding(node.monotonic)
        lane = lanes[0]
        job = table.heads(lane.key, 1)[0]
        table.serve(lane.key, lane.turn, lane.turn + STEP)
        job = lifecycle.start(table, job, want.workers[0], times, alone=True)
        return isolation.start(job.id, job.epoch, node.monotonic), job, False
    return isolation, None, True


def _queues(table: Table, want: Want) -> Sequence[str]:
    return table.queues() if want.queues == ALL_QUEUES else tuple(dict.fromkeys(want.queues))


class Pick(NamedTuple):
    """A job to start, its lane, and the turn of that from which it is served."""

    job: Job
    lane: LaneKey
    began: float


def _start(table: Table, picks: Sequence[Pick], want: Want, times: Times) -> tuple[Job, ...]:
    """Start the picked jobs for the first workers, and move their lanes on."""
    began: dict[LaneKey, float] = {}
    jobs: list[Job] = []
    for (job, lane, turn), worker in zip(picks, want.workers, strict=False):
        began[lane] = turn
        jobs.append(lifecycle.start(table, job, worker, times, alone=False))
    for key, turn in began.items():
        table.serve(key, turn, turn + STEP)
    return tuple(jobs)


def _pick(table: Table, want: Want, times: Times) -> Sequence[Pick]:
    """As many jobs as there are workers, in order: one queue after the other in rounds, each by its own lanes."""
    queues = [queue for queue in _queues(table, want) if table.count(queue, Status.QUEUED)]
    count = len(want.workers)
    if len(queues) == 1:
        return _of_queue(table, queues[0], count)
    first = int(times.chance() * len(queues))  # or a full queue would starve those behind it, one taker at a time
    sources = [_of_queue(table, queue, count) for queue in queues[first:] + queues[:first]]
    rounds = zip_longest(*sources)
    return [pick for picks in rounds for pick in picks if pick is not None][:count]


def _of_queue(table: Table, queue: str, count: int) -> Sequence[Pick]:
    """Up to `count` jobs of a queue in the order in which they are to be served."""
    lanes = table.ready(queue, count)
    if len(lanes) == 1:
        lane = lanes[0]
        return [Pick(job, lane.key, lane.turn + step * STEP) for step, job in enumerate(table.heads(lane.key, count))]
    order = _turns(lanes, count)
    amounts = Counter(key for key, _ in order)
    heads = {key: iter(table.heads(key, amount)) for key, amount in amounts.items()}
    return [Pick(job, key, turn) for key, turn in order if (job := next(heads[key], None)) is not None]


def _turns(lanes: Sequence[Lane], count: int) -> list[tuple[LaneKey, float]]:
    """Whose turn it is, `count` times: the lane, and its turn then."""
    order: list[tuple[LaneKey, float]] = []
    heap = [(-lane.key.priority, lane.turn, index, lane.queued) for index, lane in enumerate(lanes)]
    heapq.heapify(heap)
    while heap and len(order) < count:
        priority, turn, index, left = heap[0]
        order.append((lanes[index].key, turn))
        if left > 1:
            heapq.heapreplace(heap, (priority, turn + STEP, index, left - 1))
        else:
            heapq.heappop(heap)
    return order
