"""A server for a test: real actors, a store in memory, handlers that do what tests need, a clock that stands still."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import trio
import trio.testing
import uuid_utils

from jobqueue.clock import ManualClock, World, micros
from jobqueue.config import Config
from jobqueue.handlers import Context, Fatal, Handlers, RetryIn, builtins
from jobqueue.job import Status
from jobqueue.server import Server, assembled
from jobqueue.stores.contract import Needs
from jobqueue.stores.memory import MemoryStore
from tests.api.doors import Answer, Door, opened
from tests.helpers import EPOCH

JSON = "application/json"
NDJSON = "application/x-ndjson"
CONFIG = Config(workers=2, max_body=4096)


@dataclass
class Bench:
    """What a test holds of the world in which its server lives. `gate` lets the handlers `slow` end."""

    gate: trio.Event = field(default_factory=trio.Event)
    started: trio.Event = field(default_factory=trio.Event)
    chance: float = 0.5
    seen: list[Any] = field(default_factory=list)
    manual: ManualClock | None = None

    def world(self) -> World:
        """Time that only moves by `advance`; with a manual clock, job time moves only by that."""
        clock = trio.lowlevel.current_clock()
        return World(
            now=self.manual.now if self.manual is not None else lambda: EPOCH + micros(clock.current_time()),
            monotonic=trio.current_time,
            chance=lambda: self.chance,
            new_id=lambda: str(uuid_utils.uuid7()),
            boot_id=str(uuid_utils.uuid7()),
            manual=self.manual,
        )

    async def advance(self, seconds: float) -> None:
        """Let time pass, with everything that is due on the way."""
        await trio.testing.wait_all_tasks_blocked(0.01)
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.jump(seconds)
        await trio.testing.wait_all_tasks_blocked(0.01)

    def handlers(self) -> Handlers:
        """One handler for each thing that a handler can do."""
        handlers = builtins(self.world())

        @handlers.register("echo")
        async def echo(ctx: Context, payload: Any) -> Any:
            self.seen.append(ctx)
            return payload

        @handlers.register("slow")
        async def slow(ctx: Context, payload: Any) -> Any:
            self.started.set()
            await self.gate.wait()
            return payload

        @handlers.register("stubborn")
        async def stubborn(ctx: Context, payload: Any) -> None:
            self.started.set()
            with trio.CancelScope(shield=True):
                await self.gate.wait()

        @handlers.register("fail")
        async def fail(ctx: Context, payload: Any) -> None:
            raise ValueError("no good")

        @handlers.register("fatal")
        async def fatal(ctx: Context, payload: Any) -> None:
            raise Fatal("never")

        @handlers.register("later")
        async def later(ctx: Context, payload: Any) -> Any:
            if ctx.attempt == 1:
                raise RetryIn(7)
            return ctx.attempt

        handlers.register("loud")(loud)

        @handlers.register("leave")
        async def leave(ctx: Context, payload: Any) -> None:
            raise SystemExit(3)

        @handlers.register("chatty", timeout=60, max_attempts=8)
        async def chatty(ctx: Context, payload: Any) -> None:
            await ctx.log("first")
            await ctx.log("second", level="warning")
            await ctx.progress(50, "half way", {"step": 1})
            self.started.set()
            await self.gate.wait()

        return handlers


async def loud(ctx: Context, payload: Any) -> Any:
    """A handler that says as much as it is asked to, in every way."""
    if "result" in payload:
        return "x" * payload["result"]
    for number in range(payload["lines"]):
        await ctx.log(f"line {number}")
    await ctx.log("x" * payload["long"])
    await ctx.progress(1, "x" * payload["long"])
    raise ValueError("x" * payload["long"])


class Api:
    """A client of one server, through one door."""

    def __init__(self, door: Door, server: Server, store: MemoryStore, bench: Bench) -> None:
        self.door = door
        self.store = store
        self.server = server
        self.bench = bench

    async def ask(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] | None = None,
        *,
        type: str | None = None,
        length: bool = True,
        **headers: Any,
    ) -> Answer:
        """Any request. Headers with `_` for `-`; a body in pieces, or without `length`, goes in chunks."""
        sent = [(b"host", headers.pop("host").encode() if "host" in headers else self.door.host)]
        sent += [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
        if type is not None:
            sent.append((b"content-type", type.encode()))
        if isinstance(body, bytes):
            sent.append((b"content-length", b"%d" % len(body)) if length else (b"transfer-encoding", b"chunked"))
        elif body is not None:
            sent.append((b"transfer-encoding", b"chunked"))
        pieces = [body] if isinstance(body, bytes) else body or ()
        return await self.door.ask(method, target, sent, pieces)

    async def get(self, target: str, **headers: Any) -> Answer:
        """GET."""
        return await self.ask("GET", target, **headers)

    async def post(self, target: str, said: Any, **headers: Any) -> Answer:
        """POST of JSON."""
        return await self.ask("POST", target, json.dumps(said).encode(), type=JSON, **headers)

    async def act(self, id: str, command: str) -> Answer:
        """POST of a command without a body."""
        return await self.ask("POST", f"/jobs/{id}/{command}")

    async def stream(self, *said: Any, **headers: Any) -> list[Any]:
        """POST of lines; the answers."""
        body = b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in said)
        answer = await self.ask("POST", "/jobs", body, type=NDJSON, **headers)
        assert answer.status == 200, answer
        return answer.lines()

    async def submit(self, kind: str = "echo", **fields: Any) -> dict[str, Any]:
        """Submit one job that must be accepted."""
        answer = await self.post("/jobs", {"kind": kind, **fields})
        assert answer.status == 201, answer
        job: dict[str, Any] = answer.json()
        return job

    async def park(self, **fields: Any) -> dict[str, Any]:
        """Submit a job that stays QUEUED, since no worker serves its queue."""
        return await self.submit(queue="parked", **fields)

    async def job(self, id: str) -> dict[str, Any]:
        """The job as it is."""
        answer = await self.get(f"/jobs/{id}")
        assert answer.status == 200, answer
        job: dict[str, Any] = answer.json()
        return job

    async def ended(self, id: str) -> dict[str, Any]:
        """The job once it has ended; the clock stands still, so this waits for the end and for no time."""
        answer = await self.get(f"/jobs/{id}?wait=60")
        job: dict[str, Any] = answer.json()
        assert Status[job["status"]].ended, job
        return job

    async def done(self, kind: str = "echo", **fields: Any) -> dict[str, Any]:
        """Submit a job and wait for its end."""
        return await self.ended((await self.submit(kind, **fields))["id"])

    async def running(self, kind: str = "slow", **fields: Any) -> dict[str, Any]:
        """Submit a job, and come back when its handler is at work."""
        job = await self.submit(kind, **fields)
        await self.bench.started.wait()
        return job

    async def remove(self, id: str) -> None:
        """Remove an ended job, as its retention will one day."""
        await self.store.apply(lambda: Needs(jobs={id}), lambda table: table.remove(table.job(id)))

    async def drain(self, *, refuse: bool = True) -> None:
        """As at the first signal."""
        await self.server.state.drain(refuse=refuse)


@asynccontextmanager
async def served(door: str = "front", *, store: type[MemoryStore] = MemoryStore, **settings: Any) -> AsyncIterator[Api]:
    """A server with one door open."""
    config = replace(CONFIG, **settings)
    bench = Bench(manual=ManualClock(EPOCH) if config.clock == "manual" else None)
    world = bench.world()
    kept = store(world.now)
    async with (
        assembled(config, world, kept, bench.handlers()) as server,
        opened(door, server.front, server.front.quart, world.new_id) as way,
    ):
        yield Api(way, server, kept, bench)
