"""What jobs do in the simulation: a kind for each way in which work can end, or not end."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import trio

from jobqueue import Fatal, Handlers, RetryIn
from jobqueue.handlers import Context
from tests.simulation import disk
from tests.simulation.oracle import Oracle
from tests.simulation.runs import How, Run

BRISK = (0.0, 0.05, 0.5, 2.0)
STALL_SECONDS = 1_000_000.0
SHIELDED_SECONDS = (1.0, 4.0, 12.0)
OBEDIENT = frozenset(
    {"quick", "sleepy", "failing", "retrying", "fatal", "stalling", "exiting", "poison", "reporting", "unstorable"}
)

Body = Callable[[Any], Awaitable[Any]]


class Host(disk.Host, Protocol):
    """The life in which handlers run."""

    workers: int


def registry(host: Host, oracle: Oracle, rng: random.Random, base: Handlers) -> Handlers:
    """The handlers of one life, and those of `base`. All of them are entered into the oracle's ledger."""
    made = Handlers()
    for kind, body in _bodies(host, rng).items():
        made.register(kind)(_noted(kind, body, host, oracle))
    for registration in base:
        made.register(registration.kind)(_noted(registration.kind, _plain(registration.function), host, oracle))
    return made


def _plain(function: Callable[[Any, Any], Awaitable[Any]]) -> Body:
    return lambda ctx: function(ctx, None)


def _noted(kind: str, body: Body, host: Host, oracle: Oracle) -> Callable[[Context, Any], Awaitable[Any]]:
    async def handler(ctx: Context, _payload: Any) -> Any:
        if not host.alive:
            await trio.sleep_forever()
        job = oracle.jobs[ctx.id]
        run = Run(
            id=ctx.id,
            epoch=ctx.epoch,
            life=host.number,
            worker=job.worker,
            kind=kind,
            timeout=job.options.timeout,
            obedient=kind in OBEDIENT,
            started_at=trio.current_time(),
        )
        oracle.started(run, host.workers)
        how: How = "raised"
        try:
            result = await body(ctx)
            run.result = json.dumps(result, separators=(",", ":"))
            how = "returned"
            return result
        except trio.Cancelled:
            how = "cancelled"
            raise
        finally:
            oracle.ledger.end(run, how if host.alive else "killed")
            oracle.ended(run)

    return handler


def _bodies(host: Host, rng: random.Random) -> dict[str, Body]:
    async def pause() -> None:
        await trio.sleep(rng.choice(BRISK))

    async def quick(ctx: Context) -> Any:
        return {"epoch": ctx.epoch}

    async def sleepy(ctx: Context) -> Any:
        await pause()
        await pause()
        return {"epoch": ctx.epoch, "slept": True}

    async def failing(ctx: Context) -> Any:
        await pause()
        if rng.random() < 0.7:
            raise ValueError("drawn")
        return {"epoch": ctx.epoch, "failed": False}

    async def retrying(ctx: Context) -> Any:
        await pause()
        if rng.random() < 0.5:
            raise RetryIn(rng.choice((0, 0.5, 5)))
        return {"epoch": ctx.epoch}

    async def fatal(_ctx: Context) -> Any:
        await pause()
        raise Fatal("drawn")

    async def stalling(ctx: Context) -> Any:
        if rng.random() < 0.7:
            await trio.sleep(STALL_SECONDS)
        return {"epoch": ctx.epoch}

    async def shielded(ctx: Context) -> Any:
        with trio.CancelScope(shield=True) as shield:
            host.shields.append(shield)
            await trio.sleep(rng.choice(SHIELDED_SECONDS))
        if not host.alive:
            await trio.sleep_forever()
        return {"epoch": ctx.epoch, "late": True}

    async def exiting(_ctx: Context) -> Any:
        await pause()
        raise SystemExit(3)

    async def poison(ctx: Context) -> Any:
        await pause()
        host.crash(ctx.id)
        await trio.sleep_forever()

    async def reporting(ctx: Context) -> Any:
        for percent in (10, 60):
            await ctx.progress(percent, "so far")
            await ctx.log(f"at {percent}")
            await pause()
        return {"epoch": ctx.epoch}

    async def unstorable(ctx: Context) -> Any:
        await pause()
        return {"epoch": ctx.epoch, disk.SPOILED: True}

    bodies = (
        quick, sleepy, failing, retrying, fatal, stalling, shielded, exiting, poison, reporting, unstorable,
    )  # fmt: skip
    return {body.__name__: body for body in bodies}
