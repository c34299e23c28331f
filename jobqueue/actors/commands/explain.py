"""The command that explains why a job is not running: it reads what admission sees, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from jobqueue.actors.commands.jobs import ROW_BYTES
from jobqueue.mailbox import Reply
from jobqueue.rules import explaining
from jobqueue.rules.explaining import Around, Explanation
from jobqueue.rules.lifecycle import Times
from jobqueue.rules.table import Table
from jobqueue.stores.contract import Needs


@dataclass(frozen=True, slots=True)
class Explain:
    """Why the job is not running. queue: that of the job, which never changes."""

    id: str
    queue: str
    around: Around
    reply: Reply[Explanation]

    def weigh(self) -> int:
        """The job, and the jobs that it waits for."""
        return ROW_BYTES * (1 + explaining.PARENTS_MOST)

    def needs(self, needs: Needs) -> None:
        """The job, and the line that it stands in."""
        needs.jobs.add(self.id)
        if self.around.quarantine.alone is not None:
            needs.jobs.add(self.around.quarantine.alone)
        needs.lines.add(self.queue)

    def decide(self, table: Table, times: Times) -> Explanation:
        """Explain."""
        return explaining.explain(table, self.id, self.around, times)
