"""A schedule as JSON, both ways. What is only shown may be sent back, and is not looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw

from jobqueue import strictjson
from jobqueue.clock import Micros, iso
from jobqueue.errors import Fault, Invalid, JobQueueError
from jobqueue.job import Draft
from jobqueue.schedule import LONGEST_EVERY, Schedule
from jobqueue.wire.submission import UNKNOWN_MOST, Defaults, Name, draft, no_fields, translate

ONCE = ("run_at", "expires_at", "depends_on", "on_dependency_failure")  # of one job, not of one a fire time


class ScheduleBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a PUT takes."""

    job: Any
    cron: str | None = None
    every: Annotated[float, Meta(ge=1, le=LONGEST_EVERY)] | None = None
    timezone: str = "UTC"
    overlap: Literal["skip", "queue", "replace"] = "skip"
    catch_up: Literal["none", "one"] = "none"
    paused: bool = False
    name: Name | None = None
    next_runs: Any = None
    last_job: Any = None
    last_error: Any = None


def schedule(said: Any, name: str, now: Micros, defaults: Mapping[str, Defaults]) -> Schedule:
    """The schedule that a JSON value asks for; its recurrence is still to be checked.

    Raises Invalid, OutOfRange, InvalidText, with pointers into the value.
    """
    if not isinstance(said, dict):
        raise Invalid("a schedule is a JSON object", faults=(Fault("", "expected an object"),))
    unknown = [(field,) for field in said if field not in ScheduleBody.__struct_fields__]
    if unknown:
        raise no_fields(unknown[:UNKNOWN_MOST])
    try:
        body = msgspec.convert(said, ScheduleBody)
    except msgspec.ValidationError as error:
        raise translate(str(error), said) from None
    if body.name is not None and body.name != name:
        raise Invalid("the name is that in the path", faults=(Fault("/name", f"is not {name}"),))
    return Schedule(
        name=name,
        job=strictjson.dumps(body.job),
        draft=_draft(body.job, now, defaults),
        anchor=now,
        cron=body.cron,
        every=body.every,
        timezone=body.timezone,
        overlap=body.overlap,
        catch_up=body.catch_up,
        paused=body.paused,
    )


def _draft(said: Any, now: Micros, defaults: Mapping[str, Defaults]) -> Draft:
    """The draft of a schedule's job."""
    once = [field for field in ONCE if said.get(field) not in (None, [])] if isinstance(said, dict) else []
    if once:
        detail = "makes no sense for a job that is submitted again and again"
        faults = tuple(Fault(f"/job/{field}", detail) for field in once)
        raise Invalid(f"{faults[0].pointer}: {faults[0].detail}", faults=faults)
    try:
        return draft(said, now, defaults)
    except JobQueueError as error:
        error.faults = tuple(Fault(f"/job{fault.pointer}", fault.detail) for fault in error.faults)
        error.detail = f"/job{error.detail}" if error.detail.startswith("/") else f"/job: {error.detail}"
        raise


def schedule_fields(schedule: Schedule, next_runs: Sequence[Micros]) -> dict[str, Any]:
    """A schedule's fields in their order, ready to be encoded."""
    every = schedule.every
    how = {"cron": schedule.cron} if every is None else {"every": int(every) if every == int(every) else every}
    return {
        "name": schedule.name,
        **how,
        "timezone": schedule.timezone,
        "job": Raw(schedule.job),
        "overlap": schedule.overlap,
        "catch_up": schedule.catch_up,
        "paused": schedule.paused,
        "next_runs": [iso(at) for at in next_runs],
        "last_job": schedule.last_id,
        "last_error": schedule.last_error,
    }
