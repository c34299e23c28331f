"""The part of the judge that holds answers against what was committed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from jobqueue.job import Job
from tests.simulation.book import Book, Mark
from tests.simulation.keys import Keys, Place, place_of


def key_of(job: Job) -> str:
    """The key under which a job was submitted: each carries it in its payload."""
    said = json.loads(job.payload)
    return said if isinstance(said, str) else str(said["key"])


class Answers(Book):
    """What clients were told, and whether it was so."""

    keys: Keys

    def begin(self) -> None:
        """Nothing was asked yet."""
        self._made: dict[str, list[str]] = {}
        self._expected: dict[str, int] = {}
        self._acknowledged: dict[str, tuple[str, ...]] = {}
        self._cancelled: set[str] = set()
        self.retried: set[str] = set()
        self._depths: dict[str, list[tuple[int, Counter[str]]]] = {}

    def any_job(self, id: str) -> Job | None:
        """A job that there is, or was."""
        return self.jobs.get(id) or self.removed.get(id)

    # -- submissions

    def expect(self, key: str, count: int) -> None:
        """A client will submit `count` jobs under the key, maybe several times. A schedule makes any number: 0."""
        self._expected[key] = count

    def submitted(self, job: Job) -> None:
        """A job was accepted."""
        key = key_of(job)
        made = self._made.setdefault(key, [])
        made.append(job.id)
        most = self._expected.get(key, 1)
        if most and len(made) > most:
            self.blame(f"the key {key} made {len(made)} jobs instead of {most}")

    def acknowledged(self, key: str, ids: Sequence[str], since: Mark | None = None) -> None:
        """A submission was answered with these jobs; those that are not its own held a unique key since it was made."""
        self.trace("  ack", key, *(id[-4:] for id in ids))
        jobs = {id: job for id in ids if (job := self.any_job(id)) is not None}
        if len(jobs) < len(set(ids)):
            self.blame(f"{key} was answered with {ids}, of which some are not durable")
            return
        if self._acknowledged.setdefault(key, tuple(ids)) != tuple(ids):
            self.blame(f"{key} was answered with {self._acknowledged[key]}, then with {tuple(ids)}")
        own = sorted(id for id, job in jobs.items() if key_of(job) == key)
        if len(ids) != self._expected[key] or own != sorted(self._made.get(key, ())):
            self.blame(f"{key} was answered with {own}, and made {self._made.get(key)}")
        for id, job in jobs.items():
            place = place_of(job)
            if id not in own and (place is None or since is None or id not in self.keys.held(place, since.tick)):
                self.blame(f"{key} was answered with {id}, which did not hold the key {place}")

    def refused(self, key: str, places: Sequence[tuple[Place, str]], holder: str, since: Mark) -> None:
        """A submission was answered 409. places: what keys it named, and what was to happen on a conflict."""
        if self._made.get(key):
            self.blame(f"{key} was answered 409, but made {self._made[key]}")
        if len({place for place, _ in places}) < len(places):
            return  # its jobs are in each other's way
        for place, on_conflict in places:
            running = on_conflict == "replace"
            if holder in self.keys.held(place, since.tick) and (not running or self._was(holder, "RUNNING", since)):
                return
        self.blame(f"{key} was answered 409 for the job {holder}, which held none of {places}")

    def outlived(self, key: str, places: Sequence[tuple[Place, str]]) -> None:
        """A submission was answered 410 as it was repeated: what it had made, or been given instead, is gone."""
        self._expected[key] = 0  # nobody will learn of the others
        named = [place for place, on_conflict in places if on_conflict == "return"]
        if not (
            any(id in self.removed for id in (*self._made.get(key, ()), *self._acknowledged.get(key, ())))
            or any(place_of(job) in named for job in self.removed.values())
        ):
            self.blame(f"{key} was answered 410, but none of its jobs was removed")

    def any_removed(self, ids: Sequence[str]) -> bool:
        """Whether one of the jobs was removed."""
        return any(id in self.removed for id in ids)

    def _was(self, id: str, status: str, since: Mark) -> bool:
        return status in [was for was, _, _ in self.between(id, since)]

    # -- jobs

    def mark(self) -> Mark:
        """The start of a request."""
        return Mark({id: len(states) for id, states in self.history.items()}, self.tick)

    def between(self, id: str, since: Mark) -> list[tuple[str, int, int]]:
        """The states that a job has had since the mark."""
        return self.history.get(id, [])[max(0, since.states.get(id, 0) - 1) :]

    def shown(self, shown: Mapping[str, Any], since: Mark) -> None:
        """An answer shows a job: in a state that it had between the request and the answer, never an older one."""
        state = (shown["status"], shown["epoch"], shown["attempt"])
        states = self.between(shown["id"], since)
        if state not in states:
            self.blame(f"{shown['id']} was shown as {state}, but in that time it was {states}")

    def parents_fault(self, job: Job, told: Mapping[str, Any]) -> str | None:
        """A handler is told how the jobs have ended that its own has waited for. What is wrong with that."""
        for id in job.options.depends_on:
            was = {status for status, _, _ in self.history[id]}
            left_out = id not in told and id in self.jobs
            if left_out or (id in told and told[id]["status"] not in was):
                return f"{job.id} was told {told.get(id)} of {id}, which was {was}"
        return None

    def gone(self, id: str) -> None:
        """A request for a job was answered 410."""
        if id not in self.removed:
            self.blame(f"{id} was answered 410, but was never removed")

    def there(self, id: str, since: Mark) -> bool:
        """Whether a job has been there all the time."""
        return id in since.states and id in self.jobs

    def cancelled(self, id: str) -> None:
        """A cancel was answered with 200."""
        if "CANCELLED" not in [status for status, _, _ in self.history[id]]:
            self.blame(f"the cancel of {id} was answered 200, but it is {self.jobs[id].status.name}")
        if id not in self.retried:
            self._cancelled.add(id)

    def wrongly_started(self, job: Job) -> str | None:
        """Whether somebody was told that this job is cancelled."""
        if job.id in self._cancelled and job.id not in self.retried:
            return f"{job.id} was started after its cancel was answered"
        return None

    # -- queues

    def count(self, queues: Sequence[str]) -> None:
        """After a commit: how many jobs of each queue have each status now."""
        for queue in dict.fromkeys(queues):
            depth = Counter(job.status.name for job in self.jobs.values() if job.queue == queue)
            self._depths.setdefault(queue, []).append((self.tick, depth))

    def depth_fault(self, queue: str, shown: Mapping[str, int], since: Mark) -> str | None:
        """An answer shows how many jobs of a queue have each status. What is wrong with that."""
        log = self._depths.get(queue, [])
        had = [depth for at, depth in log if at <= since.tick][-1:] or [Counter()]
        had += [depth for at, depth in log if at > since.tick]
        says = Counter({status: n for status, n in shown.items() if n})
        return None if says in had else f"{queue} was shown with {shown}, but held {had}"

    def knows(self, queue: str, since: Mark) -> bool:
        """Whether the queue had been named before that, by a job or by its settings."""
        return any(log and log[0][0] <= since.tick for log in (self._depths.get(queue, []),))

    # -- the end

    def finish_answers(self) -> None:
        """Nothing that was acknowledged is lost, and no submission was made by half."""
        for key, ids in self._acknowledged.items():
            lost = [id for id in ids if self.any_job(id) is None]
            if lost:
                self.blame(f"{key}: the acknowledged {lost[0]} was lost")
        for key, made in self._made.items():
            expected = self._expected.get(key, 1)
            told = self._acknowledged.get(key, ())
            own = len({id for id in told if id in made}) if told else expected
            if expected and len(made) != own:
                self.blame(f"{key} made {len(made)} jobs of {own}: half a submission")
