"""Handlers that take their time, for tests under load."""

from __future__ import annotations

from typing import Any

import trio

from jobqueue.handlers import Context, Handlers

handlers = Handlers()
REGISTRY = "tests.e2e.slow_handlers:handlers"


@handlers.register("nap")
async def nap(_ctx: Context, payload: Any) -> None:
    """Sleep for as many seconds as the payload says."""
    await trio.sleep(payload)
