"""A job as JSON, both ways. What a submission may say over HTTP is in tests/api; here is what that cannot show."""

from __future__ import annotations

import json
import string
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue import wire
from jobqueue.clock import SECOND, iso
from jobqueue.errors import Invalid, JobQueueError, OutOfRange
from jobqueue.handlers import Handlers
from jobqueue.job import DEFAULT_OPTIONS, Draft, Error, Options, Progress, Reason, Retry, Status
from tests.helpers import EPOCH, planted

NAME_CHARACTERS = f"{string.ascii_letters}{string.digits}._:-"
ANY = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.lists(st.none())


def draft(**said: Any) -> Draft:
    return wire.draft({"kind": "noop", **said}, EPOCH, {})


def fault(said: Any) -> tuple[type[JobQueueError], list[str]]:
    with pytest.raises(JobQueueError) as caught:
        wire.draft(said, EPOCH, {})
    return type(caught.value), [found.pointer for found in caught.value.faults]


def test_a_draft_that_says_nothing_shares_the_default_options() -> None:
    """The usual submission makes no options of its own."""
    assert draft() == Draft("noop")
    assert draft(payload=[1], priority=5, group="g", queue="q").options is DEFAULT_OPTIONS


def test_a_handlers_registration_fills_what_a_submission_leaves_open() -> None:
    """The submission first, then the registration, then the server."""
    handlers = Handlers()

    @handlers.register("noop", timeout=7, retry=Retry("linear", initial=3))
    async def noop(ctx: object, payload: object) -> None: ...

    known = {registration.kind: registration for registration in handlers}
    options = wire.draft({"kind": "noop", "timeout": 9}, EPOCH, known).options
    assert (options.timeout, options.max_attempts, options.retry) == (9, 5, Retry("linear", initial=3))
    assert wire.draft({"kind": "other"}, EPOCH, known).options is DEFAULT_OPTIONS


@given(st.text(alphabet=NAME_CHARACTERS, min_size=1, max_size=64))
def test_a_name_is_1_to_64_of_its_characters(name: str) -> None:
    """`[A-Za-z0-9._:-]{1,64}`."""
    said = draft(kind=name, queue=name, group=name, tags=[name])
    assert (said.kind, said.queue, said.group, said.options.tags) == (name, name, name, (name,))


@given(st.text(max_size=70).filter(lambda text: not (0 < len(text) <= 64 and set(text) <= set(NAME_CHARACTERS))))
def test_nothing_else_is_a_name(text: str) -> None:
    """Not even a name with a line feed at its end."""
    for said in (text, "noop\n"):
        assert fault({"kind": said})[1] == ["/kind"]


FIELDS = st.sampled_from([*wire.Submission.__struct_fields__, "x", "`", "a b", "~/"])


@given(st.dictionaries(FIELDS, ANY | st.dictionaries(st.text(max_size=3), ANY)))
def test_whatever_is_said_is_taken_or_refused_with_pointers(said: dict[str, Any]) -> None:
    """Nothing but our own errors comes out, and each names a place that exists, or a field that is missing."""
    try:
        wire.draft(said, EPOCH, {})
    except JobQueueError as error:
        refused = error
    else:
        return
    tops = {found.pointer.split("/")[1].replace("~1", "/").replace("~0", "~") for found in refused.faults}
    assert refused.status == 422
    assert tops
    assert tops <= said.keys() | {"kind"}


@given(st.datetimes(datetime(2000, 1, 1), datetime(2036, 12, 31)), st.integers(-1439, 1439))  # noqa: DTZ001 - zones below
def test_a_time_of_any_zone_is_the_same_moment(local: datetime, minutes: int) -> None:
    """Shown in UTC, to the microsecond."""
    moment = local.replace(tzinfo=UTC).astimezone(UTC) - timedelta(minutes=minutes)
    if moment.year < 2000:
        return
    sign = "+" if minutes >= 0 else "-"
    said = f"{local.isoformat()}{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    run_at = draft(run_at=said).options.run_at
    assert run_at is not None
    assert iso(run_at) == moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_ten_years_ahead_is_the_furthest() -> None:
    """More than 10 years ahead: out of range; so is more than that of delay."""
    ten = iso(EPOCH + wire.LONGEST_SECONDS * SECOND)
    assert ten.startswith("2037-01-15")
    assert draft(run_at=ten).options.run_at == EPOCH + wire.LONGEST_SECONDS * SECOND
    assert draft(delay=wire.LONGEST_SECONDS).delay == wire.LONGEST_SECONDS
    assert fault({"kind": "a", "run_at": iso(EPOCH + wire.LONGEST_SECONDS * SECOND + 1)}) == (OutOfRange, ["/run_at"])
    assert fault({"kind": "a", "delay": wire.LONGEST_SECONDS + 1}) == (OutOfRange, ["/delay"])


@pytest.mark.parametrize("said", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_at_the_end_of_the_calendar_is_out_of_range(said: str) -> None:
    """And no fault of ours."""
    assert fault({"kind": "a", "run_at": said}) == (OutOfRange, ["/run_at"])


def test_a_line_of_a_stream_has_a_key_of_its_own() -> None:
    """`idempotency_key`, which no other submission has."""
    assert wire.draft_line({"kind": "a", "idempotency_key": "k"}, EPOCH, {}, wire.NO_TRACE) == (Draft("a"), "k")
    assert wire.draft_line({"kind": "a"}, EPOCH, {}, wire.NO_TRACE) == (Draft("a"), None)
    assert fault({"kind": "a", "idempotency_key": "k"}) == (Invalid, ["/idempotency_key"])


def test_a_job_is_shown_with_all_of_its_fields_in_their_order() -> None:
    """Every field is there, null where there is nothing."""
    assert tuple(json.loads(wire.job_json(planted(Status.QUEUED)))) == wire.FIELDS


def test_what_a_handler_left_is_shown_as_it_is_stored() -> None:
    """JSON inside a job is never looked into."""
    job = planted(
        Status.FAILED,
        payload='{"n":1e2}',
        result="[1.50]",
        reason=Reason.ERROR,
        error=Error("E", "m", "t"),
        progress=Progress(33.5, None, "{}"),
    )
    body = wire.job_json(job).decode()
    assert '"payload":{"n":1e2}' in body
    assert '"result":[1.50]' in body
    assert '"error":{"type":"E","message":"m","traceback":"t"}' in body
    assert '"progress":{"percent":33.5,"message":null,"data":{}}' in body


def test_a_whole_number_of_seconds_is_shown_as_one() -> None:
    """300, not 300.0."""
    assert wire.fields(planted(Status.QUEUED, options=Options(timeout=300.0)))["timeout"] == 300
    assert b'"timeout":300,' in wire.job_json(planted(Status.QUEUED))
    assert b'"timeout":0.5,' in wire.job_json(planted(Status.QUEUED, options=Options(timeout=0.5)))


@pytest.mark.parametrize("policy", [Retry(), Retry("linear", 5, max=9), Retry("list", delays=(1, 2.5))])
def test_a_policy_as_it_is_shown_may_be_submitted_again(policy: Retry) -> None:
    """What is shown of a retry policy is one."""
    shown = wire.fields(planted(Status.QUEUED, options=Options(retry=policy)))["retry"]
    again = draft(retry=shown).options.retry
    assert wire.fields(planted(Status.QUEUED, options=Options(retry=again)))["retry"] == shown


def test_fields_are_chosen_by_name() -> None:
    """None: those of a list, without what is wide; the job itself is left as it was."""
    job = planted(Status.FAILED, error=Error("E", "m", "t"))
    assert wire.chosen(job, frozenset({"id", "error"})) == {
        "id": job.id,
        "error": {"type": "E", "message": "m", "traceback": "t"},
    }
    listed = wire.chosen(job, None)
    assert listed["error"] == {"type": "E", "message": "m"}
    assert set(wire.FIELDS) - listed.keys() == {"payload", "result"}
    assert msgspec.structs.asdict(job)["error"] == Error("E", "m", "t")
