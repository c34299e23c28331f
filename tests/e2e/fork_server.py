"""Starts programs of ours by fork from a process that has imported them already: in milliseconds instead of a second.

What runs is the program's own `main` in a process of its own, with its own arguments, folder, environment and output;
so it can be killed, signalled and traced like any other. Used where a test starts hundreds of them.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from tests.e2e.process import Process

ROOT = Path(__file__).parents[2]
MOST_BYTES = 1 << 16
ANSWER_SECONDS = 30.0


class ForkServer:
    """The process that forks, seen from the test; not for two threads at once. Use it in a `with`.

    program: "package.module:function", called without arguments once sys.argv is set. preload: what it will import.
    """

    def __init__(self, program: str, *preload: str) -> None:
        self._program = program
        self._preload = preload

    def __enter__(self) -> Self:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(ANSWER_SECONDS)
        with other:
            command = [sys.executable, "-m", "tests.e2e.fork_server", str(other.fileno()), self._program]
            self._process = subprocess.Popen([*command, *self._preload], cwd=ROOT, pass_fds=[other.fileno()])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._process.wait(ANSWER_SECONDS)

    def start(
        self,
        arguments: Sequence[str],
        *,
        stdout: int,
        stderr: int,
        gate: int | None = None,
        env: Mapping[str, str] | None = None,
        folder: Path = ROOT,
    ) -> Process:
        """Fork the program. With `gate`, a pipe to read from, it does nothing before a byte comes."""
        order = {"argv": list(arguments), "env": dict(env or {}), "folder": str(folder), "gate": gate is not None}
        fds = [stdout, stderr] if gate is None else [stdout, stderr, gate]
        socket.send_fds(self._socket, [json.dumps(order).encode()], fds)
        pid = self._answer()
        return Process(pid, lambda: self._reap(pid))

    def _reap(self, pid: int) -> int:
        self._socket.send(json.dumps({"reap": pid}).encode())
        return self._answer()

    def _answer(self) -> int:
        answer = self._socket.recv(MOST_BYTES)
        assert answer, "the fork server has died"
        return int(answer)


# -- the other side


def _serve(orders: socket.socket, program: Callable[[], Any]) -> None:
    children: set[int] = set()
    while True:
        raw, fds, _, _ = socket.recv_fds(orders, MOST_BYTES, 3)
        if not raw:
            break
        order = json.loads(raw)
        if "reap" in order:
            _, status = os.waitpid(order["reap"], 0)
            children.discard(order["reap"])
            orders.send(str(os.waitstatus_to_exitcode(status)).encode())
            continue
        pid = os.fork()
        if pid == 0:
            orders.close()
            _become(program, order, fds)
        children.add(pid)
        for fd in fds:
            os.close(fd)
        orders.send(str(pid).encode())
    for pid in children:  # none that a test forgot outlives it
        os.kill(pid, signal.SIGKILL)


def _become(program: Callable[[], Any], order: dict[str, Any], fds: Sequence[int]) -> NoReturn:
    code = 1
    try:
        for target, fd in zip((1, 2), fds, strict=False):
            os.dup2(fd, target)
        if order["gate"]:
            os.read(fds[2], 1)
        for fd in fds:
            os.close(fd)
        os.chdir(order["folder"])
        os.environ.update(order["env"])
        sys.argv = ["jobqueue", *order["argv"]]
        program()
        code = 0
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except BaseException:  # noqa: BLE001 - this is where Python itself would print it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Import, then fork on demand until the test is gone."""
    fd, name, *preload = sys.argv[1:]
    module, _, function = name.partition(":")
    for needed in (module, *preload):
        importlib.import_module(needed)
    with socket.socket(fileno=int(fd)) as orders:
        _serve(orders, getattr(importlib.import_module(module), function))


if __name__ == "__main__":
    main()
