"""Unique keys and dependencies in the file: what a batch reads of them, and how it writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import apsw

from jobqueue.job import Job
from jobqueue.rules.changes import Changes, End
from jobqueue.stores.sqlite import codec

if TYPE_CHECKING:
    from jobqueue.stores.sqlite.cache import Cache

CHILDREN = (
    "SELECT child, jobs.id FROM links JOIN jobs ON jobs.seq = child"
    " WHERE parent = ? AND child <= ? AND met = 0 ORDER BY child LIMIT ?"
)

PARENTS = (
    "SELECT parent, jobs.id FROM links JOIN jobs ON jobs.seq = parent"
    " WHERE child = ? AND met = 0 ORDER BY parent LIMIT ?"
)


def has_links(connection: apsw.Connection) -> bool:
    """Whether any job depends on another, or some end is still to be told."""
    return bool(connection.execute("SELECT EXISTS(SELECT 1 FROM links) OR EXISTS(SELECT 1 FROM resolving)").get)


class SqliteLinks:
    """The part of a batch's reads that is about ties between jobs."""

    _connection: apsw.Connection
    _cache: Cache

    def holder(self, queue: str, key: str) -> str | None:
        """Who holds a unique key."""
        row = self._connection.execute("SELECT id FROM uniques WHERE queue = ? AND key = ?", (queue, key)).fetchone()
        return None if row is None else codec.text(row[0])

    def links(self) -> bool:
        """Whether there are any."""
        return self._cache.links

    def children(self, end: End, count: int) -> Sequence[tuple[int, str]]:
        """Who waits for a parent."""
        rows = self._connection.execute(CHILDREN, (end.parent, end.upto, count))
        return [(seq, codec.text(id)) for seq, id in rows]

    def dependents(self, parent: int) -> int:
        """How many depend on a parent."""
        if not self._cache.links:
            return 0
        found: Any = self._connection.execute("SELECT count(*) FROM links WHERE parent = ?", (parent,)).get
        return int(found)

    def unmet(self, child: int, count: int) -> Sequence[int]:
        """Whom a child waits for."""
        sql = "SELECT parent FROM links WHERE child = ? AND met = 0 LIMIT ?"
        return [parent for (parent,) in self._connection.execute(sql, (child, count))]

    def parents(self, child: Job, count: int) -> Sequence[tuple[int, str]]:
        """The same, by seq and id."""
        rows = self._connection.execute(PARENTS, (child.seq, count))
        return [(seq, codec.text(id)) for seq, id in rows]

    def resolving(self, count: int) -> Sequence[End]:
        """Whose end is still to be told."""
        rows = self._connection.execute(
            "SELECT upto, parent, met FROM resolving ORDER BY upto, parent LIMIT ?", (count,)
        )
        return [End(upto, parent, bool(met)) for upto, parent, met in rows]


def write(connection: apsw.Connection, changes: Changes) -> None:
    """Write what a batch changed of them."""
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
        many("INSERT INTO links VALUES(?, ?, 0)", _pairs(changes.linked))
    if changes.met:
        many("UPDATE links SET met = 1 WHERE parent = ? AND child = ?", _pairs(changes.met))
    if changes.unlinked:
        many("DELETE FROM links WHERE child = ?", [(child,) for child in changes.unlinked])
    if changes.resolving:
        many(
            "INSERT OR IGNORE INTO resolving VALUES(?, ?, ?)",
            [end for end, waits in changes.resolving.items() if waits],
        )
        told = [end[:2] for end, waits in changes.resolving.items() if not waits]
        many("DELETE FROM resolving WHERE upto = ? AND parent = ?", told)


def _pairs(links: Mapping[int, Iterable[int]]) -> list[tuple[int, int]]:
    """(parent, child) of each."""
    return [(parent, child) for child, parents in links.items() for parent in parents]
