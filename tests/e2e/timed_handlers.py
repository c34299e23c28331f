"""Handlers for the tests of the manual clock, as a user's module would hold them."""

from __future__ import annotations

import time
from typing import Any, NoReturn

from jobqueue import Context, Handlers, ProcessContext

REGISTRY = "tests.e2e.timed_handlers:handlers"

handlers = Handlers()


@handlers.register("fail")
async def fail(_ctx: Context, _payload: Any) -> NoReturn:
    raise LookupError("not yet")


@handlers.register("recover")
async def recover(ctx: Context, payload: int) -> int:
    """Succeed at last."""
    if ctx.attempt < payload:
        raise LookupError("not yet")
    return ctx.attempt


@handlers.register("fail.process", process=True)
def fail_in_process(_ctx: ProcessContext, payload: float) -> NoReturn:
    """Fail after some real time."""
    time.sleep(payload)
    raise LookupError("not yet")
