"""Clients that change jobs, delete them, and ask why one does not run."""

from __future__ import annotations

from typing import Any

from jobqueue.clock import SECOND, iso
from jobqueue.job import Status
from tests.simulation.asks import Part, Want, decoded
from tests.simulation.book import Mark, State

ENDED = tuple(status.name for status in Status if status.ended)


class Amender(Part):
    """What it wants of single jobs."""

    def wants(self) -> dict[Want, int]:
        """By how often."""
        return {self._amend: 3, self._delete: 3}

    async def _amend(self) -> None:
        id = self._some_job()
        if id is None:
            return
        said = self._amendment()
        since, asked = self._oracle.mark(), self._oracle.requests.one("amend", id)
        answer = await self._tell("PATCH", f"/jobs/{id}", said)
        if answer is not None:
            self._oracle.requests.end(asked)
            timed = "expires_at" in said or "run_at" in said  # the one may have passed, or come before the other
            self._is_job("the change", id, answer, since, (409, 422) if timed else (409,))

    def _amendment(self) -> dict[str, Any]:
        rng, now = self._rng, self._sim.wall.now()
        times = (None, iso(now + SECOND // 2), iso(now + 4 * SECOND), iso(now + 20 * SECOND))
        fields: dict[str, tuple[Any, ...]] = {
            "priority": (-1, 0, 5),
            "max_attempts": (1, 2, 5),
            "expires_at": times,
            "run_at": times,
        }
        names = rng.sample(sorted(fields), rng.choice((1, 1, 2)))
        return {name: rng.choice(fields[name]) for name in names}

    async def _delete(self) -> None:
        id = self._some_job()
        if id is None:
            return
        oracle = self._oracle
        since, asked = oracle.mark(), oracle.requests.one("delete", id)
        needed = bool(oracle.ties.needed_by(id, oracle.jobs))
        answer = await self._tell("DELETE", f"/jobs/{id}")
        if answer is None:
            return
        oracle.requests.end(asked)
        match answer.status:
            case 204 | 410:
                oracle.gone(id)
            case 409:
                if not needed and not oracle.ties.needed_by(id, oracle.jobs) and _all(ENDED, oracle.between(id, since)):
                    oracle.blame(f"the delete of {id} was answered 409, but it had ended")
            case _:
                oracle.blame(f"the delete of {id} was answered {answer.status}: {answer.body!r}")


class Wonderer(Part):
    """Asks why a job does not run; each cause must have been one."""

    def wants(self) -> dict[Want, int]:
        """By how often."""
        return {self._explain: 3}

    async def _explain(self) -> None:
        id = self._some_job()
        if id is None:
            return
        since = self._oracle.mark()
        answer = await self._tell("GET", f"/jobs/{id}/explain")
        if answer is None:
            return
        if answer.status == 410:
            self._oracle.gone(id)
        elif answer.status == 200:
            self._judge(id, decoded(answer), since)
        else:
            self._oracle.blame(f"why {id} does not run was answered {answer.status}: {answer.body!r}")

    def _judge(self, id: str, said: dict[str, Any], since: Mark) -> None:
        states = self._oracle.between(id, since)
        causes = {cause["cause"] for cause in said["causes"]}
        idle = (*ENDED, "RUNNING")
        queue = (self._oracle.any_job(id) or self._oracle.jobs[id]).queue
        pauses = [settings.paused for settings in self._oracle.bounds.since(queue, since.tick)]
        been = {status for status, _, _ in states}
        wrong = (
            (bool(causes) and _all(idle, states))
            or (not causes and not been & {*idle, "removed"})
            or ("scheduled" in causes and "SCHEDULED" not in been)
            or ("dependency" in causes and "BLOCKED" not in been)
            or ("paused" in causes and not any(pauses))
            or ("paused" not in causes and all(pauses) and _all(("QUEUED",), states))
            or (said["place"] is not None and "QUEUED" not in been)
        )
        if wrong:
            self._oracle.blame(f"{id}, which was {states}, does not run for {said}; paused: {pauses}")


def _all(statuses: tuple[str, ...], states: list[State]) -> bool:
    return all(status in statuses for status, _, _ in states)
