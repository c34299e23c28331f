"""A desk with schedules, for the tests of their rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from jobqueue.clock import SECOND, Micros
from jobqueue.job import Job
from jobqueue.rules import scheduling
from jobqueue.rules.lifecycle import Limits, Times
from jobqueue.rules.scheduling import Fired
from jobqueue.rules.table import Table
from jobqueue.schedule import Schedule
from jobqueue.stores.contract import Filter, Needs
from tests.helpers import EPOCH, draft, memory, run

T = TypeVar("T")

DUE = Needs(schedules={"*"})


def schedule(**fields: Any) -> Schedule:
    """A schedule as it is asked for: every 10 s, unless said otherwise."""
    said: dict[str, Any] = {"name": "s", "job": "{}", "draft": draft(), "anchor": 0, "every": 10.0}
    return Schedule(**(said | ({"every": None} if "cron" in fields else {}) | fields))


class Bench:
    """A desk with schedules; times are seconds after `EPOCH`."""

    def __init__(self, **limits: Any) -> None:
        self.desk = memory()
        self.desk.limits = Limits(**limits)

    def put(self, at: float = 0, **fields: Any) -> tuple[Schedule, bool]:
        """Put a schedule at a moment."""
        asked = schedule(**fields)
        return self.do(at, lambda table, times: scheduling.put(table, asked, times), Needs(schedules={asked.name}))

    def fire(self, now: float, since: float | None = None) -> Fired:
        """Ask for what is due, the clock having been watched since the moment, or all the time."""
        from_ = EPOCH if since is None else at(since)
        until = at(now)
        return self.do(now, lambda table, times: scheduling.fire(table, from_, until, times), DUE)

    def trigger(self, now: float) -> Job:
        """Make a job now."""
        needs = Needs(schedules={"s"})
        return self.do(now, lambda table, times: scheduling.trigger(table, "s", times), needs).jobs[0]

    def do(self, now: float, rule: Callable[[Table, Times], T], needs: Needs) -> T:
        """Run a rule at a moment."""
        self.desk.clock.seconds = now
        return run(self.desk.do(rule, needs))

    def jobs(self) -> list[Job]:
        """All jobs, in the order in which they were made."""
        return list(reversed(run(self.desk.store.page(Filter(), None, 9999)).jobs))

    def fired(self) -> list[float]:
        """The fire times of all jobs, in seconds."""
        return [((job.options.run_at or 0) - EPOCH) / SECOND for job in self.jobs()]

    def now(self) -> Schedule:
        """The schedule as it is."""
        found = run(self.desk.store.schedule("s"))
        assert found is not None
        return found


def at(seconds: float) -> Micros:
    """A moment."""
    return EPOCH + round(seconds * SECOND)
