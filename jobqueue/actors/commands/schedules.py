"""Commands about schedules: the scheduler's one question, and what an operator does to them."""

from __future__ import annotations

from dataclasses import dataclass

from jobqueue.actors.commands.jobs import ROW_BYTES
from jobqueue.clock import Micros
from jobqueue.mailbox import Reply
from jobqueue.rules import scheduling
from jobqueue.rules.idempotency import Accepted
from jobqueue.rules.lifecycle import Times
from jobqueue.rules.scheduling import Fired
from jobqueue.rules.table import Table
from jobqueue.schedule import Schedule
from jobqueue.stores.contract import Needs


@dataclass(frozen=True, slots=True)
class Fire:
    """Fire what is due up to `until`; the clock has been watched from `since` on."""

    since: Micros
    until: Micros
    reply: Reply[Fired]

    def weigh(self) -> int:
        """As many rows as it may make."""
        return ROW_BYTES * scheduling.FIRES_MOST

    def needs(self, needs: Needs) -> None:
        """The schedules that are due."""
        needs.schedules.add("*")

    def decide(self, table: Table, times: Times) -> Fired:
        """Fire them."""
        return scheduling.fire(table, self.since, self.until, times)


@dataclass(frozen=True, slots=True)
class PutSchedule:
    """Keep a schedule, new or in place of the one of its name."""

    schedule: Schedule
    reply: Reply[tuple[Schedule, bool]]

    def weigh(self) -> int:
        """One row, and the text: once as it was put, once as it will be submitted."""
        return ROW_BYTES + len(self.schedule.job) + len(self.schedule.draft.payload)

    def needs(self, needs: Needs) -> None:
        """The one that it replaces."""
        needs.schedules.add(self.schedule.name)

    def decide(self, table: Table, times: Times) -> tuple[Schedule, bool]:
        """Keep it."""
        return scheduling.put(table, self.schedule, times)


@dataclass(frozen=True, slots=True)
class DropSchedule:
    """Forget a schedule."""

    name: str
    reply: Reply[None]

    def weigh(self) -> int:
        """One row."""
        return ROW_BYTES

    def needs(self, needs: Needs) -> None:
        """The schedule."""
        needs.schedules.add(self.name)

    def decide(self, table: Table, times: Times) -> None:  # noqa: ARG002 - every command is told the time
        """Forget it."""
        scheduling.drop(table, self.name)


@dataclass(frozen=True, slots=True)
class Trigger:
    """Make a job of a schedule now."""

    name: str
    reply: Reply[Accepted]

    def weigh(self) -> int:
        """Two rows."""
        return 2 * ROW_BYTES

    def needs(self, needs: Needs) -> None:
        """The schedule."""
        needs.schedules.add(self.name)

    def decide(self, table: Table, times: Times) -> Accepted:
        """Make it."""
        return scheduling.trigger(table, self.name, times)
