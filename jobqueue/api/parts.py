"""What the endpoints work with: handles of the actors, and the few settings they need. Never stores or channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jobqueue.actors.dispatcher import Dispatch
from jobqueue.actors.events import Events
from jobqueue.actors.reader import Reads
from jobqueue.actors.state_handle import State
from jobqueue.actors.timekeeper import Time
from jobqueue.clock import Micros
from jobqueue.rules.lifecycle import Limits
from jobqueue.stores.contract import Engine
from jobqueue.wire import Defaults

WAIT_MOST_SECONDS = 60
ANSWER_MOST_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Parts:
    """One server's parts, as its endpoints see them.

    defaults: what the local handlers say of their kinds. workers: how many local ones; served: the queues that
    those serve. hosts: names under which browsers may reach an open server; None = the server has keys, and needs no
    such list. time: moves a manual clock.
    """

    state: State
    reads: Reads
    events: Events
    dispatch: Dispatch
    engine: Engine
    now: Callable[[], Micros]
    new_id: Callable[[], str]
    defaults: Mapping[str, Defaults]
    workers: int = 5
    served: tuple[str, ...] = ()
    max_body: int = 1 << 20
    limits: Limits = field(default_factory=Limits)
    hosts: frozenset[str] | None = frozenset()
    open_to_all: bool = True
    time: Time | None = None
