"""How drafts come in whose unique keys or parents matter: each sees what those before it did, and all come or none.

They are decided one after the other before the table is touched, and then let in together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from jobqueue.job import Draft, Job, Options, Reason, Status
from jobqueue.rules import dependencies, uniqueness
from jobqueue.rules.lifecycle import Times, ended, replace
from jobqueue.rules.table import Table


def tied(options: Options) -> bool:
    """Whether a draft with these options must come in by this way."""
    return options.unique is not None or bool(options.depends_on)


class Arrivals:
    """The drafts of one submission. `make` makes the job of a draft, with the number it is given.

    returned: the places where the holder of the unique key stands instead. freed: by queue, how many fewer jobs wait
    than are asked for: holders stand instead, and some are replaced.
    """

    def __init__(self, table: Table, times: Times, make: Callable[[Draft, int], Job]) -> None:
        self._table = table
        self._times = times
        self._make = make
        self.returned: set[int] = set()
        self.freed: Counter[str] = Counter()
        self._places: list[str] = []  # the id of the job that stands there
        self._jobs: dict[str, Job] = {}  # new ones
        self._replaced: dict[str, Job] = {}  # those of the table, as they will be
        self._loose: set[str] = set()  # those of both that lose their key
        self._holders: dict[tuple[str, str], str] = {}
        self._parents: dict[str, Sequence[Job]] = {}
        self._dependents: dict[str, int] = {}
        self._known: dict[str, Job] = {}  # those of the table, as they are
        self._links = 0
        self._seq = table.last_seq()

    def take(self, draft: Draft) -> None:
        """Decide on the next one. Raises Invalid and Duplicate, with pointers like /3/unique."""
        pointer = f"/{len(self._places)}"
        parents = dependencies.parents_of(draft.options, pointer, self._earlier, self._find)
        job = self._make(draft, self._seq + 1)
        if parents:
            job = replace(job, options=replace(job.options, depends_on=tuple(parents)))
            job = dependencies.blocked(job, tuple(parents.values()), self._times)
        if self._stands_back(job, pointer):
            return
        if not job.status.ended:
            self._tie(draft, job, tuple(parents.values()), pointer)
        self._seq += 1
        self._jobs[job.id] = job
        self._places.append(job.id)

    def let_in(self) -> list[Job]:
        """Put all into the table; what stands at each place."""
        table = self._table
        for _ in self._jobs:
            table.next_seq()
        for id, after in self._replaced.items():
            before = table.job(id)
            if before.status is not after.status:
                after = table.put(before, after)  # noqa: PLW2901 - as it now stands
            table.release(after)
        for id, job in self._jobs.items():
            table.add(job)
            if id in self._loose:
                table.release(job)
            parents = self._parents.get(id)
            if parents and not job.status.ended:
                waits_for = [parent for parent in parents if not parent.status.ended]
                table.link(job, waits_for, [parent for parent in parents if parent.status.ended])
        return [table.job(id) for id in self._places]

    def _stands_back(self, job: Job, pointer: str) -> bool:
        """Whether the holder of its unique key stands in its place. Raises Duplicate."""
        unique = job.options.unique
        if unique is None:
            return False
        place = (job.queue, unique.key)
        id = self._holders.get(place) or self._table.holder(*place)
        holder = None if id is None else self._find(id)
        if holder is not None:
            if not uniqueness.meets(unique, holder, f"{pointer}/unique"):
                self.returned.add(len(self._places))
                self.freed[job.queue] += 1
                self._places.append(holder.id)
                return True
            if job.holds_key:
                self._replace(holder)
        if job.holds_key:  # one whose parents cancel it at once would hold it for no time
            self._holders[place] = job.id
        return False

    def _replace(self, holder: Job) -> None:
        after = holder
        if not holder.status.ended:
            after = ended(holder, Status.CANCELLED, Reason.REPLACED, self._times)
            self.freed[holder.queue] += 1
        (self._jobs if holder.id in self._jobs else self._replaced)[holder.id] = after
        self._loose.add(holder.id)

    def _tie(self, draft: Draft, job: Job, parents: Sequence[Job], pointer: str) -> None:
        counts = self._dependents
        for parent in parents:
            count = counts[parent.id] if parent.id in counts else self._table.dependents(parent)
            if count >= dependencies.DEPENDENTS_MOST:
                raise dependencies.too_many(draft.options, parent, pointer)
            counts[parent.id] = count + 1
        if parents:
            self._parents[job.id] = parents
            self._links += len(parents)
            if self._links > dependencies.LINKS_MOST:
                raise dependencies.too_many_at_once(pointer)

    def _earlier(self, index: int) -> Job | None:
        return self._find(self._places[index]) if index < len(self._places) else None

    def _find(self, id: str) -> Job | None:
        found = self._jobs.get(id) or self._replaced.get(id) or self._known.get(id)
        if found is None:
            found = self._table.find(id)
            if found is not None:
                self._known[id] = found
        return found
