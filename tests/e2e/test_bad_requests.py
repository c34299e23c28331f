"""Bad framing over real sockets: refused with a problem that can be read to its end, and then the connection closes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.raw_http import JSON, post, request
from tests.e2e.watched_server import Vitals, Watched, watched

BODY = b'{"kind":"simulate"}'
GET = request(b"GET /readyz")
POST = post(BODY)
CHUNKED = request(b"POST /jobs", JSON + b"Transfer-Encoding: chunked\r\n")
CHUNKS = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The server that gets them all."""
    with watched(tmp_path_factory.mktemp("bad")) as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def at_rest(server: Watched) -> Vitals:
    """What it holds before the first of them."""
    return server.settled()


REFUSED = {
    "no Host": (request(b"GET /", host=b""), 400),
    "two Hosts": (request(b"GET /", host=b"Host: a\r\nHost: a\r\n"), 400),
    "bad Host": (request(b"GET /", host=b"Host: a b\r\n"), 400),
    "Content-Length and Transfer-Encoding": (
        CHUNKED.replace(JSON, JSON + b"Content-Length: 3\r\n") + CHUNKS + b"\r\n",
        400,
    ),
    "two Content-Lengths": (post(BODY, JSON + b"Content-Length: 3\r\n"), 400),
    "two equal Content-Lengths": (post(BODY, JSON + b"Content-Length: %d\r\n" % len(BODY)), 400),
    "Content-Length 5, 5": (request(b"POST /jobs", JSON + b"Content-Length: 5, 5\r\n", b"hello"), 400),
    "Content-Length +2": (request(b"POST /jobs", b"Content-Length: +2\r\n", b"{}"), 400),
    "Content-Length -2": (request(b"POST /jobs", b"Content-Length: -2\r\n", b"{}"), 400),
    "empty Content-Length": (request(b"POST /jobs", b"Content-Length: \r\n", b"{}"), 400),
    "absurd Content-Length": (request(b"POST /jobs", b"Content-Length: %d\r\n" % 10**25), 400),
    "Transfer-Encoding gzip": (request(b"POST /jobs", b"Transfer-Encoding: gzip\r\n"), 501),
    "Transfer-Encoding gzip, chunked": (request(b"POST /jobs", b"Transfer-Encoding: gzip, chunked\r\n"), 501),
    "CONNECT": (request(b"CONNECT localhost:443"), 501),
    "space before the colon": (request(b"GET /", b"X : a\r\n"), 400),
    "NUL in a header": (request(b"GET /", b"X: \0\r\n"), 400),
    "control byte in a header": (request(b"GET /", b"X: \x07\r\n"), 400),
    "obs-fold": (request(b"GET /", b"X: a\r\n b\r\n"), 400),
    "bare LF": (GET.replace(b"\r\n", b"\n"), 400),
    "bare CR in a header": (request(b"GET /", b"X: a\rb\r\n"), 400),
    "NUL in the target": (request(b"GET /\0"), 400),
    "byte beyond ASCII in the target": (request(b"GET /\xff"), 400),
    "fragment in the target": (request(b"GET /#a"), 400),
    "space in the target": (request(b"GET /a b"), 400),
    "empty header name": (request(b"GET /", b": a\r\n"), 400),
    "bad chunk": (CHUNKED + b"zz\r\n", 400),
    "negative chunk": (CHUNKED + b"-1\r\n", 400),
    "absurd chunk": (CHUNKED + b"f" * 17 + b"\r\n", 400),
    "chunk extension without end": (CHUNKED + b"1;" + b"a" * 40_000, 431),
    "trailers without end": (CHUNKED + CHUNKS + b"X: a\r\n" * 5000, 431),
    "bad end of a chunk": (CHUNKED + b"2\r\nhiXX0\r\n\r\n", 400),
    "target of another host": (request(b"GET http://example.org/"), 400),
    "HTTP/3.7": (GET.replace(b"HTTP/1.1", b"HTTP/3.7"), 400),
    "HTTP/9.9": (GET.replace(b"HTTP/1.1", b"HTTP/9.9"), 400),
    "HTTP/0.9": (b"GET /jobs/a\r\n\r\n", 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0", 400),
    "TLS": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(32) + b"\r\n\r\n", 400),
    "head of 40 KB": (request(b"GET /", b"X: " + b"a" * 40_000 + b"\r\n"), 431),
    "head without end": (b"GET / HTTP/1.1\r\nX: " + b"a" * 60_000, 431),
    "200 headers": (request(b"GET /", b"X: a\r\n" * 200), 431),
    "target of 9,000 bytes": (request(b"GET /" + b"a" * 9000), 414),
    "Expect: x": (request(b"GET /", b"Expect: x\r\n"), 417),
    "HTTP/1.0 with Transfer-Encoding": (
        CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + CHUNKS + b"\r\n",
        400,
    ),
}
CODES = {
    400: "bad-request",
    414: "target-too-long",
    417: "expectation",
    431: "headers-too-large",
    501: "not-implemented",
}


@pytest.mark.parametrize("data, status", REFUSED.values(), ids=REFUSED)
def test_bad_framing_is_refused(server: Watched, data: bytes, status: int) -> None:
    """With a problem that the client can read to its end, and then the connection closes."""
    with server.connect() as raw:
        answer = raw.ask(data)

        assert answer.status == status
        assert answer.problem == CODES[status]
        assert answer.headers["connection"] == "close"
        assert raw.ends()


def test_a_refusal_waits_for_the_answers_before_it(server: Watched) -> None:
    """They were asked for first."""
    with server.connect() as raw:
        raw.send(POST * 2 + b"\0" + POST)

        assert [raw.answer().status for _ in range(3)] == [201, 201, 400]
        assert raw.ends()


def test_a_bad_chunk_in_the_middle_is_refused(server: Watched) -> None:
    """The app is at the request already."""
    with server.connect() as raw:
        assert raw.ask(CHUNKED + b"2\r\nhi\r\n", b"XX").problem == "bad-request"
        assert raw.ends()


def test_a_body_cut_short_is_refused(server: Watched) -> None:
    """A client that closed only its sending half can read why."""
    with server.connect() as raw:
        raw.send(POST[:-5])
        raw.send_eof()

        assert raw.answer().problem == "bad-request"


def test_a_smuggled_request_is_never_served(server: Watched) -> None:
    """What follows bad framing is no request, whatever it looks like."""
    hidden = post(b'{"kind":"smuggled"}')
    for data in (
        CHUNKED.replace(JSON, JSON + b"Content-Length: 5\r\n") + b"0\r\n\r\n" + hidden,
        post(BODY, JSON + b"Transfer-Encoding: chunked\r\n") + hidden,
        post(BODY, JSON + b"Transfer-Encoding : chunked\r\n") + hidden,
        post(BODY, JSON + b"Transfer-Encoding: xchunked\r\n") + hidden,
        post(BODY, JSON + b"Content-Length: 0\r\n") + hidden,
    ):
        with server.connect() as raw:
            assert raw.ask(data).status in (400, 501)
            assert raw.ends()
    found = server.ask(request(b"GET /jobs?kind=smuggled")).json()
    assert found["items"] == []


def test_after_all_this_the_server_is_as_before(server: Watched, at_rest: Vitals) -> None:
    """Same open files, same tasks, and no fault inside."""
    assert server.rests(at_rest), f"{server.state} is not {at_rest}"
