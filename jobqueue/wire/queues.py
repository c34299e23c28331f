"""A queue as JSON, both ways: how it is shown, and what a PATCH of its settings may say (RFC 7396).

A patch is merged into the settings as they stand, and the whole is then validated: so null gives a member its default
back, and nested objects merge. What is only shown may be sent back, and is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from jobqueue import strictjson
from jobqueue.clock import SECOND, Micros
from jobqueue.errors import Fault, Invalid, JobQueueError, OutOfRange
from jobqueue.job import Retry, Status
from jobqueue.queue import Caps, Defaults, Known, Queue, Rate
from jobqueue.wire.shown import number, retry_fields
from jobqueue.wire.submission import NAME, UNKNOWN_MOST, RetryBody, Seconds, no_fields, translate

MOST_WEIGHTS = 1_000
LEAST_WEIGHT, MOST_WEIGHT = 0.001, 1_000.0  # no group waits more than a million times as long as another
SHOWN_ONLY = ("name", "depth", "oldest_seconds", "rates")

Concurrency = Annotated[int, Meta(ge=1, le=100_000)]


class RateBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At most `limit` starts in any `per` seconds."""

    limit: Annotated[int, Meta(ge=1, le=1_000_000)]
    per: Annotated[float, Meta(ge=0.1, le=86_400)]


class GroupBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The caps of each group."""

    concurrency: Concurrency | None = None
    rate: RateBody | None = None


class DefaultsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What jobs get that say nothing; within the ranges of a submission."""

    max_attempts: Annotated[int, Meta(ge=1, le=1000)] | None = None
    retry: RetryBody | None = None
    timeout: Annotated[float, Meta(ge=0.1, le=86_400)] | None = None


class RetentionBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many seconds ended jobs are kept; 0 = not at all."""

    DONE: Seconds | None = None
    FAILED: Seconds | None = None
    CANCELLED: Seconds | None = None


class QueueBody(msgspec.Struct, forbid_unknown_fields=True):
    """The settings of a queue."""

    paused: bool = False
    concurrency: Concurrency | None = None
    rate: RateBody | None = None
    group: GroupBody = GroupBody()
    weights: dict[str, Any] = {}
    defaults: DefaultsBody = DefaultsBody()
    retention: RetentionBody = RetentionBody()
    max_queued: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None
    push: Any = None


FORMS: dict[tuple[str, ...], type[msgspec.Struct]] = {
    (): QueueBody,
    ("rate",): RateBody,
    ("group",): GroupBody,
    ("group", "rate"): RateBody,
    ("defaults",): DefaultsBody,
    ("defaults", "retry"): RetryBody,
    ("retention",): RetentionBody,
}


def queue_change(said: Any) -> Callable[[Queue], Queue]:
    """What a JSON value asks of a queue's settings, as a function of them; it raises Invalid and OutOfRange.

    Raises Invalid for what can be told without them.
    """
    if not isinstance(said, dict):
        raise Invalid("a change of a queue is a JSON object", faults=(Fault("", "expected an object"),))
    unknown = [
        (*way, name)
        for way, form in FORMS.items()
        for name in _members(said, way)
        if name not in form.__struct_fields__ and (way or name not in SHOWN_ONLY)
    ]
    if unknown:
        raise no_fields(unknown[:UNKNOWN_MOST])
    return partial(_changed, said)


def _members(said: Any, way: tuple[str, ...]) -> Mapping[str, Any]:
    for name in way:
        said = said.get(name) if isinstance(said, dict) else None
    return said if isinstance(said, dict) else {}


def _changed(said: dict[str, Any], queue: Queue) -> Queue:
    if said.get("name", queue.name) != queue.name:
        detail = f"is the one in the path, {queue.name}"
        raise Invalid(f"/name: {detail}", faults=(Fault("/name", detail),))
    merged = _merge(_settings(queue), {name: value for name, value in said.items() if name not in SHOWN_ONLY})
    try:
        body = msgspec.convert(merged, QueueBody)
    except msgspec.ValidationError as error:
        raise translate(str(error), merged) from None
    if body.push is not None:
        detail = "pushing jobs to a URL is not served by this server"
        raise Invalid(f"/push: {detail}", faults=(Fault("/push", detail),))
    retention = {name: getattr(body.retention, name) for name in RetentionBody.__struct_fields__}
    return Queue(
        queue.name,
        paused=body.paused,
        caps=Caps(body.concurrency, _rate(body.rate)),
        group=Caps(body.group.concurrency, _rate(body.group.rate)),
        weights=_weights(body.weights),
        defaults=Defaults(body.defaults.max_attempts, _policy(body.defaults.retry), body.defaults.timeout),
        retention={name: seconds for name, seconds in retention.items() if seconds is not None},
        max_queued=body.max_queued,
    )


def _merge(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value)
    return merged


def _rate(said: RateBody | None) -> Rate | None:
    return None if said is None else Rate(said.limit, said.per)


def _policy(said: RetryBody | None) -> Retry | None:
    if said is None:
        return None
    if said.backoff == "list":
        if not said.delays:
            pointer = "/defaults/retry/delays"
            raise Invalid(f"{pointer}: backoff list needs delays", faults=(Fault(pointer, "must name at least one"),))
        return Retry("list", delays=said.delays)
    return Retry(said.backoff, said.initial, said.factor, said.max, said.jitter)


def _weights(said: Mapping[str, Any]) -> dict[str, float]:
    if len(said) > MOST_WEIGHTS:
        raise OutOfRange(
            f"weights may name {MOST_WEIGHTS:,} groups", faults=(Fault("/weights", f"names {len(said):,} groups"),)
        )
    for group, share in said.items():
        if not re.match(NAME, group):
            raise _of_weight(Invalid, group, "a group has 1 to 64 of the characters A-Z a-z 0-9 . _ : -")
        if isinstance(share, bool) or not isinstance(share, int | float):
            raise _of_weight(Invalid, group, "expected a number")
        if not LEAST_WEIGHT <= share <= MOST_WEIGHT:
            raise _of_weight(OutOfRange, group, f"must be from {LEAST_WEIGHT:g} to {MOST_WEIGHT:,.0f}")
    return {group: float(share) for group, share in said.items()}


def _of_weight(kind: type[JobQueueError], group: str, detail: str) -> JobQueueError:
    pointer = strictjson.pointer(("weights", group))
    return kind(f"{pointer}: {detail}", faults=(Fault(pointer, detail),))


def _settings(queue: Queue) -> dict[str, Any]:
    """The settings as a patch sees them: members that are null are not there."""
    shown = {
        "paused": queue.paused,
        **_caps(queue.caps),
        "group": _caps(queue.group),
        "weights": {group: number(share) for group, share in queue.weights.items()},
        "defaults": _defaults(queue.defaults),
        "retention": {status: number(seconds) for status, seconds in queue.retention.items()},
        "max_queued": queue.max_queued,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _caps(caps: Caps) -> dict[str, Any]:
    rate = None if caps.rate is None else {"limit": caps.rate.limit, "per": number(caps.rate.per)}
    shown = {"concurrency": caps.concurrency, "rate": rate}
    return {name: value for name, value in shown.items() if value is not None}


def _defaults(defaults: Defaults) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if defaults.max_attempts is not None:
        shown["max_attempts"] = defaults.max_attempts
    if defaults.retry is not None:
        shown["retry"] = retry_fields(defaults.retry)
    if defaults.timeout is not None:
        shown["timeout"] = number(defaults.timeout)
    return shown


def queue_fields(
    known: Known, rates: tuple[float, float], now: Micros, retention: Mapping[Status, float], max_queued: int
) -> dict[str, Any]:
    """A queue's fields in their order; retention and max_queued are the server's, for what it does not say itself."""
    queue = known.settings
    settings = _settings(queue)
    nothing = {"concurrency": None, "rate": None}
    since = known.waits_since
    return {
        "name": queue.name,
        "paused": queue.paused,
        **nothing,
        **_caps(queue.caps),
        "group": {**nothing, **settings["group"]},
        "weights": settings["weights"],
        "defaults": settings["defaults"],
        "retention": {status.name: number(seconds) for status, seconds in retention.items()} | settings["retention"],
        "max_queued": settings.get("max_queued", max_queued),
        "push": None,
        "depth": {status.name: known.counts[status] for status in Status},
        "oldest_seconds": None if since is None else max(0.0, (now - since) / SECOND),
        "rates": {"submitted": rates[0], "finished": rates[1]},
    }
