"""The child's half: `python -m jobqueue.child FD PARENT REGISTRY...`, started by `parent.py` and by nobody else.

The main thread imports the registries and runs handlers. A second thread does nothing but read the socket: it hands
over the jobs, and at the end of the socket, which means that the server is gone, it ends this process and all of its
process group at once if a handler runs.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import json
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NoReturn

import msgspec

from jobqueue.child.frames import (
    MAX_TO_CHILD,
    Done,
    Failed,
    Garbled,
    LineWritten,
    ProgressMade,
    Ready,
    Run,
    Splitter,
    ToParent,
    Unready,
    pack,
    to_child,
)
from jobqueue.errors import StartupError
from jobqueue.handlers import Handlers
from jobqueue.handlers.context import ProcessContext
from jobqueue.handlers.loading import load
from jobqueue.handlers.verdict import decode, door, encode_result, judge
from jobqueue.job import Json, LogLine, Progress

PR_SET_PDEATHSIG = 1
EXIT_SECONDS = 2.0  # for what a handler registered with atexit, once the server has closed the socket
READ_BYTES = 1 << 16


def main(argv: list[str]) -> None:
    """Serve the parent until it closes the socket."""
    fd, parent, *names = argv
    die_with(int(parent))
    settle_signals()
    line = Line(socket.socket(fileno=int(fd)))
    try:
        handlers = load(names)
    except StartupError as error:
        line.answer(Unready(error.lines))
        return
    line.answer(Ready())
    for job in line.jobs():
        line.answer(perform(handlers, job, line.reporter()))


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, even when a handler's C code never lets a thread run."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel was asked
        os._exit(1)


def settle_signals() -> None:
    """Leave the end to the server: a service manager sends SIGTERM to every process, and the drain has its grace.

    Handled rather than ignored, because programs that a handler starts inherit what is ignored.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    faulthandler.enable()  # a crash in C code says on stderr where
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]  # stdout and stderr are text files


def end_group() -> NoReturn:
    """End this process and whatever it started, now."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


class Line:
    """The socket to the server. Any thread may report through it while its attempt runs."""

    def __init__(self, sock: socket.socket) -> None:
        sock.set_inheritable(False)
        self._socket = sock
        self._lock = threading.Lock()
        self._current: object = None  # stands for the attempt that may report
        self._taken = 0  # jobs; counted by the reading thread alone
        self._answered = -1  # of these, counted by the main thread alone; the imports are to be answered as well
        self._forked = False
        self._jobs: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        os.register_at_fork(after_in_child=self._leave)
        threading.Thread(target=self._read, name="jobqueue", daemon=True).start()

    def _leave(self) -> None:
        """A process that a handler forks must neither answer in its place nor hold the socket open."""
        self._forked = True
        self._socket.close()

    def jobs(self) -> Iterator[Run]:
        """The jobs to run, until the server closes the socket."""
        yield from iter(self._jobs.get, None)

    def reporter(self) -> Callable[[Progress | LogLine], None]:
        """What the next attempt reports with, until it is answered."""
        attempt = self._current = object()

        def report(said: Progress | LogLine) -> None:
            frame = pack(ProgressMade(said) if isinstance(said, Progress) else LineWritten(said))
            if self._forked:
                raise RuntimeError("ctx belongs to the process that was given it, not to one forked from it")
            with self._lock:
                if self._current is not attempt:
                    raise RuntimeError("ctx is of no use once the handler has returned")
                self._socket.sendall(frame)

        return report

    def answer(self, message: ToParent) -> None:
        """Say how it ended; what the attempt's threads still report is refused from here on."""
        if self._forked:  # a fork of the handler has returned from it as well
            os._exit(1)
        with self._lock:
            self._current = None
            self._answered += 1
            self._socket.sendall(pack(message))

    def _read(self) -> None:
        """Hand over jobs until the server is gone, then end."""
        splitter = Splitter(MAX_TO_CHILD)
        with suppress(OSError, Garbled, msgspec.DecodeError):
            while data := self._socket.recv(READ_BYTES):
                splitter.feed(data)
                while (body := splitter.pop()) is not None:
                    self._taken += 1
                    self._jobs.put(to_child.decode(body))
        if self._taken == self._answered:
            self._jobs.put(None)
            time.sleep(EXIT_SECONDS)
        end_group()


def perform(handlers: Handlers, job: Run, report: Callable[[Progress | LogLine], None]) -> Done | Failed:
    """Run one job to its end, whatever its handler raises."""
    try:
        ctx = ProcessContext(
            id=job.id,
            attempt=job.attempt,
            epoch=job.epoch,
            deadline=job.deadline,
            queue=job.queue,
            parents=json.loads(job.parents),
            trace_parent=job.trace_parent,
            report=report,
        )
        return Done(run(handlers, job, ctx))
    except BaseException as exc:  # noqa: BLE001 - SystemExit ends the attempt, not this process
        return Failed(judge(exc))


def run(handlers: Handlers, job: Run, ctx: ProcessContext) -> Json:
    """The handler's result. Raises what it raises, Undecodable or Fatal."""
    registration = handlers.get(job.kind)
    if registration is None or not registration.process:
        raise LookupError(f"no process handler for {job.kind!r} here: was the code changed under a running server?")
    payload = decode(job.payload)
    if registration.coroutine:
        return encode_result(asyncio.run(enter_coroutine(registration.function, ctx, payload)))
    return encode_result(enter(registration.function, ctx, payload))


@door
def enter(function: Callable[[Any, Any], Any], ctx: ProcessContext, payload: Any) -> Any:
    return function(ctx, payload)


@door
async def enter_coroutine(function: Callable[[Any, Any], Any], ctx: ProcessContext, payload: Any) -> Any:
    return await function(ctx, payload)


if __name__ == "__main__":
    main(sys.argv[1:])
