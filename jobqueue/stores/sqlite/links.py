"""Unique keys and dependencies in the file: what a batch reads of them, and how it writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import apsw

from jobqueue.job import Job
from jobqueue.rules.changes import Changes
from jobqueue.stores.sqlite import codec

if TYPE_CHECKING:
    from jobqueue.stores.sqlite.cache import Cache

CHILDREN = (
    f"SELECT {codec.JOB}, {codec.BODY} FROM links JOIN jobs ON jobs.seq = links.child"  # noqa: S608 - constants of ours
    " JOIN bodies ON bodies.seq = jobs.seq WHERE links.parent = ? AND links.met = 0 ORDER BY links.child LIMIT ?"
)


def has_links(connection: apsw.Connection) -> bool:
    """Whether any job depends on another."""
    return bool(connection.execute("SELECT EXISTS(SELECT 1 FROM links)").get)


class SqliteLinks:
    """The part of a batch's reads that is about ties between jobs."""

    _connection: apsw.Connection
    _cache: Cache

    def holder(self, queue: str, key: str) -> str | None:
        """Who holds a unique key."""
        row = self._connection.execute("SELECT id FROM uniques WHERE queue = ? AND key = ?", (queue, key)).fetchone()
        return None if row is None else codec.text(row[0])

    def links(self) -> int:
        """Whether there are any."""
        return int(self._cache.links)

    def children(self, parent: int, count: int) -> Sequence[Job]:
        """Who waits for a parent."""
        return [codec.job(row) for row in self._connection.execute(CHILDREN, (parent, count))]

    def dependents(self, parent: int) -> int:
        """How many depend on a parent."""
        found: Any = self._connection.execute("SELECT count(*) FROM links WHERE parent = ?", (parent,)).get
        return int(found)

    def unmet(self, child: int, count: int) -> Sequence[int]:
        """Whom a child waits for."""
        sql = "SELECT parent FROM links WHERE child = ? AND met = 0 LIMIT ?"
        return [parent for (parent,) in self._connection.execute(sql, (child, count))]

    def resolving(self, count: int) -> Sequence[str]:
        """Whose end is still to be told."""
        rows = self._connection.execute("SELECT id FROM resolving ORDER BY n LIMIT ?", (count,))
        return [codec.text(id) for (id,) in rows]


def write(connection: apsw.Connection, changes: Changes) -> bool:
    """Write what a batch changed of them; whether that may have made the first link or removed the last."""
    many = connection.executemany
    if changes.released:
        many(
            "DELETE FROM uniques WHERE queue = ? AND key = ? AND id = ?",
            [(queue, key, codec.blob(id)) for queue, key, id in changes.released],
        )
    if changes.holders:
        many(
            "INSERT OR REPLACE INTO uniques VALUES(?, ?, ?)",
            [(queue, key, codec.blob(id)) for (queue, key), id in changes.holders.items()],
        )
    if changes.linked:
        many("INSERT OR REPLACE INTO links VALUES(?, ?, 0)", list(changes.linked))
    if changes.met:
        many("UPDATE links SET met = 1 WHERE parent = ? AND child = ?", list(changes.met))
    if changes.unlinked:
        many("DELETE FROM links WHERE child = ?", [(child,) for child in changes.unlinked])
    if changes.resolving:
        pending = [(codec.blob(id),) for id, waits in changes.resolving.items() if waits]
        told = [(codec.blob(id),) for id, waits in changes.resolving.items() if not waits]
        many("INSERT OR IGNORE INTO resolving(id) VALUES(?)", pending)
        many("DELETE FROM resolving WHERE id = ?", told)
    return bool(changes.linked or changes.unlinked)
