"""POST /jobs/cancel, /jobs/retry and /jobs/delete: the same done to all jobs that a filter shows, a page a call.

Each job is changed by itself, as its own route would; one that cannot be, or that no longer matches when its turn has
come, is left as it is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from jobqueue import wire
from jobqueue.actors.commands import What
from jobqueue.api import filters
from jobqueue.api.exchange import Request, Response, json_response
from jobqueue.api.parts import Parts
from jobqueue.errors import Fault, Invalid
from jobqueue.stores.contract import Filter

MOST = 1_000  # jobs a call
CHUNK = 200  # jobs a commit, so that nobody who comes meanwhile waits long
FIELDS = ("filter", "dry_run", "cursor")


class Asked(NamedTuple):
    """What a body asks for. before: where to go on; None = from the newest."""

    wanted: Filter
    dry_run: bool
    before: int | None


async def cancel(request: Request, parts: Parts) -> Response:
    """Cancel them; those that run are asked to end."""
    return await _each("cancel", request, parts)


async def retry(request: Request, parts: Parts) -> Response:
    """Start those that failed or were cancelled afresh."""
    return await _each("retry", request, parts)


async def delete(request: Request, parts: Parts) -> Response:
    """Remove those that have ended."""
    return await _each("delete", request, parts)


async def _each(what: What, request: Request, parts: Parts) -> Response:
    said, _ = await request.json(parts.max_body)
    asked = _asked(said)
    found = await parts.reads.matching(asked.wanted, asked.before, MOST)
    changed = 0
    if not asked.dry_run:
        ids = found.ids[::-1]  # the oldest first: what is retried is queued in the order in which it came
        for start in range(0, len(ids), CHUNK):
            changed += await parts.state.change_each(what, ids[start : start + CHUNK], asked.wanted)
    cursor = None if found.before is None else filters.encode_cursor(found.before, asked.wanted)
    return json_response(wire.encode({"matched": len(found.ids), "changed": changed, "next": cursor}))


def _asked(said: Any) -> Asked:
    """What the body asks for. The filter is required, so that an empty body does not mean all. Raises Invalid."""
    if not isinstance(said, dict):
        raise Invalid("expected an object", faults=(Fault("", "expected an object"),))
    unknown = [(name,) for name in said if name not in FIELDS]
    if unknown:
        raise wire.no_fields(unknown[: wire.UNKNOWN_MOST])
    if "filter" not in said:
        raise Invalid("/filter: is required", faults=(Fault("/filter", "is required; {} is all jobs"),))
    dry_run, cursor = said.get("dry_run", False), said.get("cursor")
    if not isinstance(dry_run, bool):
        raise Invalid("/dry_run: expected a boolean", faults=(Fault("/dry_run", "expected a boolean"),))
    if cursor is not None and not isinstance(cursor, str):
        raise Invalid("/cursor: expected a string", faults=(Fault("/cursor", "expected a string or null"),))
    wanted = filters.from_json(said["filter"], "/filter")
    return Asked(wanted, dry_run, None if cursor is None else filters.decode_cursor(cursor, wanted))
