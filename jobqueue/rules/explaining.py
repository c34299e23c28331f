"""Why a job is not running: the causes, its place in the line, and when it may start; for people and for programs.

It reads what admission reads, and changes nothing. Several causes may hold at once: first what the job itself waits
for, then what holds its whole queue, then what will pass by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jobqueue.clock import Micros, iso, micros
from jobqueue.job import Job, Status
from jobqueue.queue import Caps, Queue, Rate
from jobqueue.rules import admission, caps
from jobqueue.rules.isolation import Quarantine
from jobqueue.rules.lifecycle import Times
from jobqueue.rules.table import Table

LINE_MOST = 1_000  # places that are counted
PARENTS_MOST = 20  # jobs waited for that are named
LATELY_SECONDS = 120.0  # twice as long as a taker may wait before it asks again
NO_QUARANTINE = Quarantine()


class Taker(NamedTuple):
    """Somebody who asked for jobs of these queues, so many seconds ago; 0 = waits for one now."""

    queues: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Around:
    """What is to be known beside the table.

    local: the queues that local workers serve. running: attempts on this node. per_second: how many jobs of the queue
    have ended a second of late.
    """

    takers: Sequence[Taker] = ()
    local: tuple[str, ...] = ()
    quarantine: Quarantine = NO_QUARANTINE
    running: int = 0
    per_second: float | None = None


class Cause(NamedTuple):
    """One cause. `more` is for programs; until: when it is over, if that is known."""

    cause: str
    detail: str
    more: dict[str, Any]
    until: Micros | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer. place: 1 = next, LINE_MOST = that or a later one, None = not in line."""

    causes: tuple[Cause, ...] = ()
    place: int | None = None
    estimated_start: Micros | None = None
    expires_at: Micros | None = None


def explain(table: Table, id: str, around: Around, times: Times) -> Explanation:
    """Why the job is not running; no causes if it is, or has ended. Raises NotFound, Removed."""
    job = table.job(id)
    if job.status is Status.RUNNING or job.status.ended:
        return Explanation()
    queue = table.queue(job.queue) or Queue(job.queue)
    causes = [*_itself(table, job), *_paused(queue), *_unserved(table, job, around, times)]
    if job.status is not Status.QUEUED:
        start = None if job.next_attempt_at is None else max(job.next_attempt_at, times.now)
        return Explanation(tuple(causes), None, start, job.options.expires_at)
    held = bool(causes)
    place = place_of(table, job)
    causes += [*_alone(table, job, around), *_capped(table, job, queue, times)]
    if place > 1 or not causes:
        causes.append(_behind(table, job, place))
    start = None if held else _estimate(table, job, queue, causes, place, around, times)
    return Explanation(tuple(causes), place, start, job.options.expires_at)


def place_of(table: Table, job: Job) -> int:
    """The place of a QUEUED job in the order in which its queue is served, up to LINE_MOST; caps of groups aside."""
    own = job.lane
    lanes = table.ready(job.queue, LINE_MOST, suspect=job.suspect)
    if all(lane.key != own for lane in lanes):  # its group is at a cap
        lanes = [*lanes, table.lane(own)]
    before = table.ahead(job, LINE_MOST)
    for place, (lane, _) in enumerate(admission.turns(table, lanes, LINE_MOST, None), 1):
        if lane == own:
            if not before:
                return place
            before -= 1
    return LINE_MOST


def _itself(table: Table, job: Job) -> Sequence[Cause]:
    if job.status is Status.SCHEDULED and job.next_attempt_at is not None:
        until = iso(job.next_attempt_at)
        what = f"try {job.attempt + 1} is due" if job.attempt else "it is due"
        return [Cause("scheduled", f"{what} at {until}", {"until": until}, job.next_attempt_at)]
    if job.status is Status.BLOCKED:
        unmet = table.parents(job, len(job.options.depends_on))
        named = [parent for id in unmet[:PARENTS_MOST] if (parent := table.find(id)) is not None]
        jobs = [{"id": parent.id, "status": parent.status.name} for parent in named]
        more = {"unmet": len(unmet), "jobs": jobs}
        if not unmet:
            return [Cause("dependency", "all that it waited for has ended: it is about to go on", more)]
        plural = "job has" if len(unmet) == 1 else "jobs have"
        return [Cause("dependency", f"{len(unmet)} {plural} to end before it", more)]
    return ()


def _paused(queue: Queue) -> Sequence[Cause]:
    if not queue.paused:
        return ()
    return [Cause("paused", f"queue {queue.name} is paused", {"queue": queue.name})]


def _unserved(table: Table, job: Job, around: Around, times: Times) -> Sequence[Cause]:
    """Nobody takes jobs of the queue: not here, not by asking lately, and none of them is at work."""
    if _serves(around.local, job.queue) or table.count(job.queue, Status.RUNNING):
        return ()
    last = min((taker.seconds for taker in around.takers if _serves(taker.queues, job.queue)), default=None)
    if last is not None and last <= LATELY_SECONDS:
        return ()
    asked = None if last is None else iso(times.now - micros(last))
    since = f"since {asked}" if asked else "so far"
    detail = f"no local worker serves queue {job.queue}, and no other has asked for its jobs {since}"
    return [Cause("no-worker", detail, {"queue": job.queue, "last_asked": asked})]


def _serves(queues: Sequence[str], queue: str) -> bool:
    return queue in queues or tuple(queues) == admission.ALL_QUEUES


def _alone(table: Table, job: Job, around: Around) -> Sequence[Cause]:
    """Suspects wait to run alone, and others while one does."""
    more: dict[str, Any] = {"scope": "node", "limit": 1, "running": around.running}
    if job.suspect:
        detail = f"the process died under it {job.crashes} times, so it starts only when nothing else runs here"
        return [Cause("concurrency", detail, more)]
    suspect = None if around.quarantine.alone is None else table.find(around.quarantine.alone)
    if suspect is not None and suspect.status is Status.RUNNING:
        detail = "a job under which the process died runs alone, for at most 30 s"
        return [Cause("concurrency", detail, more | {"alone": suspect.id})]
    if around.quarantine.holding:
        detail = "nothing is started for at most 30 s, so that a job under which the process died can run alone"
        return [Cause("concurrency", detail, more | {"limit": 0})]
    return ()


def _capped(table: Table, job: Job, queue: Queue, times: Times) -> Sequence[Cause]:
    """The caps that are reached, of the queue and of the job's group."""
    running = table.count(job.queue, Status.RUNNING)
    found = _reached(table, queue.caps, running, {"scope": "queue", "queue": queue.name}, times)
    if job.group is not None and queue.group:
        running = table.group_running(job.queue, job.group)
        scope = {"scope": "group", "queue": queue.name, "group": job.group}
        found += _reached(table, queue.group, running, scope, times)
    return sorted(found, key=lambda cause: cause.cause)


def _reached(table: Table, limits: Caps, running: int, scope: dict[str, Any], times: Times) -> list[Cause]:
    name = f"group {scope['group']}" if "group" in scope else f"queue {scope['queue']}"
    found: list[Cause] = []
    if limits.concurrency is not None and running >= limits.concurrency:
        detail = f"{running} jobs of {name} run, of at most {limits.concurrency}"
        found.append(Cause("concurrency", detail, {**scope, "limit": limits.concurrency, "running": running}))
    if limits.rate is not None:
        window = table.window(scope["queue"], scope.get("group"))
        if not caps.room(window, limits.rate, times.now):
            until = caps.reopens(window, limits.rate, times.now)
            rate = {"limit": limits.rate.limit, "per": _number(limits.rate.per), "until": iso(until)}
            detail = f"{name} may start {rate['limit']} jobs in {rate['per']} s; the next may start at {rate['until']}"
            found.append(Cause("rate", detail, {**scope, **rate}, until))
    return found


def _number(seconds: float) -> float:
    return int(seconds) if seconds == int(seconds) else seconds


def _behind(table: Table, job: Job, place: int) -> Cause:
    ahead = place - 1
    more = {"ahead": ahead, "running": table.count(job.queue, Status.RUNNING)}
    if not ahead:
        return Cause("behind", "it is the next one, and waits for a free worker", more)
    least = "at least " if place == LINE_MOST else ""
    plural = "job goes" if ahead == 1 else "jobs go"
    return Cause("behind", f"{least}{ahead:,} {plural} before it", more)


def _estimate(
    table: Table, job: Job, queue: Queue, causes: Sequence[Cause], place: int, around: Around, times: Times
) -> Micros | None:
    """When it may start, by the rate at which the queue has been drained and by the rates that hold it."""
    moments = [cause.until for cause in causes if cause.until is not None]
    if around.per_second:
        before = max(place, table.count(job.queue, Status.QUEUED)) if place == LINE_MOST else place
        moments.append(times.now + micros(before / around.per_second))
    if queue.caps.rate is not None:
        moments.append(_by_rate(table, queue.name, queue.caps.rate, place, times))
    return max(moments, default=None)


def _by_rate(table: Table, queue: str, rate: Rate, place: int, times: Times) -> Micros:
    """The earliest moment at which a rate lets the job of that place start."""
    window = table.window(queue, None)
    room = caps.room(window, rate, times.now)
    if place <= room:
        return times.now
    opens = max(times.now, caps.reopens(window, rate, times.now)) if not room else times.now + micros(rate.per)
    return opens + micros(rate.per) * ((place - room - 1) // rate.limit)
