"""The ledger of handlers: what really ran, when, on which worker, and how it ended. Kept outside of the node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import trio

How = Literal["running", "returned", "raised", "cancelled", "killed"]


@dataclass
class Run:
    """One start of a handler."""

    id: str
    epoch: int
    life: int
    worker: str | None
    kind: str
    timeout: float
    obedient: bool  # it ends when it is told to
    started_at: float
    how: How = "running"
    result: str | None = None
    ended_at: float | None = None


class Ledger:
    """All runs of a seed."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, int], Run] = {}
        self._busy: dict[tuple[int, str | None], Run] = {}

    def begin(self, run: Run) -> str | None:
        """A handler starts; what is wrong with that."""
        fault = None
        if (run.id, run.epoch) in self.runs:
            fault = f"attempt {run.epoch} of {run.id} started twice"
        elif (run.life, run.worker) in self._busy:
            other = self._busy[run.life, run.worker]
            fault = f"{run.worker} started {run.id} while its {other.kind} {other.id} still ran"
        self.runs[run.id, run.epoch] = run
        self._busy[run.life, run.worker] = run
        return fault

    def end(self, run: Run, how: How) -> None:
        """Its work has ended."""
        run.how = how
        run.ended_at = trio.current_time()
        if self._busy.get((run.life, run.worker)) is run:
            del self._busy[run.life, run.worker]

    def busy(self, life: int, worker: str | None) -> Run | None:
        """What runs in that slot."""
        return self._busy.get((life, worker))

    def count(self, life: int) -> int:
        """How many run in that life."""
        return sum(1 for number, _ in self._busy if number == life)

    def find(self, id: str, epoch: int) -> Run | None:
        """The run of an attempt; None if its handler never started."""
        return self.runs.get((id, epoch))

    def ended(self) -> list[Run]:
        """Those that are over, in order of their start."""
        return [run for run in self.runs.values() if run.ended_at is not None]
