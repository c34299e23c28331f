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

if TYPE_CHECKING:
    from jobqueue.stores.sqlite.cache import Cache

_encode = msgspec.json.encode
_queue = msgspec.json.Decoder(Queue).decode
_window = msgspec.json.Decoder(Window).decode
schedule_of = msgspec.json.Decoder(Schedule).decode
FIRING = "SELECT data FROM schedules WHERE fires_at <= ? ORDER BY fires_at, name LIMIT ?"


class SettingsCache:
    """In memory: all queues that have settings (1,000 at most), and what counts against rates."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.queues: dict[str, Queue] = {}
        self.redating: dict[str, int] = {}
        self.windows: dict[tuple[str, str | None], Window] = {}
        self._sweep_at = 1024
        name: Any
        data: Any
        seq: Any
        for name, data, seq in connection.execute("SELECT name, data, redated FROM queues"):
            if data is not None:
                self.queues[name] = _queue(data)
            if seq is not None:
                self.redating[name] = seq
        for name, group, data in connection.execute("SELECT queue, grp, data FROM windows"):
            self.windows[name, str(group) or None] = _window(data)

    def take(self, changes: Changes, now: Micros) -> None:
        """Follow what was committed."""
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

    def window(self, queue: str, group: str | None) -> Window | None:
        """What counts against a rate."""
        return self._cache.settings.windows.get((queue, group))

    def redating(self) -> Mapping[str, int]:
        """Queues whose ended jobs get another due time."""
        return self._cache.settings.redating

    def schedule(self, name: str) -> Schedule | None:
        """A schedule."""
        row = self._connection.execute("SELECT data FROM schedules WHERE name = ?", (name,)).fetchone()
        return None if row is None else schedule_of(row[0])

    def schedules(self) -> int:
        """How many there are."""
        found: Any = self._connection.execute("SELECT count(*) FROM schedules").get
        return int(found)

    def firing(self, now: Micros, count: int) -> Sequence[Schedule]:
        """Those whose time has come."""
        return [schedule_of(data) for (data,) in self._connection.execute(FIRING, (now, count))]

    def next_fire(self) -> Micros | None:
        """The earliest fire time."""
        found: Any = self._connection.execute("SELECT min(fires_at) FROM schedules WHERE fires_at IS NOT NULL").get
        return None if found is None else int(found)


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
