"""A real server process on a free loopback port, for tests that need one; ended by its own pid, within bounds."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
READY_SECONDS = 30
STOP_SECONDS = 30


class ServerProcess:
    """One life of the server. Its log is read up to the line that says where it listens, then left to a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, url: str) -> None:
        self.process = process
        self.log = log
        self.url = url
        self.client = httpx.Client(base_url=url, timeout=30)

    @property
    def pid(self) -> int:
        return self.process.pid

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
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def running_server(
    folder: Path, *options: str, env: Mapping[str, str] | None = None, command: Sequence[str] = ()
) -> Iterator[ServerProcess]:
    """Start a server with its file and log in `folder`; end it afterwards if it still runs."""
    server = start_server(folder, *options, env=env, command=command)
    try:
        yield server
    finally:
        server.client.close()
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait(STOP_SECONDS)


def start_server(
    folder: Path, *options: str, env: Mapping[str, str] | None = None, command: Sequence[str] = ()
) -> ServerProcess:
    """Start a server and wait until it listens. The caller ends it."""
    log = folder / "server.log"
    arguments = [*(command or (sys.executable, "-m", "jobqueue")), "--port", "0", "--log-format", "json", *options]
    if "--store" not in options:
        arguments += ["--store", f"sqlite:{folder / 'jobs.db'}"]
    with log.open("ab") as sink:
        start = sink.tell()
        process = subprocess.Popen(arguments, stderr=sink, stdout=sink, cwd=ROOT, env={**os.environ, **(env or {})})
    url = _listening(process, log, start)
    return ServerProcess(process, log, url)


def _listening(process: subprocess.Popen[bytes], log: Path, start: int) -> str:
    """The address, from the log; the log is waited for by reading it again each time the process had a moment."""
    for _ in range(READY_SECONDS * 50):
        for line in log.read_bytes()[start:].splitlines():
            if b'"listening"' in line and line.endswith(b"}"):
                return str(json.loads(line)["address"])
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        break
    process.kill()
    message = f"the server did not come up:\n{log.read_text()}"
    raise AssertionError(message)
