"""What the connections of one server share: its app, its bounds, its counts, and who is connected.

Two servers in one process have two hubs; nothing here is global.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate

from hypercorn.trio.worker_context import WorkerContext

from jobqueue.http.asgi import App
from jobqueue.http.limits import Counters, Limits
from jobqueue.http.watched import Phase, Watched


class Hub:
    """`draining`: the server is about to stop, so each connection ends with the answer it is at."""

    def __init__(self, app: App, limits: Limits, counters: Counters, new_request_id: Callable[[], str]) -> None:
        self.app = app
        self.limits = limits
        self.counters = counters
        self.new_request_id = new_request_id
        self.connections: dict[Watched, None] = {}  # a set that keeps its order
        self.draining = False
        self.date_line = b""
        self.context: WorkerContext | None = None  # Hypercorn's, known from the first connection on
        self._from: Counter[str] = Counter()
        self.refresh()

    def admit(self, host: str | None) -> bool:
        """Whether a connection from `host` (None: a unix socket) is within the bounds. If so, `dismiss` must follow."""
        counters = self.counters
        bound = self.limits.max_connections
        shared = host is not None and not _is_loopback(host)
        crowded = shared and self._from[host or ""] >= max(1, bound // 2)
        if self.draining:
            return False
        if crowded or counters.open_connections >= bound:
            counters.excess += 1
            return False
        counters.accepted += 1
        counters.open_connections += 1
        self._from[host or ""] += 1
        return True

    def dismiss(self, host: str | None) -> None:
        """Give back what `admit` took."""
        self.counters.open_connections -= 1
        self._from[host or ""] -= 1
        if not self._from[host or ""]:
            del self._from[host or ""]

    def drain(self) -> None:
        """Take no new request, and close the connections that are between two."""
        self.draining = True
        for connection in tuple(self.connections):
            if connection.phase in (Phase.OPENING, Phase.IDLE):
                connection.cut()

    def refresh(self) -> None:
        """What has to be done a few times a second: renew the date (RFC 9110 section 6.6.1), notice Hypercorn's end."""
        self.date_line = b"date: %s\r\n" % formatdate(usegmt=True).encode()
        if not self.draining and self.context is not None and self.context.terminated.is_set():
            self.drain()


def _is_loopback(host: str) -> bool:
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
