"""Handlers for the tests that kill, stop and hurt the server: they keep a journal of what they did, outside of it.

JOBQUEUE_TEST_JOURNAL names the file. Every line is one write to its end, so a kill leaves no half of one.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import trio

from jobqueue import Handlers
from jobqueue.handlers import Context

JOURNAL = "JOBQUEUE_TEST_JOURNAL"
BEGAN = "a handler began"
REGISTRY = "tests.e2e.crash_handlers:handlers"

handlers = Handlers()


class Entry(NamedTuple):
    """What a handler noted: began or ended, of which attempt."""

    what: str
    id: str
    epoch: int
    attempt: int


def _note(what: str, ctx: Context) -> None:
    journal = os.open(os.environ[JOURNAL], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(journal, f"{what} {ctx.id} {ctx.epoch} {ctx.attempt}\n".encode())
    finally:
        os.close(journal)


def _began(ctx: Context) -> None:
    """Note it, and say so in the server's log, where a test can wait for it."""
    _note("began", ctx)
    os.write(2, json.dumps({"event": BEGAN, "id": ctx.id}).encode() + b"\n")


def read_journal(path: Path) -> list[Entry]:
    """All entries, in order."""
    lines = path.read_text("ascii").splitlines() if path.exists() else []
    return [Entry(what, id, int(epoch), int(attempt)) for what, id, epoch, attempt in map(str.split, lines)]


@handlers.register("work")
async def work(ctx: Context, payload: dict[str, Any]) -> dict[str, Any]:
    """Take `seconds`; the result says which attempt it is of. With `say` its start can be waited for."""
    if payload.get("say"):
        _began(ctx)
    else:
        _note("began", ctx)
    await trio.sleep(payload.get("seconds", 0))
    _note("ended", ctx)
    return {"key": payload.get("key"), "epoch": ctx.epoch}


@handlers.register("wait")
async def wait(ctx: Context, _payload: Any) -> None:
    """Wait until it is cancelled."""
    _began(ctx)
    await trio.sleep_forever()


@handlers.register("stuck")
async def stuck(ctx: Context, _payload: Any) -> None:
    """Never end, whatever is asked."""
    _began(ctx)
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


@handlers.register("block")
async def block(ctx: Context, _payload: Any) -> None:
    """Hold the whole loop, as no handler should."""
    _began(ctx)
    time.sleep(3600)  # noqa: ASYNC251 - to hold the loop is what it is for
