"""A real server process for a test: started on a free port of the loopback address, asked over HTTP, ended by its pid.

    with running_server("--workers", "2", store=f"sqlite:{tmp_path / 'jobs.db'}") as server:
        job = server.post("/jobs", json={"kind": "simulate"}).json()
        server.get(f"/jobs/{job['id']}?wait=10")
        assert server.stop() == 0

It starts as users start it, `python -m jobqueue serve`; or, where hundreds are needed, from a `ForkServer`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx

from tests.e2e.fork_server import ROOT, ForkServer
from tests.e2e.process import Process

START_SECONDS = 30.0  # a bound for half a second, on a busy machine
STOP_SECONDS = 30.0
ANSWER_SECONDS = 30.0


class Log:
    """What the server writes to stderr, line by line; whoever waits for an event is woken by it."""

    def __init__(self, stream: IO[str]) -> None:
        self.lines: list[str] = []
        self._ended = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._news:
                    self.lines.append(line.rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def find(self, event: str) -> dict[str, Any] | None:
        """The first line of that event."""
        return next((entry for entry in self.entries() if entry.get("event") == event), None)

    def entries(self) -> Iterator[dict[str, Any]]:
        """The lines that are JSON."""
        for line in tuple(self.lines):
            if line.startswith("{"):
                yield json.loads(line)

    def wait(self, event: str, seconds: float) -> dict[str, Any] | None:
        """The first line of that event; None if the server has ended without. Raises TimeoutError."""
        with self._news:
            if not self._news.wait_for(lambda: self._ended or self.find(event), seconds):
                raise TimeoutError(f"no {event!r} after {seconds} s:\n{self}")
        return self.find(event)

    def __str__(self) -> str:
        return "\n".join(self.lines)


class Server:
    """A started server. `url` is known once it listens."""

    def __init__(self, process: Process, log: Log) -> None:
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def url(self) -> str:
        """Where it listens, as it logged it; waits for that. Raises AssertionError if it never will."""
        line = self.log.wait("listening", START_SECONDS)
        assert line is not None, f"the server did not start (exit code {self.process.wait(STOP_SECONDS)}):\n{self.log}"
        return str(line["address"])

    @property
    def address(self) -> tuple[str, int]:
        """The same for a socket."""
        url = httpx.URL(self.url)
        return url.host, url.port or 80

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET, on a connection of its own."""
        return httpx.get(self.url + path, timeout=ANSWER_SECONDS, trust_env=False, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """POST, on a connection of its own."""
        return httpx.post(self.url + path, timeout=ANSWER_SECONDS, trust_env=False, **options)

    def client(self) -> httpx.Client:
        """A client that keeps its connections."""
        return httpx.Client(base_url=self.url, timeout=ANSWER_SECONDS, trust_env=False)

    def signal(self, number: int) -> None:
        """Send a signal to it, and to nobody else."""
        self.process.signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Its exit code, as subprocess gives it."""
        return self.process.wait(seconds)

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM, and its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)


@contextmanager
def running_server(
    *options: str,
    store: str = "memory:",
    handlers: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    forks: ForkServer | None = None,
    prefix: Sequence[str] = (),
) -> Iterator[Server]:
    """A server with these options, gone afterwards. It may not listen yet: `url` and what uses it wait for that.

    handlers: registries, as `--handlers` has them. forks: start it from there. prefix: a command that starts it, such as
    strace, where the pid is then that of the command.
    """
    arguments = ["serve", "--port", "0", "--store", store, "--log-format", "json"]
    arguments += [part for name in handlers for part in ("--handlers", name)]
    arguments += options
    read, write = os.pipe()
    try:
        if forks is None:
            process = _start([*prefix, sys.executable, "-m", "jobqueue", *arguments], write, env or {})
        else:
            process = forks.start(arguments, stdout=write, stderr=write, env=env)
    finally:
        os.close(write)
    server = Server(process, Log(os.fdopen(read, encoding="utf-8", errors="replace")))
    try:
        yield server
    finally:
        process.kill()


def _start(command: Sequence[str], output: int, env: Mapping[str, str]) -> Process:
    started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT, env=os.environ | env)
    return Process(started.pid, started.wait)


def registry(file: str | Path) -> str:
    """The name of the registry `handlers` in a module of tests/e2e."""
    return f"tests.e2e.{Path(file).stem}:handlers"
