"""The servers that are measured from outside: ours, as a user starts it, and the stock peer, on a core of their own."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from jobqueue.job import Status
from tests.benchmarks.load import Unmeasured
from tests.benchmarks.machine import LOAD_CORE, SERVER_CORE, on_core

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 20.0
SLOW_SYNC = (
    *("strace", "--daemonize", "--follow-forks", "--seccomp-bpf", "--quiet=all", "--output=/dev/null"),
    *("--trace=fdatasync,fsync", "--inject=fdatasync,fsync:delay_exit=5000"),
    *("taskset", "--cpu-list", str(SERVER_CORE)),  # the tracer stays where the load is
)


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    pid: int
    port: int
    store: Path

    def ask(self, method: str, path: str, body: str | None = None) -> Any:
        """One request, and the JSON of its answer. Raises Unmeasured unless it is a success."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise Unmeasured(f"{method} {path}: {answer.status} {said[:200]!r}")
        return json.loads(said)

    def counts(self) -> dict[Status, int]:
        """Jobs by status, as they stand in the file."""
        connection = apsw.Connection(str(self.store), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(5000)
        try:
            rows = connection.execute("SELECT status, sum(n) FROM counts GROUP BY status").fetchall()
        finally:
            connection.close()
        return {Status(int(status)): int(n) for status, n in rows}  # type: ignore[arg-type]  # of these columns


@contextmanager
def ours(folder: Path, *options: str, workers: int = 32, slow_sync: bool = False) -> Iterator[Running]:
    """`jobqueue serve` on a file in `folder`; with `slow_sync` every fsync takes 5 ms more."""
    if slow_sync and not shutil.which("strace"):
        raise Unmeasured("strace is missing (Debian package: strace)")
    port = free_port()
    command = serve_command(folder / "jobs.db", port, f"--workers={workers}", *options)
    core = LOAD_CORE if slow_sync else SERVER_CORE
    with _started([*SLOW_SYNC, *command] if slow_sync else command, folder, core) as process:
        _wait(process, port, folder / "server.log")
        yield Running(process.pid, port, folder / "jobs.db")


@contextmanager
def stock(folder: Path) -> Iterator[Running]:
    """The peer."""
    port = free_port()
    with _started([sys.executable, "-m", "tests.benchmarks.stock", str(port)], folder) as process:
        _wait(process, port, folder / "server.log")
        yield Running(process.pid, port, folder / "none")


def serve_command(store: Path, port: int, *options: str) -> list[str]:
    """The command line of a server of ours."""
    command = [sys.executable, "-m", "jobqueue", "serve", f"--port={port}", f"--store=sqlite:{store}", "--grace=1"]
    return [*command, "--handlers=tests.benchmarks.registry:handlers", "--log-format=json", *options]


def time_to_ready(folder: Path, store: Path) -> float:
    """Seconds from the start of the process until /readyz answers 200. Its workers serve another queue."""
    port = free_port()
    began = time.perf_counter()
    with _started(serve_command(store, port, "--queues=other"), folder) as process:
        _wait(process, port, folder / "server.log", path="/readyz")
        return time.perf_counter() - began


@contextmanager
def _started(command: Sequence[str], folder: Path, core: int = SERVER_CORE) -> Iterator[subprocess.Popen[bytes]]:
    """Run it there; meanwhile we, and the load that we start, keep to the other core."""
    environ = {name: value for name, value in os.environ.items() if name != "PORT" and not name.startswith("JOBQUEUE_")}
    with (folder / "server.log").open("wb") as log, on_core(core):
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=environ)
    try:
        with on_core(LOAD_CORE):
            yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path, path: str = "/healthz") -> None:
    """Until it answers anything below 500 (the peer knows no such path)."""
    last = time.monotonic() + START_SECONDS
    while time.monotonic() < last:
        if process.poll() is not None:
            break
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            if connection.getresponse().status < 500:
                return
        except OSError:
            time.sleep(0.002)
        finally:
            connection.close()
    raise Unmeasured(f"the server did not start: {log.read_text()[-500:]}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
