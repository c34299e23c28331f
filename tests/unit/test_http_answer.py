"""Answers to bytes: the framing of RFC 9112, and that no header can carry another one in."""

from __future__ import annotations

import pytest

from jobqueue.http.answer import Answer, AnswerError
from tests.unit import http_kit as kit

DATE = b"date: Tue, 24 Nov 2026 12:00:00 GMT\r\n"


def read(data: bytes, method: str = "GET") -> kit.Answer:
    """The one answer in `data`."""
    (found,) = kit.answers(data, method)
    return found


def answer(*, head_only: bool = False, chunks_allowed: bool = True, closes: bool = False) -> Answer:
    return Answer(head_only=head_only, chunks_allowed=chunks_allowed, closes=closes)


def test_a_whole_body_gets_its_length() -> None:
    """One send, and the client knows where it ends."""
    data = answer().begin(201, [(b"X-A", b"1")], DATE, b"hello", more=False)

    assert data.startswith(b"HTTP/1.1 201 Created\r\n")
    assert read(data).body == b"hello"
    assert read(data).headers == {"date": "Tue, 24 Nov 2026 12:00:00 GMT", "x-a": "1", "content-length": "5"}


def test_a_stream_goes_in_chunks() -> None:
    """The head goes out with the first piece, an empty piece sends nothing."""
    it = answer()
    data = [it.begin(200, [], DATE, b"", more=True), it.go_on(b"ab", more=True), it.go_on(b"", more=True)]
    data += [it.go_on(b"c" * 20, more=True), it.go_on(b"", more=False)]

    assert data[0].endswith(b"\r\n\r\n")
    assert data[2] == b""
    assert read(b"".join(data)).body == b"ab" + b"c" * 20


def test_a_stream_of_known_length_goes_as_it_is() -> None:
    """The app may know the length before it has the body."""
    it = answer()
    data = it.begin(200, [(b"content-length", b"4")], DATE, b"ab", more=True) + it.go_on(b"cd", more=False)

    assert read(data).body == b"abcd"
    assert data.endswith(b"\r\n\r\nabcd")


def test_a_stream_to_http_1_0_ends_with_the_connection() -> None:
    """It knows no chunks."""
    it = answer(chunks_allowed=False, closes=True)
    data = it.begin(200, [], DATE, b"ab", more=True) + it.go_on(b"cd", more=False)

    assert it.closes
    assert b"chunked" not in data
    assert read(data).body == b"abcd"


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body(status: int) -> None:
    """Whatever the app sends with them, and without a Content-Length (RFC 9110 section 8.6)."""
    data = answer().begin(status, [(b"content-length", b"2")], DATE, b"ab", more=False)

    assert data.endswith(b"\r\n\r\n")
    assert b"content-length" not in data


@pytest.mark.parametrize(
    "headers, body, length",
    [([(b"content-length", b"7")], b"", "7"), ([], b"hello", "5"), ([], b"", None)],
)
def test_head_gets_the_head_only(headers: list[tuple[bytes, bytes]], body: bytes, length: str | None) -> None:
    """With the length that GET would have, where that is known."""
    data = answer(head_only=True).begin(200, headers, DATE, body, more=False)

    assert read(data, "HEAD").headers.get("content-length") == length
    assert data.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "body, more, rest",
    [(b"abcd", False, b""), (b"ab", False, b""), (b"ab", True, b""), (b"ab", True, b"cd")],
)
def test_a_body_must_have_the_length_it_was_given(body: bytes, more: bool, rest: bytes) -> None:  # noqa: FBT001 - a case's parameter
    """Else the client would take a part of the next answer for it, or wait for ever."""
    it = answer()

    def send() -> None:
        it.begin(200, [(b"content-length", b"3")], DATE, body, more=more)
        it.go_on(rest, more=False)

    with pytest.raises(AnswerError, match="length"):
        send()


@pytest.mark.parametrize("poison", [b"a\r\nX-Admin: 1", b"a\nb", b"a\rb", b"a\0b", b"a\r\n\r\n<script>"])
@pytest.mark.parametrize("place", ["name", "value"])
def test_no_header_carries_another_in(poison: bytes, place: str) -> None:
    """The app may put text of a client into a header; it must stay one."""
    header = (poison, b"x") if place == "name" else (b"x", poison)

    with pytest.raises(AnswerError, match="line break"):
        answer().begin(200, [header], DATE, b"", more=False)


@pytest.mark.parametrize("status", [0, 100, 101, 199, 600])
def test_an_answer_has_a_final_status(status: int) -> None:
    """A 101 above all would end HTTP on the connection."""
    with pytest.raises(AnswerError, match="status"):
        answer().begin(status, [], DATE, b"", more=False)


def test_an_unregistered_status_is_sent() -> None:
    """With an empty reason (RFC 9112 section 4)."""
    assert answer().begin(299, [], DATE, b"", more=False).startswith(b"HTTP/1.1 299 \r\n")


def test_the_app_decides_what_it_says_but_not_the_framing() -> None:
    """Its Connection, Transfer-Encoding and Date do not pass; a wish to close is heard."""
    it = answer()
    headers = [(b"Connection", b"close"), (b"Transfer-Encoding", b"gzip"), (b"Date", b"never"), (b"Connection", b"x")]

    data = it.begin(200, headers, DATE, b"a", more=False)

    assert it.closes
    assert data.count(b"connection: close\r\n") == data.lower().count(b"connection") == 1
    assert b"gzip" not in data
    assert b"never" not in data
