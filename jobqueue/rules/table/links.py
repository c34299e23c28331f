"""What ties jobs to each other: unique keys and dependencies."""

from __future__ import annotations

from jobqueue.job import Job, Status
from jobqueue.rules.table.overlay import Overlay


class Links(Overlay):
    """Who holds which unique key, and who waits for whom."""

    __slots__ = ()

    # -- unique keys

    def holder(self, queue: str, key: str) -> str | None:
        """The id of the job that holds the unique key."""
        holder = self.changes.holders.get((queue, key)) or self._rows.holder(queue, key)
        return None if holder is None or (queue, key, holder) in self.changes.released else holder

    def release(self, job: Job) -> None:
        """The job no longer holds its unique key, if it still did."""
        unique = job.options.unique
        if unique is None:
            return
        place = (job.queue, unique.key)
        if self.changes.holders.get(place) == job.id:
            del self.changes.holders[place]
        self.changes.released[*place, job.id] = None

    def _follow_key(self, before: Job, after: Job) -> None:
        """A key is held as long as the job's status says, and again after a retry."""
        unique = after.options.unique
        if before.holds_key and not after.holds_key:
            self.release(after)
        elif after.holds_key and not before.holds_key and unique is not None:
            self.changes.released.pop((after.queue, unique.key, after.id), None)
            self.changes.holders[after.queue, unique.key] = after.id

    # -- dependencies

    def links(self) -> bool:
        """Whether any job depends on another."""
        return bool(self.changes.linked) or self._rows.links() > 0

    def link(self, parent: Job, child: Job) -> None:
        """The child waits for the parent."""
        self.changes.linked[parent.seq, child.seq] = child.id

    def keep(self, parent: Job, child: Job) -> None:
        """The child depends on the parent, which has ended already."""
        self.link(parent, child)
        self.changes.met[parent.seq, child.seq] = None

    def meet(self, parent: Job, child: Job) -> None:
        """The child need not wait for the parent any longer."""
        self.changes.met[parent.seq, child.seq] = None

    def children(self, parent: Job, count: int) -> list[Job]:
        """Up to `count` jobs that still wait for the parent."""
        met = self.changes.met
        found = self._rows.children(parent.seq, count + len(met) + len(self.changes.jobs))
        own = [id for (seq, _), id in self.changes.linked.items() if seq == parent.seq]
        jobs = [self.find(id) for id in dict.fromkeys([*(job.id for job in found), *own])]
        return [
            job for job in jobs if job is not None and job.status is Status.BLOCKED and (parent.seq, job.seq) not in met
        ][:count]

    def waits(self, child: Job) -> bool:
        """Whether the child waits for any parent."""
        changes = self.changes
        met = {parent for parent, seq in changes.met if seq == child.seq}
        if any(seq == child.seq and parent not in met for parent, seq in changes.linked):
            return True
        return any(parent not in met for parent in self._rows.unmet(child.seq, len(met) + 1))

    def dependents(self, parent: Job) -> int:
        """How many jobs that have not ended depend on the parent."""
        if not self.links():
            return 0
        own = sum(1 for seq, _ in self.changes.linked if seq == parent.seq)
        return own + self._rows.dependents(parent.seq)

    def resolving(self, count: int) -> list[str]:
        """Ended parents whose children have yet to hear of it."""
        return [id for id in self._rows.resolving(count) if id not in self.changes.resolving]
