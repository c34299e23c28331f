"""The oracle of schedules: one job a fire time, on time where somebody watched, and never one for it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobqueue.clock import SECOND, Micros, micros
from jobqueue.job import Job, Reason
from jobqueue.schedule import Schedule

PREFIX = "s:"  # of the keys in the payloads of their jobs
RESTART_SECONDS = 1.0  # so long before a start a fire time may still be on time


class Facts:
    """What is known of the moment.

    begun, up: since when the process has lived, and has been serving; exact: all clocks run evenly.
    """

    def __init__(self, now: Micros, begun: Micros, up: Micros, slack: float, *, exact: bool) -> None:
        self.now = now
        self.begun = begun
        self.up = up
        self.slack = micros(slack)
        self.exact = exact


class Timetable:
    """The schedules as committed, and what they have made."""

    def __init__(self) -> None:
        self.schedules: dict[str, Schedule] = {}
        self._log: dict[str, list[tuple[int, Schedule | None]]] = {}
        self._versions: dict[str, int] = {}
        self._fired: set[tuple[str, int, Micros]] = set()
        self._made: dict[str, list[Job]] = {}  # since the schedule was last kept
        self._batch: set[str] = set()  # those that made a job in this batch
        self._replaced: list[tuple[str, Job]] = []

    def accepted(self, key: str, job: Job) -> None:
        """A job came."""
        if key.startswith(PREFIX):
            name = key.removeprefix(PREFIX)
            self._made.setdefault(name, []).append(job)
            self._batch.add(name)

    def replaced(self, key: str, before: Job, after: Job) -> bool:
        """Whether this is a job that gives way to the next one of its schedule; whether there is one, `settle` says."""
        if after.reason is not Reason.REPLACED or before.reason is Reason.REPLACED or not key.startswith(PREFIX):
            return False
        self._replaced.append((key.removeprefix(PREFIX), before))
        return True

    def settle(self) -> str | None:
        """The batch is over."""
        wrong = [job.id for name, job in self._replaced if name not in self._batch]
        left = [jobs for jobs in self._made.values() if jobs]
        self._replaced.clear()
        self._batch.clear()
        if left:
            return f"{left[0][0].id} was made by a schedule that does not know it"
        return f"{wrong[0]} was replaced, but its schedule made no other job" if wrong else None

    def planned(
        self, name: str, after: Schedule | None, jobs: Mapping[str, Job], tick: int, facts: Facts
    ) -> str | None:
        """A schedule was put, fired, triggered or deleted. What is wrong with that."""
        before = self.schedules.get(name)
        made = self._made.pop(name, [])
        self._log.setdefault(name, []).append((tick, after))
        if after is None:
            self.schedules.pop(name, None)
            return None if before is None else self._overdue(before, facts)
        self.schedules[name] = after
        if before is None or _how(before) != _how(after):
            self._versions[name] = self._versions.get(name, 0) + 1
            first = following(after, after.anchor)  # that of the moment in which it was decided
            return None if after.next_at == first else f"{name} fires first at {after.next_at}, not at {first}"
        if after.next_at == before.next_at:
            return f"{name} was triggered, and made {len(made)} jobs" if len(made) > 1 else None
        if before.paused:
            resumed = not made and not after.paused and (after.next_at or 0) > facts.now - facts.slack
            return None if resumed else f"{name} fired though it is paused, and made {made}"
        return self._fires(before, after, made, jobs, facts)

    def _fires(
        self, before: Schedule, after: Schedule, made: list[Job], jobs: Mapping[str, Job], facts: Facts
    ) -> str | None:
        """Time has passed some fire times."""
        assert before.next_at is not None
        assert after.next_at is not None
        name, times = before.name, _times(before, before.next_at, after.next_at)
        if after.next_at < before.next_at:
            return f"{name} goes back from {before.next_at} to {after.next_at}"
        if facts.exact and before.next_at > facts.now:
            return f"{name} fired at {facts.now}, before {before.next_at}"
        for job in made:
            at = job.options.run_at or 0
            fire = (name, self._versions[name], at)
            if at not in times or fire in self._fired:
                return f"{name} made {job.id} for {at}, which is no fire time of its, or fired already"
            self._fired.add(fire)
        if not facts.exact or after.last_error is not None:
            return None
        return self._duty(before, times, {job.options.run_at or 0 for job in made}, jobs, facts)

    def _duty(
        self, before: Schedule, times: list[Micros], made: set[Micros], jobs: Mapping[str, Job], facts: Facts
    ) -> str | None:
        """What of the fire times must have made a job, and what must not."""
        missed = [at for at in times if at < facts.begun - micros(RESTART_SECONDS)]
        if len(made & set(missed)) > (before.catch_up == "one"):
            return f"{before.name} missed {missed}, and made jobs for {made & set(missed)}"
        last = jobs.get(before.last_id or "")
        busy = before.overlap == "skip" and last is not None and not last.status.ended
        for at in times:
            if at >= facts.up:  # somebody watched
                if (at in made) == busy:
                    return f"{before.name}, overlap {before.overlap}, last job {last}, made {made} of {times}"
                if facts.now - at > facts.slack:
                    return f"{before.name} fired {(facts.now - at) / 1e6} s too late"
            busy = busy or (before.overlap == "skip" and at in made)
        return None

    def _overdue(self, schedule: Schedule, facts: Facts) -> str | None:
        if schedule.paused or not facts.exact or schedule.next_at is None:
            return None
        late = facts.now - max(schedule.next_at, facts.up)
        return f"{schedule.name} has not fired for {late / 1e6} s" if late > facts.slack else None

    def shown(self, name: str, shown: Mapping[str, Any] | None, since: int) -> str | None:
        """An answer shows a schedule, or says that there is none (None)."""
        log = self._log.get(name, [])
        had = [entry for at, entry in log if at <= since][-1:] or [None]
        had += [entry for at, entry in log if at > since]
        says = None if shown is None else (shown["overlap"], shown["catch_up"], shown["paused"], shown["last_job"])
        was = [entry and (entry.overlap, entry.catch_up, entry.paused, entry.last_id) for entry in had]
        return None if says in was else f"schedule {name} was shown as {shown}, but was {had}"


def _how(schedule: Schedule) -> tuple[str | None, float | None]:
    return schedule.cron, schedule.every


def following(schedule: Schedule, at: Micros) -> Micros:
    """The first fire time after a moment. The expressions that are drawn are all of the form `*/N * * * * *`."""
    if schedule.every is not None:
        step, start = micros(schedule.every), schedule.anchor
    else:
        step, start = int(str(schedule.cron).partition(" ")[0].removeprefix("*/")) * SECOND, 0
    return start + ((at - start) // step + 1) * step


def _times(schedule: Schedule, first: Micros, end: Micros) -> list[Micros]:
    """The fire times from `first` up to `end`."""
    times: list[Micros] = []
    while first < end and len(times) < 10_000:
        times.append(first)
        first = following(schedule, first)
    return times
