"""The timekeeper: moves a manual clock from one due moment to the next (`--clock manual`).

At each moment what is due is committed by the state actor, claimed by the workers that wait, and run; and what follows
of it, such as a retry that is due a second later, is taken in before the clock goes on. So a day of retries passes in
order, and in as much real time as its work takes. One advance is made after the other.

The work of a moment is over when every attempt on a local worker has ended or sleeps on the clock, and there is nothing
left to claim for a worker that waits. An attempt that takes real time holds the clock no longer than
`PATIENCE_SECONDS` without any news of others; for the rest of this advance the clock goes on without it. Remote workers
are not waited for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import structlog
import trio

from jobqueue.actors.dispatcher import Dispatch
from jobqueue.actors.notes import Pulse
from jobqueue.actors.state_handle import State
from jobqueue.clock import SECOND, ManualClock, Micros, Sleeper, iso
from jobqueue.errors import JobQueueError, OutOfRange, Overloaded, retry_after
from jobqueue.mailbox import Address, Closed, Inbox, Reply, mailbox

log = structlog.get_logger(__name__)

INBOX = 64  # advances that wait for their turn
PATIENCE_SECONDS = 1.0
MOMENT_SECONDS = 60.0  # of real time, for a moment at which one thing leads to another without end
MOMENTS_MOST = 100_000  # an advance
LAST: Micros = 221_845_392_000 * SECOND  # the year 9000: dates end with 9999, and jobs look ten years ahead


class Advance:
    """Let time pass."""

    __slots__ = ("by", "reply")

    def __init__(self, by: Micros, reply: Reply[Micros]) -> None:
        self.by = by
        self.reply = reply


class Time:
    """The handle."""

    __slots__ = ("_address",)

    def __init__(self, address: Address[Advance]) -> None:
        self._address = address

    async def advance(self, by: Micros) -> Micros:
        """Let time pass, with all that is due on the way; the clock after it.

        Whoever stops waiting stops the clock, at the moment at which it is. Raises OutOfRange, Overloaded (too many
        advances, or moments on the way), Draining, store errors.
        """
        return await self._address.ask(lambda reply: Advance(by, reply), shed=True)


@dataclass
class Course:
    """The course of one advance. left_alone: who is no longer waited for."""

    reply: Reply[Micros]
    stirs: int = -1
    left_alone: set[Sleeper] = field(default_factory=set)


class Timekeeper:
    """The loop behind `Time`."""

    def __init__(self, clock: ManualClock, state: State, dispatch: Dispatch) -> None:
        self._clock = clock
        self._state = state
        self._dispatch = dispatch
        self._inbox: Inbox[Advance]
        address, self._inbox = mailbox(INBOX)
        self.handle = Time(address)

    async def run(self) -> None:
        """Serve until cancelled."""
        log.warning(
            "manual clock", now=iso(self._clock.now()), detail="job time stands still until POST /clock/advance"
        )
        try:
            while True:
                for advance in await self._inbox.gather(until=math.inf, most=1, weigh=_one):
                    await self._serve(advance)
        finally:
            for advance in self._inbox.close():
                advance.reply.fail(Closed())

    async def _serve(self, advance: Advance) -> None:
        try:
            advance.reply.send(await self._pass(advance))
        except (JobQueueError, Closed) as error:
            advance.reply.fail(error)
        finally:
            advance.reply.fail(Closed())  # if there is no answer yet

    async def _pass(self, advance: Advance) -> Micros:
        """Go from moment to moment. Between two of them all is whole, so it may end there."""
        clock, state = self._clock, self._state
        end = clock.now() + advance.by
        if end > LAST:
            raise OutOfRange("the clock goes no further than the year 9000")
        course = Course(advance.reply)
        moments = 0
        while True:
            first = await self._settle(course)
            if advance.reply.abandoned or (clock.now() >= end and (first is None or first > end)):
                return clock.now()
            moments += 1
            if moments > MOMENTS_MOST:
                detail = f"more than {MOMENTS_MOST:,} due moments lie within; the clock has come to {iso(clock.now())}"
                raise Overloaded(detail, headers=retry_after(1))
            await state.move(clock, end if first is None else min(first, end))

    async def _settle(self, course: Course) -> Micros | None:
        """Let what begins at this moment end, and what that leads to; the first moment after it."""
        with trio.move_on_after(MOMENT_SECONDS):
            while True:
                with trio.move_on_after(PATIENCE_SECONDS):  # a turn may wait for a store that fails
                    await self._dispatch.settle()
                pulse = await self._rest(course)
                if pulse.stirs == course.stirs or course.reply.abandoned:
                    return pulse.first
                course.stirs = pulse.stirs  # there may be more to claim
        return (await self._state.pulse(self._clock)).first

    async def _rest(self, course: Course) -> Pulse:
        """Wait until nobody is at work but those who are left alone."""
        pulse = await self._state.pulse(self._clock)
        while (awake := pulse.awake - course.left_alone) and not course.reply.abandoned:
            with trio.move_on_after(PATIENCE_SECONDS) as patience:
                pulse = await self._news(pulse)
            if patience.cancelled_caught:
                course.left_alone |= awake
        return pulse

    async def _news(self, old: Pulse) -> Pulse:
        """The pulse, once others are at work."""
        while True:
            stirred = self._clock.stirred()  # from before the look, or a stir in between would be missed
            pulse = await self._state.pulse(self._clock)
            if pulse.awake != old.awake:
                return pulse
            await stirred.wait()


def _one(_advance: Advance) -> int:
    return 1
