"""What ties jobs to each other: unique keys and dependencies."""

from __future__ import annotations

from collections.abc import Sequence

from jobqueue.job import Job
from jobqueue.rules.changes import End
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
        elif before.status.ended and not after.status.ended and after.holds_key and unique is not None:
            self.changes.released.pop((after.queue, unique.key, after.id), None)
            self.changes.holders[after.queue, unique.key] = after.id

    # -- dependencies

    def links(self) -> bool:
        """Whether any job depends on another, or some end is still to be told."""
        return bool(self.changes.linked) or self._rows.links()

    def link(self, child: Job, waits_for: Sequence[Job], met: Sequence[Job] = ()) -> None:
        """The child, which is new, depends on these: on the first it waits, those that are `met` have ended."""
        parents = [parent.seq for parent in (*waits_for, *met)]
        self.changes.linked[child.seq] = parents
        if met:
            self.changes.met[child.seq] = {parent.seq for parent in met}
        for parent in waits_for:
            self._own.setdefault(parent.seq, []).append((child.seq, child.id))
        for seq in parents:
            if seq in self._dependents:
                self._dependents[seq] += 1
            else:
                self._dependents[seq] = self._rows.dependents(seq) + 1

    def meet(self, parent: int, child: int) -> None:
        """The child need not wait for the parent any longer."""
        self.changes.met.setdefault(child, set()).add(parent)
        self._told[parent] = self._told.get(parent, 0) + 1

    def children(self, end: End, count: int) -> list[tuple[int, str]]:
        """Up to `count` jobs, by seq and id, that still wait for the parent and came before its end."""
        changes = self.changes
        passed = self._told.get(end.parent, 0) + len(changes.unlinked)
        found = [*self._rows.children(end, count + passed)]
        found += [(seq, id) for seq, id in self._own.get(end.parent, ()) if seq <= end.upto]
        return [
            (seq, id) for seq, id in found if seq not in changes.unlinked and end.parent not in changes.met.get(seq, ())
        ][:count]

    def waits(self, child: Job) -> bool:
        """Whether the child waits for any parent."""
        met = self.changes.met.get(child.seq, ())
        own = self.changes.linked.get(child.seq)
        waits_for = self._rows.unmet(child.seq, len(met) + 1) if own is None else own
        return any(parent not in met for parent in waits_for)

    def parents(self, child: Job, count: int) -> list[str]:
        """Up to `count` jobs, by id, that the child, which is no new one, waits for."""
        met = self.changes.met.get(child.seq, ())
        return [id for seq, id in self._rows.parents(child, count + len(met)) if seq not in met][:count]

    def dependents(self, parent: Job) -> int:
        """How many jobs depend on the parent; those that ended in this batch still count."""
        if not self.links():
            return 0
        found = self._dependents.get(parent.seq)
        if found is None:
            found = self._dependents[parent.seq] = self._rows.dependents(parent.seq)
        return found

    def ends(self) -> list[End]:
        """The jobs that have ended in this batch since this was last asked, in order."""
        ends, self._ends = self._ends, []
        return [End(upto or self._rows.last_seq(), seq, met) for upto, seq, met in ends]

    def resolving(self, count: int) -> list[End]:
        """Ends of earlier batches of which some child has yet to hear; the longest waiting first."""
        return [end for end in self._rows.resolving(count) if self.changes.resolving.get(end, True)]

    def resolve_later(self, end: End) -> None:
        """Some child has yet to hear of the end: in a later batch."""
        self.changes.resolving[end] = True

    def resolved(self, end: End) -> None:
        """All children have heard of the end."""
        self.changes.resolving[end] = False
