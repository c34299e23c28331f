"""Listeners: one hears what it filters, hangs up, comes back and says what it heard last; another follows one job."""

from __future__ import annotations

import trio

from tests.simulation.asks import Asker
from tests.simulation.stream import Told, parsed, told_by
from tests.simulation.wire import Exchange

STAYS = (0.3, 3.0, 20.0)
FILTERS = ("", "status=DONE,FAILED", "queue=mail", "kind=quick,failing&status=RUNNING,DONE")


class Listener(Asker):
    """One that listens until it is cancelled."""

    async def run(self) -> None:
        """Now to all, now to one job."""
        while True:
            await self._pause()
            if self._known and self._rng.random() < 0.3:
                await self._follow(self._rng.choice(self._known))
            else:
                await Hearing(self, self._rng.choice(FILTERS)).run()

    async def listen(self, target: str, last: str | None) -> tuple[Exchange, float]:
        """Ask, and stay for a while; what came, and until when it was listened."""
        headers = [(b"last-event-id", last.encode())] if last is not None else []
        exchange = Exchange("GET", target, [b""], headers, self._sim)
        try:
            with trio.move_on_after(self._rng.choice(STAYS)):
                await self._lives.ask(exchange)
        finally:
            exchange.leave()
        self._sim.trace(f"{self._name}: GET {target[:16]}", exchange.answer.status, len(exchange.answer.body))
        return exchange, trio.current_time()

    async def _follow(self, id: str) -> None:
        exchange, _ = await self.listen(f"/jobs/{id}/events", None)
        answer = exchange.answer
        if answer.status == 410:
            self._oracle.gone(id)
        elif answer.status == 200:
            told = told_by(parsed(answer.body))
            whole = answer.whole and not self._sim.dying() and not self.draining()
            self._oracle.check(self._oracle.stream.job_fault(id, told, whole=whole))

    def draining(self) -> bool:
        """Whether the server is about to stop."""
        return self._lives.life is None or self._lives.life.draining


class Hearing:
    """What one listener hears with one filter, over several connections. heard: in the present life, in order.

    start: the moments in the life's log between which it began to listen.
    """

    def __init__(self, listener: Listener, query: str) -> None:
        self._listener = listener
        self._lives = listener._lives
        self._oracle = listener._oracle
        self._rng = listener._rng
        self._query = query
        self._wanted = {name: said.split(",") for name, said in (part.split("=") for part in query.split("&") if part)}
        self._last: str | None = None
        self._number = 0
        self._heard: list[Told] = []
        self._start = (0, 0)

    async def run(self) -> None:
        """Come back a few times."""
        for _ in range(self._rng.randint(1, 4)):
            await self._once()
            await trio.sleep(self._rng.choice((0.0, 0.5, 3.0)))

    async def _once(self) -> None:
        life = self._lives.life
        if life is None:
            return
        stream = self._oracle.stream
        log = stream.life(life.number)
        asked = log.last
        exchange, until = await self._listener.listen(f"/events?{self._query}", self._last)
        if exchange.answer.status != 200:
            return
        events = parsed(exchange.answer.body)
        if not any(event.name or event.id for event in events):  # it left before it was told anything
            return
        gap = any(event.name == "gap" for event in events)
        if self._last is None or life.number != self._number:
            if (self._last is None) == gap:
                self._oracle.blame(f"a listener that came back with {self._last} was told {events[:2]}")
            self._number, self._heard = life.number, []
            self._start = (asked, exchange.begun_at) if self._last is None else (0, 0)
        elif gap:
            self._oracle.blame(f"a listener that came back with {self._last} was told of a gap: {events[:2]}")
        self._heard += told_by(events)
        self._last = next((event.id for event in reversed(events) if event.id is not None), self._last)
        steady = life is self._lives.life and life.alive and not life.draining and not self._listener.hasty
        self._judge(life.number, until - self._oracle.slack if steady else 0.0)

    def _judge(self, number: int, due: float) -> None:
        """What was heard must be what happened, from where it began; all of it that is `due`."""
        log = self._oracle.stream.life(number)
        for start in range(self._start[0], self._start[1] + 1):
            wanted = [(step, at) for step, at in zip(log.log[start:], log.at[start:], strict=True) if self._takes(step)]
            least = sum(1 for _, at in wanted if at < due)
            if [step for step, _ in wanted[: len(self._heard)]] == self._heard and len(self._heard) >= least:
                return
        said = [step for step in log.log[self._start[0] :] if self._takes(step)]
        self._oracle.blame(f"a listener of {self._query} was told {self._heard}, but there was {said}")

    def _takes(self, step: Told) -> bool:
        return all(getattr(step, name) in names for name, names in self._wanted.items())
