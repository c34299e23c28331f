"""Operators who cancel, retry and delete many jobs at once, by a filter; and those who only list what it matches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from jobqueue.job import Job, Status
from tests.simulation.asks import Part, Want, decoded
from tests.simulation.book import Mark
from tests.simulation.requests import Verb

Filter = Mapping[str, str]
VERBS: tuple[Verb, ...] = ("cancel", "retry", "delete")
FLEETING: Mapping[Verb, Sequence[str]] = {  # states that what the verb can change may leave meanwhile for another such
    "cancel": ("SCHEDULED", "QUEUED", "RUNNING"),
    "retry": ("FAILED", "CANCELLED"),
    "delete": ("FAILED", "CANCELLED"),
}


def draw(rng: Any) -> dict[str, str]:
    """A filter: of one or two of the fields."""
    fields = {
        "status": [status.name for status in Status],
        "queue": ["default", "mail"],
        "kind": ["quick", "sleepy", "failing"],
        "group": ["red", "blue"],
    }
    return {name: rng.choice(fields[name]) for name in rng.sample(sorted(fields), rng.choice((1, 1, 2)))}


def matching(wanted: Filter) -> Callable[[Job], bool]:
    """The jobs that it matches."""
    return lambda job: all(_value(job, name) == value for name, value in wanted.items())


def _value(job: Job, name: str) -> str | None:
    return job.status.name if name == "status" else getattr(job, name)


class Sweeper(Part):
    """What it wants of many jobs."""

    def wants(self) -> dict[Want, int]:
        """By how often."""
        return {self._sweep: 12}

    async def _sweep(self) -> None:
        """All that matches, call by call."""
        verb, wanted = self._rng.choice(VERBS), draw(self._rng)
        if self._rng.random() < 0.7:
            wanted = {"status": self._rng.choice(FLEETING[verb])}
        said: dict[str, Any] = {"filter": wanted}
        if self._rng.random() < 0.15:
            said["dry_run"] = True
        while True:
            cursor = await self._call(verb, wanted, said)
            if cursor is None:
                return
            said["cursor"] = cursor

    async def _call(self, verb: Verb, wanted: Filter, said: dict[str, Any]) -> str | None:
        dry = said.get("dry_run", False)
        asked = self._oracle.requests.begin(verb, (lambda _: False) if dry else matching(wanted))
        answer = await self._tell("POST", f"/jobs/{verb}", said)
        if answer is None:
            return None
        self._oracle.requests.end(asked)
        if answer.status != 200:
            self._oracle.blame(f"{verb} of {said} was answered {answer.status}: {answer.body!r}")
            return None
        told = decoded(answer)
        if told["changed"] > told["matched"] or (not dry and told["changed"] > asked.done):
            self._oracle.blame(f"{verb} of {said} was answered {told}, but changed {asked.done}")
        next_: str | None = told["next"]
        return next_


class Searcher(Part):
    """Lists with filters: each item matches, and what matched all the time is there."""

    def wants(self) -> dict[Want, int]:
        """By how often."""
        return {self._search: 3}

    async def _search(self) -> None:
        wanted = draw(self._rng)
        if self._rng.random() < 0.3:
            wanted["payload.n"] = self._rng.choice(("0", "2"))
        first = self._oracle.mark()
        found: dict[str, Mapping[str, Any]] = {}
        query = {**wanted, "limit": "3"}
        while True:
            since = self._oracle.mark()
            answer = await self._tell("GET", f"/jobs?{urlencode(query)}")
            if answer is None:
                return
            if answer.status != 200:
                self._oracle.blame(f"the list of {wanted} was answered {answer.status}: {answer.body!r}")
                return
            page = decoded(answer)
            for job in page["items"]:
                self._oracle.shown(job, since)
                found[job["id"]] = job
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        self._judge(wanted, found, first)

    def _judge(self, wanted: Filter, found: Mapping[str, Mapping[str, Any]], first: Mark) -> None:
        plain = {name: value for name, value in wanted.items() if not name.startswith("payload.")}
        wrong = [job for job in found.values() if any(job[name] != value for name, value in plain.items())]
        left_out = [id for id in first.states if id not in found and self._always(id, wanted, first)]
        if wrong or left_out or list(found) != sorted(found, reverse=True):
            self._oracle.blame(f"the list of {wanted} left out {left_out}, or shows {wrong}: {list(found)}")

    def _always(self, id: str, wanted: Filter, first: Mark) -> bool:
        """Whether the job was there and matched all the time."""
        if not self._oracle.there(id, first):
            return False
        job = self._oracle.jobs[id]
        fixed = {name: value for name, value in wanted.items() if name in ("queue", "kind", "group")}
        said = wanted.get("payload.n")
        if said is not None and f'"n":{said}}}' not in job.payload:
            return False
        statuses = {status for status, _, _ in self._oracle.between(id, first)}
        return matching(fixed)(job) and wanted.get("status", next(iter(statuses))) in statuses and len(statuses) == 1
