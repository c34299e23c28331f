"""A real server with a witness inside: a Trio instrument that counts its tasks, where the test can read the number.

    with watched(tmp_path) as server:
        at_rest = server.settled()
        ...  # attacks
        assert server.rests(at_rest), server.state

The server starts as users start it, with its own command line; the witness joins when that calls `trio.run`.
"""

from __future__ import annotations

import functools
import importlib
import mmap
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import trio

from tests.e2e.raw_http import Answer, Raw, eventually, request
from tests.e2e.server_process import ServerProcess, running_server

REAL = "jobqueue.cli:main"
TOY = "tests.e2e.toy_app:main"
COUNT_BYTES = 8
STILL = 5  # looks in a row that see the same
FAULTS = ("error", "critical")


class Vitals(NamedTuple):
    """What a server holds, and how often it has logged a fault of its own."""

    files: int
    tasks: int
    faults: int


class Watched:
    """One such server, seen from the test."""

    def __init__(self, process: ServerProcess, count: Path) -> None:
        self.process = process
        self.port = process.address[1]
        self._count = count

    def connect(self, *, receive_buffer: int | None = None) -> Raw:
        """A new connection."""
        return Raw(self.port, receive_buffer=receive_buffer)

    def ask(self, *parts: bytes, method: str = "GET") -> Answer:
        """The answer on a connection of its own."""
        with self.connect() as raw:
            return raw.ask(*parts, method=method)

    @property
    def state(self) -> Vitals:
        """As it is now, while whatever it does goes on."""
        files = sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())
        tasks = int.from_bytes(self._count.read_bytes(), sys.byteorder)
        return Vitals(files, tasks, sum(entry.get("level") in FAULTS for entry in self.process.log.entries()))

    def settled(self) -> Vitals:
        """As it is once it has answered, and nothing changes any more: what it should come back to."""
        self.ask(request(b"GET /readyz"))
        seen: list[Vitals] = []

        def unchanged() -> bool:
            seen.append(self.state)
            return len(seen) >= STILL and len(set(seen[-STILL:])) == 1

        assert eventually(unchanged), seen
        return seen[-1]

    def rests(self, at_rest: Vitals) -> bool:
        """Whether it comes back to that."""
        return eventually(lambda: self.state == at_rest)


@contextmanager
def watched(
    folder: Path, *options: str, store: str = "memory:", program: str = REAL, around: Sequence[str] = ()
) -> Iterator[Watched]:
    """A watched server with two workers, gone afterwards. around: a command that execs it."""
    count = folder / "tasks"
    count.write_bytes(bytes(COUNT_BYTES))
    command = [*around, sys.executable, "-m", "tests.e2e.watched_server", str(count), program]
    with running_server(folder, "--store", store, "--workers", "2", *options, command=command) as process:
        yield Watched(process, count)


# -- the other side


class Witness(trio.abc.Instrument):
    """Counts the tasks that live, in memory that a file shows to others."""

    def __init__(self, path: str) -> None:
        with Path(path).open("r+b") as file:
            self._count = memoryview(mmap.mmap(file.fileno(), COUNT_BYTES)).cast("q")

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        """One more."""
        self._count[0] += 1

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """One less."""
        self._count[0] -= 1


def main() -> None:
    """Run `module:function` as the program of this process, with a witness."""
    path, program, *arguments = sys.argv[1:]
    module, _, function = program.partition(":")
    trio.run = functools.partial(trio.run, instruments=[Witness(path)])  # type: ignore[assignment]  # the seam of this process alone
    sys.argv = ["jobqueue", *arguments]
    getattr(importlib.import_module(module), function)()


if __name__ == "__main__":
    main()
