"""`jobqueue` as a command: run to its end, started as a server, or called in this process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobqueue import cli
from tests.e2e.fork_server import ROOT
from tests.e2e.process import Process
from tests.e2e.server_process import START_SECONDS, Log, ServerProcess

MODULE = (sys.executable, "-m", "jobqueue")
SCRIPT = (str(Path(sys.executable).with_name("jobqueue")),)
QUIET = {name: value for name, value in os.environ.items() if not name.startswith("JOBQUEUE_") and name != "PORT"}
ENVIRONMENT = QUIET | {"PYTHONPATH": str(ROOT)}


class Ended:
    """A command that has ended: its exit code, and the lines it wrote."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.out = done.stdout.splitlines()
        self.err = done.stderr.splitlines()


def run(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
    """Run the command to its end, in this folder."""
    return Ended(
        subprocess.run(
            [*MODULE, *arguments],
            cwd=folder,
            env={**ENVIRONMENT, **(env or {})},
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
    )


@contextmanager
def started(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None, command: tuple[str, ...] = MODULE
) -> Iterator[ServerProcess]:
    """A server that was started with these arguments and no others, in this folder."""
    read, write = os.pipe()
    popen = subprocess.Popen(
        [*command, *arguments], cwd=folder, env={**ENVIRONMENT, **(env or {})}, stdout=write, stderr=write
    )
    os.close(write)
    server = ServerProcess(Process(popen.pid, popen.wait), Log(os.fdopen(read)))
    try:
        yield server
    finally:
        server.close()


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int | str | None, list[str]]:
    """Run the command in this process; its exit code and what it wrote on stderr."""
    with pytest.raises(SystemExit) as left:
        cli.main(list(arguments))
    return left.value.code, capsys.readouterr().err.splitlines()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
