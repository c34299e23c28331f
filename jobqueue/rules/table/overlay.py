"""What all parts of the table stand on: the rows that were loaded, and the changes made so far."""

from __future__ import annotations

from jobqueue.job import Job
from jobqueue.rules.changes import Changes, LaneEdit
from jobqueue.rules.rows import Rows


class Overlay:
    """Rows under changes. Reads see the batch's own writes."""

    __slots__ = ("_last", "_rows", "changes")

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._last: LaneEdit | None = None  # of the job that was looked at last
        self.changes = Changes()

    def find(self, id: str) -> Job | None:
        """The job, or None."""
        change = self.changes.jobs.get(id)
        return change[1] if change is not None else self._rows.job(id)
