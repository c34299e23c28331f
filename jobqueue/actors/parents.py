"""What a handler is told of the jobs that its own has waited for: their ends and their results.

They are read when the attempt starts; a store that does not answer for a moment costs the job no try, only time, which
its timeout bounds. Retention keeps them as long as somebody depends on them; one that was removed by hand is not among
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import trio

from jobqueue.actors.reader import Reads
from jobqueue.errors import NotFound, Overloaded, Removed, StoreUnavailable
from jobqueue.handlers import Fatal
from jobqueue.handlers.verdict import decode
from jobqueue.job import Job

AGAIN_SECONDS = 1.0
RESULTS_MOST_BYTES = 16 << 20  # of all parents together: a thousand results of a mebibyte would fill the memory


async def parents_of(reads: Reads, ids: Sequence[str]) -> Mapping[str, Any]:
    """By id, {"status", "result"} of each that is still there. Raises Fatal if they are too large together."""
    parents: dict[str, Any] = {}
    size = 0
    for id in ids:
        parent = await _patiently(reads, id)
        if parent is None:
            continue
        size += len(parent.result or "")
        if size > RESULTS_MOST_BYTES:
            raise Fatal(f"the results of the jobs that this one depends on exceed {RESULTS_MOST_BYTES >> 20} MiB")
        result = None if parent.result is None else decode(parent.result)
        parents[id] = {"status": parent.status.name, "result": result}
    return parents


async def _patiently(reads: Reads, id: str) -> Job | None:
    """The job, or None if it is no more; asked again until the store answers."""
    while True:
        try:
            return await reads.job(id)
        except (NotFound, Removed):
            return None
        except (StoreUnavailable, Overloaded):
            await trio.sleep(AGAIN_SECONDS)
