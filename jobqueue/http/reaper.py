"""The one task of a server that keeps the time of all its connections: it ends waits that have lasted too long.

Four times a second it looks at each connection and notes what has not changed. So no request pays for a timer, and the
connections have no clock at all. It also finds the clients that left while the app still works for them.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

import trio

from jobqueue.http.fence import keep_inside
from jobqueue.http.limits import Cause
from jobqueue.http.watched import Phase, Watched

if TYPE_CHECKING:
    from jobqueue.http.hub import Hub

# The client has closed, at least its sending half. Where poll cannot say that (macOS), only a full close is seen.
_HUNG_UP = getattr(select, "POLLRDHUP", select.POLLHUP)
_LONGEST_TICK_SECONDS = 1  # a longer one is a stall of our own, and not the clients' fault


class Reaper:
    """Looks after the connections of one server; `run` is its task, `tick` one look."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._time = 0.0

    async def run(self) -> None:
        """Tick until cancelled."""
        last = trio.current_time()
        while True:
            await trio.sleep(self._hub.limits.tick_seconds)
            now = trio.current_time()
            try:
                self.tick(now - last)
            except Exception as error:  # noqa: BLE001 - one odd connection must not stop the watch over the others
                keep_inside(error, self._hub.counters, "a look at the connections failed")
            last = now

    def tick(self, elapsed_seconds: float) -> None:
        """Look at all connections once."""
        hub = self._hub
        self._time += min(elapsed_seconds, _LONGEST_TICK_SECONDS)
        hub.refresh()
        left_alone = {}
        for it in tuple(hub.connections):
            if it.chart.ended:
                continue  # its app holds out behind a shield
            cause = it.chart.judge(it, self._time, hub.limits, draining=hub.draining)
            if cause is not None:
                self._end(it, cause)
            elif it.fd >= 0 and self._may_be_left(it):
                left_alone[it.fd] = it
        self._end_abandoned(left_alone)

    def _may_be_left(self, it: Watched) -> bool:
        """The app has been at work for a tick, and the end of the client's bytes would tell it nothing.

        A client may close its half when its whole body is sent, and the app may read that later: not at once gone.
        """
        if it.phase is not Phase.BUSY or not it.chart.age:
            return False
        unread = not it.waiting and it.chart.silence >= self._hub.limits.body_seconds
        return it.request.complete or unread

    def _end_abandoned(self, suspects: dict[int, Watched]) -> None:
        """Cut those whose client left. A half-closed client gets an answer that takes no longer than a tick."""
        poll = select.poll()
        for fd in suspects:
            poll.register(fd, _HUNG_UP)
        for fd, _ in poll.poll(0):
            self._end(suspects[fd], Cause.CLIENT_GONE)

    def _end(self, it: Watched, cause: Cause) -> None:
        self._hub.counters.reaped[cause] += 1
        if cause is Cause.SLOW_BODY:
            it.expire_body()
        else:
            it.chart.ended = True
            it.cut(reset=cause is Cause.BLOCKED_WRITE)
