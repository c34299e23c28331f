"""JSON in, strictly: what is taken comes back as it came, what is not is refused with the place where it stands."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue import strictjson
from jobqueue.errors import InvalidJson, InvalidText, JobQueueError, OutOfRange, TooDeep

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**999), 10**999)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def refusal(data: bytes, apart: str | None = None) -> tuple[type[JobQueueError], list[str]]:
    with pytest.raises(JobQueueError) as caught:
        strictjson.loads(data, apart=apart)
    return type(caught.value), [fault.pointer for fault in caught.value.faults]


@given(VALUES)
def test_what_json_can_say_comes_back_as_it_was(value: Any) -> None:
    """Reading what was written is the same value, and writing that the same text."""
    text = strictjson.dumps(value)
    assert strictjson.loads(text.encode()) == value
    assert strictjson.dumps(strictjson.loads(text.encode())) == text


@given(VALUES)
def test_the_text_is_compact_utf_8(value: Any) -> None:
    """No white space, no escape that is not needed; what any other parser reads is the same."""
    text = strictjson.dumps(value)
    assert json.loads(text) == value
    assert text == json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing but our own errors comes out, whatever comes in."""
    try:
        value = strictjson.loads(data)
    except JobQueueError:
        return
    assert json.loads(data) == value


@given(st.text(alphabet='[]{}",:0123456789eE+-.\\unaN \n', max_size=30))
def test_anything_like_json_is_read_as_the_standard_has_it(text: str) -> None:
    """What is taken is what the standard library takes, but for the constants that are no JSON and huge numbers."""
    try:
        value = strictjson.loads(text.encode())
    except JobQueueError:
        return
    assert json.loads(text) == value


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 400 + ".0", "[1e999]"])
def test_what_is_no_number_is_refused(name: str) -> None:
    """Infinity of any spelling is no JSON."""
    assert refusal(name.encode()) == (InvalidJson, [""])


def test_a_number_too_small_is_nothing() -> None:
    """It is the nearest number there is."""
    assert strictjson.loads(b"1e-400") == 0.0
    assert math.copysign(1, strictjson.loads(b"-0.0")) == -1


@pytest.mark.parametrize("sign", ["", "-"])
def test_integers_are_exact_to_a_thousand_digits(sign: str) -> None:
    """To 1,000 digits, whatever their sign; one more is out of range, and pointed at."""
    text = sign + "9" * 1000
    assert strictjson.dumps(strictjson.loads(text.encode())) == text
    assert refusal(f'{{"a": [1, {text}9], "b": {text}9}}'.encode()) == (OutOfRange, ["/a/1"])
    assert refusal(f"{text}9".encode()) == (OutOfRange, [""])


@pytest.mark.parametrize(
    "after, pointer", [(b"[" * 100_000, ""), (b"x", ""), (nested(500), "/1"), (b'"\\ud800"', "/1"), (b"1e999", "/1")]
)
def test_a_long_integer_is_refused_whatever_follows_it(after: bytes, pointer: str) -> None:
    """It is pointed at if what follows can be read; a thousand digits with a sign are none."""
    data = b"[-%s,%s,%s]" % (b"9" * 1000, b"9" * 1001, after)
    assert refusal(data) == (OutOfRange, [pointer])


@given(st.lists(st.tuples(st.sampled_from(["", "-", "1.", "x"]), st.integers(998, 1003)), max_size=3))
def test_only_integers_are_too_long(runs: list[tuple[str, int]]) -> None:
    """A fraction, or text, may have as many digits as it likes."""
    items = [f'"{"9" * count}"' if form == "x" else form + "9" * count for form, count in runs]
    data = f"[{','.join(items)}]".encode()
    long = [index for index, (form, count) in enumerate(runs) if form in ("", "-") and count > 1000]
    if long:
        assert refusal(data) == (OutOfRange, [f"/{long[0]}"])
    else:
        strictjson.loads(data)


def test_of_duplicate_names_the_last_wins() -> None:
    """At every level."""
    assert strictjson.loads(b'{"a": 1, "b": {"c": 1, "c": 2}, "a": 3}') == {"a": 3, "b": {"c": 2}}


@pytest.mark.parametrize("levels, taken", [(1, True), (64, True), (65, False), (990, False), (100_000, False)])
def test_it_goes_64_levels_deep(levels: int, taken: bool) -> None:  # noqa: FBT001 - a case's parameter
    """A 65th level is too deep, as an array or an object."""
    objects = b'{"a":' * levels + b"1" + b"}" * levels
    for data in (nested(levels), objects):
        if taken:
            strictjson.loads(data)
        else:
            assert refusal(data) == (TooDeep, [""])


def test_brackets_in_text_are_no_levels() -> None:
    """Only what nests counts."""
    assert strictjson.loads(b'["%s"]' % (b"[{" * 100)) == ["[{" * 100]
    assert len(strictjson.loads(b"[%s]" % b",".join([b"[]"] * 100))) == 100


@pytest.mark.parametrize(
    "data, taken",
    [
        (b'{"p": %s}' % nested(64), True),
        (b'{"p": %s}' % nested(65), False),
        (b'[{"p": %s}, {"p": %s}]' % (nested(64), nested(64)), True),
        (b'[{"p": 1}, {"p": %s}]' % nested(65), False),
        (b'{"q": %s}' % nested(64), False),
        (b'{"p": 1, "q": {"p": %s}}' % nested(63), False),
        (b"[%s]" % nested(64), False),
        (nested(65), False),
    ],
)
def test_a_member_may_have_levels_of_its_own(data: bytes, taken: bool) -> None:  # noqa: FBT001 - a case's parameter
    """`apart`: counted by itself, so that what it may hold does not depend on what stands around it."""
    if taken:
        strictjson.loads(data, apart="p")
    else:
        assert refusal(data, apart="p") == (TooDeep, [""])


@pytest.mark.parametrize(
    "data, pointer",
    [
        (rb'"\ud800"', ""),
        (rb'{"a": ["x", "\udfff"]}', "/a/1"),
        (rb'{"a/b~": {"\ud800": 1}}', "/a~1b~0"),
        (rb'["\ud83d\ude00", "\ude00\ud83d"]', "/1"),
    ],
)
def test_a_lone_surrogate_is_refused_and_pointed_at(data: bytes, pointer: str) -> None:
    """It has no UTF-8, so it could not be given back."""
    assert refusal(data) == (InvalidText, [pointer])


def test_a_pair_of_surrogates_is_a_character() -> None:
    """Escaped or not."""
    assert strictjson.loads(rb'"\ud83d\ude00"') == "\U0001f600"


def test_the_place_of_a_fault_is_told() -> None:
    """Line and column, for people."""
    with pytest.raises(InvalidJson, match="line 2 column 3"):
        strictjson.loads(b"[1,\n  x]")
    with pytest.raises(InvalidJson, match="the body is empty"):
        strictjson.loads(b" \n")
    with pytest.raises(InvalidJson, match="not UTF-8 \\(byte 2\\)"):
        strictjson.loads(b'["\xff"]')


@pytest.mark.parametrize("segments, pointer", [((), ""), (("a", 0, ""), "/a/0/"), (("~/~1",), "/~0~1~01")])
def test_a_pointer_is_one_of_rfc_6901(segments: tuple[str | int, ...], pointer: str) -> None:
    """`~` and `/` in a name are escaped."""
    assert strictjson.pointer(segments) == pointer
