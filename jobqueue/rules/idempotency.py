"""The same `Idempotency-Key` with the same body: the same jobs, once (promise 2).

The key is bound in the commit of its jobs, so whoever got no answer may ask again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobqueue.errors import KeyReuse
from jobqueue.job import Draft, Job
from jobqueue.rules import acceptance
from jobqueue.rules.lifecycle import DAY, Times
from jobqueue.rules.table import KeyRecord, Table

KEPT = DAY


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A key as it came: within `scope` (API key and route) it stands for a body with this digest."""

    scope: str
    key: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """The jobs of a submission; `replayed` if an earlier request with the same key had made them.

    returned: the places at which the holder of a unique key stands, as it was before.
    """

    jobs: tuple[Job, ...]
    replayed: bool = False
    returned: frozenset[int] = acceptance.NONE


def accept(table: Table, drafts: Sequence[Draft], key: IdempotencyKey | None, times: Times) -> Accepted:
    """Accept the drafts, once per key. Raises KeyReuse, Removed, and what acceptance.accept raises."""
    if key is None:
        return _accept(table, drafts, times)
    known = table.key(key.scope, key.key)
    if known is not None and known.expires_at > times.now:
        if known.digest != key.digest:
            raise KeyReuse("this Idempotency-Key was used with another body")
        return Accepted(tuple(table.job(id) for id in known.ids), replayed=True, returned=frozenset(known.returned))
    accepted = _accept(table, drafts, times)
    ids, returned = tuple(job.id for job in accepted.jobs), tuple(sorted(accepted.returned))
    table.keep_key(KeyRecord(key.scope, key.key, key.digest, ids, times.now + KEPT, returned))
    return accepted


def _accept(table: Table, drafts: Sequence[Draft], times: Times) -> Accepted:
    jobs, returned = acceptance.take(table, drafts, times)
    return Accepted(tuple(jobs), returned=returned)
