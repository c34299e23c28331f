"""Operators of queues: they pause and resume, set caps, rates, shares and retention, while everybody works."""

from __future__ import annotations

from functools import partial
from typing import Any

import trio

from tests.simulation.asks import Asker, decoded
from tests.simulation.book import Mark
from tests.simulation.node import QUEUES

BREAKS = (0.3, 1.0, 4.0)
FIRST: tuple[dict[str, Any], ...] = (
    {"group": {"concurrency": 1}},
    {"group": {"concurrency": 2}},
    {"rate": {"limit": 2, "per": 6}},
    {"weights": {"red": 3}},
)
PAUSES = (1.0, 6.0, 20.0)


class Tuner(Asker):
    """One of them; it goes on until it is cancelled."""

    async def run(self) -> None:
        """Change something, now and then look."""
        first = self._rng.choice(FIRST)
        await self._insist(partial(self._patch, "default", first))
        while True:
            await trio.sleep(self._rng.choice(BREAKS))
            queue = self._rng.choice(QUEUES)
            if self._rng.random() < 0.2:
                await self._look(queue)
                continue
            said = {"paused": True} if self._rng.random() < 0.45 else self._settings()
            await self._patch(queue, said)
            if said.get("paused"):
                await trio.sleep(self._rng.choice(PAUSES))
                await self._patch(queue, {"paused": False})

    async def relax(self) -> None:
        """Let all queues work again; caps and rates stay."""
        self.hasty = False
        for queue in QUEUES:
            await self._insist(partial(self._patch, queue, {"paused": False}))

    def _settings(self) -> dict[str, Any]:
        rng = self._rng
        rate = {"limit": rng.choice((2, 3)), "per": rng.choice((2, 6))}
        keep = {"DONE": rng.choice((1, 5)), "FAILED": rng.choice((2, 10)), "CANCELLED": 2}
        fields: dict[str, tuple[Any, ...]] = {
            "concurrency": (1, 2, None),
            "rate": (rate, None),
            "group": ({"concurrency": 1}, {"concurrency": 1}, {"concurrency": None}, {"rate": rate}, {"rate": None}),
            "weights": ({"red": 3}, {"blue": 0.25}, {"red": None, "blue": None}),
            "retention": (keep, dict.fromkeys(keep)),
            "max_queued": (10, None),
        }
        return {name: rng.choice(fields[name]) for name in rng.sample(sorted(fields), rng.choice((1, 1, 2)))}

    async def _patch(self, queue: str, said: dict[str, Any]) -> bool:
        since = self._oracle.mark()
        answer = await self._tell("PATCH", f"/queues/{queue}", said)
        if answer is None:
            return False
        if answer.status not in (200, 201):
            self._oracle.blame(f"PATCH {said} of {queue} was answered {answer.status}: {answer.body!r}")
            return False
        self._judge(decoded(answer), since)
        return True

    async def _look(self, queue: str) -> None:
        since = self._oracle.mark()
        answer = await self._tell("GET", f"/queues/{queue}")
        if answer is not None and answer.status == 200:
            self._judge(decoded(answer), since)
        elif answer is not None and (answer.status != 404 or self._oracle.knows(queue, since)):
            self._oracle.blame(f"GET of queue {queue} was answered {answer.status}: {answer.body!r}")

    def _judge(self, shown: dict[str, Any], since: Mark) -> None:
        self._oracle.check(self._oracle.bounds.shown(shown, since.tick))
        self._oracle.check(self._oracle.depth_fault(shown["name"], shown["depth"], since))
