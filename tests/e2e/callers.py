"""Callers that keep a server busy and remember what it promised: they submit with idempotency keys, cancel, and look.

What gets no answer is asked again with the same key, on the next life of the server, until there is an answer.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

ENDS = ("DONE", "FAILED", "CANCELLED")
ANSWER_SECONDS = 10.0
MOST_KEYS = 1_000_000
NO_ANSWER = (OSError, http.client.HTTPException)


@dataclass
class Told:
    """What the server answered, of all its lives. Wrong: where two answers contradict each other."""

    jobs: dict[str, str] = field(default_factory=dict)  # idempotency key -> id
    ends: dict[str, str] = field(default_factory=dict)  # id -> the end state that was seen
    unanswered: int = 0
    wrong: list[str] = field(default_factory=list)

    def job(self, key: str, id: str) -> None:
        """A submission was answered."""
        if self.jobs.setdefault(key, id) != id:
            self.wrong.append(f"key {key} stands for {self.jobs[key]} and for {id}")

    def seen(self, id: str, status: str) -> None:
        """The job was seen in this status."""
        before = self.ends.get(id)
        if before is not None and before != status:
            self.wrong.append(f"job {id} was {before}, then {status}")
        if status in ENDS:
            self.ends[id] = status


class Callers:
    """Some threads that call, always the server that `at` was told of last. Use it in a `with`."""

    def __init__(self, count: int, seed: int, seconds: Callable[[random.Random], float]) -> None:
        self.told = Told()
        self._seconds = seconds
        self._news = threading.Condition()
        self._address: tuple[str, int] | None = None
        self._life = 0
        self._answers = 0
        self._leaving = False
        self._threads = [
            threading.Thread(target=self._call, args=(number, random.Random(f"{seed} {number}")), daemon=True)
            for number in range(count)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.leave()

    def at(self, address: tuple[str, int]) -> None:
        """From now on call there."""
        with self._news:
            self._address = address
            self._life += 1
            self._answers = 0
            self._news.notify_all()

    def wait_for_answers(self, count: int, seconds: float) -> bool:
        """Wait until this life of the server has given so many answers."""
        with self._news:
            return self._news.wait_for(lambda: self._answers >= count, seconds)

    def leave(self) -> None:
        """Begin nothing new; go once everything has been answered. The server must be up."""
        with self._news:
            self._leaving = True
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a caller got no answer"

    def _call(self, number: int, chance: random.Random) -> None:
        caller = _Caller(self, chance)
        try:
            for count in range(MOST_KEYS):
                if self._leaving:
                    return
                caller.submit(f"{number}-{count}", self._seconds(chance))
                if chance.random() < 0.2:
                    caller.look()
                if chance.random() < 0.1:
                    caller.cancel()
                if chance.random() < 0.02:
                    caller.tune()
        finally:
            caller.close()

    def where(self, life: int) -> tuple[tuple[str, int], int]:
        """The present server and its number; waits for one after `life`."""
        with self._news:
            assert self._news.wait_for(lambda: self._life > life, 60), "no server came back"
            assert self._address is not None
            return self._address, self._life

    def answered(self, life: int) -> None:
        """An answer came from that life of the server."""
        with self._news:
            self._answers += life == self._life
            self._news.notify_all()

    def unanswered(self) -> None:
        """An answer did not come."""
        with self._news:
            self.told.unanswered += 1


class _Caller:
    """One connection, opened again as often as it breaks."""

    def __init__(self, callers: Callers, chance: random.Random) -> None:
        self._callers = callers
        self._chance = chance
        self._told = callers.told
        self._mine: list[str] = []
        self._life = 0
        self._connection: http.client.HTTPConnection | None = None

    def submit(self, key: str, seconds: float) -> None:
        """Submit one job, or an array of two, until it is accepted."""
        one = {"kind": "work", "payload": {"key": key, "seconds": seconds}, **self._extras(key)}
        two = "unique" not in one and self._chance.random() < 0.2
        status, answer = self._ask("POST", "/jobs", [one, one] if two else one, {"Idempotency-Key": key})
        if status not in (200, 201):
            self._told.wrong.append(f"POST /jobs: {status} {answer}")
            return
        for n, job in enumerate(answer["jobs"] if two else [answer]):
            self._told.job(f"{key}/{n}", job["id"])
            self._told.seen(job["id"], job["status"])
            self._mine.append(job["id"])

    def _extras(self, key: str) -> dict[str, Any]:
        """Sometimes it is in a group, depends on a job before it, or must be the only one of its name."""
        extras: dict[str, Any] = {}
        if self._chance.random() < 0.3:
            extras["group"] = self._chance.choice(("red", "blue"))
        if self._mine and self._chance.random() < 0.2:
            extras |= {"depends_on": [self._chance.choice(self._mine[-4:])], "on_dependency_failure": "run"}
        if self._chance.random() < 0.2:
            extras["unique"] = {"key": key, "while": self._chance.choice(("queued", "active", "exists"))}
        return extras

    def tune(self) -> None:
        """Cap the groups of the queue, or do not."""
        group = self._chance.choice(({"concurrency": 1}, {"concurrency": None}, {"rate": {"limit": 50, "per": 0.5}}))
        status, answer = self._ask("PATCH", "/queues/default", {"group": group})
        if status != 200:
            self._told.wrong.append(f"PATCH of the queue: {status} {answer}")

    def look(self) -> None:
        """What was accepted can be read."""
        id = self._chance.choice(self._mine)
        status, answer = self._ask("GET", f"/jobs/{id}")
        if status == 200:
            self._told.seen(id, answer["status"])
        else:
            self._told.wrong.append(f"GET of {id}: {status}")

    def cancel(self) -> None:
        """Cancel a job of the last few."""
        id = self._chance.choice(self._mine[-4:])
        status, answer = self._ask("POST", f"/jobs/{id}/cancel")
        if status == 200:
            self._told.seen(id, answer["status"])
        elif status not in (202, 409):
            self._told.wrong.append(f"cancel of {id}: {status} {answer}")

    def _ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Ask until there is an answer that is none of a server about to go."""
        while True:
            try:
                response, life = self._try(method, path, body, headers or {})
            except NO_ANSWER:
                self._callers.unanswered()
                self.close()
                continue
            if response[0] == 503:
                self.close()
                continue
            self._callers.answered(life)
            return response

    def _try(self, method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[tuple[int, Any], int]:
        if self._connection is None:
            address, self._life = self._callers.where(self._life)
            self._connection = http.client.HTTPConnection(*address, timeout=ANSWER_SECONDS)
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data, {"Content-Type": "application/json", **headers})
        response = self._connection.getresponse()
        raw = response.read()
        return (response.status, json.loads(raw) if raw else None), self._life

    def close(self) -> None:
        """Have done with this life of the server."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
