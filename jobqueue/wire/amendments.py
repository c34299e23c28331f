"""What a PATCH of a job may say (RFC 7396: a member that is there is the new value, null clears it)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jobqueue.clock import Micros
from jobqueue.errors import Fault, Invalid
from jobqueue.wire.submission import UNKNOWN_MOST, Moment, moment, no_fields, translate


class AmendmentBody(msgspec.Struct, forbid_unknown_fields=True):
    """The fields that can be changed, within the ranges of a submission."""

    priority: Annotated[int, Meta(ge=-1000, le=1000)] | UnsetType = UNSET
    max_attempts: Annotated[int, Meta(ge=1, le=1000)] | UnsetType = UNSET
    expires_at: Moment | UnsetType | None = UNSET
    run_at: Moment | UnsetType | None = UNSET


def amendment(said: Any, now: Micros) -> dict[str, Any]:
    """The changes that a JSON value asks for, by field. Raises Invalid, OutOfRange, with pointers into the value."""
    if not isinstance(said, dict):
        raise Invalid("a change of a job is a JSON object", faults=(Fault("", "expected an object"),))
    unknown = [(name,) for name in said if name not in AmendmentBody.__struct_fields__]
    if unknown:
        raise no_fields(unknown[:UNKNOWN_MOST])
    try:
        body = msgspec.convert(said, AmendmentBody)
    except msgspec.ValidationError as error:
        raise translate(str(error), said) from None
    changes: dict[str, Any] = {
        name: value for name in AmendmentBody.__struct_fields__ if (value := getattr(body, name)) is not UNSET
    }
    for name in ("expires_at", "run_at"):
        if changes.get(name) is not None:
            changes[name] = moment(changes[name], f"/{name}", now)
    return changes
