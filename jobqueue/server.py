"""The server: the supervision tree, and the order in which it starts and stops.

Read `assembled` top-down to start and bottom-up to stop: store > state, reader, herald > dispatcher > workers >
scheduler, and around them HTTP in `run`. Each level outlives what it serves. A crashed worker is begun again; a crashed
state actor ends the process, since its state is unknown.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, Protocol, TypeVar

import structlog
import trio

from jobqueue.actors.dispatcher import Dispatch, Dispatcher
from jobqueue.actors.events import Events
from jobqueue.actors.herald import Herald
from jobqueue.actors.reader import Reader
from jobqueue.actors.scheduler import Scheduler
from jobqueue.actors.state import StateActor
from jobqueue.actors.state_handle import State
from jobqueue.actors.timekeeper import Timekeeper
from jobqueue.api.front import Front
from jobqueue.api.parts import Parts
from jobqueue.clock import World, manual_world, system_world
from jobqueue.config import Config
from jobqueue.crew import Crew
from jobqueue.errors import StartupError, StoreUnavailable
from jobqueue.handlers import Handlers, builtins, loading
from jobqueue.http import Counters, Limits, allow_files, serve
from jobqueue.mailbox import Nudge
from jobqueue.rules import lifecycle
from jobqueue.signals import Stopping, watching
from jobqueue.stores.contract import Store
from jobqueue.stores.memory import MemoryStore
from jobqueue.stores.sqlite import SqliteStore

log = structlog.get_logger(__name__)

EXIT_OK, EXIT_BUG, EXIT_STORAGE = 0, 70, 74
STOP_SECONDS = 1.0  # after the grace, for work to end that was told to
HTTP_SECONDS = 0.5  # for the last answers
STUCK_SECONDS = 0.5
LISTENERS_SECONDS = 0.2  # for those who listen to be told the last of it
FAILED_SECONDS = 5.0

H_co = TypeVar("H_co", covariant=True)
OnFailure = Callable[[BaseException], None]


class Actor(Protocol[H_co]):
    """A loop and the handle that others hold."""

    @property
    def handle(self) -> H_co: ...

    async def run(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, but for HTTP: what its front door needs, and what stops it."""

    front: Front
    state: State
    events: Events
    dispatch: Dispatch
    crew: Crew


def open_store(url: str, world: World) -> Store:
    """The engine that a store's URL names."""
    scheme, _, path = url.partition(":")
    return MemoryStore(world.now) if scheme == "memory" else SqliteStore(path, world.now)


@asynccontextmanager
async def assembled(
    config: Config,
    world: World,
    store: Store,
    handlers: Handlers,
    on_failure: OnFailure = lambda _: None,
) -> AsyncIterator[Server]:
    """The whole program but HTTP and signals, on an engine that is not open yet.

    `on_failure` hears at once of what ends the program, which itself ends only when all work in it has.
    """
    claimable = Nudge()
    limits = lifecycle.Limits(max_queued=config.max_queued)
    async with store:
        actor = StateActor(store, world, limits, claimable)
        recovered = await actor.recover()
        if recovered:
            log.warning("recovered", jobs=recovered, detail="an earlier life of the process died while they ran")
        herald = Herald(actor.bulletin, world.boot_id, config.max_connections)
        async with (  # noqa: SIM117 - each level outlives what it serves: the order is to be seen
            running(actor, on_failure) as state,
            running(Reader(store), on_failure) as reads,
            running(herald, on_failure) as events,
        ):
            async with running(Dispatcher(state, claimable), on_failure) as dispatch:
                timekeeper = Timekeeper(world.manual, state, dispatch) if world.manual is not None else None
                crew = Crew(config.workers, config.queues, dispatch, state, reads, handlers, config.handlers, world)
                parts = Parts(
                    state=state,
                    reads=reads,
                    events=events,
                    dispatch=dispatch,
                    engine=store.engine,
                    now=world.now,
                    new_id=world.new_id,
                    defaults={registration.kind: registration for registration in handlers},
                    workers=config.workers,
                    served=config.queues if config.workers else (),
                    max_body=config.max_body,
                    limits=limits,
                    hosts=frozenset(config.hosts),
                    time=None if timekeeper is None else timekeeper.handle,
                )
                async with trio.open_nursery() as workers:
                    workers.start_soon(crew.run)
                    if timekeeper is not None:
                        workers.start_soon(timekeeper.run)
                    scheduler = Scheduler(state, actor.scheduled, world)
                    async with running(scheduler, on_failure):
                        await scheduler.begun.wait()
                        yield Server(Front(parts), state, events, dispatch, crew)
                    workers.cancel_scope.cancel()


@asynccontextmanager
async def running(actor: Actor[H_co], on_failure: OnFailure = lambda _: None) -> AsyncIterator[H_co]:
    """Run an actor around what asks it; what it raises ends all of that."""

    async def run() -> None:
        try:
            await actor.run()
        except Exception as error:
            on_failure(error)
            raise

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield actor.handle
        nursery.cancel_scope.cancel()


async def run(config: Config, world: World | None = None) -> int:
    """Serve until a signal; the exit code. Raises StartupError."""
    world = world or (manual_world() if config.clock == "manual" else system_world())
    handlers = loading.load(config.handlers, builtins(world))
    store = open_store(config.store, world)
    counters = Counters()
    http_stop = trio.Event()
    with watching(config.drain_delay + config.grace) as stopping:
        tree = assembled(config, world, store, handlers, _end_soon)
        async with tree as server, trio.open_nursery() as nursery:
            addresses = await nursery.start(_serve_http, server, config, world, counters, http_stop)
            _ease_collector()
            _announce(config, store, addresses)
            await stopping.asked.wait()
            stopped = await _drain(config, server, stopping)
            http_stop.set()
            if not stopped.all_left:  # work that does not end holds its nursery: leave it behind
                await trio.sleep(HTTP_SECONDS)
                await store.__aexit__()
                _leave(stopped)
    log.info("stopped")
    return EXIT_OK


async def _serve_http(
    server: Server,
    config: Config,
    world: World,
    counters: Counters,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[Sequence[str]],
) -> None:
    if not allow_files(config.max_connections):
        log.warning("few files", detail=f"ulimit -n allows less than {config.max_connections} connections")
    await serve(
        server.front,
        binds=config.binds,
        limits=Limits(max_connections=config.max_connections),
        counters=counters,
        new_request_id=world.new_id,
        certfile=config.tls_cert,
        keyfile=config.tls_key,
        grace_seconds=HTTP_SECONDS,
        shutdown_trigger=stop.wait,
        task_status=task_status,
    )


def _ease_collector() -> None:
    """What is alive now lives on, and what a request makes is freed by its count: look for cycles seldom."""
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _announce(config: Config, store: Store, addresses: Sequence[str]) -> None:
    if config.auth == "open" and config.unix is None:
        log.warning("open", detail="no keys: anybody who reaches this server may submit, read and cancel jobs")
    for address in addresses:
        log.info(
            "listening",
            address=address,
            store=store.engine.name,
            durability=store.engine.durability,
            workers=config.workers,
        )


class Stopped(NamedTuple):
    """How a drain went. all_left: every worker has gone home. saved: what was still running is queued again."""

    all_left: bool
    saved: bool


async def _drain(config: Config, server: Server, stopping: Stopping) -> Stopped:
    """Stop working: running jobs have the grace, the rest is given back."""
    log.info("draining", grace_seconds=config.grace)
    await server.state.drain(refuse=False)
    with trio.move_on_after(config.drain_delay):
        await stopping.at_once.wait()
    await server.state.drain(refuse=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_when, stopping.at_once, nursery.cancel_scope)
        with trio.move_on_after(config.grace):
            await server.dispatch.close()
            await server.crew.left.wait()
        nursery.cancel_scope.cancel()
    await server.state.stop_all()
    with trio.move_on_after(STOP_SECONDS):
        await server.crew.left.wait()
    with trio.move_on_after(STUCK_SECONDS) as scope:  # on a full disk it would wait; then the next boot gives back
        await server.state.stop_all(give_back=True)
    with trio.move_on_after(LISTENERS_SECONDS):
        await server.events.close()
    return Stopped(server.crew.left.is_set(), not scope.cancelled_caught)


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _end_soon(error: BaseException) -> None:
    """Once an actor has failed, end the process even if some work holds its nursery for ever."""
    net = threading.Timer(FAILED_SECONDS, os._exit, [_code(error)])
    net.daemon = True
    net.start()


def _leave(stopped: Stopped) -> NoReturn:
    if stopped.saved:
        log.warning("stuck", detail="work that did not end was left behind; its jobs are queued again")
    else:
        log.critical("storage failed", detail="what was running could not be saved; the next start gives it back")
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(EXIT_OK if stopped.saved else EXIT_STORAGE)


def exit_code(error: BaseException) -> int:
    """The exit code for what ended the program, and a log of it (README, "Exit codes")."""
    code = _code(error)
    if code == EXIT_STORAGE:
        log.critical("storage failed", detail="; ".join(str(leaf) for leaf in _leaves(error)))
    else:
        log.critical("failed", exc_info=error)
    return code


def _code(error: BaseException) -> int:
    """Storage, if a store failed, or what those were told who asked meanwhile; else a bug."""
    return EXIT_STORAGE if any(isinstance(leaf, StoreUnavailable) for leaf in _leaves(error)) else EXIT_BUG


def startup_error(error: BaseException) -> StartupError | None:
    """The reason why the server did not start, if it is one."""
    return next((leaf for leaf in _leaves(error) if isinstance(leaf, StartupError)), None)


def _leaves(error: BaseException) -> Sequence[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
