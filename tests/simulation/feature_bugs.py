"""Planted bugs in what jobs and queues can do: keys, dependencies, caps, schedules, bulk commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import trio

from jobqueue import job
from jobqueue.actors import bulletin
from jobqueue.actors.commands import ChangeEach, What
from jobqueue.actors.ring import News, Ring
from jobqueue.actors.state import StateActor
from jobqueue.actors.state_handle import State
from jobqueue.job import Job, Status
from jobqueue.queue import Window
from jobqueue.rules import admission, dependencies, scheduling
from jobqueue.rules.lifecycle import Times
from jobqueue.rules.recurrence import next_after
from jobqueue.rules.table import Table, lanes
from jobqueue.stores.contract import Filter, Needs
from tests.simulation.planting import Decide, Passing, Planted, before_the_store

Bug = AbstractContextManager[object]


class Late(Passing):
    """Commits some of the changes in a commit of their own, after the rest."""

    what = ""

    async def apply(self, needs: Callable[[], Needs], decide: Decide) -> Any:
        """Commit twice."""
        late: dict[Any, Any] = {}

        def without(table: Table) -> Any:
            decided = decide(table)
            changes = getattr(table.changes, self.what)
            late.update(changes)
            changes.clear()
            return decided

        decided = await self.store.apply(needs, without)
        if late:
            await self.store.apply(Needs, lambda table: getattr(table.changes, self.what).update(late))
        return decided


class LateHolders(Late):
    what = "holders"


class LateSchedules(Late):
    what = "schedules"


def unique_key_in_another_commit() -> Bug:
    """A unique key is looked up with its job, but taken in the next commit."""
    return before_the_store(LateHolders)


def unique_key_kept() -> Bug:
    """A unique key is not released when its job ends."""
    return patch.object(Table, "_follow_key", lambda *_: None)


def unique_key_released_early() -> Bug:
    """A key that a job holds until its end is free once it has started."""
    holds = Job.holds_key

    def early(job: Job) -> bool:
        return bool(holds.__get__(job)) and job.status is not Status.RUNNING

    return patch.object(Job, "holds_key", property(early))


def first_parent_suffices() -> Bug:
    """A job is queued when the first of those that it waits for is done."""
    return patch.object(Table, "waits", lambda *_: False)


def forgotten_cascade() -> Bug:
    """Children beyond those that one batch tells never hear of the end of their parent."""
    stack = ExitStack()
    stack.enter_context(patch.object(dependencies, "MOST", 1))
    stack.enter_context(patch.object(Table, "resolve_later", lambda *_: None))
    return stack


def needed_parent_removed() -> Bug:
    """Retention takes no heed of those who depend on a job."""
    return patch.object(Table, "dependents", lambda *_: 0)


def cap_of_one_lane() -> Bug:
    """The cap of a group counts what runs of its lowest priority alone."""

    def running(table: Table, queue: str, group: str) -> int:
        lanes = {lane.key: lane.running for lane in table._rows.lanes_of(queue, group)}
        edits = {key: edit.running for key, edit in table.changes.lanes.items() if key[::2] == (queue, group)}
        lanes |= edits
        return lanes[min(lanes)] if lanes else 0

    return patch.object(Table, "group_running", running)


def cap_of_the_last_batch() -> Bug:
    """Caps of queues and groups count what ran before the batch, not what the batch starts."""
    stack = ExitStack()
    for name in ("room", "group_room"):
        room = getattr(admission, name)
        stack.enter_context(patch.object(admission, name, lambda *said, room=room: room(*said) and None))
    return stack


@contextmanager
def rate_window_not_kept() -> Iterator[None]:
    """What has started is forgotten when the process starts anew."""
    recover, window = StateActor.recover, Table.window
    boot_at = 0

    async def recovering(actor: StateActor) -> int:
        nonlocal boot_at
        boot_at = actor._world.now()
        return await recover(actor)

    def since_boot(table: Table, queue: str, group: str | None) -> Window | None:
        found = window(table, queue, group)
        return found and Window(tuple(slot for slot in found.slots if slot[0] >= boot_at), found.until)

    with patch.object(StateActor, "recover", recovering), patch.object(Table, "window", since_boot):
        yield


def pause_ignored_by_suspects() -> Bug:
    """A suspect starts although its queue is paused. One death makes a suspect here, so that there are enough."""
    suspect = admission._suspect

    room = admission.room

    def heedless(*args: Any) -> Any:
        with patch.object(admission, "room", lambda *said: room(*said) or None):
            return suspect(*args)

    stack = ExitStack()
    stack.enter_context(patch.object(admission, "_suspect", heedless))
    stack.enter_context(patch.object(job, "SUSPECT_CRASHES", 1))
    stack.enter_context(patch.object(lanes, "SUSPECT_CRASHES", 1))
    return stack


def bulk_looks_only_once() -> Bug:
    """A bulk command changes what matched when it was read, and may no longer when it is changed, a moment later."""

    async def change_each(state: State, what: What, ids: Sequence[str], _wanted: Filter) -> int:
        await trio.sleep(0.5)
        return await state._address.ask(lambda reply: ChangeEach(what, ids, Filter(), reply))

    return patch.object(State, "change_each", change_each)


def unreported_gap() -> Bug:
    """A listener that comes back to another life of the program is not told that it has missed something."""
    return patch.object(Ring, "_missed", lambda ring, *_: News(b"", ring.oldest - 1))


def lost_events() -> Bug:
    """Of a commit that changes many jobs only a part is told."""
    steps_of = bulletin.steps_of
    return patch.object(bulletin, "steps_of", lambda *said: steps_of(*said)[:2])


def weight_ignored() -> Bug:
    """All groups have the same share."""
    return patch.object(Table, "step", lambda *_: 1.0)


def fire_in_two_commits() -> Bug:
    """A schedule moves on in another commit than that of its job."""
    return before_the_store(LateSchedules)


def missed_fires_made_up() -> Bug:
    """Fire times that were missed are taken for being on time."""
    fire = scheduling.fire
    return patch.object(scheduling, "fire", lambda table, _since, until, times: fire(table, 0, until, times))


def fires_again_after_the_clock_was_set_back() -> Bug:
    """A schedule whose next fire time is far off goes by the clock instead."""
    fire = scheduling.fire

    def again(table: Table, since: int, until: int, times: Times) -> Any:
        for _, name in table.fires(10):
            schedule = scheduling.find(table, name)
            following = next_after(scheduling.recurrence_of(schedule), until, schedule.anchor)
            if following is not None and following < (schedule.next_at or 0):
                table.keep_schedule(scheduling.replace(schedule, next_at=following))
        return fire(table, since, until, times)

    return patch.object(scheduling, "fire", again)


# each with the features that seeds must use to meet it: one seed in four uses one, one in seven two
BUGS: Mapping[Planted, tuple[str, ...]] = {
    unique_key_in_another_commit: ("unique",),
    unique_key_kept: ("unique",),
    unique_key_released_early: ("unique",),
    first_parent_suffices: ("depends",),
    forgotten_cascade: ("depends",),
    needed_parent_removed: ("depends", "queues"),
    cap_of_one_lane: ("queues",),
    cap_of_the_last_batch: ("queues",),
    rate_window_not_kept: ("queues",),
    pause_ignored_by_suspects: ("queues",),
    weight_ignored: ("queues",),
    bulk_looks_only_once: ("bulk",),
    unreported_gap: ("events",),
    lost_events: ("events",),
    fire_in_two_commits: ("schedules",),
    missed_fires_made_up: ("schedules",),
    fires_again_after_the_clock_was_set_back: ("schedules",),
}
