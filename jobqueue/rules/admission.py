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

from jobqueue.clock import Micros
from jobqueue.job import Job, Lane, LaneKey, Status
from jobqueue.rules import caps, lifecycle
from jobqueue.rules.isolation import Isolation
from jobqueue.rules.lifecycle import Times
from jobqueue.rules.table import Table

ALL_QUEUES = ("*",)


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
    """What was claimed: for each want the started jobs, for its first workers in order; and the quarantine after.

    again_at: when a queue that is at its rate may start another one; None = no such queue was met.
    """

    jobs: tuple[tuple[Job, ...], ...]
    isolation: Isolation
    again_at: Micros | None = None


def claim(table: Table, wants: Sequence[Want], node: Node, times: Times) -> Claims:
    """Start jobs for those who want them; as many as are ready and may start."""
    isolation, free = _quarantine(table, node)
    taken: list[tuple[Job, ...]] = []
    again: list[Micros] = []
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
            if len(jobs) < len(want.workers):
                again += _again(table, want, times)
        else:
            taken.append(())
    return Claims(tuple(taken), isolation, min(again, default=None))


def _again(table: Table, want: Want, times: Times) -> list[Micros]:
    """When to look again although nothing happens: when the queues with jobs that are at their rate may go on."""
    moments: list[Micros] = []
    for name in _queues(table, want):
        queue = table.queue(name)
        if queue is not None and queue.caps.rate is not None and table.count(name, Status.QUEUED):
            moments.append(caps.reopens(table.window(name, None), queue.caps.rate, times.now))
    return [moment for moment in moments if moment > times.now]


def unbind(table: Table) -> None:
    """The clock was set back: moments at which more may start are now too far off, so claims find them anew."""
    for name in table.configured():
        queue = table.queue(name)
        if queue is not None and (queue.caps.rate is not None or queue.group.rate is not None):
            table.open_all(name)


def freed(table: Table, times: Times) -> bool:
    """Whether more may start in queues with caps than before the batch, so that takers should ask again."""
    return any(table.count(name, Status.QUEUED) and room(table, name, times) != 0 for name in table.changes.freed)


def room(table: Table, name: str, times: Times) -> int | None:
    """How many jobs of the queue may start now; None = as many as there are."""
    queue = table.queue(name)
    if queue is None:
        return None
    if queue.paused:
        return 0
    rooms: list[int] = []
    if queue.caps.concurrency is not None:
        rooms.append(max(0, queue.caps.concurrency - table.count(name, Status.RUNNING)))
    if queue.caps.rate is not None:
        rooms.append(caps.room(table.window(name, None), queue.caps.rate, times.now))
    return min(rooms, default=None)


def group_room(table: Table, name: str, group: str | None, times: Times) -> int | None:
    """How many jobs of one group of the queue may start now, as far as the group is concerned."""
    queue = table.queue(name)
    if queue is None or group is None or not queue.group:
        return None
    rooms: list[int] = []
    if queue.group.concurrency is not None:
        rooms.append(max(0, queue.group.concurrency - table.group_running(name, group)))
    if queue.group.rate is not None:
        rooms.append(caps.room(table.window(name, group), queue.group.rate, times.now))
    return min(rooms, default=None)


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
        lane = _suspects(table, queue, times)
        if lane is None:
            continue
        if node.running:
            if isolation.rested(node.monotonic):
                isolation = isolation.hold(node.monotonic)
            return isolation, None, not isolation.holding(node.monotonic)
        job = table.heads(lane.key, 1)[0]
        table.serve(lane.key, lane.turn, lane.turn + table.step(lane.key))
        job = lifecycle.start(table, job, want.workers[0], times, alone=True)
        _count_starts(table, [job], times)
        return isolation.start(job.id, job.epoch, node.monotonic), job, False
    return isolation, None, True


def _suspects(table: Table, queue: str, times: Times) -> Lane | None:
    """The first lane of suspects of which one may start."""
    while lanes := table.ready(queue, 1, suspect=True):
        if room(table, queue, times) == 0:
            return None
        if group_room(table, queue, lanes[0].key.group, times) != 0:
            return lanes[0]
        _close(table, lanes[0].key, times)
    return None


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
        table.serve(key, turn, turn + table.step(key))
    _count_starts(table, jobs, times)
    return tuple(jobs)


def _count_starts(table: Table, jobs: Sequence[Job], times: Times) -> None:
    """Note against the rates of queues and groups what has started."""
    for name, of_queue in _by_queue(jobs).items():
        queue = table.queue(name)
        if queue is None:
            continue
        if queue.caps.rate is not None:
            window = caps.count(table.window(name, None), queue.caps.rate, times.now, len(of_queue))
            table.count_starts(name, None, window)
        if queue.group.rate is not None:
            for group, starts in Counter(job.group for job in of_queue if job.group is not None).items():
                window = caps.count(table.window(name, group), queue.group.rate, times.now, starts)
                table.count_starts(name, group, window)
                table.regroup(queue, group, times.now)


def _by_queue(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    queues: dict[str, list[Job]] = {}
    for job in jobs:
        queues.setdefault(job.queue, []).append(job)
    return queues


def _pick(table: Table, want: Want, times: Times) -> Sequence[Pick]:
    """As many jobs as there are workers, in order: one queue after the other in rounds, each by its own lanes."""
    queues = [queue for queue in _queues(table, want) if table.count(queue, Status.QUEUED)]
    count = len(want.workers)
    if len(queues) == 1:
        return _of_queue(table, queues[0], count, times)
    first = int(times.chance() * len(queues))  # or a full queue would starve those behind it, one taker at a time
    sources = [_of_queue(table, queue, count, times) for queue in queues[first:] + queues[:first]]
    rounds = zip_longest(*sources)
    return [pick for picks in rounds for pick in picks if pick is not None][:count]


def _of_queue(table: Table, queue: str, count: int, times: Times) -> Sequence[Pick]:
    """Up to `count` jobs of a queue in the order in which they are to be served."""
    left = room(table, queue, times)
    if left is not None:
        count = min(count, left)
        if not count:
            return ()
    lanes = table.ready(queue, count)
    if len(lanes) == 1 and (lanes[0].key.group is None or not _caps_groups(table, queue)):
        lane = lanes[0]
        step = table.step(lane.key)
        return [Pick(job, lane.key, lane.turn + step * n) for n, job in enumerate(table.heads(lane.key, count))]
    order = turns(table, lanes, count, times)
    asked = count
    while len(order) < count and len(lanes) == asked:  # groups at their caps were passed over: look further
        asked *= 4
        lanes = table.ready(queue, asked)
        order = turns(table, lanes, count, times)
    amounts = Counter(key for key, _ in order)
    heads = {key: iter(table.heads(key, amount)) for key, amount in amounts.items()}
    return [Pick(job, key, turn) for key, turn in order if (job := next(heads[key], None)) is not None]


def _caps_groups(table: Table, queue: str) -> bool:
    settings = table.queue(queue)
    return settings is not None and bool(settings.group)


def _close(table: Table, lane: LaneKey, times: Times) -> None:
    """The group of the lane is at a cap: it leaves the ready index."""
    queue = table.queue(lane.queue)
    if queue is not None and lane.group is not None:
        table.regroup(queue, lane.group, times.now)


def turns(table: Table, lanes: Sequence[Lane], count: int, times: Times | None) -> list[tuple[LaneKey, float]]:
    """Whose turn it is, `count` times: the lane and its turn. A group at a cap is passed over, if the time is told."""
    order: list[tuple[LaneKey, float]] = []
    rooms: dict[str | None, int | None] = {}
    heap = [(-lane.key.priority, lane.turn, lane.key.group or "", n, lane.queued) for n, lane in enumerate(lanes)]
    heapq.heapify(heap)
    while heap and len(order) < count:
        priority, turn, group, index, left = heap[0]
        key = lanes[index].key
        if key.group not in rooms:
            rooms[key.group] = None if times is None else group_room(table, key.queue, key.group, times)
            if times is not None and rooms[key.group] == 0:  # it has reached its rate, or its cap was lowered
                _close(table, key, times)
        room_left = rooms[key.group]
        if room_left == 0:
            heapq.heappop(heap)
            continue
        if room_left is not None:
            rooms[key.group] = room_left - 1
        order.append((key, turn))
        if left > 1:
            heapq.heapreplace(heap, (priority, turn + table.step(key), group, index, left - 1))
        else:
            heapq.heappop(heap)
    return order
