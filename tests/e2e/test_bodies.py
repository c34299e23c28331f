"""Sizes of bodies over real sockets: within the limit they are taken, beyond it it is 413 and no more is read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest

from tests.e2e.raw_http import JSON, NDJSON, post, request
from tests.e2e.watched_server import Vitals, Watched, watched

MAX_BODY = 1 << 20
PIECE = 65_000
KERNEL_BYTES = 16 << 20  # more than the sockets of both sides hold
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The server that gets them all."""
    with watched(tmp_path_factory.mktemp("bodies")) as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def at_rest(server: Watched) -> Vitals:
    """What it holds before the first of them."""
    return server.settled()


def chunked(body: bytes, headers: bytes = JSON, path: bytes = b"/jobs") -> bytes:
    """A submission in chunks."""
    pieces = [body[at : at + PIECE] for at in range(0, len(body), PIECE)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return request(b"POST " + path, headers + CHUNKED, chunks + b"0\r\n\r\n")


def one(size: int) -> bytes:
    """A job of so many bytes, which is not run."""
    return b'{"kind":"a","delay":3600,"payload":"%s"}' % (b"x" * (size - 38))


def many(size: int) -> bytes:
    """An array of eight, of so many bytes."""
    item = one(size // 8 - 1)
    return b"[" + b",".join([item] * 7 + [one(size - 7 * len(item) - 9)]) + b"]"


SIZES = {"one": (one, MAX_BODY), "array": (many, 8 * MAX_BODY)}
WAYS = {"by length": post, "by chunks": chunked}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", SIZES)
def test_a_body_may_be_as_large_as_the_limit(server: Watched, what: str, way: str) -> None:
    """Of one job, or of an array that may have eight times as much; and the connection goes on."""
    make, most = SIZES[what]
    body = make(most)
    assert len(body) == most
    with server.connect() as raw:
        assert raw.ask(WAYS[way](body)).status == 201
        assert raw.ask(request(b"GET /healthz")).status == 200


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", SIZES)
def test_a_body_beyond_the_limit_is_413(server: Watched, what: str, way: str) -> None:
    """By one byte. The client can read why, and the connection closes."""
    make, most = SIZES[what]
    with server.connect() as raw:
        with contextlib.suppress(BrokenPipeError):  # it is closed before all has been sent
            raw.send(WAYS[way](make(most + 1)))
        answer = raw.answer()

        assert (answer.status, answer.problem) == (413, "body-too-large")
        assert answer.headers["connection"] == "close"
        assert raw.ends()


@pytest.mark.parametrize("path", [b"/jobs", b"/submit", b"/jobs/x/cancel"], ids=bytes.decode)
def test_an_announced_length_is_refused_before_it_comes(server: Watched, path: bytes) -> None:
    """Whatever it would have been: only the head was sent."""
    with server.connect() as raw:
        answer = raw.ask(request(b"POST " + path, JSON + b"Content-Length: %d\r\n" % (8 * MAX_BODY + 1)))

        assert (answer.status, answer.problem) == (413, "body-too-large")
        assert answer.headers["connection"] == "close"
        assert raw.ends()


@pytest.mark.parametrize("path", [b"/submit", b"/jobs/x/cancel", b"/jobs/x/retry"], ids=bytes.decode)
@pytest.mark.parametrize("way", WAYS)
def test_only_post_jobs_takes_more_for_an_array(server: Watched, path: bytes, way: str) -> None:
    """Elsewhere an array is a body like any other."""
    with server.connect() as raw:
        answer = raw.ask(WAYS[way](many(MAX_BODY + 1), path=path))

        assert (answer.status, answer.problem) == (413, "body-too-large")


@pytest.mark.parametrize("start", [b'{"kind":"', b"["])
def test_a_body_without_end_is_read_no_further(server: Watched, start: bytes) -> None:
    """The client that goes on is cut off after what the sockets hold."""
    with server.connect() as raw:
        raw.send(request(b"POST /jobs", JSON + CHUNKED), b"%x\r\n%s\r\n" % (len(start), start))
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            raw.send(*[b"fde8\r\n" + b" " * PIECE + b"\r\n"] * ((KERNEL_BYTES + 8 * MAX_BODY) // PIECE))


def test_a_stream_of_lines_has_no_limit_as_a_whole(server: Watched) -> None:
    """Each line has."""
    lines = (one(MAX_BODY // 2) + b"\n") * 6
    for data in (post(lines, NDJSON), chunked(lines, NDJSON)):
        answer = server.ask(data)

        assert (answer.status, answer.body.count(b'"SCHEDULED"')) == (200, 6)


@pytest.mark.parametrize("end", [b"\n", b""], ids=["ended", "endless"])
def test_a_line_beyond_the_limit_is_the_last(server: Watched, end: bytes) -> None:
    """Those before it are accepted, it gets a problem, and the connection closes."""
    data = request(b"POST /jobs", NDJSON + b"Content-Length: %d\r\n" % (4 * MAX_BODY))
    with server.connect() as raw:
        answer = raw.ask(data + one(100) + b"\n" + one(MAX_BODY + 1) + end)
        first, last = map(json.loads, answer.body.splitlines())

        assert (first["status"], last["type"]) == ("SCHEDULED", "/problems/body-too-large")
        assert answer.headers["connection"] == "close"
        assert raw.ends()


UNREAD = {
    "415": (b"POST /jobs", b"", 415, "unsupported-media-type"),
    "415 coding": (b"POST /jobs", JSON + b"Content-Encoding: gzip\r\n", 415, "unsupported-media-type"),
    "403": (b"POST /jobs", JSON + b"Origin: http://evil.example\r\n", 403, "cross-site"),
    "404": (b"POST /nothing", JSON, 404, "not-found"),
    "405": (b"POST /healthz", JSON, 405, "method-not-allowed"),
}


@pytest.mark.parametrize("line, headers, status, code", UNREAD.values(), ids=UNREAD)
def test_an_unread_body_ends_the_connection(
    server: Watched, line: bytes, headers: bytes, status: int, code: str
) -> None:
    """Its rest stands where the next request should."""
    with server.connect() as raw:
        answer = raw.ask(request(line, headers + b"Content-Length: 50000\r\n"), b"x" * 20_000)

        assert (answer.status, answer.problem) == (status, code)
        assert answer.headers["connection"] == "close"
        assert raw.ends()


@pytest.mark.parametrize(
    "line", [b"GET /healthz", b"GET /jobs", b"HEAD /jobs", b"GET /jobs/x", b"DELETE /jobs", b"GET /"]
)
def test_the_body_of_a_read_is_no_request(server: Watched, line: bytes) -> None:
    """Whatever stands in it, come whole or half: either it is passed over, or the connection closes."""
    hidden = post(b'{"kind":"smuggled"}')
    data = request(line, b"Content-Length: %d\r\n" % len(hidden))
    for parts in ([data + hidden], [data, hidden], [data + hidden[:10], hidden[10:]]):
        with server.connect() as raw:
            raw.send(*parts)
            raw.send_eof()
            raw.answer(line.partition(b" ")[0].decode())
            assert raw.ends()
    assert server.ask(request(b"GET /jobs?kind=smuggled")).json()["items"] == []


def test_after_all_this_the_server_is_as_before(server: Watched, at_rest: Vitals) -> None:
    """Same open files, same tasks, and no fault inside."""
    assert server.rests(at_rest), f"{server.state} is not {at_rest}"
