"""The state actor: the one owner of the job table, instead of a lock.

One loop: gather what waits, let the store load, decide and commit it in ONE transaction (group commit), and only then
touch its own memory, answer, and nudge. One batch is in flight at a time. Its next deadline wakes it: nobody polls.
In memory it keeps only what dies with the process: running attempts, waiters, the drain rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog

from jobqueue.actors.alarm import Alarm
from jobqueue.actors.alone import alone
from jobqueue.actors.batch import Batch
from jobqueue.actors.bulletin import Bulletin
from jobqueue.actors.commands import CANCEL, DRAIN, SUBMISSIONS, Command, Fire, Now, Settled, Turn, draining
from jobqueue.actors.flow import Flow
from jobqueue.actors.memory import Attempts, Waiters
from jobqueue.actors.notes import NOTES, Drain, Feel, Look, Measure, Move, Note, StopAll, Vitals, Watch
from jobqueue.actors.recovery import recover
from jobqueue.actors.state_handle import Message, State, weigh
from jobqueue.actors.turnstile import Turnstile
from jobqueue.clock import World
from jobqueue.errors import Internal, JobQueueError, StorageFull, StoreUnavailable
from jobqueue.job import Ending, Job, Outcome, Status
from jobqueue.mailbox import Closed, Inbox, Nudge, mailbox
from jobqueue.rules.admission import Node
from jobqueue.rules.isolation import Isolation
from jobqueue.rules.lifecycle import Limits, Times
from jobqueue.rules.table import Changes
from jobqueue.stores.contract import Store, StoreFailed

log = structlog.get_logger(__name__)

INBOX = 1024  # messages; a request each, so about as many as connections may be in flight
BATCH_BYTES = 4 << 20
LAST_WORDS_SECONDS = 0.5


class StateActor:
    """The loop behind `State`. `claimable` is nudged when there may be something to claim."""

    def __init__(self, store: Store, world: World, limits: Limits, claimable: Nudge) -> None:
        self._store = store
        self._world = world
        self._limits = limits
        self._claimable = claimable
        self.bulletin = Bulletin()  # tells the herald what was committed
        self.scheduled = Nudge()  # given when schedules have changed
        self._inbox: Inbox[Message]
        address, self._inbox = mailbox(INBOX)
        self.handle = State(address)
        self._attempts = Attempts()
        self._waiters = Waiters()
        self._flow = Flow()
        self._turnstile = Turnstile()
        self._isolation = Isolation()
        self._alarm = Alarm(world)
        self._draining = False
        self._refusing = False
        self._failing = False
        self._held: list[Turn] = []  # results that a full disk did not take yet

    async def run(self) -> None:
        """Serve until cancelled. Raises StoreFailed when the store can no longer be trusted."""
        try:
            await self._due_again()
            while True:
                messages = await self._inbox.gather(until=self._wake_at(), most=BATCH_BYTES, weigh=weigh)
                await self._serve(messages)
        except StoreFailed as failed:
            await self._refuse_all(failed)
            raise
        finally:
            for message in self._inbox.close():
                message.reply.fail(Closed())

    async def _refuse_all(self, failed: StoreFailed) -> None:
        """Answer all who still come while their connections close; nothing is tried on the store again."""
        error = StoreUnavailable(failed.detail)
        last = self._world.monotonic() + LAST_WORDS_SECONDS
        while self._world.monotonic() < last:
            for message in await self._inbox.gather(until=last, most=BATCH_BYTES, weigh=weigh):
                message.reply.fail(error)

    async def recover(self) -> int:
        """Give back what an earlier life was running, before anything else is served; how many jobs."""
        if self._world.manual is not None:  # an earlier life may have come further than the wall clock has
            self._world.manual.move(await self._store.latest() or 0)
        return await recover(self._store, self._world.boot_id, self._times)

    # -- one batch

    async def _serve(self, messages: Sequence[Message]) -> None:
        commands: list[Command] = []
        for message in messages:
            if isinstance(message, NOTES):
                commands += self._note(message)
            elif self._draining and isinstance(message, SUBMISSIONS if self._refusing else Fire):
                message.reply.fail(draining())
            else:
                commands.append(message)
        self._time_out()
        held: list[Turn] = []
        if self._held and self._alarm.may_try():
            held, self._held = self._held, []
        try:
            if held:  # by themselves: there may be room for results where there is none for submissions
                await self._commit(held)
            if commands or self._alarm.ripe() or (self._failing and self._alarm.may_try()):
                await self._commit(commands)
        except StoreFailed as failed:
            for command in (*held, *self._held, *commands):  # whoever is answered already hears nothing of it
                command.reply.fail(StoreUnavailable(failed.detail))
            self._waiters.tell_all(None)
            raise

    async def _commit(self, commands: Sequence[Command]) -> None:
        """Apply the commands in one transaction; where one spoils it, each by itself."""
        try:
            await self._apply(commands)
        except StoreFailed:
            raise
        except (StorageFull, StoreUnavailable) as error:
            await self._hold(commands, error)
        except Exception as error:
            if len(commands) > 1:
                for command in commands:
                    await self._commit([command])
            elif commands:
                await self._offender(commands[0], error)
            else:
                raise
        else:
            self._failing = False
            self._alarm.healed()

    async def _apply(self, commands: Sequence[Command]) -> None:
        """Load, decide, commit; then the actor's own memory, then the answers."""
        node = Node(len(self._attempts), self._isolation, self._world.monotonic())
        ripe, rewound = self._alarm.ripe(), self._alarm.rewound()
        batch = Batch(commands, self._times(), node, ripe, probing=self._failing, rewound=rewound)
        answers, changes, more = await self._store.apply(batch.needs, batch.decide)
        self._follow(changes)
        self._start(commands, answers)
        self.bulletin.publish(changes, commands, answers, batch.times.now)
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, JobQueueError):
                command.reply.fail(answer)
            else:
                command.reply.send(answer)
        if batch.ripe or more:
            await self._due_again(at_once=more)
        self._world.stir()

    def _follow(self, changes: Changes) -> None:
        """Bring the actor's memory up to what was committed."""
        monotonic = self._world.monotonic()
        claimable = bool(changes.freed)
        for id, (before, after) in changes.jobs.items():
            if before is not None and before.status is Status.RUNNING and self._attempts.ended(id, after):
                claimable = claimable or self._alarm.quarantined()  # the node may be idle enough for a suspect
            if after is None or after.status.ended:
                self._waiters.tell(id, after)
            elif after.status is Status.QUEUED:
                claimable = True
            elif after.cancel_requested_at is not None and after.status is Status.RUNNING:
                self._attempts.stop(id, CANCEL, monotonic)
        self._alarm.follow(changes)
        self._flow.follow(changes, monotonic)
        if claimable:
            self._attempts.stirs += 1
            self._claimable.give()
        if changes.schedules:
            self.scheduled.give()

    def _start(self, commands: Sequence[Command], answers: Sequence[Any]) -> None:
        """Remember the attempts that were claimed, and how their takers are given orders."""
        elapsed = self._world.elapsed()
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(command, Turn):
                self._isolation = answer.claims.isolation
                self._alarm.claimed(answer.claims)
                for jobs, orders in zip(answer.claims.jobs, command.orders, strict=True):
                    for job, order in zip(jobs, orders, strict=False):
                        self._attempts.started(job, order, elapsed)

    # -- what goes wrong

    async def _hold(self, commands: Sequence[Command], error: JobQueueError) -> None:
        """The store did not take the batch: those who ask are told, results are kept and tried again (promise 10)."""
        if not self._failing:
            log.error("store failing", detail=error.detail)
        self._failing = True
        self._alarm.failed()
        turns = [command for command in commands if isinstance(command, Turn)]
        for command in commands:
            if not isinstance(command, Turn):
                command.reply.fail(error)
        if turns and len(turns) < len(commands):
            await self._commit(turns)
        else:
            self._held += turns

    async def _offender(self, command: Command, error: Exception) -> None:
        """One command that cannot be carried out, by itself."""
        log.error("command failed", command=type(command).__name__, exc_info=error)
        if not isinstance(command, Turn):
            command.reply.fail(Internal())
            return
        try:
            fates: list[Job | JobQueueError] = []
            for outcome in command.results:
                fates += (await alone(self._apply, [outcome], command)).fates
            command.reply.send(Settled(fates, (await alone(self._apply, (), command)).claims))
        except StoreFailed:
            raise
        except (StorageFull, StoreUnavailable) as failed:  # what is settled already is refused as stale the next time
            await self._hold([command], failed)

    # -- what needs no store

    def _note(self, note: Note) -> Sequence[Command]:
        match note:
            case Watch():
                self._waiters.add(note.id, note.watcher)
                note.reply.send(None)
                if self._refusing:
                    note.watcher.send(None)
            case Drain():
                self._draining = True
                if note.refuse:
                    self._refusing = True
                    self._waiters.tell_all(None)
                note.reply.send(None)
            case StopAll(give_back=False):
                self._attempts.stop_all(DRAIN, self._world.monotonic())
                note.reply.send(None)
            case StopAll():
                results = [Outcome(id, epoch, Ending.RELEASED) for id, epoch in self._attempts.running()]
                return [Turn(results, (), (), note.reply)]  # type: ignore[arg-type]  # its answer is not looked at
            case Move() if self._refusing:
                note.reply.fail(draining())
            case Move():
                note.clock.move(note.at)
                return [Now(note.reply)]
            case Feel():
                self._alarm.feel(note, self._attempts)
            case Measure():
                note.reply.send(self._flow.rates(self._world.monotonic()))
            case Look():
                note.reply.send(
                    Vitals(
                        running=len(self._attempts),
                        stuck=self._attempts.stuck(self._world.monotonic()),
                        draining=self._draining,
                        store_failing=self._failing,
                        quarantine=self._isolation.quarantine(self._world.monotonic()),
                    )
                )
        return ()

    # -- time

    def _times(self) -> Times:
        world = self._world
        monotonic = world.monotonic()
        rate = self._flow.ended.per_second(monotonic)
        comeback = partial(self._turnstile.comeback, rate=rate, monotonic=monotonic)
        return Times(world.now(), world.chance, world.new_id, world.boot_id, self._limits, rate, comeback)

    async def _due_again(self, *, at_once: bool = False) -> None:
        """Learn the next due moment from the store; what later batches add is noted by `_follow`."""
        try:
            self._alarm.due = self._world.now() if at_once else await self._store.next_due()
        except StoreUnavailable as error:  # what was committed is answered: only ask again
            log.error("store failing", detail=error.detail)
            self._alarm.unknown()

    def _time_out(self) -> None:
        self._attempts.time_out(self._world.elapsed(), self._world.monotonic())
        if self._alarm.quarantine_over() or self._alarm.may_start():
            self._claimable.give()

    def _wake_at(self) -> float:
        return self._alarm.wake_at(self._attempts.next_timeout(), failing=self._failing)
