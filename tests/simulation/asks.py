"""How a client asks: one request on a connection of its own, which it may leave at any await."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import trio

from tests.simulation.book import Mark
from tests.simulation.node import Lives
from tests.simulation.wire import Answer, Exchange, Sim

PACES = (0.0, 0.05, 0.7, 3.0)
HANGUP_CHANCE = 0.3
LATER = frozenset({429, 503, 507})  # try again
JSON = (b"content-type", b"application/json")

Want = Callable[[], Awaitable[None]]


class Asker:
    """Somebody who asks the server for something. `known` are the jobs that may be asked about."""

    def __init__(self, name: str, sim: Sim, lives: Lives, known: list[str]) -> None:
        self._name = name
        self._sim = sim
        self._oracle = sim.oracle
        self._rng = sim.chance.rng
        self._lives = lives
        self._known = known
        self.hasty = sim.plan.has("hangup")

    async def _pause(self) -> None:
        await trio.sleep(self._rng.choice(PACES))

    def _draw(self, wants: Mapping[Want, int]) -> Want:
        return self._rng.choices(list(wants), list(wants.values()))[0]

    def _some_job(self) -> str | None:
        return self._rng.choice(self._known) if self._known else None

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

    async def _tell(self, method: str, target: str, said: object = None) -> Answer | None:
        """One request with a JSON body; None: no answer, or one that says to come back later."""
        body, headers = (b"", ()) if said is None else (encoded(said), (JSON,))
        answer = await self._ask(method, target, body, headers)
        return None if answer is None or answer.status in LATER else answer

    async def _insist(self, ask: Callable[[], Awaitable[bool]]) -> None:
        """Ask again and again, until it is answered."""
        while True:
            if await ask():
                return
            await trio.sleep(0.3)

    def _is_job(self, what: str, id: str, answer: Answer, since: Mark, others: Sequence[int]) -> bool:
        """Whether the answer is about the job that was asked for. 410: it is gone; `others` are right as well."""
        if answer.status in (200, 202):
            self._oracle.shown(json.loads(answer.body), since)
            return True
        if answer.status == 410:
            self._oracle.gone(id)
        elif answer.status not in others:
            self._oracle.blame(f"{what} of {id} was answered {answer.status}: {answer.body!r}")
        return False


class Part(Asker):
    """A client's dealings with one feature."""

    async def begin(self) -> None:
        """What it does first of all."""

    def wants(self) -> dict[Want, int]:
        """What it wants, by how often."""
        raise NotImplementedError


def encoded(value: object) -> bytes:
    """As JSON."""
    return json.dumps(value).encode()


def decoded(answer: Answer) -> Any:
    """What an answer says."""
    return json.loads(answer.body)
