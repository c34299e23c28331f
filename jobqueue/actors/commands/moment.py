"""The command of whoever moves a manual clock: it changes nothing by itself."""

from __future__ import annotations

from dataclasses import dataclass

from jobqueue.clock import Micros
from jobqueue.mailbox import Reply
from jobqueue.rules.lifecycle import Times
from jobqueue.rules.table import Table
from jobqueue.stores.contract import Needs


@dataclass(frozen=True, slots=True)
class Now:
    """Ask at what moment a batch is decided: its answer says that what was due by then is committed."""

    reply: Reply[Micros]

    def weigh(self) -> int:
        """Next to nothing."""
        return 1

    def needs(self, needs: Needs) -> None:
        """Nothing."""

    def decide(self, table: Table, times: Times) -> Micros:  # noqa: ARG002 - every command is given the table
        """Say it."""
        return times.now
