"""From when a job was made to its number: both grow together, but where the clock was set back.

So a range of times is a range of numbers in each stretch between two setbacks, found by halving.
"""

from __future__ import annotations

from typing import Any

import apsw

from jobqueue.clock import Micros

MOST_SETBACKS = 64
SETBACKS = "SELECT seq FROM setbacks ORDER BY seq DESC LIMIT ?"
LAST = "SELECT coalesce(max(seq), 0) + 1 FROM jobs"
NEXT = "SELECT seq, created_at FROM jobs WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT 1"

Span = tuple[int, int]


def spans(connection: apsw.Connection, after: Micros | None, before: Micros | None) -> list[Span]:
    """The ranges [low, high) in which jobs were made in [after, before), newest first; too wide if there are many."""
    end: Any = connection.execute(LAST).get
    if after is None and before is None:
        return [(0, end)]
    starts: list[Any] = [seq for (seq,) in connection.execute(SETBACKS, (MOST_SETBACKS + 1,))]
    if len(starts) > MOST_SETBACKS:
        return [(0, end)]
    found: list[Span] = []
    high = end
    for low in (*starts, 0):
        first = low if after is None else _first(connection, low, high, after)
        last = high if before is None else _first(connection, first, high, before)
        if first < last:
            found.append((first, last))
        high = min(low, end)
    return found


def _first(connection: apsw.Connection, low: int, high: int, at: Micros) -> int:
    """Up to where in a stretch all jobs were made before that time."""
    while low < high:
        middle = (low + high) // 2
        row: Any = connection.execute(NEXT, (middle, high)).fetchone()
        if row is not None and row[1] < at:
            low = row[0] + 1
        else:
            high = middle
    return low
