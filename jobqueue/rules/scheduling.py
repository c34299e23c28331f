"""What schedules do: a fire time that comes while somebody watches makes exactly one job, in the commit that moves on.

The scheduler asks now and then, and says of each ask from when on it has watched the clock. Fire times since then are
on time. Older ones were missed: the server was down, or its clock was put forward over them; `catch_up` says whether
they get a job, one for all of them. `next_at` moves on in the same commit and never back, so no time fires twice:
not after a crash, and not when the clock is put back.

The job of a fire time has that time as its `run_at`; `delay` in its submission counts from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from jobqueue.clock import Micros, micros
from jobqueue.errors import Fault, Invalid, JobQueueError, NotFound
from jobqueue.job import Draft, Job, Reason, Status
from jobqueue.rules import acceptance, bounds, idempotency, lifecycle, uniqueness
from jobqueue.rules.idempotency import Accepted
from jobqueue.rules.lifecycle import Times
from jobqueue.rules.recurrence import BadRecurrence, Recurrence, next_after, upcoming
from jobqueue.rules.table import Table
from jobqueue.schedule import Schedule

replace = msgspec.structs.replace

SCHEDULES_MOST = 10_000
FIRES_MOST = 100  # a batch, so that a full hour never holds up a submission for long
BYTES_MOST = 4 << 20
SHOWN = 5  # of the next runs


class Fired(NamedTuple):
    """What came of an ask: when the next schedule fires (it may be now), and why some fires made no job, by name."""

    next_at: Micros | None
    dropped: tuple[tuple[str, str], ...]


def recurrence_of(schedule: Schedule) -> Recurrence:
    """How it repeats."""
    return Recurrence(schedule.cron, schedule.every, schedule.timezone)


def next_runs(schedule: Schedule, now: Micros) -> list[Micros]:
    """Its next fire times; of a paused one those that it would have if it went on now."""
    try:
        first = _resumed(schedule, now) if schedule.paused else schedule.next_at
        more = [] if first is None else upcoming(recurrence_of(schedule), first, schedule.anchor, SHOWN - 1)
    except BadRecurrence:  # its zone is no longer known
        return []
    return [] if first is None else [first, *more]


def _after(schedule: Schedule, at: Micros) -> Micros | None:
    return next_after(recurrence_of(schedule), at, schedule.anchor)


def _resumed(schedule: Schedule, now: Micros) -> Micros | None:
    """The next fire time of one that was paused: what it missed is over, and what has fired never fires again."""
    following = _after(schedule, now)
    return following if following is None or schedule.next_at is None else max(following, schedule.next_at)


def find(table: Table, name: str) -> Schedule:
    """The schedule. Raises NotFound."""
    schedule = table.schedule(name)
    if schedule is None:
        raise NotFound(f"no schedule {name}")
    return schedule


def put(table: Table, asked: Schedule, times: Times) -> tuple[Schedule, bool]:
    """Keep a schedule as it was asked for (its recurrence checked); True if it is new. Raises Invalid: too many.

    As long as the recurrence stays the same it goes on as it was, so the same request twice changes nothing.
    """
    old = table.schedule(asked.name)
    if old is None:
        if table.schedules() >= SCHEDULES_MOST:
            detail = f"there are {SCHEDULES_MOST:,} schedules, as many as may be"
            raise Invalid(detail, faults=(Fault("/name", detail),))
        asked = replace(asked, anchor=times.now)
        new = replace(asked, next_at=_after(asked, times.now))
        table.add_schedule(new)
        return new, True
    if recurrence_of(old) != recurrence_of(asked):
        asked = replace(asked, anchor=times.now, last_id=old.last_id)
        new = replace(asked, next_at=_after(asked, times.now))
    else:
        new = replace(asked, anchor=old.anchor, next_at=old.next_at, last_id=old.last_id, last_error=old.last_error)
        if old.paused and not new.paused:
            new = replace(new, next_at=_resumed(old, times.now))
    if new != old:
        table.keep_schedule(new)
    return new, False


def drop(table: Table, name: str) -> None:
    """Forget a schedule; the jobs it made stay. Raises NotFound."""
    find(table, name)
    table.drop_schedule(name)


def trigger(table: Table, name: str, times: Times) -> Accepted:
    """Make one job now, whatever has not ended and also while paused. Raises NotFound, and what a submission raises.

    It counts as the schedule's last job: the next fire time looks at it as at any other.
    """
    schedule = find(table, name)
    accepted = idempotency.accept(table, (schedule.draft,), None, times)
    table.keep_schedule(replace(schedule, last_id=accepted.jobs[0].id, last_error=None))
    return accepted


def fire(table: Table, since: Micros, until: Micros, times: Times) -> Fired:
    """Fire what is due up to `until`, the earliest first; the clock has been watched from `since` on."""
    left, room = FIRES_MOST, BYTES_MOST
    dropped: list[tuple[str, str]] = []
    for at, name in table.fires(FIRES_MOST):
        if at > until or left <= 0 or room <= 0:
            break
        schedule = find(table, name)
        while schedule.next_at is not None and schedule.next_at <= until and left > 0 and room > 0:
            schedule = _pass(table, schedule, since, until, times)
            left -= 1
            room -= len(schedule.draft.payload)
            if schedule.last_error is not None:
                dropped.append((name, schedule.last_error))
        table.keep_schedule(schedule)
    following = table.fires(1)
    return Fired(following[0][0] if following else None, tuple(dropped))


def _pass(table: Table, schedule: Schedule, since: Micros, until: Micros, times: Times) -> Schedule:
    """Go past one fire time, or at once past all that were missed; the schedule after that."""
    at = schedule.next_at
    assert at is not None  # noqa: S101 - it was asked for
    missed = at < since
    try:
        following = _after(schedule, min(since - 1, until) if missed else at)
    except BadRecurrence as bad:  # its zone is no longer known
        return replace(schedule, next_at=None, last_error=f"{bad.field} {bad.message}")
    schedule = replace(schedule, next_at=following, last_error=None)
    if missed and schedule.catch_up == "none":
        return schedule
    try:
        return _overlapping(table, schedule, at, times)
    except JobQueueError as error:
        return replace(schedule, last_error=error.detail)


def _overlapping(table: Table, schedule: Schedule, at: Micros, times: Times) -> Schedule:
    """The schedule after the job of a fire time was made, or was not because of the one before."""
    run_at = at + micros(schedule.draft.delay or 0)
    draft = replace(schedule.draft, delay=None, options=replace(schedule.draft.options, run_at=run_at))
    last = None if schedule.last_id is None or schedule.overlap == "queue" else table.find(schedule.last_id)
    freed: dict[str, int] = {}
    if last is not None and not last.status.ended:
        if schedule.overlap == "skip":
            return schedule
        if last.status is not Status.RUNNING:  # it leaves room for the new one, and its unique key
            freed = {last.queue: 1}
            _check(table, draft, last, freed, times)
            _replace(table, last, times)
            last = None
    job = acceptance.take(table, (draft,), times, freed)[0][0]
    if last is not None and last.status is Status.RUNNING and last.id != job.id:
        _replace(table, last, times)
    return replace(schedule, last_id=job.id)


def _check(table: Table, draft: Draft, last: Job, freed: Mapping[str, int], times: Times) -> None:
    """Before the last job gives way: whether the new one will be taken in. Raises what its submission would."""
    bounds.check(table, (draft,), times, freed)
    unique = draft.options.unique
    holder = None if unique is None else table.holder(draft.queue, unique.key)
    if unique is not None and holder is not None and holder != last.id:
        uniqueness.meets(unique, table.job(holder), "/0/unique")


def _replace(table: Table, job: Job, times: Times) -> None:
    lifecycle.cancel(table, job.id, times, Reason.REPLACED)
