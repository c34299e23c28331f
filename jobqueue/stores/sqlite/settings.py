"""Settings of queues, what counts against their rates, and schedules in the file: reading and writing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import apsw
import msgspec

from jobqueue.clock import Micros
from jobqueue.queue import Queue, Window
from jobqueue.rules.changes import Changes
from jobqueue.schedule import Schedule
from jobqueue.stores.contract import MOST_SCHEDULE_BYTES
from jobqueue.stores.sqlite import codec

if TYPE_CHECKING:
    from jobqueue.stores.sqlite.cache import Cache

_encode = msgspec.json.encode
_queue = msgspec.json.Decoder(Queue).decode
_window = msgspec.json.Decoder(Window).decode
_schedule = msgspec.json.Decoder(Schedule).decode
AFTER = "SELECT data FROM schedules WHERE name > ? ORDER BY name LIMIT ?"
FIRES = "SELECT fires_at, name FROM schedules WHERE fires_at IS NOT NULL ORDER BY fires_at, name LIMIT ?"


def schedule_of(data: str) -> Schedule:
    """A schedule from its row. Raises Damaged."""
    try:
        return _schedule(data)
    except msgspec.MsgspecError as error:
        raise codec.Damaged(f"a schedule: {error}") from error


def queue_of(data: str) -> Queue:
    """A queue's settings from their row. Raises Damaged."""
    try:
        return _queue(data)
    except msgspec.MsgspecError as error:
        raise codec.Damaged(f"a queue: {error}") from error


class SettingsCache:
    """In memory: all queues that have settings (1,000 at most), what counts against rates, how many schedules are."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.queues: dict[str, Queue] = {}
        self.redating: dict[str, int] = {}
        self.windows: dict[tuple[str, str | None], Window] = {}
        self._sweep_at = 1024
        schedules: Any = connection.execute("SELECT count(*) FROM schedules").get
        self.schedules = int(schedules)
        name: Any
        data: Any
        seq: Any
        for name, data, seq in connection.execute("SELECT name, data, redated FROM queues"):
            if data is not None:
                self.queues[name] = queue_of(data)
            if seq is not None:
                self.redating[name] = seq
        for name, group, data in connection.execute("SELECT queue, grp, data FROM windows"):
            self.windows[name, str(group) or None] = _window(data)

    def take(self, changes: Changes, now: Micros) -> None:
        """Follow what was committed."""
        self.schedules += changes.schedules_more
        if changes.queues:
            self.queues.update(changes.queues)
        for queue, seq in changes.redating.items():
            if seq is None:
                self.redating.pop(queue, None)
            else:
                self.redating[queue] = seq
        if changes.windows:
            self.windows.update(changes.windows)
            if len(self.windows) > self._sweep_at:
                self.windows = {place: window for place, window in self.windows.items() if window.until > now}
                self._sweep_at = max(1024, 2 * len(self.windows))


class SqliteSettings:
    """The part of a batch's reads that is about settings."""

    _connection: apsw.Connection
    _cache: Cache

    def queue(self, name: str) -> Queue | None:
        """A queue's settings."""
        return self._cache.settings.queues.get(name)

    def configured(self) -> Sequence[str]:
        """Queues with settings."""
        return list(self._cache.settings.queues)

    def window(self, queue: str, group: str | None) -> Window | None:
        """What counts against a rate."""
        return self._cache.settings.windows.get((queue, group))

    def redating(self) -> Mapping[str, int]:
        """Queues whose ended jobs get another due time."""
        return self._cache.settings.redating

    def schedule(self, name: str) -> Schedule | None:
        """A schedule."""
        return read_schedule(self._connection, name)

    def schedules(self) -> int:
        """How many there are."""
        return self._cache.settings.schedules

    def fires(self, count: int) -> Sequence[tuple[Micros, str]]:
        """The first fire times."""
        rows: Any = self._connection.execute(FIRES, (count,)).fetchall()
        return list(rows)


def write(connection: apsw.Connection, changes: Changes, now: Micros) -> None:
    """Write what a batch changed of them."""
    many = connection.executemany
    if changes.queues:
        many(
            "INSERT INTO queues(name, data) VALUES(?1, ?2) ON CONFLICT DO UPDATE SET data = ?2",
            [(queue.name, _encode(queue).decode()) for queue in changes.queues.values()],
        )
    if changes.redating:
        many(
            "INSERT INTO queues(name, redated) VALUES(?1, ?2) ON CONFLICT DO UPDATE SET redated = ?2",
            list(changes.redating.items()),
        )
    if changes.windows:
        connection.execute("DELETE FROM windows WHERE until <= ?", (now,))
        many(
            "INSERT OR REPLACE INTO windows VALUES(?, ?, ?, ?)",
            [
                (queue, group or "", _encode(window).decode(), window.until)
                for (queue, group), window in changes.windows.items()
            ],
        )
    for name, schedule in changes.schedules.items():
        if schedule is None:
            connection.execute("DELETE FROM schedules WHERE name = ?", (name,))
        else:
            fires_at = None if schedule.paused else schedule.next_at
            data = _encode(schedule).decode()
            connection.execute("INSERT OR REPLACE INTO schedules VALUES(?, ?, ?)", (name, fires_at, data))


def read_schedule(connection: apsw.Connection, name: str) -> Schedule | None:
    """A schedule."""
    found: Any = connection.execute("SELECT data FROM schedules WHERE name = ?", (name,)).get
    return None if found is None else schedule_of(found)


def read_schedules(connection: apsw.Connection, after: str, most: int) -> tuple[Sequence[Schedule], bool]:
    """Up to `most`, by name, from after `after`, and whether more follow; no more of them than memory is spared for."""
    schedules: list[Schedule] = []
    left = MOST_SCHEDULE_BYTES
    data: Any
    for (data,) in connection.execute(AFTER, (after, most + 1)):
        left -= len(data)
        if len(schedules) == most or (schedules and left < 0):
            return schedules, True
        schedules.append(schedule_of(data))
    return schedules, False
