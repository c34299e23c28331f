"""Handlers whose ends the model of the HTTP state machine can foretell."""

from __future__ import annotations

from typing import Any

from jobqueue.handlers import Context, Fatal, Handlers

handlers = Handlers()
REGISTRY = "tests.e2e.model_handlers:handlers"


@handlers.register("ok")
async def ok(_ctx: Context, payload: Any) -> Any:
    """Return the payload."""
    return payload


@handlers.register("flaky")
async def flaky(ctx: Context, payload: Any) -> Any:
    """Fail the first try, then return the payload."""
    if ctx.attempt == 1:
        raise RuntimeError("not yet")
    return payload


@handlers.register("fail")
async def fail(_ctx: Context, _payload: Any) -> None:
    """Fail always."""
    raise RuntimeError("never")


@handlers.register("fatal")
async def fatal(_ctx: Context, _payload: Any) -> None:
    """Fail so that no retry helps."""
    raise Fatal("no use")


@handlers.register("parents")
async def parents(ctx: Context, _payload: Any) -> Any:
    """Return what came of the jobs that it depends on."""
    return {id: parent["status"] for id, parent in ctx.parents.items()}
