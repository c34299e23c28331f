"""The handlers that the measured servers run."""

from __future__ import annotations

import time
from typing import Any

from jobqueue import Handlers
from jobqueue.handlers import Context

handlers = Handlers()


@handlers.register("noop")
async def noop(_ctx: Context, _payload: Any) -> None:
    """Nothing at all: what is measured is the server."""


@handlers.register("stamp")
async def stamp(_ctx: Context, _payload: Any) -> int:
    """When it was started, on the clock that all processes of the machine share."""
    return time.monotonic_ns()
