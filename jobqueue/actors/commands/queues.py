"""Commands about queues: their settings, changed live."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jobqueue.actors.commands.jobs import ROW_BYTES
from jobqueue.mailbox import Reply
from jobqueue.queue import Queue
from jobqueue.rules import configuring
from jobqueue.rules.lifecycle import Times
from jobqueue.rules.table import Table
from jobqueue.stores.contract import Needs


@dataclass(frozen=True, slots=True)
class Configure:
    """Change the settings of a queue, as they are at the commit."""

    name: str
    change: Callable[[Queue], Queue]
    reply: Reply[Queue]

    def weigh(self) -> int:
        """One row."""
        return ROW_BYTES

    def needs(self, needs: Needs) -> None:
        """Nothing: settings and lanes are always there."""

    def decide(self, table: Table, times: Times) -> Queue:  # noqa: ARG002 - every command is told the time
        """Change them."""
        return configuring.configure(table, self.name, self.change)
