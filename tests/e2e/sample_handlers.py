"""Handlers for the tests of the child process, as a user's module would hold them."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from jobqueue.handlers import Fatal, Handlers, RetryIn
from jobqueue.handlers.context import Context, ProcessContext

handlers = Handlers()
not_a_registry = {"kind": "none"}


@handlers.register("echo", process=True)
def echo(_ctx: ProcessContext, payload: Any) -> Any:
    return payload


@handlers.register("facts", process=True)
def facts(ctx: ProcessContext, _payload: Any) -> Any:
    return [ctx.id, ctx.attempt, ctx.epoch, ctx.deadline, ctx.queue, dict(ctx.parents), ctx.trace_parent]


@handlers.register("pid", process=True)
def pid(_ctx: ProcessContext, _payload: Any) -> int:
    return os.getpid()


@handlers.register("print", process=True)
def print_a_lot(_ctx: ProcessContext, payload: str) -> str:
    print(payload)  # noqa: T201 - what is tested is where it goes
    print(payload, file=sys.stderr)  # noqa: T201 - what is tested is where it goes
    os.write(1, payload.encode())
    return "printed"


@handlers.register("report", process=True)
def report(ctx: ProcessContext, payload: int) -> str:
    for step in range(payload):
        ctx.progress(step, f"step {step}", {"step": step})
        ctx.log(f"line {step}", "debug")
    return "reported"


@handlers.register("report.badly", process=True)
def report_badly(ctx: ProcessContext, _payload: Any) -> list[str]:
    refused = []
    attempts: list[Callable[[], None]] = [
        lambda: ctx.log("x", "loud"),
        lambda: ctx.progress(data={1, 2}),
        lambda: ctx.progress(data="x" * 70_000),
        lambda: ctx.progress(float("nan")),
    ]
    for attempt in attempts:
        try:
            attempt()
        except ValueError as error:
            refused.append(str(error))
    return refused


@handlers.register("wait", process=True)
def wait(ctx: ProcessContext, _payload: Any) -> NoReturn:
    """Wait for ever, after saying which process does."""
    ctx.log(str(os.getpid()))
    while True:
        time.sleep(60)


@handlers.register("wait.stopped", process=True)
def wait_stopped(ctx: ProcessContext, _payload: Any) -> None:
    ctx.log(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGSTOP)


@handlers.register("wait.busy", process=True)
def wait_busy(ctx: ProcessContext, _payload: Any) -> None:
    """Stay in C code that never gives up the interpreter: no other thread of the process runs any more."""
    ctx.log(str(os.getpid()))
    re.match(r"(a+)+$", "a" * 60 + "b")


@handlers.register("wait.family", process=True)
def wait_family(ctx: ProcessContext, _payload: Any) -> None:
    """Wait for a program that waits for ever."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as program:
        ctx.log(str(program.pid))


@handlers.register("wait.deaf", process=True)
def wait_deaf(ctx: ProcessContext, _payload: Any) -> str:
    """Get the signals of a service manager, and go on."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(os.getpid(), number)
    ctx.log("still here")
    return "still here"


@handlers.register("exit", process=True)
def leave(_ctx: ProcessContext, payload: int) -> NoReturn:
    os._exit(payload)


@handlers.register("exit.signal", process=True)
def leave_by_signal(_ctx: ProcessContext, payload: int) -> None:
    os.kill(os.getpid(), payload)


@handlers.register("exit.politely", process=True)
def leave_politely(_ctx: ProcessContext, payload: int) -> NoReturn:
    sys.exit(payload)


@handlers.register("crash", process=True)
def crash(_ctx: ProcessContext, _payload: Any) -> None:
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # nothing on stderr
    ctypes.string_at(0)


@handlers.register("crash.orphan", process=True)
def crash_with_orphan(_ctx: ProcessContext, _payload: Any) -> None:
    """Die with a fork left behind that holds on to every descriptor, the socket to the server too."""
    held = [os.dup(socket_fd()) for _ in range(2)]
    if os.fork() == 0:
        while held:
            time.sleep(60)
    os._exit(4)


def socket_fd() -> int:
    """The descriptor of the socket to the server, found as an intruder would."""
    for name in Path("/proc/self/fd").iterdir():
        fd = int(name.name)
        try:
            with socket.socket(fileno=os.dup(fd)) as candidate:
                if candidate.family == socket.AF_UNIX:
                    return fd
        except OSError:
            continue
    raise LookupError("no socket")


@handlers.register("garbage", process=True)
def garbage(_ctx: ProcessContext, payload: str) -> None:
    os.write(socket_fd(), payload.encode("latin-1"))
    time.sleep(60)


@handlers.register("close.all", process=True)
def close_all(_ctx: ProcessContext, _payload: Any) -> None:
    """Close every descriptor, as programs do that turn into daemons."""
    os.closerange(3, 256)


@handlers.register("hang.up", process=True)
def hang_up(_ctx: ProcessContext, _payload: Any) -> None:
    """Shut the socket down, and work on without letting any other thread notice."""
    ctypes.PyDLL(None).shutdown(socket_fd(), socket.SHUT_RDWR)
    re.match(r"(a+)+$", "a" * 60 + "b")


@handlers.register("fork", process=True)
def fork(ctx: ProcessContext, _payload: Any) -> str:
    """Let a fork report, and then return like the handler itself; say how it fared."""
    come, go = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            ctx.log("from the fork")
        except RuntimeError as error:
            os.write(go, str(error).encode())
        return "from the fork"
    os.waitpid(child, 0)
    os.close(go)
    with os.fdopen(come) as answer:
        return answer.read()


@handlers.register("thread.late", process=True)
def late_thread(ctx: ProcessContext, payload: str) -> str | None:
    """First leave a thread behind that reports when the next job says so; then be that next job."""
    if payload == "first":
        late.context = ctx
        return None
    failure: list[str] = []

    def report() -> None:
        try:
            late.context.log("too late")
        except RuntimeError as error:
            failure.append(str(error))

    thread = threading.Thread(target=report)
    thread.start()
    thread.join()
    return failure[0] if failure else None


class late:  # noqa: N801 - a place to keep something between two jobs
    context: ProcessContext


@handlers.register("fail", process=True)
def fail(_ctx: ProcessContext, payload: str) -> NoReturn:
    raise LookupError(payload)


@handlers.register("fail.surrogate", process=True)
def fail_surrogate(_ctx: ProcessContext, _payload: Any) -> NoReturn:
    raise ValueError("half \ud83d of a pair")


@handlers.register("fail.unprintable", process=True)
def fail_unprintable(_ctx: ProcessContext, _payload: Any) -> NoReturn:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise SystemExit(1)

    raise Unprintable


@handlers.register("fail.deep", process=True)
def fail_deep(ctx: ProcessContext, payload: Any) -> Any:
    return fail_deep(ctx, payload)


@handlers.register("fail.later", process=True)
def fail_later(_ctx: ProcessContext, payload: float) -> NoReturn:
    raise RetryIn(payload)


@handlers.register("fail.fatally", process=True)
def fail_fatally(_ctx: ProcessContext, payload: str) -> NoReturn:
    raise Fatal(payload)


@handlers.register("result.large", process=True)
def large(_ctx: ProcessContext, payload: int) -> str:
    return '"' * payload


@handlers.register("result.deep", process=True)
def deep(_ctx: ProcessContext, payload: int) -> Any:
    value: Any = 1
    for _ in range(payload):
        value = [value]
    return value


@handlers.register("result.set", process=True)
def unserialisable(_ctx: ProcessContext, _payload: Any) -> Any:
    return {1, 2}


@handlers.register("asyncio", process=True)
async def under_asyncio(ctx: ProcessContext, payload: Any) -> Any:
    await asyncio.sleep(0)
    ctx.log("from asyncio")
    if payload == "fail":
        raise LookupError("from asyncio")
    return payload


@handlers.register("trio")
async def under_trio(_ctx: Context, payload: Any) -> Any:
    return payload
