"""A real server process for a test: started on a free port of the loopback address, asked over HTTP, ended by its pid.

    with running_server(tmp_path, "--workers", "2") as server:
        job = server.submit(kind="simulate")
        assert server.wait(job["id"])["status"] == "DONE"
        assert server.kill(signal.SIGTERM) == 0

It starts as users start it, `python -m jobqueue serve`; or, where hundreds are needed, from a `ForkServer`.
"""

from __future__ import annotations

import functools
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

from tests.e2e.fork_server import ForkServer
from tests.e2e.process import Process

ROOT = Path(__file__).parents[2]
START_SECONDS = 30.0  # a bound for half a second, on a busy machine
STOP_SECONDS = 30.0
ANSWER_SECONDS = 60.0
STORE = "jobs.db"
COMMAND = (sys.executable, "-m", "jobqueue")


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


class ServerProcess:
    """One life of the server. `url`, and all that uses it, waits until it listens."""

    def __init__(self, process: Process, log: Log) -> None:
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    @functools.cached_property
    def url(self) -> str:
        """Where it listens, as it logged it. Raises AssertionError if it never will."""
        line = self.log.wait("listening", START_SECONDS)
        assert line is not None, f"the server did not start (exit code {self.exit_code()}):\n{self.log}"
        return str(line["address"])

    @property
    def address(self) -> tuple[str, int]:
        """The same for a socket."""
        url = httpx.URL(self.url)
        return url.host, url.port or 80

    @functools.cached_property
    def client(self) -> httpx.Client:
        """A client that keeps its connections, until the server is done with."""
        return httpx.Client(base_url=self.url, timeout=ANSWER_SECONDS, trust_env=False)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET, on a connection of its own."""
        return httpx.get(self.url + path, timeout=ANSWER_SECONDS, trust_env=False, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """POST, on a connection of its own."""
        return httpx.post(self.url + path, timeout=ANSWER_SECONDS, trust_env=False, **options)

    def submit(self, **job: Any) -> dict[str, Any]:
        """Submit one job; as it was accepted."""
        answer = self.client.post("/jobs", json=job)
        assert answer.status_code == 201, answer.text
        accepted: dict[str, Any] = answer.json()
        return accepted

    def wait(self, id: str, seconds: int = 30) -> dict[str, Any]:
        """The job, once it has ended or the time is over."""
        job: dict[str, Any] = self.client.get(f"/jobs/{id}", params={"wait": seconds}).json()
        return job

    def events(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return list(self.log.entries())

    def send(self, number: int) -> None:
        """Send a signal to it, and to nobody else."""
        self.process.send(number)

    def exit_code(self, seconds: float = STOP_SECONDS) -> int:
        """Its exit code once it has ended, as subprocess gives it: -9 for SIGKILL. Raises TimeoutError."""
        return self.process.wait(seconds)

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.send(number)
        return self.exit_code()

    def close(self) -> None:
        """End it if it still runs."""
        if "client" in self.__dict__:
            self.client.close()
        self.process.kill()


@contextmanager
def running_server(
    folder: Path,
    *options: str,
    handlers: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    command: Sequence[str] = (),
    forks: ForkServer | None = None,
) -> Iterator[ServerProcess]:
    """A server with its file in `folder`, gone afterwards.

    handlers: registries, as `--handlers` has them. command: what to run in place of `python -m jobqueue`; the pid is
    then that of the command. forks: start it from there.
    """
    arguments = ["serve", "--port", "0", "--log-format", "json", *options]
    arguments += [part for name in handlers for part in ("--handlers", name)]
    if "--store" not in options:
        arguments += ["--store", f"sqlite:{folder / STORE}"]
    read, write = os.pipe()
    try:
        if forks is None:
            process = _start([*(command or COMMAND), *arguments], write, env or {})
        else:
            process = forks.start(arguments, stdout=write, stderr=write, env=env)
    finally:
        os.close(write)
    server = ServerProcess(process, Log(os.fdopen(read, encoding="utf-8", errors="replace")))
    try:
        yield server
    finally:
        server.close()


def server_forks() -> ForkServer:
    """Where `running_server` may start servers by the hundred."""
    return ForkServer("jobqueue.cli:main", "jobqueue.cli.serve", "jobqueue.server", "tests.e2e.crash_handlers")


def _start(command: Sequence[str], output: int, env: Mapping[str, str]) -> Process:
    started = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT, env={**os.environ, **env}
    )
    return Process(started.pid, started.wait)
