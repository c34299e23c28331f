"""The clients: each asks one thing after the other, and again under the same key while it does not know the outcome."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import trio

from tests.simulation import disk
from tests.simulation.amenders import Amender, Wonderer
from tests.simulation.asks import JSON, LATER, Asker, Part, Want, decoded, encoded
from tests.simulation.book import Mark
from tests.simulation.drafts import draft, places, tie
from tests.simulation.planners import Planner
from tests.simulation.sweepers import Searcher, Sweeper
from tests.simulation.wire import Answer

WAITS = (1, 5, 30)
WAIT_SLACK_SECONDS = 30.0
LINES = (b"content-type", b"application/x-ndjson")

PARTS: dict[str, type[Part]] = {
    "amend": Amender,
    "bulk": Sweeper,
    "explain": Wonderer,
    "filter": Searcher,
    "schedules": Planner,
}

Job = Mapping[str, Any]


class Client(Asker):
    """One of them."""

    _keys = 0

    async def run(self) -> None:
        """All it wants."""
        plan = self._sim.plan
        parts = [part(self._name, self._sim, self._lives, self._known) for use, part in PARTS.items() if plan.uses(use)]
        wants = self._wants()
        for part in parts:
            await part.begin()
            wants |= part.wants()
        for _ in range(plan.operations):
            await self._pause()
            await self._draw(wants)()

    def _wants(self) -> dict[Want, int]:
        return {
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

    # -- submissions

    def _drafts(self, key: str, count: int) -> list[dict[str, Any]]:
        drafts = [draft(key, index, self._sim.plan, self._rng, self._sim.wall) for index in range(count)]
        tie(drafts, self._sim.plan, self._rng, self._known)
        return drafts

    def _new_key(self, count: int) -> str:
        self._keys += 1
        key = f"{self._name}-{self._keys}"
        self._oracle.expect(key, count)
        return key

    async def _submit_as(
        self, target: str, said: Any, key: str, headers: Sequence[tuple[bytes, bytes]], *, spoiled: bool = False
    ) -> tuple[Any, Mark]:
        """Ask under the key until the outcome is known; the answer, and when it was asked. None if it was refused."""
        headers = (*headers, (b"idempotency-key", key.encode()))
        first = self._oracle.mark()
        while True:
            since = self._oracle.mark()
            answer = await self._ask("POST", target, encoded(said), headers)
            if answer is not None and answer.status in (200, 201, 202):
                jobs = decoded(answer).get("jobs", [decoded(answer)]) if target == "/jobs" else []
                if jobs:
                    self._oracle.acknowledged(key, [job["id"] for job in jobs], first)
                return decoded(answer), since
            if answer is not None and ((answer.status == 500 and spoiled) or self._refused(key, said, answer, first)):
                return None, since
            if answer is not None and answer.status not in LATER:
                self._oracle.blame(f"POST {target} was answered {answer.status}: {answer.body!r}")
            await self._pause()

    def _refused(self, key: str, said: Any, answer: Answer | Mapping[str, Any], first: Mark) -> bool:
        """Whether a submission was turned away, as it may be."""
        drafts = said if isinstance(said, list) else [said]
        problem = decoded(answer) if isinstance(answer, Answer) else answer
        match problem.get("status"):
            case 422:  # the time of one may have passed, or what it depends on may be gone, when it comes at last
                parents = [id for said in drafts for id in said.get("depends_on", ())]
                return any("expires_at" in said for said in drafts) or self._oracle.any_removed(parents)
            case 409 if places(drafts):
                self._oracle.refused(key, places(drafts), problem["id"], first)
                return True
            case 410:
                self._oracle.outlived(key, places(drafts))
                return True
        return False

    async def _submit(self) -> None:
        key = self._new_key(1)
        (said,) = self._drafts(key, 1)
        spoiled = self._sim.plan.has("spoiled") and self._rng.random() < 0.2
        if spoiled:
            said["payload"][disk.SPOILED] = True
        headers = [JSON]
        if self._rng.random() < 0.3:
            headers.append((b"prefer", b"wait=%d" % self._rng.choice(WAITS)))
        job, since = await self._submit_as("/jobs", said, key, headers, spoiled=spoiled)
        if job is not None:
            self._got([job], since)

    async def _submit_many(self) -> None:
        count = self._rng.randint(2, 7)
        key = self._new_key(count)
        drafts = self._drafts(key, count)
        if count > self._sim.plan.max_queued:
            return
        answer, since = await self._submit_as("/jobs", drafts, key, [JSON])
        if answer is not None:
            self._got(answer["jobs"], since)

    async def _submit_plain(self) -> None:
        key = self._new_key(1)
        answer, _ = await self._submit_as("/submit", {"payload": key}, key, [])
        if answer is not None:
            self._oracle.acknowledged(key, [answer["job_id"]])
            self._known.append(answer["job_id"])

    async def _submit_lines(self) -> None:
        keys = [self._new_key(1) for _ in range(self._rng.randint(1, 4))]
        lines = {key: self._drafts(key, 1)[0] | {"idempotency_key": key} for key in keys}
        first = self._oracle.mark()
        while lines:
            asked = list(lines)
            body = b"".join(encoded(line) + b"\n" for line in lines.values())
            answer = await self._ask("POST", "/jobs", self._pieces(body), [LINES], part=True)
            if answer is not None and answer.status == 200:
                for key, answered in zip(asked, answer.body.split(b"\n")[:-1], strict=False):
                    said = json.loads(answered)
                    if "id" in said and isinstance(said["status"], str):
                        del lines[key]
                        self._oracle.acknowledged(key, [said["id"]], first)
                        self._known.append(said["id"])
                    elif self._refused(key, lines[key], said, first):
                        del lines[key]
                    elif said["status"] not in LATER:
                        self._oracle.blame(f"the line {key} was answered {said}")
            elif answer is not None and answer.status not in LATER:
                self._oracle.blame(f"lines were answered {answer.status}: {answer.body!r}")
            await self._pause()

    def _pieces(self, body: bytes) -> list[bytes]:
        cut = self._rng.randrange(len(body))
        return [body[:cut], body[cut:]] if cut else [body]

    def _got(self, jobs: Sequence[Job], since: Mark) -> None:
        for job in jobs:
            self._oracle.shown(job, since)
            self._known.append(job["id"])

    # -- the rest

    async def _look(self) -> None:
        await self._get("")

    async def _wait(self) -> None:
        await self._get(f"?wait={self._rng.choice(WAITS)}")

    async def _get(self, query: str) -> None:
        id = self._some_job()
        if id is None:
            return
        since, start = self._oracle.mark(), trio.current_time()
        answer = await self._tell("GET", f"/jobs/{id}{query}")
        if answer is not None and self._is_job(f"GET{query}", id, answer, since, ()):
            seconds = float(query.partition("=")[2] or 0)
            if trio.current_time() - start > seconds + max(WAIT_SLACK_SECONDS, self._oracle.slack):
                self._oracle.blame(f"GET {query} took {trio.current_time() - start} s")

    async def _cancel(self) -> None:
        id = self._some_job()
        if id is None:
            return
        since, asked = self._oracle.mark(), self._oracle.requests.one("cancel", id)
        answer = await self._tell("POST", f"/jobs/{id}/cancel")
        if answer is None:
            return
        self._oracle.requests.end(asked)
        if self._is_job("the cancel", id, answer, since, (409,)) and answer.status == 200:
            self._oracle.cancelled(id)

    async def _retry(self) -> None:
        id = self._some_job()
        if id is None:
            return
        since, asked = self._oracle.mark(), self._oracle.requests.one("retry", id)
        answer = await self._tell("POST", f"/jobs/{id}/retry")
        if answer is not None:
            self._oracle.requests.end(asked)
            self._is_job("the retry", id, answer, since, (409,))

    async def _list(self) -> None:
        """All pages: what was there before the first must be on one of them, newest first."""
        first = self._oracle.mark()
        found: list[str] = []
        target = "/jobs?limit=3"
        while True:
            since = self._oracle.mark()
            answer = await self._tell("GET", target)
            if answer is None:
                return
            page = decoded(answer)
            for job in page["items"]:
                self._oracle.shown(job, since)
                found.append(job["id"])
            if page["next"] is None:
                break
            target = f"/jobs?limit=3&cursor={page['next']}"
        left_out = [id for id in first.states if self._oracle.there(id, first) and id not in found]
        if left_out or found != sorted(set(found), reverse=True):
            self._oracle.blame(f"the list left out {left_out}, or is out of order: {found}")

    async def _history(self) -> None:
        id = self._some_job()
        answer = None if id is None else await self._tell("GET", f"/jobs/{id}/attempts")
        if id is None or answer is None:
            return
        if answer.status == 410:
            self._oracle.gone(id)
            return
        epochs = [item["epoch"] for item in decoded(answer)["items"]]
        if epochs != sorted(set(epochs), reverse=True):
            self._oracle.blame(f"the attempts of {id} are {epochs}")
