"""Commands about jobs: submissions, results and claims, cancel, retry, reports of running attempts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jobqueue.actors.commands import ties
from jobqueue.errors import Draining, JobQueueError, retry_after
from jobqueue.job import Draft, Job, LaneKey, LogLine, Outcome, Progress
from jobqueue.mailbox import Orders, Reply
from jobqueue.rules import admission, idempotency, lifecycle
from jobqueue.rules.admission import Claims, Node, Want
from jobqueue.rules.idempotency import Accepted, IdempotencyKey
from jobqueue.rules.lifecycle import Times
from jobqueue.rules.table import Table
from jobqueue.stores.contract import Needs

ROW_BYTES = 4096  # what a row weighs beside its text, so that 4 MiB are about 1,000 rows


class Command(Protocol):
    """A message that reads and changes the table."""

    @property
    def reply(self) -> Reply[Any]:
        """Where its answer goes."""

    def weigh(self) -> int:
        """Its share of a batch, in bytes."""

    def needs(self, needs: Needs) -> None:
        """Add what it reads."""

    def decide(self, table: Table, times: Times) -> Any:
        """Do it; what it returns is the answer. Raises JobQueueError before it changed anything."""


@dataclass(frozen=True, slots=True)
class Submit:
    """Accept drafts: all or none."""

    drafts: Sequence[Draft]
    key: IdempotencyKey | None
    reply: Reply[Accepted]

    def weigh(self) -> int:
        """By row and text."""
        return sum(ROW_BYTES + len(draft.payload) for draft in self.drafts) + ties.weigh(self.drafts)

    def needs(self, needs: Needs) -> None:
        """The lanes that are filled, whom they have to do with, and the key."""
        needs.lanes.update(LaneKey(draft.queue, draft.priority, draft.group) for draft in self.drafts)
        ties.declare(needs, self.drafts)
        if self.key is not None:
            needs.keys.add((self.key.scope, self.key.key))

    def decide(self, table: Table, times: Times) -> Accepted:
        """Accept, once a key."""
        return idempotency.accept(table, self.drafts, self.key, times)


@dataclass(frozen=True, slots=True)
class SubmitEach:
    """Accept drafts each by itself, in order: the lines of a stream."""

    asked: Sequence[tuple[Draft, IdempotencyKey | None]]
    reply: Reply[Sequence[Accepted | JobQueueError]]

    def weigh(self) -> int:
        """By row and text."""
        return sum(ROW_BYTES + len(draft.payload) for draft, _ in self.asked)

    def needs(self, needs: Needs) -> None:
        """The lanes that are filled, whom they have to do with, and the keys."""
        ties.declare(needs, [draft for draft, _ in self.asked])
        for draft, key in self.asked:
            needs.lanes.add(LaneKey(draft.queue, draft.priority, draft.group))
            if key is not None:
                needs.keys.add((key.scope, key.key))

    def decide(self, table: Table, times: Times) -> Sequence[Accepted | JobQueueError]:
        """Accept each; one that is refused leaves the others alone."""
        return [_accept_one(table, draft, key, times) for draft, key in self.asked]


def _accept_one(table: Table, draft: Draft, key: IdempotencyKey | None, times: Times) -> Accepted | JobQueueError:
    try:
        return idempotency.accept(table, (draft,), key, times)
    except JobQueueError as error:
        return error


@dataclass(frozen=True, slots=True)
class Settled:
    """The answer to a turn: what became of each result, and for each want the jobs that its first workers got."""

    fates: Sequence[Job | JobQueueError]
    claims: Claims


@dataclass(frozen=True, slots=True)
class Turn:
    """Results come in and takers want more, in one commit. `orders` stands beside the workers of `wants`."""

    results: Sequence[Outcome]
    wants: Sequence[Want]
    orders: Sequence[Sequence[Orders[Order]]]
    reply: Reply[Settled]

    def weigh(self) -> int:
        """By row and text."""
        rows = len(self.results) + sum(len(want.workers) for want in self.wants)
        return ROW_BYTES * rows + sum(len(outcome.result or "") for outcome in self.results)

    def needs(self, needs: Needs) -> None:
        """The jobs that ended, and the heads of the wanted queues."""
        needs.jobs.update(outcome.id for outcome in self.results)
        for want in self.wants:
            for queue in want.queues:
                needs.claims[queue] = needs.claims.get(queue, 0) + len(want.workers)

    def decide(self, table: Table, times: Times) -> Sequence[Job | JobQueueError]:
        """Settle the results, each by itself."""
        return [settle(table, outcome, times) for outcome in self.results]

    def claim(self, table: Table, node: Node, times: Times) -> Claims:
        """Start jobs for those who want them."""
        return admission.claim(table, self.wants, node, times)


def settle(table: Table, outcome: Outcome, times: Times) -> Job | JobQueueError:
    """One result's fate."""
    try:
        return lifecycle.settle(table, outcome, times)
    except JobQueueError as error:
        return error


class OfOneJob:
    """What commands about one job have in common."""

    __slots__ = ()
    id: str

    def weigh(self) -> int:
        """One row."""
        return ROW_BYTES

    def needs(self, needs: Needs) -> None:
        """The job."""
        needs.jobs.add(self.id)


@dataclass(frozen=True, slots=True)
class Cancel(OfOneJob):
    """Cancel a job, or ask its taker to."""

    id: str
    reply: Reply[Job]

    def decide(self, table: Table, times: Times) -> Job:
        """Cancel."""
        return lifecycle.cancel(table, self.id, times)


@dataclass(frozen=True, slots=True)
class Retry(OfOneJob):
    """Start a failed or cancelled job afresh."""

    id: str
    reply: Reply[Job]

    def decide(self, table: Table, times: Times) -> Job:  # noqa: ARG002 - every command is told the time
        """Retry."""
        return lifecycle.retry(table, self.id)


@dataclass(frozen=True, slots=True)
class Report(OfOneJob):
    """The progress or log lines of a running attempt."""

    id: str
    epoch: int
    progress: Progress | None
    lines: Sequence[LogLine]
    reply: Reply[Job]

    def weigh(self) -> int:
        """One row, and the text."""
        return ROW_BYTES + sum(len(line.message) for line in self.lines)

    def decide(self, table: Table, times: Times) -> Job:
        """Keep it, if the attempt is the running one."""
        if self.progress is not None:
            lifecycle.report_progress(table, self.id, self.epoch, self.progress)
        return lifecycle.write_log(table, self.id, self.epoch, self.lines, times)


@dataclass(frozen=True, slots=True)
class Order:
    """To the taker of attempt (id, epoch): end it, for this reason."""

    id: str
    epoch: int
    why: str


CANCEL, TIMEOUT, DRAIN = "cancel", "timeout", "drain"


def draining() -> Draining:
    """What a submission is answered once the server takes nothing new."""
    return Draining("the server is shutting down", headers=retry_after(5))
