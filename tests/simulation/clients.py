"""The clients: each asks one thing after the other, and again under the same key while it does not know the outcome."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import trio

from jobqueue.clock import SECOND, iso
from tests.simulation import disk
from tests.simulation.node import Lives
from tests.simulation.wire import Answer, Exchange, Sim

PACES = (0.0, 0.05, 0.7, 3.0)
WAITS = (1, 5, 30)
WAIT_SLACK_SECONDS = 30.0
HANGUP_CHANCE = 0.3
LATER = frozenset({429, 503, 507})  # try again
KINDS = {"quick": 5, "sleepy": 4, "failing": 3, "retrying": 2, "reporting": 1, "fatal": 1, "exiting": 1, "missing": 1}
JSON = (b"content-type", b"application/json")
LINES = (b"content-type", b"application/x-ndjson")

Job = Mapping[str, Any]


class Client:
    """One of them. `known` are the jobs that it may ask about."""

    def __init__(self, name: str, sim: Sim, lives: Lives, known: list[str]) -> None:
        self._name = name
        self._sim = sim
        self._oracle = sim.oracle
        self._rng = sim.chance.rng
        self._lives = lives
        self._known = known
        self._keys = 0
        self.hasty = sim.plan.has("hangup")

    async def run(self) -> None:
        """All it wants."""
        wants: dict[Callable[[], Awaitable[None]], int] = {
            self._submit: 6,
            self._submit_many: 4,
            self._submit_lines: 2,
            self._submit_plain: 1,
            self._look: 3,
            self._wait: 3,
            self._cancel: 3,
            self._retry: 2,
            self._list: 1,
            self._history: 1,
        }
        for _ in range(self._sim.plan.operations):
            await trio.sleep(self._rng.choice(PACES))
            (want,) = self._rng.choices(list(wants), list(wants.values()))
            await want()

    # -- submissions

    def _draft(self, key: str, index: int) -> dict[str, Any]:
        rng, plan = self._rng, self._sim.plan
        kinds = dict(KINDS)
        if plan.has("stall"):
            kinds |= {"stalling": 4, "shielded": 4}
        if plan.has("poison"):
            kinds |= {"poison": 1}
        if plan.has("spoiled"):
            kinds |= {"unstorable": 3}
        (kind,) = rng.choices(list(kinds), list(kinds.values()))
        draft: dict[str, Any] = {"kind": kind, "payload": {"key": key, "n": index}}
        if kind in ("stalling", "shielded") or rng.random() < 0.2:
            draft["timeout"] = rng.choice((0.5, 2, 6))
        if rng.random() < 0.3:
            draft["group"] = rng.choice(("red", "blue"))
        if rng.random() < 0.15:
            draft["priority"] = rng.choice((-1, 5))
        if rng.random() < 0.2:
            draft["queue"] = "mail"
        if rng.random() < 0.15:
            draft["delay"] = rng.choice((0.5, 4, 20))
        if rng.random() < 0.15:
            at = self._sim.wall.now() + round((draft.get("delay", 0) + rng.choice((0.5, 3, 10))) * SECOND)
            draft["expires_at"] = iso(at)
        if rng.random() < 0.5:
            draft["max_attempts"] = rng.choice((1, 2, 3))
        return draft

    def _new_key(self, count: int) -> str:
        self._keys += 1
        key = f"{self._name}-{self._keys}"
        self._oracle.expect(key, count)
        return key

    async def _insist(
        self, target: str, body: bytes, key: str, headers: Sequence[tuple[bytes, bytes]], *, spoiled: bool = False
    ) -> tuple[Any, Mapping[str, int]]:
        """Ask under the key until the outcome is known; the answer, and when it was asked. None if it was refused."""
        headers = (*headers, (b"idempotency-key", key.encode()))
        expires = b"expires_at" in body  # then its time may have passed when it comes at last
        while True:
            since = self._oracle.mark()
            answer = await self._ask("POST", target, body, headers)
            if answer is not None and answer.status in (200, 201, 202):
                return json.loads(answer.body), since
            if answer is not None and ((answer.status == 500 and spoiled) or (answer.status == 422 and expires)):
                return None, since
            if answer is not None and answer.status not in LATER:
                self._oracle.blame(f"POST {target} was answered {answer.status}: {answer.body!r}")
            await trio.sleep(self._rng.choice(PACES))

    async def _submit(self) -> None:
        key = self._new_key(1)
        draft = self._draft(key, 0)
        spoiled = self._sim.plan.has("spoiled") and self._rng.random() < 0.2
        if spoiled:
            draft["payload"][disk.SPOILED] = True
        headers = [JSON]
        if self._rng.random() < 0.3:
            headers.append((b"prefer", b"wait=%d" % self._rng.choice(WAITS)))
        job, since = await self._insist("/jobs", _json(draft), key, headers, spoiled=spoiled)
        if job is not None:
            self._got(key, [job], since)

    async def _submit_many(self) -> None:
        count = self._rng.randint(2, 7)
        key = self._new_key(count)
        body = _json([self._draft(key, index) for index in range(count)])
        if count > self._sim.plan.max_queued:
            return
        answer, since = await self._insist("/jobs", body, key, [JSON])
        if answer is not None:
            self._got(key, answer["jobs"], since)

    async def _submit_plain(self) -> None:
        key = self._new_key(1)
        answer, _ = await self._insist("/submit", _json({"payload": key}), key, [])
        self._oracle.acknowledged(key, [answer["job_id"]])
        self._known.append(answer["job_id"])

    async def _submit_lines(self) -> None:
        keys = [self._new_key(1) for _ in range(self._rng.randint(1, 4))]
        lines = {key: _json(self._draft(key, 0) | {"idempotency_key": key}) + b"\n" for key in keys}
        while lines:
            asked = list(lines)
            answer = await self._ask("POST", "/jobs", self._pieces(b"".join(lines.values())), [LINES], part=True)
            if answer is not None and answer.status == 200:
                for key, answered in zip(asked, answer.body.split(b"\n")[:-1], strict=False):
                    said, line = json.loads(answered), lines[key]
                    if "id" in said:
                        del lines[key]
                        self._oracle.acknowledged(key, [said["id"]])
                        self._known.append(said["id"])
                    elif said["status"] == 422 and b"expires_at" in line:
                        del lines[key]
                    elif said["status"] not in LATER:
                        self._oracle.blame(f"the line {key} was answered {said}")
            elif answer is not None and answer.status not in LATER:
                self._oracle.blame(f"lines were answered {answer.status}: {answer.body!r}")
            await trio.sleep(self._rng.choice(PACES))

    def _pieces(self, body: bytes) -> list[bytes]:
        cut = self._rng.randrange(len(body))
        return [body[:cut], body[cut:]] if cut else [body]

    def _got(self, key: str, jobs: Sequence[Job], since: Mapping[str, int]) -> None:
        self._oracle.acknowledged(key, [job["id"] for job in jobs])
        for job in jobs:
            self._oracle.shown(job, since)
            self._known.append(job["id"])

    # -- the rest

    async def _look(self) -> None:
        await self._get("")

    async def _wait(self) -> None:
        await self._get(f"?wait={self._rng.choice(WAITS)}")

    async def _get(self, query: str) -> None:
        if not self._known:
            return
        id = self._rng.choice(self._known)
        since, start = self._oracle.mark(), trio.current_time()
        answer = await self._ask("GET", f"/jobs/{id}{query}")
        if answer is not None and answer.status == 200:
            self._oracle.shown(json.loads(answer.body), since)
            seconds = float(query.partition("=")[2] or 0)
            if trio.current_time() - start > seconds + WAIT_SLACK_SECONDS:
                self._oracle.blame(f"GET {query} took {trio.current_time() - start} s")
        elif answer is not None and answer.status not in LATER:
            self._oracle.blame(f"GET /jobs/{id} was answered {answer.status}: {answer.body!r}")

    async def _cancel(self) -> None:
        if not self._known:
            return
        id = self._rng.choice(self._known)
        since = self._oracle.mark()
        answer = await self._ask("POST", f"/jobs/{id}/cancel")
        if answer is None or answer.status in LATER:
            return
        if answer.status in (200, 202):
            self._oracle.shown(json.loads(answer.body), since)
        if answer.status == 200:
            self._oracle.cancelled(id)
        elif answer.status not in (202, 409):
            self._oracle.blame(f"the cancel of {id} was answered {answer.status}: {answer.body!r}")

    async def _retry(self) -> None:
        if not self._known:
            return
        id = self._rng.choice(self._known)
        since = self._oracle.mark()
        self._oracle.retried.add(id)
        answer = await self._ask("POST", f"/jobs/{id}/retry")
        if answer is not None and answer.status == 200:
            self._oracle.shown(json.loads(answer.body), since)
        elif answer is not None and answer.status != 409 and answer.status not in LATER:
            self._oracle.blame(f"the retry of {id} was answered {answer.status}: {answer.body!r}")

    async def _list(self) -> None:
        """All pages: what was there before the first must be on one of them, newest first."""
        before = set(self._oracle.jobs)
        found: list[str] = []
        target = "/jobs?limit=3"
        while True:
            since = self._oracle.mark()
            answer = await self._ask("GET", target)
            if answer is None or answer.status in LATER:
                return
            page = json.loads(answer.body)
            for job in page["items"]:
                self._oracle.shown(job, since)
                found.append(job["id"])
            if page["next"] is None:
                break
            target = f"/jobs?limit=3&cursor={page['next']}"
        if before - set(found) or found != sorted(set(found), reverse=True):
            self._oracle.blame(f"the list left out {before - set(found)}, or is out of order: {found}")

    async def _history(self) -> None:
        if not self._known:
            return
        id = self._rng.choice(self._known)
        answer = await self._ask("GET", f"/jobs/{id}/attempts")
        if answer is None or answer.status in LATER:
            return
        epochs = [item["epoch"] for item in json.loads(answer.body)["items"]]
        if epochs != sorted(set(epochs), reverse=True):
            self._oracle.blame(f"the attempts of {id} are {epochs}")

    async def _ask(
        self,
        method: str,
        target: str,
        body: bytes | list[bytes] = b"",
        headers: Sequence[tuple[bytes, bytes]] = (),
        *,
        part: bool = False,
    ) -> Answer | None:
        """One request. None: no answer, or with `part` none at all. Those in a hurry may hang up at any await."""
        exchange = Exchange(method, target, [body] if isinstance(body, bytes) else body, headers, self._sim)
        patience = 1000.0
        if self.hasty and self._rng.random() < HANGUP_CHANCE:
            if self._rng.random() < 0.5:
                exchange.leave_after = self._rng.randrange(1, 12)
            else:
                patience = self._rng.choice((0.0, 0.001, 0.1, 1.0))
        with trio.move_on_after(patience) as hurry:
            await self._lives.ask(exchange)
        if hurry.cancelled_caught:
            exchange.leave()
        answer = exchange.answer
        self._sim.trace(f"{self._name}: {method} {target[:16]}", answer.status if answer.whole else "no answer")
        return answer if answer.whole or (part and answer.status) else None


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
