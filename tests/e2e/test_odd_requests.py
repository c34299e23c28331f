"""Odd requests over real sockets that are served all the same, and leave their connection as it should be."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.raw_http import JSON, NDJSON, post, request
from tests.e2e.watched_server import TOY, Vitals, Watched, watched

BODY = b'{"kind":"simulate"}'
POST = post(BODY)
CHUNKED = request(b"POST /jobs", JSON + b"Transfer-Encoding: chunked\r\n")
CHUNKS = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)
ORIGIN = post(b'{"payload":"x"}', headers=b"", path=b"/submit")
UNKNOWN = request(b"GET /jobs/01920000-0000-7000-8000-00000000ffff")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The server that gets them all."""
    with watched(tmp_path_factory.mktemp("odd")) as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def at_rest(server: Watched) -> Vitals:
    """What it holds before the first of them."""
    return server.settled()


@pytest.mark.parametrize("good, status", [(POST, 201), (ORIGIN, 200), (UNKNOWN, 404)], ids=["jobs", "submit", "get"])
def test_a_request_may_come_in_any_pieces(server: Watched, good: bytes, status: int) -> None:
    """Byte by byte, head and body apart, or three at once."""
    with server.connect() as raw:
        assert raw.ask(*[bytes([byte]) for byte in good]).status == status
        cut = good.index(b"\r\n\r\n") + 4
        assert raw.ask(good[:cut], good[cut:]).status == status
        raw.send(good * 3)
        assert [raw.answer().status for _ in range(3)] == [status] * 3


def test_two_hundred_pipelined_requests_are_answered(server: Watched) -> None:
    """In their order."""
    with server.connect() as raw:
        raw.send((POST + UNKNOWN) * 100)

        assert [raw.answer().status for _ in range(200)] == [201, 404] * 100


def test_chunks_and_trailers_are_read(server: Watched) -> None:
    """And the next request after them; a trailer is no header."""
    with server.connect() as raw:
        assert raw.ask(CHUNKED + CHUNKS + b"Content-Encoding: gzip\r\n\r\n").status == 201
        assert raw.ask(POST).status == 201


@pytest.mark.parametrize("path, status", [(b"/jobs", 201), (b"/submit", 200)])
def test_leave_to_send_is_given(server: Watched, path: bytes, status: int) -> None:
    """`Expect: 100-continue`, as curl sends it with a large body."""
    with server.connect() as raw:
        raw.send(post(BODY, headers=JSON + b"Expect: 100-continue\r\n", path=path)[: -len(BODY)])
        assert raw.line() == b"HTTP/1.1 100 Continue\r\n"
        assert raw.line() == b"\r\n"
        assert raw.ask(BODY).status == status


def test_who_asks_for_leave_and_is_refused_need_not_send(server: Watched) -> None:
    """The refusal comes in the place of 100, and the connection closes."""
    with server.connect() as raw:
        answer = raw.ask(post(BODY, headers=b"Expect: 100-continue\r\n")[: -len(BODY)])

        assert answer.problem == "unsupported-media-type"
        assert answer.headers["connection"] == "close"
        assert raw.ends()


@pytest.mark.parametrize("wish", [b"h2c", b"websocket"])
def test_an_upgrade_is_answered_as_plain_http(server: Watched, wish: bytes) -> None:
    """The body is read as a body, its job accepted; and what follows it is the next request."""
    headers = JSON + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\nHTTP2-Settings: AAMAAABk\r\n" % wish
    with server.connect() as raw:
        accepted = raw.ask(post(b'{"kind":"simulate","payload":"%s"}' % wish, headers=headers) + POST)
        assert (accepted.status, raw.answer().status) == (201, 201)

        job = raw.ask(request(b"GET " + accepted.headers["location"].encode()))
        assert (job.status, job.json()["payload"]) == (200, wish.decode())


def test_a_half_closed_client_gets_its_answer(server: Watched) -> None:
    """As `printf ... | nc` wants it."""
    with server.connect() as raw:
        raw.send(POST)
        raw.send_eof()

        assert raw.answer().status == 201
        assert raw.ends()


def test_lines_and_answers_may_cross(server: Watched) -> None:
    """One line is answered before the next is sent."""
    with server.connect() as raw:
        raw.send(request(b"POST /jobs", NDJSON + b"Transfer-Encoding: chunked\r\n"))
        for _ in range(3):
            raw.send(b"%x\r\n%s\n\r\n" % (len(BODY) + 1, BODY))
            while not (line := raw.line()).startswith(b'{"id":'):
                assert line
        raw.send(b"0\r\n\r\n")
        assert [raw.line(), raw.line(), raw.line()] == [b"\r\n", b"0\r\n", b"\r\n"]
        assert raw.ends()  # its head, sent amid the body, could not promise more


def test_all_lines_may_be_sent_before_an_answer_is_read(server: Watched) -> None:
    """The server goes on reading while its answers are unread."""
    count = 20_000
    lines = (BODY + b"\n") * count
    with server.connect(receive_buffer=4096) as raw:
        answer = raw.ask(post(lines, NDJSON))

        assert answer.status == 200
        assert answer.body.count(b'"QUEUED"') == count


def test_http_1_0_is_answered_and_closed(server: Watched) -> None:
    """Without chunks, which it does not know."""
    for data in (POST, post((BODY + b"\n") * 3, NDJSON)):
        with server.connect() as raw:
            answer = raw.ask(data.replace(b"HTTP/1.1", b"HTTP/1.0"))

            assert answer.status in (200, 201)
            assert "transfer-encoding" not in answer.headers
            assert raw.ends()


def test_a_client_may_end_the_connection(server: Watched) -> None:
    """`Connection: close` is obeyed, and told."""
    with server.connect() as raw:
        answer = raw.ask(post(BODY, JSON + b"Connection: close\r\n"))

        assert (answer.status, answer.headers["connection"]) == (201, "close")
        assert raw.ends()


@pytest.mark.parametrize(
    "line, host",
    [(b"GET http://localhost/readyz", b"Host: localhost\r\n"), (b"GET http://h:80/readyz?x", b"Host: h\r\n")],
)
def test_the_target_may_be_a_whole_url(server: Watched, line: bytes, host: bytes) -> None:
    """As for a proxy (RFC 9112 section 3.2.2), if it names the same host."""
    assert server.ask(request(line, host=host)).status == 200


def test_empty_lines_before_a_request_are_passed_over(server: Watched) -> None:
    """RFC 9112 section 2.2."""
    assert server.ask(b"\r\n\r\n" + POST).status == 201


def test_a_failing_app_shows_nothing_of_the_inside(tmp_path: Path) -> None:
    """500, closed, and the next request is served; the fault is logged with the id that the client was told."""
    with watched(tmp_path, program=TOY) as toy:
        at_rest = toy.settled()
        with toy.connect() as raw:
            answer = raw.ask(request(b"GET /crash"))
            assert (answer.status, answer.problem) == (500, "internal")
            assert b"secret" not in answer.body
            assert raw.ends()
        assert toy.ask(request(b"GET /")).status == 404
        logged = toy.process.log.find("request failed")
        assert logged is not None
        assert logged["request_id"] == answer.json()["request_id"]
        assert toy.rests(at_rest._replace(faults=1)), toy.state


def test_an_answer_that_breaks_off_does_not_look_whole(tmp_path: Path) -> None:
    """An app that fails amid its answer: the connection is reset, and the client's library notices."""
    broken_off = pytest.raises((http.client.IncompleteRead, ConnectionResetError))
    with watched(tmp_path, program=TOY) as toy, toy.connect() as raw, broken_off:
        raw.ask(request(b"GET /crash-late"))


def test_after_all_this_the_server_is_as_before(server: Watched, at_rest: Vitals) -> None:
    """Same open files, same tasks, and no fault inside."""
    assert server.rests(at_rest), f"{server.state} is not {at_rest}"
