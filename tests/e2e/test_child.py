"""The process for blocking handlers: real processes, waited for by events of the kernel, never by sleeping."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from jobqueue.child import Child, ChildDied
from jobqueue.child.frames import MAX_TO_PARENT, Garbled, Ready, Run, Splitter, pack, to_parent
from jobqueue.handlers import Handlers, attempt
from jobqueue.handlers.context import Context
from jobqueue.job import Ending, LogLine, Outcome, Progress, Reason
from tests.e2e.sample_handlers import handlers

REGISTRY = "tests.e2e.sample_handlers:handlers"
SHORT_SECONDS = 10.0  # a bound for what takes milliseconds

Report = Progress | LogLine


@pytest.fixture
async def child() -> AsyncIterator[Child]:
    async with Child([REGISTRY]) as running:
        yield running


def context(report: Callable[[Report], None] = lambda _: None, **facts: Any) -> Context:
    async def take(said: Report) -> None:
        await trio.lowlevel.checkpoint()
        report(said)

    known: dict[str, Any] = {"id": "job-1", "attempt": 1, "epoch": 1, "deadline": 0.0, **facts}
    return Context(report_progress=take, report_log=take, **known)


async def run(child: Child, kind: str, payload: Any = None, report: Callable[[Report], None] = lambda _: None) -> Any:
    """The handler's result, decoded."""
    with trio.fail_after(SHORT_SECONDS):
        return json.loads(await child.run(kind, context(report), json.dumps(payload)))


async def outcome(child: Child, kind: str, payload: Any = None) -> Outcome:
    """How an attempt at a job of this kind ends, as a worker learns it."""
    registration = handlers.get(kind)
    assert registration is not None
    with trio.fail_after(SHORT_SECONDS):
        return await attempt(registration, context(), json.dumps(payload), child)


async def error(child: Child, kind: str, payload: Any = None) -> tuple[str, str]:
    """Type and message of the error that the attempt ends with."""
    ended = await outcome(child, kind, payload)
    assert ended.ending is Ending.ERROR
    assert ended.error is not None
    return ended.error.type, ended.error.message


@asynccontextmanager
async def at_work(child: Child, kind: str) -> AsyncIterator[tuple[trio.CancelScope, int]]:
    """A handler that runs: the scope it can be cancelled by, and the process id that it wrote into its log."""
    told, pids = trio.open_memory_channel[int](1)
    scope = trio.CancelScope()

    def report(said: Report) -> None:
        assert isinstance(said, LogLine)
        told.send_nowait(int(said.message))

    async def work() -> None:
        with scope:
            await child.run(kind, context(report), "null")

    with told, pids, trio.fail_after(SHORT_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            yield scope, await pids.receive()


def alive(pid: int) -> bool:
    """Whether there is such a process, a zombie included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def death_of(pidfd: int) -> None:
    with trio.fail_after(SHORT_SECONDS):
        await trio.lowlevel.wait_readable(pidfd)
    os.close(pidfd)


# running


async def test_payload_and_result_come_through_as_they_are(child: Child) -> None:
    """JSON in, JSON out, text beyond ASCII and long integers included."""
    for payload in (None, "ü😀\x00", [1, 2.5, {"a": True}], 10**500, "x" * 2_000_000):
        if isinstance(payload, str) and len(payload) > 1_000_000:
            assert await error(child, "echo", payload) == (
                "Fatal",
                "the result is too large: 2,000,002 bytes of JSON, at most 1,048,576",
            )
        else:
            assert await run(child, "echo", payload) == payload


async def test_the_handler_knows_which_attempt_it_is(child: Child) -> None:
    """Every field of the context arrives."""
    ctx = context(
        id="j", attempt=3, epoch=7, deadline=1.5, queue="q", parents={"p": {"status": "DONE", "result": 10**30}},
        trace_parent="00-1",
    )  # fmt: skip
    result = json.loads(await child.run("facts", ctx, "null"))
    assert result == ["j", 3, 7, 1.5, "q", {"p": {"status": "DONE", "result": 10**30}}, "00-1"]


async def test_no_process_before_the_first_job_and_one_for_all_that_follow(child: Child) -> None:
    """A worker without process jobs costs no process."""
    assert child.pid is None
    first = await run(child, "pid")
    assert first == child.pid
    assert await run(child, "pid") == first


async def test_reports_arrive_in_order_before_the_result(child: Child) -> None:
    """Progress and log lines keep the order in which the handler made them."""
    said: list[Report] = []
    assert await run(child, "report", 50, said.append) == "reported"
    expected: list[Report] = []
    for step in range(50):
        expected += [
            Progress(float(step), f"step {step}", json.dumps({"step": step}, separators=(",", ":"))),
            LogLine("debug", f"line {step}"),
        ]
    assert said == expected


async def test_the_limits_of_reports_hold_in_the_process_too(child: Child) -> None:
    """A bad report is a ValueError where it is made."""
    assert await run(child, "report.badly") == [
        "level must be one of debug, info, warning, error, not 'loud'",
        "the data of a progress report is not JSON: Object of type set is not JSON serializable",
        "the data of a progress report is too large: 70,002 bytes of JSON, at most 65,536",
        "percent must be a number from 0 to 100, not nan",
    ]


async def test_what_a_handler_prints_disturbs_nothing(child: Child, capfd: pytest.CaptureFixture[str]) -> None:
    """Both stdout and stderr of a handler end on the server's stderr."""
    assert await run(child, "print", "\x00\x00\x00\x05{}<-") == "printed"
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("{}<-") == 3


async def test_a_coroutine_function_runs_under_asyncio(child: Child) -> None:
    """Its result, its reports and its errors come back as any other's."""
    said: list[Report] = []
    assert await run(child, "asyncio", [1], said.append) == [1]
    assert said == [LogLine("info", "from asyncio")]
    ended = await outcome(child, "asyncio", "fail")
    assert ended.error is not None
    assert ended.error.message == "from asyncio"
    assert ended.error.traceback is not None
    assert "in under_asyncio" in ended.error.traceback
    assert "asyncio/" not in ended.error.traceback
    assert "jobqueue/" not in ended.error.traceback


# failing


async def test_an_exception_comes_back_with_its_traceback(child: Child) -> None:
    """Type, message and the handler's own frames; none of ours."""
    ended = await outcome(child, "fail", "no such thing")
    assert ended.ending is Ending.ERROR
    assert not ended.fatal
    assert ended.error is not None
    assert (ended.error.type, ended.error.message) == ("LookupError", "no such thing")
    assert ended.error.traceback is not None
    assert ended.error.traceback.count("File ") == 1
    assert "in fail\n" in ended.error.traceback


async def test_retry_in_and_fatal_keep_their_meaning(child: Child) -> None:
    """The two exceptions say the same from a process."""
    assert (await outcome(child, "fail.later", 12)).retry_in == 12
    ended = await outcome(child, "fail.fatally", "hopeless")
    assert (ended.fatal, ended.reason) == (True, Reason.FATAL)
    assert ended.error is not None
    assert ended.error.message == "hopeless"


async def test_weird_exceptions_are_ordinary_failures(child: Child) -> None:
    """Half a surrogate pair, a message that cannot be had, a recursion without end, sys.exit: the process lives on."""
    await run(child, "echo")
    pid = child.pid
    assert await error(child, "fail.surrogate") == ("ValueError", "half ? of a pair")
    assert await error(child, "fail.unprintable") == ("Unprintable", "(its message could not be had: SystemExit)")
    assert (await error(child, "fail.deep"))[0] == "RecursionError"
    assert await error(child, "exit.politely", 3) == ("SystemExit", "3")
    assert child.pid == pid


async def test_a_result_of_just_the_limit_passes_and_one_byte_more_is_fatal(child: Child) -> None:
    """1 MiB of JSON, even if all of it must be escaped on its way."""
    assert len(await run(child, "result.large", (1 << 19) - 1)) == (1 << 19) - 1
    ended = await outcome(child, "result.large", 1 << 19)
    assert (ended.fatal, ended.reason) == (True, Reason.FATAL)


@pytest.mark.parametrize(
    "kind, payload, message",
    [
        ("result.deep", 65, "the result is nested deeper than 64 levels"),
        ("result.deep", 5_000, "the result is nested deeper than 64 levels"),
        ("result.set", None, "the result is not JSON: Object of type set is not JSON serializable"),
    ],
)
async def test_a_result_that_is_no_json_is_fatal(child: Child, kind: str, payload: Any, message: str) -> None:
    """Another try would return the same."""
    assert await error(child, kind, payload) == ("Fatal", message)


async def test_a_payload_that_cannot_be_read_is_undecodable(child: Child) -> None:
    """The handler never sees it, and no retry follows."""
    registration = handlers.get("echo")
    assert registration is not None
    ended = await attempt(registration, context(), "{", child)
    assert (ended.fatal, ended.reason) == (True, Reason.UNDECODABLE)


# dying


@pytest.mark.parametrize(
    "kind, payload, message",
    [
        ("exit", 3, "the handler's process ended with exit code 3"),
        ("exit", 0, "the handler's process ended with exit code 0"),
        ("exit.signal", 9, "the handler's process was killed by SIGKILL, as happens when memory runs out"),
        ("exit.signal", 40, "the handler's process was killed by signal 40"),
        ("crash", None, "the handler's process was killed by SIGSEGV"),
        ("crash.orphan", None, "the handler's process ended with exit code 4"),
        ("close.all", None, "the handler's process ended with exit code 1"),
        ("hang.up", None, "the handler's process closed its socket to the server, and was killed"),
    ],
)
async def test_a_death_costs_the_attempt_and_the_next_job_gets_a_new_process(
    child: Child, kind: str, payload: Any, message: str
) -> None:
    """However the process goes, its message says how, and the slot works on."""
    assert await error(child, kind, payload) == ("ChildDied", message)
    assert child.pid is None
    assert await run(child, "echo", "next") == "next"


@pytest.mark.parametrize(
    "garbage", ["hello, world", "\x00\x00\x00\x00", "\x00\x00\x00\x02{}", "\x00\x00\x00\x02\xff\xff", "\xff" * 9]
)
async def test_a_handler_that_writes_into_the_socket_is_killed(child: Child, garbage: str) -> None:
    """What is no frame ends the attempt at once."""
    type_, message = await error(child, "garbage", garbage)
    assert type_ == "ChildDied"
    assert message.startswith("something wrote into the socket of the handler's process, so it was killed: ")
    assert child.pid is None


async def test_a_frame_out_of_turn_is_garbage_too(child: Child) -> None:
    """A second "ready" during a job."""
    frame = pack(Ready()).decode("latin-1")
    assert await error(child, "garbage", frame) == (
        "ChildDied",
        "the handler's process said Ready during a job, and was killed",
    )


async def test_a_process_that_died_while_idle_harms_no_job(child: Child) -> None:
    """The next job simply gets a new one."""
    pid = await run(child, "pid")
    pidfd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    await death_of(pidfd)
    assert await run(child, "pid") != pid
    assert not alive(pid)


async def test_a_registry_that_cannot_be_imported_is_told_to_each_job() -> None:
    """One line says which and why; the next job tries again."""
    async with Child(["tests.e2e.nowhere:handlers"]) as child:
        for _ in range(2):
            with pytest.raises(ChildDied, match=r"could not import its handlers: .*nowhere") as caught:
                await child.run("echo", context(), "null")
            assert "No module named 'tests.e2e.nowhere'" in str(caught.value)
            assert child.pid is None


async def test_a_process_that_cannot_be_started_is_told_to_the_job(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the system is out of processes."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert await error(child, "echo") == (
        "ChildDied",
        "the handler's process could not be started: [Errno 2] No such file or directory: '/nowhere/python'",
    )
    monkeypatch.undo()
    assert await run(child, "echo", "next") == "next"


async def test_a_kind_that_the_process_does_not_know_is_an_error(child: Child) -> None:
    """As when the code was changed under a running server."""
    registry = Handlers()
    registry.register("unheard-of", process=True)(lambda _ctx, _payload: None)
    registration = registry.get("unheard-of")
    assert registration is not None
    ended = await attempt(registration, context(), "null", child)
    assert ended.error is not None
    assert ended.error.type == "LookupError"


# killing


@pytest.mark.parametrize("kind", ["wait", "wait.stopped", "wait.busy", "wait.family"])
async def test_a_cancel_ends_the_work(child: Child, kind: str) -> None:
    """A sleeper, a stopped one, one deep in C and a program that the handler started: gone when `run` has ended."""
    async with at_work(child, kind) as (scope, pid):
        pidfd = os.pidfd_open(pid)
        scope.cancel()
    assert scope.cancelled_caught
    await death_of(pidfd)
    assert child.pid is None
    assert await run(child, "echo", "next") == "next"


async def test_a_killed_process_is_reaped_before_run_has_ended(child: Child) -> None:
    """No zombie is left."""
    async with at_work(child, "wait") as (scope, pid):
        scope.cancel()
    assert not alive(pid)


async def test_a_timeout_ends_the_work_as_a_cancel_does(child: Child) -> None:
    """A deadline is a cancellation like any other."""
    async with at_work(child, "wait") as (scope, pid):
        scope.deadline = trio.current_time()
    assert scope.cancelled_caught
    assert not alive(pid)


async def test_a_cancel_while_the_process_starts_ends_it(child: Child) -> None:
    """The handlers may take long to import."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child.run, "echo", context(), "null")
            await trio.testing.wait_all_tasks_blocked()
            pid = child.pid
            scope.cancel()
    assert pid is not None
    assert child.pid is None
    assert not alive(pid)


async def test_a_failing_report_ends_the_work(child: Child) -> None:
    """What cannot be told, as the lease is lost, need not be done either."""

    def refuse(_: Report) -> None:
        raise LookupError("lease lost")

    with pytest.raises(LookupError, match="lease lost"):
        await run(child, "wait", None, refuse)
    assert child.pid is None


async def test_fifty_kills_leave_nothing_behind(child: Child) -> None:
    """No descriptor, no zombie."""
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are wanted, not paths
    for _ in range(50):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child.run, "wait", context(), "null")
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - names are wanted, not paths
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # noqa: ASYNC222 - it does not wait


# ending


async def test_closing_the_worker_ends_an_idle_process() -> None:
    """It leaves by itself at the end of its socket, and is reaped."""
    async with Child([REGISTRY]) as child:
        pid = await run(child, "pid")
    assert not alive(pid)


async def test_signals_to_every_process_leave_the_end_to_the_server(child: Child) -> None:
    """SIGTERM, SIGINT and SIGHUP do not cut the grace of a drain short."""
    assert await run(child, "wait.deaf") == "still here"


async def test_the_process_is_in_a_session_of_its_own(child: Child) -> None:
    """So a terminal's Ctrl-C does not reach it."""
    pid = await run(child, "pid")
    assert os.getsid(pid) == pid != os.getsid(0)


async def test_the_process_holds_nothing_of_the_server(child: Child) -> None:
    """Of all that is open here, only the socket and stderr; stdin is empty."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        pid = await run(child, "pid")
        held = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}  # noqa: PTH115, PTH208 - names are wanted, not paths
        assert os.readlink(f"/proc/self/fd/{listener.fileno()}") not in held  # noqa: PTH115 - names are wanted, not paths
        assert len([name for name in held if name.startswith("socket:")]) == 1
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"  # noqa: PTH115 - names are wanted, not paths


PARENT = f"""
import os, sys, trio
from jobqueue.child import Child
from jobqueue.handlers.context import Context

async def take(said):
    print(said.message, flush=True)

async def main():
    async with Child([{REGISTRY!r}]) as child:
        ctx = Context(id="1", attempt=1, epoch=1, deadline=0.0, report_progress=take, report_log=take)
        await child.run(sys.argv[1], ctx, "null")

trio.run(main)
"""


@pytest.mark.parametrize("kind", ["wait", "wait.busy"])
async def test_the_process_dies_with_a_server_that_is_killed(kind: str) -> None:
    """`kill -9` of the server leaves no handler running, even one that lets no thread of its process run."""
    command = [sys.executable, "-c", PARENT, kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:  # noqa: ASYNC220 - as short as it is
        assert server.stdout is not None
        line = await trio.to_thread.run_sync(server.stdout.readline)
        pidfd = os.pidfd_open(int(line))
        server.kill()
        await death_of(pidfd)


SUBREAPER = f"""
import ctypes, os, trio
from jobqueue.child import Child
from jobqueue.handlers.context import Context

async def main():
    async def cancel(said):
        scope.cancel()
        await trio.lowlevel.checkpoint()

    async with Child([{REGISTRY!r}]) as child:
        ctx = Context(id="1", attempt=1, epoch=1, deadline=0.0, report_progress=cancel, report_log=cancel)
        with trio.CancelScope() as scope:
            await child.run("wait.family", ctx, "null")
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            print("nothing left")

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
trio.run(main)
"""


def test_as_pid_1_the_server_also_reaps_what_a_killed_handler_had_started() -> None:
    """Orphans become children of PID 1, here of a subreaper, and nobody else would ever reap them."""
    ended = subprocess.run([sys.executable, "-c", SUBREAPER], stdout=subprocess.PIPE, check=True, timeout=SHORT_SECONDS)
    assert ended.stdout == b"nothing left\n"


async def test_all_works_without_pidfds(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on older kernels, under some sandboxes and elsewhere than on Linux."""
    with monkeypatch.context() as patched:
        patched.delattr(os, "pidfd_open")
        assert await run(child, "echo", 1) == 1
    async with at_work(child, "wait") as (scope, pid):
        scope.cancel()
    assert not alive(pid)
    with monkeypatch.context() as patched:
        patched.delattr(os, "pidfd_open")
        assert await error(child, "exit", 3) == ("ChildDied", "the handler's process ended with exit code 3")


def by_hand(sock: socket.socket) -> subprocess.Popen[bytes]:
    """The child's half alone, at the other end of `sock`."""
    command = [sys.executable, "-m", "jobqueue.child", str(sock.fileno()), str(os.getpid()), REGISTRY]
    return subprocess.Popen(command, pass_fds=(sock.fileno(),), start_new_session=True)


def job(kind: str) -> Run:
    return Run(
        kind=kind, id="1", attempt=1, epoch=1, deadline=0.0, queue="q", parents="{}", trace_parent=None, payload="null"
    )


@pytest.mark.parametrize("kind", ["wait", "wait.family"])
def test_the_end_of_the_socket_kills_a_working_group_where_the_kernel_does_not(kind: str) -> None:
    """The process's own watch, seen under a parent that lives on."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = by_hand(theirs)
    ours.settimeout(SHORT_SECONDS)
    frames = Splitter(MAX_TO_PARENT)
    said: list[Any] = []
    ours.sendall(pack(job(kind)))
    while len(said) < 2:
        frames.feed(ours.recv(1024))
        while (body := frames.pop()) is not None:
            said.append(to_parent.decode(body))
    pidfd = os.pidfd_open(int(said[1].line.message))
    ours.close()
    assert process.wait(SHORT_SECONDS) == -signal.SIGKILL
    trio.run(death_of, pidfd)


def test_the_end_of_the_socket_lets_an_idle_process_leave_by_itself() -> None:
    """With exit code 0, so what its handlers registered with atexit has run."""
    ours, theirs = socket.socketpair()
    with ours, theirs, by_hand(theirs) as process:
        theirs.close()
        assert ours.recv(1024) == pack(Ready())
        ours.close()
        assert process.wait(SHORT_SECONDS) == 0


def test_a_process_whose_server_died_before_it_began_ends_at_once() -> None:
    """The kernel tells only of deaths that follow."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-m", "jobqueue.child", str(theirs.fileno()), "999999999", REGISTRY]
        with subprocess.Popen(command, pass_fds=(theirs.fileno(),)) as process:
            theirs.close()
            assert ours.recv(1) == b""
            assert process.wait(SHORT_SECONDS) == 1


# what handlers do to their process


async def test_a_fork_of_the_handler_can_neither_report_nor_answer(child: Child) -> None:
    """It does not own the context; the handler itself goes on."""
    said: list[Report] = []
    result = await run(child, "fork", None, said.append)
    assert result == "ctx belongs to the process that was given it, not to one forked from it"
    assert said == []
    assert await run(child, "echo", "next") == "next"


async def test_a_thread_left_behind_cannot_report_into_the_next_job(child: Child) -> None:
    """A context ends with its attempt."""
    said: list[Report] = []
    await run(child, "thread.late", "first", said.append)
    assert await run(child, "thread.late", "second", said.append) == "ctx is of no use once the handler has returned"
    assert said == []


# frames


def test_frames_are_found_however_the_bytes_are_cut() -> None:
    """One byte at a time gives the same frames."""
    stream = pack(Ready()) + pack(Ready())
    splitter = Splitter(100)
    bodies = []
    for byte in stream:
        splitter.feed(bytes([byte]))
        while (body := splitter.pop()) is not None:
            bodies.append(to_parent.decode(body))
    assert bodies == [Ready(), Ready()]


@pytest.mark.parametrize("size", [0, 101])
def test_a_length_that_no_frame_has_is_garbled(size: int) -> None:
    """Nothing is gathered that will be refused."""
    splitter = Splitter(100)
    splitter.feed(size.to_bytes(4))
    with pytest.raises(Garbled):
        splitter.pop()
