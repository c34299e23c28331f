"""The sockets that a server listens on, opened before anything else starts, so that a taken port is a plain error."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from jobqueue.errors import StartupError

BACKLOG = 1024  # connections that wait in the kernel to be taken
_MAX_PORT = 0xFFFF
_UNIX = "unix:"


@contextlib.contextmanager
def listening(binds: Sequence[str]) -> Iterator[list[socket.socket]]:
    """Listen on each of `binds`: `host:port` (port 0: any free one), `[ipv6]:port` or `unix:path`; close in the end.

    Raises StartupError that names all binds which are taken or impossible.
    """
    with contextlib.ExitStack() as opened:
        sockets, faults = [], []
        for bind in binds:
            try:
                sockets.append(opened.enter_context(_listening(bind)))
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                faults.append(f"cannot listen on {bind}: {reason}")
        if faults:
            raise StartupError(*faults)
        yield sockets


@contextlib.contextmanager
def _listening(bind: str) -> Iterator[socket.socket]:
    if bind.startswith(_UNIX):
        path = Path(bind.removeprefix(_UNIX))
        _remove_stale(path)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(os.fspath(path))
            try:
                sock.listen(BACKLOG)
                yield sock
            finally:
                path.unlink(missing_ok=True)
    else:
        host, port = _host_and_port(bind)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            sock.listen(BACKLOG)
            yield sock


def _host_and_port(bind: str) -> tuple[str, int]:
    host, colon, port = bind.rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError("it is not of the form host:port or unix:path")
    if int(port) > _MAX_PORT:
        raise ValueError("there is no such port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _remove_stale(path: Path) -> None:
    """Remove the socket file of a server that is dead; one that answers keeps it, and so does any other file."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise ValueError("another file is there")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise ValueError("another server listens there")
