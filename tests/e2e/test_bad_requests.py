"""Odd and bad requests over real sockets, one by one: what is served all the same, and what is refused and closed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.raw_http import JSON, NDJSON, TOY, ServerProcess, Vitals, eventually, post, request, vitals

BODY = b'{"kind":"simulate"}'
GET = request(b"GET /readyz")
POST = post(BODY)
CHUNKED = request(b"POST /jobs", JSON + b"Transfer-Encoding: chunked\r\n")
CHUNKS = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """The server that gets them all."""
    with ServerProcess(TOY) as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def at_rest(server: ServerProcess) -> Vitals:
    """The vital signs of the server before the first of them."""
    return vitals(server)


# What is answered, and the connection goes on.


def test_a_request_may_come_in_any_pieces(server: ServerProcess) -> None:
    """Byte by byte, head and body apart, or three at once."""
    with server.connect() as raw:
        assert raw.ask(*[bytes([byte]) for byte in POST]).status == 201
        assert raw.ask(POST[: -len(BODY)], BODY).status == 201
        raw.send(POST * 3)
        assert [raw.answer().status for _ in range(3)] == [201] * 3


def test_two_hundred_pipelined_requests_are_answered(server: ServerProcess) -> None:
    """In their order."""
    with server.connect() as raw:
        raw.send((POST + request(b"GET /jobs/none")) * 100)

        assert [raw.answer().status for _ in range(200)] == [201, 404] * 100


def test_chunks_and_trailers_are_read(server: ServerProcess) -> None:
    """And the next request after them."""
    with server.connect() as raw:
        assert raw.ask(CHUNKED + CHUNKS + b"X-Admin: 1\r\n\r\n").status == 201
        assert raw.ask(POST).status == 201


def test_leave_to_send_is_given(server: ServerProcess) -> None:
    """`Expect: 100-continue`, as curl sends it with a large body."""
    with server.connect() as raw:
        raw.send(post(BODY, headers=JSON + b"Expect: 100-continue\r\n")[: -len(BODY)])
        assert raw.line() == b"HTTP/1.1 100 Continue\r\n"
        assert raw.line() == b"\r\n"
        assert raw.ask(BODY).status == 201


@pytest.mark.parametrize("wish", [b"h2c", b"websocket"])
def test_an_upgrade_is_answered_as_plain_http(server: ServerProcess, wish: bytes) -> None:
    """The body is a body, and what follows it the next request."""
    headers = JSON + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\nHTTP2-Settings: AAMAAABk\r\n" % wish
    with server.connect() as raw:
        raw.send(post(BODY, headers=headers) + POST)

        assert [raw.answer().status, raw.answer().status] == [201, 201]


def test_a_half_closed_client_gets_its_answer(server: ServerProcess) -> None:
    """As `printf ... | nc` wants it."""
    with server.connect() as raw:
        raw.send(POST)
        raw.send_eof()

        assert raw.answer().status == 201
        assert raw.ends()


def test_head_has_no_body(server: ServerProcess) -> None:
    """Also where it is a problem; the next answer stands right behind it."""
    with server.connect() as raw:
        raw.send(request(b"HEAD /readyz") + POST)

        assert raw.answer("HEAD").status == 404
        assert raw.answer().status == 201


def test_lines_and_answers_may_cross(server: ServerProcess) -> None:
    """One is answered before the next is sent; and all may be sent before one answer is read."""
    start = request(b"POST /jobs", NDJSON + b"Transfer-Encoding: chunked\r\n")
    with server.connect() as raw:
        raw.send(start, b"3\r\n{}\n\r\n")
        while raw.line() != b"0\n":
            pass
        raw.send(b"3\r\n{}\n\r\n")
        while raw.line() != b"1\n":
            pass
    with server.connect() as raw:
        answer = raw.ask(start, b"c000\r\n" + b"{}\n" * 16384 + b"\r\n", b"0\r\n\r\n")
        assert answer.body.splitlines()[-1] == b"16383"


def test_http_1_0_is_answered_and_closed(server: ServerProcess) -> None:
    """Without chunks, which it does not know."""
    with server.connect() as raw:
        answer = raw.ask(POST.replace(b"HTTP/1.1", b"HTTP/1.0"))

        assert answer.status == 201
        assert raw.ends()


@pytest.mark.parametrize("path", [b"/%00", b"/%ff", b"/../../etc/passwd", b"//", b"/jobs/%2e%2e", b"/jobs/\\", b"/%"])
def test_an_odd_path_is_not_found(server: ServerProcess, path: bytes) -> None:
    """Nothing is there, and nothing breaks."""
    assert server.ask(request(b"GET " + path)).status in (400, 404)


@pytest.mark.parametrize("method", [b"BREW", b"get", b"DELETE", b"PROPFIND"])
def test_an_unknown_method_is_not_allowed(server: ServerProcess, method: bytes) -> None:
    """With the methods that are."""
    answer = server.ask(request(method + b" /jobs"))

    assert answer.problem == "method-not-allowed"
    assert "POST" in answer.headers["allow"]


def test_a_failing_app_shows_nothing_of_the_inside(server: ServerProcess) -> None:
    """And the next request is served."""
    with server.connect() as raw:
        answer = raw.ask(request(b"GET /crash"))
        assert answer.problem == "internal"
        assert b"secret" not in answer.body
        assert raw.ends()
    assert server.ask(POST).status == 201


# What is refused, and the connection closes.

REFUSED = {
    "no Host": (request(b"GET /", host=b""), 400),
    "two Hosts": (request(b"GET /", host=b"Host: a\r\nHost: a\r\n"), 400),
    "bad Host": (request(b"GET /", host=b"Host: a b\r\n"), 400),
    "Content-Length and Transfer-Encoding": (
        CHUNKED.replace(JSON, JSON + b"Content-Length: 3\r\n") + CHUNKS + b"\r\n",
        400,
    ),
    "two Content-Lengths": (post(BODY, headers=b"Content-Length: 3\r\n"), 400),
    "Content-Length +2": (request(b"POST /jobs", b"Content-Length: +2\r\n", b"{}"), 400),
    "absurd Content-Length": (request(b"POST /jobs", b"Content-Length: %d\r\n" % 10**25), 400),
    "Transfer-Encoding gzip": (request(b"POST /jobs", b"Transfer-Encoding: gzip\r\n"), 501),
    "Transfer-Encoding gzip, chunked": (request(b"POST /jobs", b"Transfer-Encoding: gzip, chunked\r\n"), 501),
    "CONNECT": (request(b"CONNECT localhost:443"), 501),
    "space before the colon": (request(b"GET /", b"X : a\r\n"), 400),
    "NUL in a header": (request(b"GET /", b"X: \0\r\n"), 400),
    "control byte in a header": (request(b"GET /", b"X: \x07\r\n"), 400),
    "obs-fold": (request(b"GET /", b"X: a\r\n b\r\n"), 400),
    "bare LF": (GET.replace(b"\r\n", b"\n"), 400),
    "bad chunk": (CHUNKED + b"zz\r\n", 400),
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
    "body by length beyond the limit": (
        post(BODY, headers=JSON)[: -len(BODY)].replace(b"19", b"99000000") + b"x" * 5000,
        413,
    ),
    "body in chunks beyond the limit": (CHUNKED + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 20, 413),
}
CODES = {
    400: "bad-request",
    413: "body-too-large",
    414: "target-too-long",
    417: "expectation",
    431: "headers-too-large",
    501: "not-implemented",
}


@pytest.mark.parametrize("data, status", REFUSED.values(), ids=REFUSED)
def test_bad_framing_is_refused(server: ServerProcess, data: bytes, status: int) -> None:
    """With a problem that the client can read to its end, and then the connection closes."""
    with server.connect() as raw:
        answer = raw.ask(data)

        assert answer.status == status
        assert answer.problem == CODES[status]
        assert answer.headers["connection"] == "close"
        assert raw.ends()


def test_a_refusal_waits_for_the_answers_before_it(server: ServerProcess) -> None:
    """They were asked for first."""
    with server.connect() as raw:
        raw.send(POST * 2 + b"\0" + POST)

        assert [raw.answer().status for _ in range(3)] == [201, 201, 400]
        assert raw.ends()


def test_a_bad_chunk_in_the_middle_is_refused(server: ServerProcess) -> None:
    """The app is at the request already."""
    with server.connect() as raw:
        assert raw.ask(CHUNKED + b"2\r\nhi\r\n", b"XX").problem == "bad-request"
        assert raw.ends()


def test_a_body_cut_short_is_refused(server: ServerProcess) -> None:
    """A client that closed only its sending half can read why."""
    with server.connect() as raw:
        raw.send(POST[:-5])
        raw.send_eof()

        assert raw.answer().problem == "bad-request"


def test_after_all_this_the_server_is_as_before(server: ServerProcess, at_rest: Vitals) -> None:
    """Same open files, same tasks, no connection left, and no error inside, but the crash that was asked for."""
    expected = at_rest | {"errors": 1}

    assert eventually(lambda: vitals(server) == expected), f"{vitals(server)} is not {expected}"
