"""Hypercorn with our connections: `serve` opens the sockets, starts the reaper and hands the rest to Hypercorn.

Hypercorn keeps TLS, lifespan and the order of shutdown. What it runs per connection is one name in its module, which is
replaced once by `_connection`; that finds all it needs on the config, so servers in one process do not meet.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import hypercorn.trio
import hypercorn.trio.run
import trio
from hypercorn.config import Config, Sockets
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.utils import LifespanFailureError, LifespanTimeoutError

from jobqueue.errors import StartupError
from jobqueue.http.asgi import App
from jobqueue.http.binding import BACKLOG, listening
from jobqueue.http.connection import serve_connection
from jobqueue.http.hub import Hub
from jobqueue.http.limits import Counters, Limits
from jobqueue.http.reaper import Reaper

_EXIT_BUG = 70
_slot: Any = hypercorn.trio.run  # its name TCPServer is the one that we replace
_hypercorns_own: Callable[..., Awaitable[None]] = _slot.TCPServer

# Hypercorn tells where it listens; so does our caller, in its own words. Its warnings are wanted.
_log = logging.getLogger("jobqueue.http.hypercorn")
_log.setLevel(logging.WARNING)


class _BoundConfig(Config):
    """Hypercorn's configuration, with sockets that are open already."""

    accesslog = None
    errorlog = _log
    backlog = BACKLOG

    def use(
        self, sockets: list[socket.socket], certfile: str | None, keyfile: str | None, grace_seconds: float
    ) -> None:
        """Take over what the caller chose. Raises StartupError for a certificate that cannot be used."""
        self._sockets = sockets
        self.certfile = certfile
        self.keyfile = keyfile
        self.graceful_timeout = grace_seconds
        if (certfile is None) != (keyfile is None):
            raise StartupError("TLS needs both a certificate and its key")
        try:
            self.create_ssl_context()
        except OSError as error:
            reason = error.strerror or str(error)
            raise StartupError(f"cannot use the certificate {certfile} with the key {keyfile}: {reason}") from error

    def create_sockets(self) -> Sockets:
        """Hypercorn's question for sockets to listen on."""
        return Sockets(self._sockets, [], []) if self.ssl_enabled else Sockets([], self._sockets, [])


class _HubConfig(_BoundConfig):
    """The configuration of a server of ours."""

    alpn_protocols: list[str] = ["http/1.1"]  # noqa: RUF012 - Hypercorn's shape; its other protocol has no place here

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self.hub = hub


def _connection(
    app: object, config: Config, context: WorkerContext, state: dict[str, Any], stream: trio.SocketStream
) -> Awaitable[None]:
    """What stands in `hypercorn.trio.run.TCPServer`: ours for servers of ours, Hypercorn's own for any other."""
    if not isinstance(config, _HubConfig):
        return _hypercorns_own(app, config, context, state, stream)
    config.hub.context = context
    return serve_connection(config.hub, state, stream)


async def serve(  # noqa: PLR0913 - each is chosen by the caller alone
    app: App,
    *,
    binds: Sequence[str],
    limits: Limits,
    counters: Counters,
    new_request_id: Callable[[], str],
    grace_seconds: float,
    shutdown_trigger: Callable[[], Awaitable[object]],
    certfile: str | None = None,
    keyfile: str | None = None,
    stock: bool = False,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the ASGI `app` on `binds` (`host:port`, `unix:path`) until `shutdown_trigger` returns.

    Then connections between two requests close at once, those with a request have `grace_seconds`. `task_status` gets
    the addresses as URLs, with the real port where port 0 was asked for. Each request finds its `new_request_id()` in
    `scope["state"]["request_id"]`, and so does the client in a problem. `stock` leaves Hypercorn's connections in
    place, for comparison: then limits, counters and ids stay unused.

    Raises StartupError, alone: address taken or impossible (exit code 2), certificate unusable (2), lifespan (70).
    """
    hub = Hub(app, limits, counters, new_request_id)

    async def stop() -> None:
        await shutdown_trigger()
        hub.drain()

    with listening(binds) as sockets:
        config: _BoundConfig = _BoundConfig() if stock else _HubConfig(hub)
        config.use(sockets, certfile, keyfile, grace_seconds)
        _slot.TCPServer = _connection
        with _one_startup_error():
            async with trio.open_nursery() as nursery:
                if not stock:
                    nursery.start_soon(Reaper(hub).run)
                await hypercorn.trio.serve(app, config, shutdown_trigger=stop, task_status=task_status, mode="asgi")
                nursery.cancel_scope.cancel()


@contextlib.contextmanager
def _one_startup_error() -> Iterator[None]:
    """Take a failed lifespan out of the nurseries that it came through."""
    try:
        yield
    except BaseExceptionGroup as group:
        failed = group.subgroup((LifespanFailureError, LifespanTimeoutError))
        if failed is None:
            raise
        raise StartupError(*map(str, _leaves(failed)), exit_code=_EXIT_BUG) from group


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
