"""A job as JSON, both ways: what a submission may say, and how a job is shown. Shared by `api/` and clients.

Names, types and ranges are those of README, "A job"; a fault is an error of `errors.py` with a JSON Pointer to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jobqueue import strictjson
from jobqueue.clock import SECOND, Micros, from_datetime
from jobqueue.errors import Fault, Invalid, InvalidText, JobQueueError, OutOfRange
from jobqueue.job import DEFAULT_OPTIONS, NOTHING_SAID, Draft, Options, Retry
from jobqueue.wire.ties import OnFailure, Parents, UniqueBody, parents_of, unique_of

NAME = r"^[A-Za-z0-9._:-]{1,64}(?!\n)$"  # `$` alone lets a line feed follow
EARLIEST: Micros = 946_684_800 * SECOND  # 2000-01-01
LONGEST_SECONDS = 3_653 * 86_400  # ten years

UNKNOWN_MOST = 100  # fields that are not known and pointed at

S = TypeVar("S", bound=msgspec.Struct)

Name = Annotated[str, Meta(pattern=NAME)]
Moment = Annotated[datetime, Meta(tz=True)]
Seconds = Annotated[float, Meta(ge=0, le=LONGEST_SECONDS)]


class RetryBody(msgspec.Struct, forbid_unknown_fields=True):
    """A retry policy; seconds."""

    backoff: Literal["exponential", "linear", "list"] = "exponential"
    initial: Seconds = 1
    factor: Annotated[float, Meta(ge=1, le=1000)] = 2
    max: Seconds = 3600
    jitter: Literal["full", "equal", "none"] = "full"
    delays: Annotated[tuple[Seconds, ...], Meta(max_length=1000)] = ()


class Submission(msgspec.Struct, forbid_unknown_fields=True):
    """What a submission takes."""

    kind: Name
    queue: Name = "default"
    payload: Any = None
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 0
    group: Name | None = None
    tags: Annotated[tuple[Name, ...], Meta(max_length=20)] = ()
    max_attempts: Annotated[int, Meta(ge=1, le=1000)] | UnsetType = UNSET
    retry: RetryBody | UnsetType = UNSET
    timeout: Annotated[float, Meta(ge=0.1, le=86_400)] | UnsetType = UNSET
    run_at: Moment | None = None
    delay: Seconds | None = None
    expires_at: Moment | None = None
    unique: UniqueBody | None = None
    depends_on: Parents = ()
    on_dependency_failure: OnFailure = "cancel"


class SubmissionLine(Submission):
    """A line of NDJSON: a submission with its own key."""

    idempotency_key: Annotated[str, Meta(min_length=1, max_length=255)] | None = None


class Defaults(Protocol):
    """What the registration of a kind says of its jobs; None leaves it to the server."""

    @property
    def timeout(self) -> float | None: ...
    @property
    def max_attempts(self) -> int | None: ...
    @property
    def retry(self) -> Retry | None: ...


class Trace(msgspec.Struct, frozen=True):
    """A W3C Trace Context that came with a submission."""

    parent: str | None = None
    state: str | None = None


NO_TRACE = Trace()


def draft(said: Any, now: Micros, defaults: Mapping[str, Defaults], trace: Trace = NO_TRACE) -> Draft:
    """The draft that a JSON value asks for. Raises Invalid, OutOfRange, InvalidText, with pointers into the value."""
    return _draft(convert(said, Submission), now, defaults, trace)


def draft_line(said: Any, now: Micros, defaults: Mapping[str, Defaults], trace: Trace) -> tuple[Draft, str | None]:
    """The same for a line of NDJSON, and its idempotency key."""
    line = convert(said, SubmissionLine)
    return _draft(line, now, defaults, trace), line.idempotency_key


def convert(said: Any, form: type[S]) -> S:
    """A JSON value as what a body takes. Raises Invalid, OutOfRange, InvalidText, with pointers into the value."""
    if not isinstance(said, dict):
        raise Invalid("a JSON object is needed", faults=(Fault("", f"expected an object, got {_json_type(said)}"),))
    try:
        return msgspec.convert(said, form)
    except msgspec.ValidationError as error:
        raise _unknown_fields(said, form) or translate(str(error), said) from None


def _draft(said: Submission, now: Micros, defaults: Mapping[str, Defaults], trace: Trace) -> Draft:
    run_at, expires_at = _times(said, now)
    known = defaults.get(said.kind)
    if (
        known is None
        and said.max_attempts is UNSET
        and said.timeout is UNSET
        and said.retry is UNSET
        and not said.tags
        and run_at is None
        and expires_at is None
        and trace is NO_TRACE
        and said.unique is None
        and not said.depends_on
        and said.on_dependency_failure == "cancel"
    ):
        options, unsaid = DEFAULT_OPTIONS, NOTHING_SAID
    else:
        unsaid = _unsaid(said, known)
        options = Options(
            tags=said.tags,
            max_attempts=_first(said.max_attempts, known and known.max_attempts, DEFAULT_OPTIONS.max_attempts),
            retry=_first(_policy(said.retry), known and known.retry, DEFAULT_OPTIONS.retry),
            timeout=_first(said.timeout, known and known.timeout, DEFAULT_OPTIONS.timeout),
            run_at=run_at,
            expires_at=expires_at,
            trace_parent=trace.parent,
            trace_state=trace.state,
            unique=unique_of(said.unique),
            depends_on=parents_of(said.depends_on),
            on_dependency_failure=said.on_dependency_failure,
        )
    payload = strictjson.dumps(said.payload)
    return Draft(said.kind, said.queue, said.priority, said.group, payload, options, said.delay, unsaid)


def _unsaid(said: Submission, known: Defaults | None) -> frozenset[str]:
    """What neither the submission nor the handler names, so that the queue may."""
    return frozenset(
        name for name in NOTHING_SAID if getattr(said, name) is UNSET and getattr(known, name, None) is None
    )


def _first(said: Any, registered: Any, default: Any) -> Any:
    if said is not UNSET:
        return said
    return default if registered is None else registered


def _policy(said: RetryBody | UnsetType) -> Retry | UnsetType:
    if isinstance(said, UnsetType):
        return said
    if said.backoff == "list" and not said.delays:
        raise Invalid("backoff list needs delays", faults=(Fault("/retry/delays", "must name at least one delay"),))
    return Retry(said.backoff, said.initial, said.factor, said.max, said.jitter, said.delays)


def _times(said: Submission, now: Micros) -> tuple[Micros | None, Micros | None]:
    if said.run_at is None and said.expires_at is None:
        return None, None
    if said.run_at is not None and said.delay is not None:
        raise Invalid(
            "run_at and delay exclude each other", faults=(Fault("/delay", "give run_at or delay, not both"),)
        )
    run_at = None if said.run_at is None else moment(said.run_at, "/run_at", now)
    expires_at = None if said.expires_at is None else moment(said.expires_at, "/expires_at", now)
    return run_at, expires_at


def moment(said: datetime, pointer: str, now: Micros) -> Micros:
    """A time within what is taken. Raises OutOfRange."""
    at = from_datetime(said)
    if not EARLIEST <= at <= now + LONGEST_SECONDS * SECOND:
        raise OutOfRange("a time out of range", faults=(Fault(pointer, "must be from 2000 to ten years from now"),))
    return at


_RANGE = re.compile(r"Expected `(?:int|float)` [<>]=? |out of range")
_MISSING = re.compile(r"missing required field `(.*)`")
_PATH = re.compile(r" - at `(\$.*)`$", re.DOTALL)


def translate(message: str, said: Any) -> JobQueueError:
    """What msgspec found, as an error with a pointer (RFC 6901)."""
    path = _PATH.search(message)
    detail = message[: path.start()] if path else message
    pointer = _pointer(path.group(1)[1:]) if path else ""
    missing = _MISSING.search(detail)
    if missing:
        pointer += f"/{missing.group(1)}"
        detail = "is required"
    elif "matching regex" in detail:
        detail = "must be 1 to 64 of the characters A-Z a-z 0-9 . _ : -"
        value = _at(said, pointer)
        if isinstance(value, str) and "\0" in value:
            return InvalidText("a name holds a NUL", faults=(Fault(pointer, "holds a NUL"),))
    kind: type[JobQueueError] = OutOfRange if _RANGE.search(detail) else Invalid
    return kind(f"{pointer or 'the body'}: {detail}", faults=(Fault(pointer, detail),))


def _pointer(path: str) -> str:
    """`.retry.delays[0]` as `/retry/delays/0`."""
    return "".join(f"/{name or index}" for name, index in re.findall(r"\.([^.\[]+)|\[([^\]]*)\]", path))


def _unknown_fields(said: dict[str, Any], form: type[msgspec.Struct]) -> Invalid | None:
    """An error that points at each field which is none, if there are any."""
    ways: list[tuple[str, ...]] = [(name,) for name in said if name not in form.__struct_fields__]
    for field, inner in (("retry", RetryBody), ("unique", UniqueBody)):
        if isinstance(said.get(field), dict):
            ways += [(field, name) for name in said[field] if name not in inner.__struct_encode_fields__]
    return no_fields(ways[:UNKNOWN_MOST]) if ways else None


def no_fields(ways: Sequence[tuple[str, ...]]) -> Invalid:
    """The error that says of fields that they are none."""
    faults = tuple(Fault(strictjson.pointer(way), "is not a field here") for way in ways)
    return Invalid(f"{faults[0].pointer}: {faults[0].detail}", faults=faults)


def _at(said: Any, pointer: str) -> Any:
    for segment in pointer.split("/")[1:]:
        if isinstance(said, list) and segment.isdigit() and int(segment) < len(said):
            said = said[int(segment)]
        elif isinstance(said, dict):
            said = said.get(segment)
        else:
            return None
    return said


def _json_type(said: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(said), "a number")
