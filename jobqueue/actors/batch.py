"""One batch: the commands that waited together, decided in one go on the table that the store hands in.

Commands are decided in arrival order; the claims of turns come last, so that they see all that the batch made ready.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jobqueue.actors.commands import Command, Settled, Turn
from jobqueue.errors import JobQueueError
from jobqueue.job import Job
from jobqueue.rules import admission, dependencies, ripening
from jobqueue.rules.admission import Node
from jobqueue.rules.lifecycle import Times
from jobqueue.rules.table import Changes, Table
from jobqueue.stores.contract import Needs


class Decided(NamedTuple):
    """What came of a batch: an answer or an error a command, what changed, whether more is due already."""

    answers: Sequence[Any]
    changes: Changes
    more: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """The commands, and what their rules are told.

    ripe: time has something to do, too. rewound: the wall clock was set back. probing: write something, to see whether
    the store takes it again.
    """

    commands: Sequence[Command]
    times: Times
    node: Node
    ripe: bool
    probing: bool = False
    rewound: bool = False

    def needs(self) -> Needs:
        """What all of it reads."""
        needs = Needs(most_due=ripening.MOST if self.ripe else 0)
        for command in self.commands:
            command.needs(needs)
        if self.node.isolation.alone is not None:
            needs.jobs.add(self.node.isolation.alone[0])
        return needs

    def decide(self, table: Table) -> Decided:
        """Do all of it on the table. An expected error is the answer of its command alone."""
        more = ripening.ripen(table, self.times) if self.ripe else False
        if self.rewound:
            admission.unbind(table)
        if self.probing:
            table.next_seq()
        answers = [self._answer(table, command) for command in self.commands]
        more = dependencies.resolve(table, self.times) or more  # before the claims: they see whom it set free
        isolation = self.node.isolation
        for index, command in enumerate(self.commands):
            if isinstance(command, Turn):
                left = self.node.running - sum(1 for fate in answers[index] if isinstance(fate, Job))
                claims = command.claim(table, Node(left, isolation, self.node.monotonic), self.times)
                isolation = claims.isolation
                answers[index] = Settled(answers[index], claims)
        if table.changes.freed and not admission.freed(table, self.times):
            table.changes.freed.clear()
        return Decided(answers, table.changes, more or ripening.crowded(table, self.times))

    def _answer(self, table: Table, command: Command) -> Any:
        try:
            return command.decide(table, self.times)
        except JobQueueError as error:
            return error
