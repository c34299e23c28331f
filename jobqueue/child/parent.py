"""The server's half: the slot in which a worker runs handlers in a process, and that process as the server sees it.

Every way in which `Child.run` ends but an answer (a cancel, a timeout, a drain, a frame that is none) kills the process
group and waits until it is gone: the worker's slot is free only when the work has ended.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

import msgspec
import trio

from jobqueue.child.frames import (
    MAX_TO_PARENT,
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
    to_parent,
)
from jobqueue.handlers.context import Context
from jobqueue.handlers.verdict import Reported
from jobqueue.job import Json

CLOSE_SECONDS = 1.0  # an idle child's time to end by itself
OBITUARY_SECONDS = 1.0  # from the end of its socket to its death
POLL_SECONDS = 0.01  # only where the kernel gives no event
READ_BYTES = 1 << 16
STDERR = 2


class ChildDied(Exception):
    """The process ended, or could not go on, before it had answered: this attempt failed."""


class Child:
    """A worker's slot for process handlers: at most one process, one job at a time. Use it in an `async with`."""

    def __init__(self, registries: Sequence[str]) -> None:
        self._registries = tuple(registries)
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """The process's id, None while there is none."""
        return self._process.pid if self._process else None

    async def run(self, kind: str, ctx: Context, payload: Json) -> Json:
        """Run the handler of `kind` and return its result, passing on to `ctx` what it reports, in order.

        Raises Reported with the handler's failure; ChildDied if the process died or spoke garbage. When this returns or
        raises, Cancelled too, nothing of the work is running any more.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._process is not None and self._process.dead():  # while it was idle: no fault of this job
            await self._end()
        answer: Done | Failed | None = None
        try:
            answer = await self._converse(kind, ctx, payload)
        finally:
            if answer is None:
                await self._end()
        if isinstance(answer, Failed):
            raise Reported(answer.verdict)
        return answer.result

    async def _converse(self, kind: str, ctx: Context, payload: Json) -> Done | Failed:
        if self._process is None:
            self._process = Process(self._registries)
            await self._process.ready()
        process = self._process
        await process.send(_run(kind, ctx, payload))
        while True:
            match await process.receive():
                case ProgressMade(progress):
                    await ctx.report_progress(progress)
                case LineWritten(line):
                    await ctx.report_log(line)
                case Done() | Failed() as answer:
                    return answer
                case other:
                    raise ChildDied(f"the handler's process said {type(other).__name__} during a job, and was killed")

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            await self._process.dismiss()
            await self._end()


def _run(kind: str, ctx: Context, payload: Json) -> Run:
    return Run(
        kind=kind,
        id=ctx.id,
        attempt=ctx.attempt,
        epoch=ctx.epoch,
        deadline=ctx.deadline,
        queue=ctx.queue,
        parents=json.dumps(dict(ctx.parents)),
        trace_parent=ctx.trace_parent,
        payload=payload,
    )


class Process:
    """One child process, from its start to its reaped end."""

    def __init__(self, registries: tuple[str, ...]) -> None:
        """Start it. Raises ChildDied if the system refuses."""
        try:
            self._popen, ours = _start(registries)
        except OSError as error:
            raise ChildDied(f"the handler's process could not be started: {error}") from None
        self.pid = self._popen.pid
        self._socket = ours
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        self._splitter = Splitter(MAX_TO_PARENT)
        self._pidfd = _pidfd(self.pid)
        self._news = _either(ours, self._pidfd)
        self._gone = False

    async def ready(self) -> None:
        """Wait until it has imported its registries. Raises ChildDied if it cannot."""
        match await self.receive():
            case Ready():
                return
            case Unready(lines):
                raise ChildDied(f"the handler's process could not import its handlers: {'; '.join(lines)}")
            case other:
                raise ChildDied(f"the handler's process began with {type(other).__name__}, and was killed")

    async def send(self, message: Run) -> None:
        """Hand a job over. Raises ChildDied."""
        try:
            await self._stream.send_all(pack(message))
        except trio.BrokenResourceError:
            raise ChildDied(await self._obituary()) from None

    async def receive(self) -> ToParent:
        """What it says next. Raises ChildDied if that is nothing, or no frame."""
        try:
            while (body := self._splitter.pop()) is None:
                await trio.lowlevel.wait_readable(self._news)
                data = self._read()
                if data == b"":
                    raise ChildDied(await self._obituary())
                self._splitter.feed(data or b"")
            return to_parent.decode(body)
        except (Garbled, msgspec.DecodeError) as error:
            raise ChildDied(
                f"something wrote into the socket of the handler's process, so it was killed: {error}"
            ) from None

    def _read(self) -> bytes | None:
        """What has come, None if nothing has, b"" if nothing will."""
        try:
            return self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return b"" if self.dead() else None  # the dead may have left a fork that holds the socket open
        except ConnectionError:
            return b""

    def dead(self) -> bool:
        """Whether it has ended.

        With a pidfd, asking does not reap it, so its group's number is not given away before `end` has killed that.
        """
        if self._pidfd is None:
            return self._popen.poll() is not None
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(0))

    async def _death(self) -> None:
        if self._pidfd is not None:
            await trio.lowlevel.wait_readable(self._pidfd)
        while not self.dead():  # noqa: ASYNC110 - where there is no pidfd, there is no event either
            await trio.sleep(POLL_SECONDS)

    async def _obituary(self) -> str:
        """End it, and say of what it died."""
        with trio.move_on_after(OBITUARY_SECONDS):
            await self._death()
        alive = not self.dead()
        await self.end()
        code = self._popen.returncode
        if alive:
            return "the handler's process closed its socket to the server, and was killed"
        if code >= 0:
            return f"the handler's process ended with exit code {code}"
        return f"the handler's process was killed by {_signal_name(-code)}"

    async def dismiss(self) -> None:
        """Close the socket of an idle process, which then ends by itself, and give it a short time to do so."""
        self._stream.socket.close()
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._death()

    async def end(self) -> None:
        """Kill it and its process group, and wait for as long as it takes until they are gone and reaped."""
        if self._gone:
            return
        self._gone = True
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await self._death()
            self._popen.wait()
            while self._orphans():  # noqa: ASYNC110 - nothing tells of a whole group's end
                await trio.sleep(POLL_SECONDS)
        self._stream.socket.close()
        if self._pidfd is not None:
            self._news.close()
            os.close(self._pidfd)

    def _orphans(self) -> bool:
        """Reap what the process has left to us, as it does when we are PID 1; whether some of that still runs."""
        with suppress(ChildProcessError):
            while os.waitpid(-self.pid, os.WNOHANG)[0]:
                pass
            return True
        return False


def _signal_name(number: int) -> str:
    if number == signal.SIGKILL:
        return "SIGKILL, as happens when memory runs out"
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"


def _start(registries: tuple[str, ...]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A new process, and the socket to it. Raises OSError."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "jobqueue.child", str(theirs.fileno()), str(os.getpid()), *registries]
    with theirs:
        try:
            # here and not in a thread: the kernel kills the child when the thread that started it ends
            popen = subprocess.Popen(  # noqa: S603 - our own program, and names given at start
                command,
                stdin=subprocess.DEVNULL,
                stdout=STDERR,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # out of reach of the terminal's Ctrl-C, and a group to be killed as one
            )
        except OSError:
            ours.close()
            raise
    ours.setblocking(False)  # noqa: FBT003 - its only argument
    return popen, ours


def _pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None where there is no such thing."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _either(sock: socket.socket, pidfd: int | None) -> socket.socket | select.epoll:
    """What becomes readable when either does: one wait, and no task to watch for the death."""
    if pidfd is None:
        return sock
    try:
        both = select.epoll()
    except OSError:  # out of descriptors: the end of the socket will have to do
        return sock
    both.register(sock, select.EPOLLIN)
    both.register(pidfd, select.EPOLLIN)
    return both
