"""Planted bugs: each a patch of the program that breaks one promise. The simulation must catch every one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import trio

from jobqueue.actors.alarm import Alarm
from jobqueue.actors.commands import Command, Submit, SubmitEach, Turn
from jobqueue.actors.state import StateActor
from jobqueue.actors.worker import Worker
from jobqueue.clock import World
from jobqueue.errors import JobQueueError, LeaseLost
from jobqueue.handlers import attempt
from jobqueue.handlers.context import NO_PARENTS
from jobqueue.job import Ending, Job, Outcome, Status
from jobqueue.rules import lifecycle
from jobqueue.rules.table import Table
from jobqueue.stores.contract import Needs
from tests.simulation import feature_bugs
from tests.simulation.planting import Decide, Passing, Planted, before_the_store


class Rehearsed(Exception):
    """The batch was decided, and nothing is to be kept of it."""


class Hasty(Passing):
    """Answers commands of some kinds before their commit. The batch is decided twice, on the same draws."""

    kinds: tuple[type, ...] = ()

    def __init__(self, actor: Any, commands: Sequence[Command]) -> None:
        super().__init__(actor, commands)
        self._tape: list[Any] = []
        self._at = 0
        world: World = actor._world
        actor._world = replace(world, chance=self._drawn(world.chance), new_id=self._drawn(world.new_id))

    def _drawn(self, draw: Callable[[], Any]) -> Callable[[], Any]:
        def drawn() -> Any:
            if self._at == len(self._tape):
                self._tape.append(draw())
            self._at += 1
            return self._tape[self._at - 1]

        return drawn

    async def apply(self, needs: Callable[[], Needs], decide: Decide) -> Any:
        """Answer, then commit."""
        answers: Sequence[Any] = ()

        def rehearse(table: Table) -> None:
            nonlocal answers
            answers = decide(table).answers
            raise Rehearsed

        with suppress(Rehearsed):
            await self.store.inner.apply(needs, rehearse)
        self._at = 0
        for command, answer in zip(self.commands, answers, strict=False):
            if isinstance(command, self.kinds) and not isinstance(answer, JobQueueError):
                command.reply.send(answer)
        return await self.store.apply(needs, decide)


class HastySubmit(Hasty):
    kinds = (Submit, SubmitEach)


class HastyTurn(Hasty):
    kinds = (Turn,)


class LateKeys(Passing):
    """Binds idempotency keys in a commit of their own, after that of their jobs."""

    async def apply(self, needs: Callable[[], Needs], decide: Decide) -> Any:
        """Commit twice."""
        keys: dict[Any, Any] = {}

        def without(table: Table) -> Any:
            decided = decide(table)
            keys.update(table.changes.keys)
            table.changes.keys.clear()
            return decided

        decided = await self.store.apply(needs, without)
        if keys:
            await self.store.apply(Needs, lambda table: table.changes.keys.update(keys))
        return decided


def answer_before_commit() -> AbstractContextManager[object]:
    """A submission is answered while its commit is still in flight."""
    return before_the_store(HastySubmit)


def claim_before_commit() -> AbstractContextManager[object]:
    """A worker gets its job while the claim is still in flight."""
    return before_the_store(HastyTurn)


def no_fencing() -> AbstractContextManager[object]:
    """The end of an attempt is taken for that of whichever attempt runs now."""

    def running(table: Table, id: str, epoch: int) -> Job:
        job = table.job(id)
        if job.status is not Status.RUNNING:
            raise LeaseLost(f"attempt {epoch} of {id}")
        return job

    return patch.object(lifecycle, "running", running)


def lost_give_back() -> AbstractContextManager[object]:
    """What is given back at the end of a drain is not queued again."""
    settle = lifecycle.settle

    def lossy(table: Table, outcome: Outcome, times: lifecycle.Times) -> Job:
        if outcome.ending is Ending.RELEASED:
            return table.job(outcome.id)
        return settle(table, outcome, times)

    return patch.object(lifecycle, "settle", lossy)


def lost_orphan() -> AbstractContextManager[object]:
    """What ran when the process died stays RUNNING."""

    async def recover(_actor: StateActor) -> int:
        await trio.lowlevel.checkpoint()
        return 0

    return patch.object(StateActor, "recover", recover)


def duplicate_key() -> AbstractContextManager[object]:
    """An idempotency key is bound in another commit than its jobs."""
    return before_the_store(LateKeys)


def unbound_key() -> AbstractContextManager[object]:
    """An idempotency key is not bound at all."""
    return patch.object(Table, "keep_key", lambda *_: None)


def early_slot_release() -> AbstractContextManager[object]:
    """A worker that told its handler to end does not wait until it has."""

    async def perform(worker: Any, job: Job) -> Outcome:
        registration = worker._handlers.get(job.kind)
        if registration is None:
            return Worker._unknown(worker, job)
        ended = trio.Event()
        scope = trio.CancelScope()
        outcomes: list[Outcome] = []

        async def work() -> None:
            with scope:
                outcomes.append(
                    await attempt(registration, worker._context(job, NO_PARENTS), job.payload, worker._processes)
                )
            ended.set()

        trio.lowlevel.spawn_system_task(work)
        try:
            await ended.wait()
        finally:
            scope.cancel()
        return outcomes[0]

    return patch.object(Worker, "_perform", perform)


def forgotten_due_job() -> AbstractContextManager[object]:
    """A job that is put off does not move the next deadline."""
    return patch.object(Alarm, "earlier", lambda *_: None)


def unfair_lane() -> AbstractContextManager[object]:
    """A lane that was served does not go behind the others."""
    return patch.object(Table, "serve", lambda *_: None)


BUGS: dict[str, Planted] = {
    planted.__name__.replace("_", "-"): planted
    for planted in (
        answer_before_commit,
        claim_before_commit,
        no_fencing,
        lost_give_back,
        lost_orphan,
        duplicate_key,
        unbound_key,
        early_slot_release,
        forgotten_due_job,
        unfair_lane,
        *feature_bugs.BUGS,
    )
}
FEATURES = {planted.__name__.replace("_", "-"): features for planted, features in feature_bugs.BUGS.items()}
