"""The wire on which requests come in: one request a connection, by the program's own ASGI front."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import trio

from tests.simulation.disk import Disk
from tests.simulation.oracle import Oracle
from tests.simulation.plan import Plan
from tests.simulation.world import Chance, Steps, Trace, Wall

if TYPE_CHECKING:
    from tests.simulation.node import Life, Lives


@dataclass
class Sim:
    """What all parts of one run share."""

    plan: Plan
    chance: Chance
    wall: Wall
    trace: Trace
    steps: Steps
    oracle: Oracle
    disk: Disk
    lives: Lives | None = None

    def dying(self) -> bool:
        """Whether the process is on its way out: what it then says means nothing."""
        life = self.lives.life if self.lives is not None else None
        return life is None or not life.alive or life.failed


@dataclass
class Answer:
    """What a client got; `whole` if the connection did not break off before its end."""

    status: int = 0
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""
    whole: bool = False


class Exchange:
    """One request and its answer, on a connection of its own that either side may leave."""

    def __init__(
        self, method: str, target: str, pieces: Sequence[bytes], headers: Sequence[tuple[bytes, bytes]], sim: Sim
    ) -> None:
        path, _, query = target.partition("?")
        self._scope = {
            "type": "http",
            "http_version": "1.1",
            "asgi": {"version": "3.0"},
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"localhost"), *headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8080),
            "state": {},
        }
        self._pieces = list(pieces) or [b""]
        self._sim = sim
        self._cancel = trio.CancelScope()
        self._gone = trio.Event()
        self.leave_after: int | None = None
        self.begun_at = 0  # how much had happened when the answer began
        self.answer = Answer()
        self.ended = trio.Event()

    async def run(self, life: Life) -> None:
        """The server's side."""
        steps = self._sim.steps
        task = trio.lowlevel.current_task()
        if self.leave_after is not None:
            steps.leaving[task] = (self.leave_after, self.leave)
        try:
            with self._cancel:
                front = cast("Callable[..., Awaitable[None]]", life.server.front)
                await front(self._scope, self._receive, lambda message: self._send(life, message))
        finally:
            steps.leaving.pop(task, None)
            self.ended.set()

    def leave(self) -> None:
        """The client hangs up: the connection ends the request's task."""
        self._gone.set()
        self._cancel.cancel()
        self.ended.set()

    async def _receive(self) -> dict[str, Any]:
        if self._pieces:
            if len(self._pieces) > 1:
                await trio.sleep(self._sim.chance.rng.choice((0.0, 0.1)))
            piece = self._pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, life: Life, message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        if not life.alive or self._gone.is_set():
            return
        if message["type"] == "http.response.start":
            self.begun_at = len(self._sim.oracle.stream.life(life.number).log)
            self.answer.status = message["status"]
            self.answer.headers = [tuple(header) for header in message["headers"]]
        else:
            self.answer.body += message.get("body", b"")
            self.answer.whole = not message.get("more_body", False)
