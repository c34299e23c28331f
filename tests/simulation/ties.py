"""The oracle of dependencies: who waits for whom, who may start, who must be cancelled, and whom all that needs."""

from __future__ import annotations

from collections.abc import Mapping

from jobqueue.job import Job, Reason, Status

BAD = (Status.FAILED, Status.CANCELLED)


class Ties:
    """What each job's status has been, in order of all moves, and who depends on it."""

    def __init__(self) -> None:
        self._moves = 0
        self._been: dict[str, list[tuple[int, Status]]] = {}
        self._accepted: dict[str, int] = {}
        self._children: dict[str, list[str]] = {}
        self._over: set[str] = set()  # ended once: a retry ignores what it depended on

    def moved(self, before: Job | None, after: Job) -> str | None:
        """A job came or changed. What is wrong with that."""
        self._moves += 1
        fault = self._accept(after) if before is None else self._leave(before, after)
        self._been.setdefault(after.id, []).append((self._moves, after.status))
        if after.status.ended:
            self._over.add(after.id)
        return fault

    def _accept(self, job: Job) -> str | None:
        self._accepted[job.id] = self._moves
        parents = job.options.depends_on
        for parent in parents:
            self._children.setdefault(parent, []).append(job.id)
        unknown = [parent for parent in parents if parent not in self._been]
        if unknown:
            return f"{job.id} was accepted, but depends on {unknown[0]}, which is none"
        bad, unmet = self._bad(job), self._unmet(job)
        if job.reason is Reason.REPLACED:  # by a later one of its own submission
            right = True
        elif job.status is Status.BLOCKED:  # it must leave that again, or the run does not end
            right = bool(parents)
        else:
            right = bool(bad) if job.status is Status.CANCELLED else not (bad or unmet)
        return None if right else f"{job.id} was accepted as {job.status.name}; failed: {bad}, not met: {unmet}"

    def _leave(self, before: Job, after: Job) -> str | None:
        if after.reason is Reason.DEPENDENCY and after.status is not before.status:
            right = before.status is Status.BLOCKED and after.status is Status.CANCELLED and self._bad(before)
            return None if right else f"{after.id} was cancelled for a dependency, but none of them failed"
        if before.status is Status.BLOCKED and after.status in (Status.QUEUED, Status.SCHEDULED):
            unmet = self._unmet(before)
            return f"{after.id} no longer waits, but for {unmet} it must" if unmet else None
        return None

    def _since(self, parent: str, child: Job) -> set[Status]:
        """What the parent has been since the child was accepted, and was then."""
        log = self._been[parent]
        first = max(index for index, (move, _) in enumerate(log) if index == 0 or move <= self._accepted[child.id])
        return {status for _, status in log[first:]}

    def _bad(self, child: Job) -> list[str]:
        """Parents for which it must be cancelled."""
        if child.options.on_dependency_failure == "run":
            return []
        return [id for id in child.options.depends_on if self._since(id, child) & set(BAD)]

    def _unmet(self, child: Job) -> list[str]:
        """Parents for which it must wait, or which keep it from ever starting."""
        enough = {Status.DONE} if child.options.on_dependency_failure == "cancel" else {Status.DONE, *BAD}
        return [id for id in child.options.depends_on if not self._since(id, child) & enough]

    def removed(self, job: Job, jobs: Mapping[str, Job]) -> str | None:
        """A job was removed. What is wrong with that: somebody needs it."""
        left = self.needed_by(job.id, jobs)
        return f"{job.id} was removed, but {left[0]} depends on it" if left else None

    def needed_by(self, id: str, jobs: Mapping[str, Job]) -> list[str]:
        """Who depends on it and has not ended."""
        return [child for child in self._children.get(id, ()) if child in jobs and child not in self._over]
