"""Commands of an operator about jobs: change one, remove one, do the same to many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from jobqueue.actors.commands.jobs import ROW_BYTES, OfOneJob
from jobqueue.errors import JobQueueError
from jobqueue.job import Job
from jobqueue.mailbox import Reply
from jobqueue.rules import amending, lifecycle
from jobqueue.rules.amending import Amendment
from jobqueue.rules.lifecycle import Times
from jobqueue.rules.table import Table
from jobqueue.stores.contract import Filter, Needs


@dataclass(frozen=True, slots=True)
class Amend(OfOneJob):
    """Change what was asked of a job."""

    id: str
    amendment: Amendment
    reply: Reply[Job]

    def decide(self, table: Table, times: Times) -> Job:
        """Change it."""
        return amending.amend(table, self.id, self.amendment, times)


@dataclass(frozen=True, slots=True)
class Remove(OfOneJob):
    """Remove an ended job."""

    id: str
    reply: Reply[Job]

    def decide(self, table: Table, times: Times) -> Job:  # noqa: ARG002 - every command is told the time
        """Remove it."""
        return amending.remove(table, self.id)


What = Literal["cancel", "retry", "delete"]
RULES: dict[What, Callable[[Table, str, Times], Job]] = {
    "cancel": lifecycle.cancel,
    "retry": lambda table, id, _: lifecycle.retry(table, id),
    "delete": lambda table, id, _: amending.remove(table, id),
}


@dataclass(frozen=True, slots=True)
class ChangeEach:
    """Do the same to many jobs, each by itself, if it still is one of the wanted. The answer: how many were changed."""

    what: What
    ids: Sequence[str]
    wanted: Filter
    reply: Reply[int]

    def weigh(self) -> int:
        """By row."""
        return ROW_BYTES * len(self.ids)

    def needs(self, needs: Needs) -> None:
        """The jobs."""
        needs.jobs.update(self.ids)

    def decide(self, table: Table, times: Times) -> int:
        """Change those that can be changed; the others, and those that are gone by now, are left as they are."""
        return sum(self._changes(table, id, times) for id in self.ids)

    def _changes(self, table: Table, id: str, times: Times) -> bool:
        before = table.find(id)
        if before is None or not self.wanted.matches(before):
            return False
        try:
            RULES[self.what](table, id, times)
        except JobQueueError:
            return False
        return table.find(id) != before
