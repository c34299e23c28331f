"""Bytes to requests: every rule of framing as one row, and that the cuts between the bytes never matter."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.errors import BadRequest, HeadersTooLarge
from jobqueue.http.limits import Limits
from jobqueue.http.parser import Parser
from jobqueue.http.request import Request
from tests.unit.http_kit import HOST, head, parse

CHUNKED = head(b"Transfer-Encoding: chunked")


def one(*pieces: bytes) -> Request:
    """The only request in `pieces`."""
    (request,), error = parse(*pieces)
    assert error is None
    return request


def content(request: Request) -> bytes:
    """What has come of its body."""
    return b"".join(request.parts)


def test_a_request_is_read() -> None:
    """Names in lower case, values without the space around them, the target in its parts."""
    request = one(head(b"X-Thing: \t a b \t", b"Empty:", start=b"PUT /jobs/%41?q=1&r=?2 HTTP/1.1"))

    assert request.method == "PUT"
    assert request.version == "1.1"
    assert (request.path, request.raw_path, request.query) == ("/jobs/A", b"/jobs/%41", b"q=1&r=?2")
    assert request.headers == [(b"host", b"a"), (b"x-thing", b"a b"), (b"empty", b"")]
    assert request.complete
    assert request.keep_alive


@pytest.mark.parametrize(
    "escaped, path",
    [(b"/%00", "/\0"), (b"/%ff", "/\ufffd"), (b"/../x", "/../x"), (b"//x", "//x"), (b"/%", "/%"), (b"/%2F", "//")],
)
def test_an_odd_path_is_passed_on(escaped: bytes, path: str) -> None:
    """It is no fault of framing; nothing will be found there."""
    assert one(head(start=b"GET " + escaped + b" HTTP/1.1")).path == path


@pytest.mark.parametrize(
    "target, host, path, query",
    [
        (b"http://a/x?y", b"a", b"/x", b"y"),
        (b"http://a", b"a", b"/", b""),
        (b"http://a?y", b"a", b"/", b"y"),
        (b"HTTP://A/x", b"a", b"/x", b""),
        (b"http://a:80/x", b"a", b"/x", b""),
        (b"https://a/x", b"a:443", b"/x", b""),
        (b"http://[::1]:8080/x", b"[::1]:8080", b"/x", b""),
    ],
)
def test_an_absolute_target_of_the_same_host_is_taken(target: bytes, host: bytes, path: bytes, query: bytes) -> None:
    """RFC 9112 section 3.2.2 asks every server to accept that form."""
    request = one(head(start=b"GET " + target + b" HTTP/1.1", host=b"Host: " + host + b"\r\n"))

    assert (request.raw_path, request.query) == (path, query)


def test_options_may_ask_about_the_server_as_a_whole() -> None:
    """The asterisk-form of RFC 9112 section 3.2.4."""
    assert one(head(start=b"OPTIONS * HTTP/1.1")).path == "*"


@pytest.mark.parametrize(
    "pieces", [[b"BREW / HTTP/1.1\r\n"], [b"BR", b"EW", b" / HTTP/1.1\r\n"], [b"\r\nget / HTTP/1.1\r\n"]]
)
def test_an_unknown_method_is_the_apps_business(pieces: list[bytes]) -> None:
    """It gets its name, and its body is framed as any other."""
    request = one(*pieces, HOST, b"Content-Length: 2\r\n\r\nab")

    assert request.method in ("BREW", "get")
    assert content(request) == b"ab"


def test_an_unknown_method_amid_pipelined_requests_is_refused() -> None:
    """Llhttp does not know it, and where in the middle it stands is not known."""
    requests, refusal = parse(head() + head(start=b"BREW / HTTP/1.1"))

    assert len(requests) == 1
    assert type(refusal) is BadRequest


def test_http_1_0_needs_no_host_and_closes() -> None:
    """Its clients are old, and there are few of them."""
    request = one(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: x\r\n\r\n")

    assert request.version == "1.0"
    assert not request.keep_alive
    assert not request.expects_continue


@pytest.mark.parametrize("value", [b"close", b"Close", b"x, close"])
def test_a_client_may_wish_to_close(value: bytes) -> None:
    """What it sends after that is not read."""
    (request,), _ = parse(head(b"Connection: " + value) + head())

    assert not request.keep_alive


def test_a_client_may_wait_for_leave_to_send() -> None:
    """The one expectation that is met."""
    assert one(head(b"Expect: 100-Continue", b"Content-Length: 2")).expects_continue


def test_a_body_comes_by_length() -> None:
    """And what follows it is the next request."""
    (first, second), error = parse(head(b"Content-Length: 3") + b"abc" + head(start=b"GET /2 HTTP/1.1"))

    assert error is None
    assert content(first) == b"abc"
    assert second.path == "/2"


def test_a_body_comes_in_chunks() -> None:
    """Extensions and trailers are read over: a trailer that became a header could grant what no header did."""
    (first, second), error = parse(CHUNKED + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Admin: 1\r\n\r\n" + head())

    assert error is None
    assert content(first) == b"abcde"
    assert first.complete
    assert first.headers == [(b"host", b"a"), (b"transfer-encoding", b"chunked")]
    assert second.headers == [(b"host", b"a")]


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
def test_an_upgrade_is_read_as_plain_http(protocol: bytes) -> None:
    """Else its body would be taken for the next request: a request smuggled in."""
    smuggled = head(start=b"DELETE /all HTTP/1.1")
    wish = head(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + protocol, b"Content-Length: %d" % len(smuggled))

    (first, second), error = parse((wish + smuggled) * 2)

    assert error is None
    assert first.complete
    assert second.complete
    assert content(first) == content(second) == smuggled


def test_a_refusal_after_an_upgrade_is_one_of_ours() -> None:
    """The head of an upgrade is read twice, and what is wrong behind it is still told."""
    (first,), refusal = parse(head(b"Connection: upgrade", b"Upgrade: h2c") + head(host=b""))

    assert first.complete
    assert type(refusal) is BadRequest


def test_pipelined_requests_are_parsed_a_few_at_a_time() -> None:
    """A client that sends two thousand at once makes the server hold bytes, not requests."""
    parser = Parser(Limits())
    parser.feed(head(start=b"GET / HTTP/1.1") * 2000)
    total = len(parser.ready)

    assert total < 200
    while parser.unparsed:
        parser.ready.clear()
        parser.step()
        total += len(parser.ready)
        assert len(parser.ready) < 200
    assert total == 2000


def test_requests_before_an_error_stay_good() -> None:
    """They are answered before the connection closes."""
    (first, second), refusal = parse(head() * 2 + b"rubbish\r\n\r\n")

    assert first.complete
    assert second.complete
    assert first.error is second.error is None
    assert refusal is not None


def test_nothing_is_read_after_an_error() -> None:
    """The first error stays, and a good request behind it is none."""
    requests, refusal = parse(head(b"X: " + b"a" * 20_000), head(), b"\0")

    assert requests == []
    assert type(refusal) is HeadersTooLarge


@pytest.mark.parametrize(
    "value, streamed",
    [(b"application/x-ndjson", True), (b"Application/X-NDJSON ; charset=utf-8", True), (b"application/json", False)],
)
def test_ndjson_may_take_its_time(value: bytes, streamed: bool) -> None:  # noqa: FBT001 - a column of the table
    """The reaper asks whether a body is one that comes bit by bit."""
    assert one(head(b"Content-Type: " + value)).streamed is streamed


token = st.text("abcXYZ-", min_size=1, max_size=8).map(str.encode)
text = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20).map(str.encode)
bodies = st.binary(max_size=300)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """One good request."""
    lines = [b"X-" + draw(token) + b":" + draw(st.sampled_from([b"", b" ", b"\t "])) + draw(text) for _ in range(2)]
    body = draw(bodies)
    if draw(st.booleans()):
        size = draw(st.integers(1, 50))
        chunks = [body[i : i + size] for i in range(0, len(body), size)]
        lines.append(b"Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nX-T: 1\r\n\r\n"
    elif body:
        lines.append(b"Content-Length: %d" % len(body))
    if draw(st.booleans()):
        lines += [b"Connection: upgrade", b"Upgrade: h2c"]
    start = draw(st.sampled_from([b"GET /a?b", b"POST /jobs", b"DELETE /%20"])) + b" HTTP/1.1"
    return head(*lines, start=start) + body


@given(st.lists(messages(), min_size=1, max_size=5), st.lists(st.integers(0, 3000), max_size=20))
def test_it_does_not_matter_where_the_bytes_are_cut(wire: list[bytes], cuts: list[int]) -> None:
    """The network cuts as it likes; the requests stay the same, and so do their bodies."""
    data = b"".join(wire)
    edges = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    whole, error = parse(data)
    pieces, error_in_pieces = parse(*[data[a:b] for a, b in itertools.pairwise(edges)])

    assert error is error_in_pieces is None
    assert [facts(request) for request in whole] == [facts(request) for request in pieces]
    assert len(whole) == len(wire)


bad = st.sampled_from([head(host=b""), head(b"Expect: x"), head(b"X: \0"), head(start=b"CONNECT a HTTP/1.1"), b"zz"])


@given(st.lists(st.one_of(messages(), bad, st.binary(max_size=60)), max_size=4), st.integers(1, 500))
def test_nothing_but_an_error_of_ours_comes_out(wire: list[bytes], size: int) -> None:
    """Whatever is sent, the parser answers with requests and at most one refusal."""
    data = b"".join(wire)

    _, error = parse(*[data[i : i + size] for i in range(0, len(data), size)])

    assert error is None or 400 <= error.status < 600


def facts(request: Request) -> tuple[object, ...]:
    return (request.method, request.target, request.version, request.headers, content(request), request.complete)
