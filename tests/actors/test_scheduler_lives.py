"""A schedule through crashes, downtime and clock jumps at random: a fire time that is watched makes exactly one job.

What must come is worked out beside the program: the stretches of time that the wall clock showed while a scheduler
watched it. Within a look of a jump nobody can know of it, so there nothing must come.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from typing import Literal

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobqueue.actors.scheduler import RESTART_SECONDS
from jobqueue.clock import LOOK_SECONDS, SECOND
from tests.actors.engine import Engine, Outside, on_virtual_time
from tests.actors.test_scheduler import every, fired, scheduling
from tests.helpers import EPOCH

EVERY = 3.0
EXAMPLES = int(os.environ.get("SCHEDULE_EXAMPLES", "100"))

Step = tuple[Literal["live", "die", "jump"], float]

# seconds to live on, to be down, to put the clock by; never so that a fire time is a tie
SPANS = st.integers(0, 250).map(lambda tenths: tenths / 10 + 0.0137)
JUMPS = st.integers(-250, 250).map(lambda tenths: tenths / 10 + 0.0071)
LIVE, DIE, JUMP = (
    st.tuples(st.just(what), spans) for what, spans in (("live", SPANS), ("die", SPANS), ("jump", JUMPS))
)
STEPS: st.SearchStrategy[list[Step]] = st.lists(st.one_of(LIVE, LIVE, DIE, JUMP), max_size=12)


class Watch:
    """What must make a job, and what may, by what the wall clock showed while it was watched."""

    def __init__(self) -> None:
        self.must: set[float] = set()
        self.may: set[float] = set()
        self._since = 0.0
        self._back = 0.0
        self._sure_after = 0.0
        self._shown = 0.0  # the latest that the clock has shown
        self._seen = 0.0  # the latest of it that a scheduler has seen for sure

    def begin(self, wall: float, *, back: float, sure_after: float) -> None:
        """A scheduler watches from here on, and may take what lies up to `back` seconds behind for watched."""
        self._since, self._back, self._sure_after = wall, back, sure_after

    def end(self, wall: float) -> None:
        """It has watched up to here."""
        self.may |= times(max(self._since - self._back, self._seen), wall)
        if wall - self._since > self._sure_after:
            self.must |= times(max(self._since, self._shown), wall)
            self._seen = max(self._seen, wall)
        self._shown = max(self._shown, wall)


def times(after: float, until: float) -> set[float]:
    """The fire times after one moment up to another."""
    first = max(1, math.floor(after / EVERY) + 1)
    return {number * EVERY for number in range(first, math.floor(until / EVERY) + 1)}


async def go_through(steps: list[Step], engine: Engine, outside: Outside, watch: Watch, catch_up: str) -> None:
    """One server after another, with one schedule."""

    def wall() -> float:
        return (outside.now() - EPOCH) / SECOND

    async with AsyncExitStack() as life:
        state = await life.enter_async_context(scheduling(engine, outside))
        await state.put_schedule(every(EVERY, catch_up=catch_up))
        watch.begin(wall(), back=0, sure_after=0)
        for what, seconds in [*steps, ("live", LOOK_SECONDS + 0.5)]:
            if what == "live":
                await trio.sleep(seconds)
                continue
            watch.end(wall())
            if what == "die":
                await life.aclose()
                await trio.sleep(seconds)
                await life.enter_async_context(scheduling(engine, outside))
                watch.begin(wall(), back=RESTART_SECONDS, sure_after=0)
            else:
                outside.shift += seconds
                watch.begin(wall(), back=LOOK_SECONDS, sure_after=LOOK_SECONDS)
        watch.end(wall())


@pytest.mark.parametrize("catch_up", ["none", "one"])
@settings(max_examples=EXAMPLES, deadline=None)
@given(steps=STEPS)
@example(steps=[("live", 10.0137), ("die", 7.0137), ("live", 4.0137), ("jump", 20.0071), ("jump", -22.9929)])
@example(steps=[("live", 2.9137), ("die", 0.2137), ("live", 2.9137), ("jump", -1.9929), ("live", 9.0137)])
def test_each_fire_time_that_is_watched_makes_one_job(catch_up: str, steps: list[Step]) -> None:
    """None is left out, and none is made twice; what was missed makes no job, or one for all of it."""
    outside = Outside()
    engine = Engine(outside.now)
    watch = Watch()
    on_virtual_time(partial(go_through, steps, engine, outside, watch, catch_up))
    made = Counter(fired(engine))
    assert [time for time, jobs in made.items() if jobs > 1] == []
    assert watch.must - made.keys() == set()
    extra = made.keys() - watch.may
    gaps = sum(1 for what, seconds in steps if what == "die" or (what == "jump" and seconds > 0))
    assert len(extra) <= (gaps if catch_up == "one" else 0)
