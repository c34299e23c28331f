"""The numbers that bound a server's connections, and the counts of what happened to them.

`Limits` goes in with `serve`, `Counters` is read by whoever shows metrics. Every other module here obeys or feeds them.
"""

from __future__ import annotations

import enum
import resource
from dataclasses import dataclass, field

FILES_BESIDE = 200  # open files that are no connections: sockets, store, processes


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server allows.

    A time is never cut short, and runs over by a few ticks at most.
    """

    max_connections: int = 2_000  # open at once; one address may hold half of them, loopback and unix sockets all
    max_requests_per_connection: int = 100_000
    max_head_bytes: int = 16 * 1024
    max_headers: int = 100
    max_target_bytes: int = 8 * 1024
    tick_seconds: float = 0.25  # how often the reaper looks
    idle_seconds: float = 75  # between two requests of a connection
    head_seconds: float = 5  # from the opening, or from a head's first byte, to the head's end; with the TLS handshake
    body_seconds: float = 10  # waiting for one body, unless it comes at body_bytes_per_second on average
    body_bytes_per_second: float = 1024
    stream_body_seconds: float = 30  # instead, for application/x-ndjson: between two bytes; no bound on the whole
    write_seconds: float = 5  # a write that waits while nothing moves in either direction
    draining_write_seconds: float = 1  # the same during shutdown
    linger_seconds: float = 1  # for the client to read an answer after which the connection closes
    linger_bytes: int = 1024 * 1024


def allow_files(connections: int) -> bool:
    """Let this process open as many files as so many connections need, if it may; whether they suffice."""
    wanted = connections + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return True
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed == wanted


class Cause(enum.StrEnum):
    """Why the reaper ended a wait."""

    IDLE = "idle"
    SLOW_HEAD = "slow-head"
    SLOW_BODY = "slow-body"
    BLOCKED_WRITE = "blocked-write"
    LINGER = "linger"
    CLIENT_GONE = "client-gone"


@dataclass(slots=True)
class Counters:
    """What happened so far; only `open_connections` also falls."""

    open_connections: int = 0
    accepted: int = 0
    excess: int = 0  # closed at once, being over a bound
    requests: int = 0  # heads that were well formed
    refused: int = 0  # answered by the connection itself, not by the app
    errors: int = 0  # exceptions of the app or of ours that were kept inside a connection
    reaped: dict[Cause, int] = field(default_factory=lambda: dict.fromkeys(Cause, 0))
