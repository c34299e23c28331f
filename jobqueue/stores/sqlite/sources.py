"""Where a list finds its candidates: for each part of a filter that the file serves, job numbers from the newest on.

A source is asked for its next few candidates; it gives them, and says how far back it has thereby come. What an index
holds in order of seq is one list. What stands in many lists (one a queue, one a lane) is merged from those whose first
are the newest. Of queues, kinds and ends only blocks are known (`blocks.py`), which are looked through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import apsw
import msgspec

from jobqueue.job import Status
from jobqueue.stores.contract import Filter
from jobqueue.stores.sqlite import blocks
from jobqueue.stores.sqlite.blocks import SHIFT

MOST_LANES = 5_000
MOST_BLOCKS = 2_000
CHEAP = 8  # rows that lie side by side cost as much as one that lies alone

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(list[int]).decode


def in_one_piece(listed: str) -> str:
    """All numbers of a list in one row: each row gives up the interpreter's lock, and may wait long to have it back."""
    return f"SELECT json_group_array(seq) FROM ({listed})"  # noqa: S608 - constants of ours, as all below


def _newest(rows: str, seq: str = "seq") -> str:
    """The numbers of the next of these rows."""
    newest = f"{seq} >= ? AND {seq} < ? ORDER BY {seq} DESC LIMIT ?"
    return in_one_piece(f"SELECT {seq} AS seq FROM {rows} AND {newest}")  # noqa: S608 - constants of ours


def _firsts(name: str, lists: str, of_each: str) -> str:
    """Of each list the newest row, and the name of the list: the newest of them first."""
    return (
        f"WITH firsts AS MATERIALIZED(SELECT {name} AS name, ({of_each}) AS first FROM {lists})"  # noqa: S608 - constants of ours
        " SELECT first, name FROM firsts WHERE first IS NOT NULL ORDER BY first DESC LIMIT :count"
    )


ALL = _newest("jobs WHERE TRUE")
TAGGED = _newest("tags WHERE tag = ?")
GROUPED = _newest("jobs WHERE grp = ? AND grp <> ''")
IN_INDEX = "(status < 2 OR status = 3 OR status = 2 AND (place <> seq OR grp <> ''))"  # jobs_open, to the letter
OPEN = _newest(f"jobs WHERE status = ? AND {IN_INDEX} AND queue = ?")
OPEN_FIRSTS = _firsts(
    "counts.queue",
    "counts WHERE counts.status = :status AND n > 0",
    f"SELECT seq FROM jobs WHERE status = :status AND {IN_INDEX} AND jobs.queue = counts.queue"  # noqa: S608 - constants of ours
    " AND seq >= :low AND seq < :high ORDER BY seq DESC LIMIT 1",
)
# the other queued jobs have no group, and stand in their lane by their number, since they were never put back
LANE = _newest("jobs WHERE lane = ? AND status = 2 AND place = seq", "place")
_ALONE = "lanes INDEXED BY lanes_alone WHERE grp = '' AND {}"
LANES = f"SELECT count(*) FROM (SELECT 1 FROM {_ALONE} LIMIT :count)"  # noqa: S608 - constants of ours
LANES_FIRSTS = _firsts(
    "lanes.lane",
    f"{_ALONE} AND queued > 0",
    "SELECT place FROM jobs WHERE jobs.lane = lanes.lane AND status = 2 AND place = seq"
    " AND place >= :low AND place < :high ORDER BY place DESC LIMIT 1",
)
BLOCKS = "SELECT block{} FROM blocks WHERE trait = ? AND block >= ? AND block <= ? ORDER BY block DESC LIMIT ?"
THERE = ", EXISTS(SELECT 1 FROM blocks AS other WHERE other.trait = ? AND other.block = blocks.block)"
IN_BLOCKS = in_one_piece(
    "SELECT seq FROM json_each(?) CROSS JOIN jobs NOT INDEXED"  # noqa: S608 - constants of ours
    f" ON seq >= value << {SHIFT} AND seq < value + 1 << {SHIFT} AND seq >= ? AND seq < ? WHERE {{}}"
)


class Step(NamedTuple):
    """What a source gave.

    seqs: candidates, newest first. low: from here on up to where the step began there are no others. effort: what that
    cost, measured in rows that lie alone. sure: they are what the whole filter wants, but for payloads.
    """

    seqs: Sequence[int]
    low: int
    effort: int
    sure: bool = False


Source = Callable[[int, int, int], Step]  # from `low` up to `high`, about `count` candidates


class Where:
    """What a filter says of the row of a job, as SQL."""

    def __init__(self, wanted: Filter) -> None:
        parts: list[tuple[str, Any]] = [
            ("queue = ?", wanted.queue),
            ("kind = ?", wanted.kind),
            ("grp = ?", wanted.group),
            ("created_at >= ?", wanted.created_after),
            ("created_at < ?", wanted.created_before),
            ("EXISTS(SELECT 1 FROM tags WHERE tag = ? AND tags.seq = jobs.seq)", wanted.tag),
        ]
        conditions = [condition for condition, value in parts if value is not None]
        self.bindings = [value for _, value in parts if value is not None]
        if wanted.status is not None:
            conditions.append(f"status IN ({', '.join(str(int(status)) for status in sorted(wanted.status))})")
        self.parts = len(conditions)
        self.sql = " AND ".join(conditions) or "TRUE"


def sources(connection: apsw.Connection, wanted: Filter, where: Where) -> Sequence[Source]:
    """All that the file has for a filter."""
    sure = where.parts <= 1  # then what has the one part is wanted
    found: list[Source] = []
    if wanted.tag is not None:
        found.append(_index(connection, TAGGED, wanted.tag, sure=sure))
    if wanted.group is not None:
        found.append(_index(connection, GROUPED, wanted.group, sure=sure))
    if wanted.status is not None and len(wanted.status) < len(Status):
        found += _by_status(connection, wanted.status, wanted, where)
    traits = _traits(wanted)
    if traits:
        found.append(_blocks(connection, traits, where))
    return found or [_index(connection, ALL, sure=not where.parts)]


def _traits(wanted: Filter) -> list[str]:
    traits = [] if wanted.kind is None else [blocks.of_kind(wanted.kind)]
    return traits if wanted.queue is None else [*traits, blocks.of_queue(wanted.queue)]


def _by_status(
    connection: apsw.Connection, statuses: frozenset[Status], wanted: Filter, where: Where
) -> Sequence[Source]:
    """One source, of all the statuses; none where there are too many lanes."""
    queue = wanted.queue
    found: list[Source] = []
    for status in statuses:
        if status.ended:
            found.append(_blocks(connection, [blocks.of_end(status.name, queue), *_traits(wanted)], where))
        elif queue is None:
            found.append(_merged(connection, OPEN_FIRSTS, OPEN, int(status)))
        else:
            found.append(_index(connection, OPEN, int(status), queue))
    if Status.QUEUED in statuses:
        of_queue = "TRUE" if queue is None else "queue = :queue"
        lanes: Any = connection.execute(LANES.format(of_queue), {"queue": queue, "count": MOST_LANES + 1}).get
        if lanes > MOST_LANES:
            return ()
        found.append(_merged(connection, LANES_FIRSTS.format(of_queue), LANE, queue=queue, lists=lanes))
    return found if len(found) == 1 else [_union(found)]


def _index(connection: apsw.Connection, sql: str, *bindings: Any, sure: bool = False) -> Source:
    """One list."""

    def step(low: int, high: int, count: int) -> Step:
        seqs = numbers(connection, sql, (*bindings, low, high, count))
        return Step(seqs, seqs[-1] if len(seqs) == count else low, 1 + len(seqs) // CHEAP, sure=sure)

    return step


def _merged(
    connection: apsw.Connection, firsts: str, of_one: str, *status: int, queue: str | None = None, lists: int = 0
) -> Source:
    """Many lists: only those are read whose first are among the newest of all."""
    named = {"status": status[0] if status else None, "queue": queue}

    def step(low: int, high: int, count: int) -> Step:
        seqs: list[int] = []
        heads: Any = connection.execute(firsts, {**named, "low": low, "high": high, "count": count}).fetchall()
        effort = 1 + max(lists, len(heads)) // 2
        for first, name in heads:
            full = len(seqs) == count
            if full and first < seqs[-1]:
                break
            found = numbers(connection, of_one, (*status, name, seqs[-1] if full else low, high, count))
            effort += 1 + len(found) // CHEAP
            seqs = sorted(seqs + found, reverse=True)[:count]
        return Step(seqs, seqs[-1] if len(seqs) == count else low, effort)

    return step


def _blocks(connection: apsw.Connection, traits: Sequence[str], where: Where) -> Source:
    """The rows of the blocks that have all traits, as far as the filter wants them."""
    sql, rows = BLOCKS.format(THERE * (len(traits) - 1)), IN_BLOCKS.format(where.sql)

    def step(low: int, high: int, count: int) -> Step:
        full: list[int] = []
        reached, looked = low, 0
        most = max(1, count >> SHIFT)
        block: Any
        for block, *there in connection.execute(
            sql, (*traits[1:], traits[0], low >> SHIFT, (high - 1) >> SHIFT, MOST_BLOCKS)
        ):
            looked += 1
            reached = max(low, block << SHIFT)
            if all(there):
                full.append(block)
                if len(full) == most:
                    break
        else:
            if looked < MOST_BLOCKS:
                reached = low
        seqs = numbers(connection, rows, (array(full), reached, high, *where.bindings)) if full else []
        return Step(seqs, reached, 1 + (looked + (len(full) << SHIFT)) // CHEAP, sure=True)

    return step


def _union(found: Sequence[Source]) -> Source:
    """What any of them has."""

    def step(low: int, high: int, count: int) -> Step:
        steps = [source(low, high, count) for source in found]
        last = max((one.low for one in steps), default=low)
        seqs = {seq for one in steps for seq in one.seqs if seq >= last}
        return Step(sorted(seqs, reverse=True), last, sum(one.effort for one in steps))

    return step


def array(seqs: Sequence[int]) -> str:
    """Numbers as SQLite's `json_each` takes them."""
    return _encode(seqs).decode()


def numbers(connection: apsw.Connection, sql: str, bindings: tuple[Any, ...]) -> list[int]:
    """Numbers as they come in one piece, the greatest first."""
    return sorted(_decode(connection.execute(sql, bindings).get), reverse=True)
