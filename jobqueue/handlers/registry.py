"""Which function runs a kind of job: the registry that users fill, and the one way in which a worker runs a handler.

    handlers = Handlers()

    @handlers.register("mail.send", timeout=60)
    async def send(ctx: Context, payload: Any) -> Any: ...

An async handler runs under Trio in its worker's own task: no nursery, task or scope of its own, so a no-op costs next
to nothing. A `process=True` handler, a plain `def` or an asyncio coroutine function, runs in a killable process
(`child/`).
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol, TypeVar

import msgspec
import trio

from jobqueue.clock import World
from jobqueue.handlers.context import Context
from jobqueue.handlers.verdict import Fatal, RetryIn, between, decode, door, encode_result, judge
from jobqueue.job import Ending, Json, Outcome, Retry

__all__ = ["Context", "Fatal", "Handlers", "Processes", "Registration", "RetryIn", "SimulatedFailure"]
__all__ += ["attempt", "builtins", "call"]

KIND = re.compile(r"[A-Za-z0-9._:-]{1,64}")
SIMULATE_SECONDS = 2
SIMULATE_FAILS = 1 / 5

F = TypeVar("F", bound=Callable[..., Any])


class Registration(msgspec.Struct, frozen=True, eq=False):
    """One handler and the defaults it has for its jobs; None leaves them to the queue or the server.

    timeout in seconds. process: it runs in a process of its own; coroutine: it is an `async def`.
    """

    kind: str
    function: Callable[[Any, Any], Any]
    process: bool
    coroutine: bool
    timeout: float | None = None
    max_attempts: int | None = None
    retry: Retry | None = None


class Handlers:
    """A registry: kinds and the functions that run them. Every mistake is a ValueError where it is registered."""

    def __init__(self) -> None:
        self._by_kind: dict[str, Registration] = {}

    def register(
        self,
        kind: str,
        *,
        timeout: float | None = None,
        max_attempts: int | None = None,
        retry: Retry | None = None,
        process: bool = False,
    ) -> Callable[[F], F]:
        """Make the decorated function the handler of `kind`; it stays callable as it was.

        timeout: seconds, 0.1 to 86,400. max_attempts: 1 to 1,000. process: run it in a killable process; a plain `def`
        must, as it would stop the server's loop, and an `async def` there runs under asyncio instead of Trio.
        """
        if not isinstance(kind, str):
            raise ValueError('write @handlers.register("some.kind")')  # noqa: TRY004 - every mistake here is one
        if not KIND.fullmatch(kind):
            raise ValueError(f"kind {kind!r}: 1 to 64 of the characters A-Z a-z 0-9 . _ : - are allowed")
        if timeout is not None and not between(timeout, 0.1, 86_400):
            raise ValueError(f"kind {kind!r}: timeout must be 0.1 to 86,400 seconds, not {timeout!r}")
        if max_attempts is not None and not (type(max_attempts) is int and 1 <= max_attempts <= 1_000):
            raise ValueError(
                f"kind {kind!r}: max_attempts must be a whole number from 1 to 1,000, not {max_attempts!r}"
            )
        if retry is not None and (fault := _retry_fault(retry)):
            raise ValueError(f"kind {kind!r}: {fault}")

        def keep(function: F) -> F:
            if fault := _function_fault(function, process=process):
                raise ValueError(f"kind {kind!r}: {fault}")
            if kind in self._by_kind:
                raise ValueError(f"kind {kind!r} is registered already, to {_name(self._by_kind[kind].function)}")
            coroutine = inspect.iscoroutinefunction(_body(function))
            self._by_kind[kind] = Registration(kind, function, process, coroutine, timeout, max_attempts, retry)
            return function

        return keep

    def get(self, kind: str) -> Registration | None:
        """The handler of `kind`, if there is one."""
        return self._by_kind.get(kind)

    def kinds(self) -> tuple[str, ...]:
        """All kinds, sorted."""
        return tuple(sorted(self._by_kind))

    def merge(self, *others: Handlers) -> Handlers:
        """A new registry of all kinds. Raises ValueError naming every kind that two of them define differently."""
        merged = Handlers()
        clashes = set()
        for registration in (entry for registry in (self, *others) for entry in registry):
            known = merged._by_kind.setdefault(registration.kind, registration)
            if known is not registration:
                clashes.add(registration.kind)
        if clashes:
            raise ValueError(f"defined twice: {', '.join(sorted(clashes))}")
        return merged

    def __iter__(self) -> Iterator[Registration]:
        return iter(self._by_kind.values())


def _retry_fault(retry: object) -> str | None:
    if not isinstance(retry, Retry):
        return f"retry must be a Retry, not {retry!r}"
    try:
        msgspec.convert(msgspec.to_builtins(retry), Retry)
    except msgspec.ValidationError as error:
        return f"retry: {error}"
    seconds = (retry.initial, retry.max, *retry.delays)
    if not all(between(number, 0, math.inf) and number < math.inf for number in (*seconds, retry.factor)):
        return "retry: its numbers must be finite and not negative"
    if retry.backoff == "list" and not retry.delays:
        return 'retry: backoff "list" needs delays'
    return None


def _body(function: object) -> object:
    """What tells of which sort a callable is: itself, or the `__call__` of an object that has one."""
    if inspect.isroutine(function) or isinstance(function, functools.partial):
        return function
    return getattr(type(function), "__call__", None)  # noqa: B004 - not whether it can be called, but what is


def _function_fault(function: object, *, process: bool) -> str | None:
    """Why `function` cannot be a handler, and what to do about it."""
    if not callable(function) or inspect.isclass(function):
        return f"{function!r} is no function: register a function that takes (ctx, payload)"
    name, body = _name(function), _body(function)
    if inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body):
        return f"{name} yields: return one result, and report on the way with ctx.progress()"
    if not process and not inspect.iscoroutinefunction(body):
        return (
            f"{name} is a plain def, which would stop the server's loop: register it with process=True or make it async"
        )
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return f"{name} must take two arguments, (ctx, payload)"
    except ValueError:  # it is built in, and does not tell its arguments
        return None
    return None


def _name(function: object) -> str:
    return getattr(function, "__qualname__", None) or repr(function)


class Processes(Protocol):
    """What runs `process=True` handlers for a worker: `child.Child`."""

    async def run(self, kind: str, ctx: Context, payload: Json) -> Json:
        """Run the handler of `kind` and return its result. When this returns or raises, the work has ended."""


async def call(registration: Registration, ctx: Context, payload: Json, processes: Processes) -> Json:
    """Run one handler to its end and return its result.

    Raises what the handler raised; Undecodable for a payload that is no JSON, Fatal for such a result.
    """
    if registration.process:
        return await processes.run(registration.kind, ctx, payload)
    return encode_result(await _enter(registration.function, ctx, decode(payload)))


@door
async def _enter(function: Callable[[Any, Any], Awaitable[Any]], ctx: Context, payload: Any) -> Any:
    return await function(ctx, payload)


async def attempt(registration: Registration, ctx: Context, payload: Json, processes: Processes) -> Outcome:
    """Run one handler and say how it ended, whatever it raised: DONE or ERROR.

    Only a cancellation from outside passes through (of a group of exceptions, its part), to the scope it belongs to;
    what that means, a timeout, a cancel or a drain, is for the owner of the scope to say.
    """
    try:
        result = await call(registration, ctx, payload, processes)
    except BaseException as exc:  # noqa: BLE001 - SystemExit from a handler must not end the server
        # a Cancelled that a handler kept and raised again later belongs to no scope, and would end its worker
        if trio.current_effective_deadline() == -math.inf:
            _pass_on_cancellation(exc)
        return judge(exc).outcome(ctx.id, ctx.epoch)
    return Outcome(ctx.id, ctx.epoch, Ending.DONE, result)


def _pass_on_cancellation(exc: BaseException) -> None:
    if isinstance(exc, trio.Cancelled):
        raise exc
    if isinstance(exc, BaseExceptionGroup):
        cancelled = exc.split(trio.Cancelled)[0]
        if cancelled is not None:
            raise cancelled from None


class SimulatedFailure(Exception):
    """What `simulate` fails with."""


def builtins(world: World) -> Handlers:
    """The handlers every server has: `simulate`, which takes 2 s and fails one time in five."""
    handlers = Handlers()

    @handlers.register("simulate")
    async def simulate(ctx: Context, _payload: Any) -> dict[str, bool]:
        await world.sleep(SIMULATE_SECONDS, (ctx.id, ctx.epoch))
        if world.chance() < SIMULATE_FAILS:
            raise SimulatedFailure("one simulated job in five fails, and this is one")
        return {"simulated": True}

    return handlers
