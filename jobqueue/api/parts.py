"""What the endpoints work with: handles of the actors, and the few settings they need. Never stores or channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jobqueue.actors.reader import Reads
from jobqueue.actors.state_handle import State
from jobqueue.clock import Micros
from jobqueue.stores.contract import Engine
from jobqueue.wire import Defaults

WAIT_MOST_SECONDS = 60
ANSWER_MOST_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Parts:
    """One server's parts, as its endpoints see them.

    defaults: what the local handlers say of their kinds. workers: how many local ones. hosts: names under which
    browsers may reach an open server; None = the server has keys, and needs no such list.
    """

    state: State
    reads: Reads
    engine: Engine
    now: Callable[[], Micros]
    new_id: Callable[[], str]
    defaults: Mapping[str, Defaults]
    workers: int = 5
    max_body: int = 1 << 20
    hosts: frozenset[str] | None = frozenset()
    open_to_all: bool = True
