"""The oracle of unique keys: at no commit do two jobs hold one, and who was turned away met a holder."""

from __future__ import annotations

from collections.abc import Mapping

from jobqueue.job import Job, Reason, Status

Place = tuple[str, str]  # queue, key
NOBODY: tuple[int, tuple[str, ...], frozenset[str]] = (0, (), frozenset())
WAITING = (Status.SCHEDULED, Status.BLOCKED, Status.QUEUED)


def place_of(job: Job) -> Place | None:
    """Where it competes, if it does."""
    unique = job.options.unique
    return None if unique is None else (job.queue, unique.key)


class Keys:
    """Who holds what, by what the interface says of `while`."""

    def __init__(self) -> None:
        self._at: dict[Place, list[str]] = {}
        self._lost: set[str] = set()  # ended, and replaced by another
        self._touched: dict[Place, None] = {}
        self._replacing: dict[Place, str] = {}  # in this batch
        self._replaced: list[Job] = []
        self._passing: dict[Place, set[str]] = {}  # in this batch
        self._log: dict[Place, list[tuple[int, tuple[str, ...], frozenset[str]]]] = {}

    def moved(self, before: Job | None, after: Job | None) -> None:
        """A job came, went or changed."""
        job = after or before
        place = place_of(job) if job is not None else None
        if job is None or place is None:
            return
        self._touched[place] = None
        if after is not None and self._holds(after):
            self._passing.setdefault(place, set()).add(job.id)
        if before is None:
            self._at.setdefault(place, []).append(job.id)
            if job.options.unique is not None and job.options.unique.on_conflict == "replace" and self._holds(job):
                self._replacing[place] = job.id
        elif after is not None and before.status.ended and not after.status.ended:
            self._lost.discard(job.id)

    def replaced(self, before: Job) -> None:
        """The job was cancelled for another that wants its key."""
        self._replaced.append(before)

    def settle(self, jobs: Mapping[str, Job], tick: int) -> str | None:
        """The batch is over. What is wrong with who now holds what."""
        fault = None
        for before in self._replaced:
            place = place_of(before)
            if place is None or place not in self._replacing or before.status not in WAITING:
                fault = f"{before.id}, {before.status.name}, was replaced, but no other job took its key"
        for place in self._touched:
            new = self._replacing.get(place)
            if new is not None:
                there = [jobs[id] for id in self._at[place] if id in jobs and id != new]
                self._lost.update(job.id for job in there if job.status.ended)
            holders = tuple(id for id in self._at[place] if id in jobs and self._holds(jobs[id]))
            if len(holders) > 1:
                fault = f"the key {place} is held by {holders} at once"
            passing = frozenset(self._passing.get(place, ()))
            self._log.setdefault(place, [NOBODY]).append((tick, holders, passing))
        self._touched.clear()
        self._passing.clear()
        self._replacing.clear()
        self._replaced.clear()
        return fault

    def _holds(self, job: Job) -> bool:
        unique = job.options.unique
        assert unique is not None
        match unique.until:
            case "queued":
                return job.epoch == 0 and not job.status.ended
            case "active":
                return not job.status.ended
            case "exists":
                return job.id not in self._lost

    def holders(self) -> dict[Place, str]:
        """Who holds what now."""
        return {place: log[-1][1][0] for place, log in self._log.items() if log[-1][1]}

    def held(self, place: Place, since: int) -> set[str]:
        """Who has held the key at some moment since then."""
        log = self._log.get(place, [NOBODY])
        first = max((index for index, (tick, _, _) in enumerate(log) if tick <= since), default=0)
        return {id for _, holders, passing in log[first:] for id in (*holders, *passing)}

    def reason_fault(self, before: Job, after: Job) -> None:
        """Note a replacement."""
        if after.reason is Reason.REPLACED and not before.status.ended and place_of(before) is not None:
            self.replaced(before)
