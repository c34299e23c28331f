"""What all parts of the table stand on: the rows that were loaded, and the changes made so far."""

from __future__ import annotations

from jobqueue.job import Job, LaneKey
from jobqueue.queue import Queue
from jobqueue.rules.changes import Changes, LaneEdit
from jobqueue.rules.rows import Rows


class Overlay:
    """Rows under changes. Reads see the batch's own writes."""

    __slots__ = ("_born", "_dependents", "_ends", "_groups", "_last", "_named", "_own", "_rows", "_told", "changes")

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._last: LaneEdit | None = None  # of the job that was looked at last
        self._named: tuple[str, Queue | None] = ("", None)  # the queue that was looked at last
        self._groups: dict[tuple[str, str], list[LaneKey]] = {}  # of the lanes in change
        self._born: dict[str, int] = {}  # how many lanes of a queue are new
        self._ends: list[tuple[int, int, bool]] = []  # jobs that ended: the number given last, their seq, whether DONE
        self._own: dict[int, list[tuple[int, str]]] = {}  # by parent, the children that came in this batch
        self._told: dict[int, int] = {}  # by parent, how many children need no longer wait for it since this batch
        self._dependents: dict[int, int] = {}  # by parent, as far as they have been counted
        self.changes = Changes()

    def find(self, id: str) -> Job | None:
        """The job, or None."""
        change = self.changes.jobs.get(id)
        return change[1] if change is not None else self._rows.job(id)
