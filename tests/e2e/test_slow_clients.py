"""Clients that take their time, on purpose or not: each has a bound, and no other client notices.

They run side by side in threads from the start, since each takes seconds; a test waits for the one that it is about.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.e2e.raw_http import JSON, NDJSON, Raw, post, request
from tests.e2e.watched_server import TOY, Vitals, Watched, watched

SLACK_SECONDS = 8  # for a busy machine
POST = post(b'{"kind":"a"}')
BIG = post(b"[%s]" % b",".join([b'{"kind":"a","delay":3600,"tags":["%s"]}' % (b"t" * 64)] * 200))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The server that has them all at once; with a page of jobs to be listed."""
    with watched(tmp_path_factory.mktemp("slow")) as server:
        assert server.ask(BIG).status == 201
        yield server


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A server that floods its clients."""
    with watched(tmp_path_factory.mktemp("toy"), program=TOY) as toy:
        yield toy


@pytest.fixture(scope="module", autouse=True)
def at_rest(server: Watched, toy: Watched) -> tuple[Vitals, Vitals]:
    """What they hold before the first of them."""
    return server.settled(), toy.settled()


class Slow:
    """Attacks that run in threads, each to its own end."""

    def __init__(self, server: Watched, toy: Watched, threads: ThreadPoolExecutor) -> None:
        real = (
            *(silent, slow_head, slow_body, steady_body, slow_chunks, slow_origin_body, slow_lines, silent_lines),
            *(never_reads_a_list, never_reads_pipelined, never_reads_lines, leaves_a_long_poll),
        )
        attacks = [(attack, server) for attack in real]
        attacks.append((never_reads_a_stream, toy))
        self.outcomes: dict[str, Future[tuple[float, object]]] = {
            attack.__name__: threads.submit(_timed, attack, on) for attack, on in attacks
        }

    def of(self, attack: Callable[[Raw], object]) -> tuple[float, object]:
        """How long `attack` took, in seconds, and what it saw."""
        return self.outcomes[attack.__name__].result(60)


def _timed(attack: Callable[[Raw], object], server: Watched) -> tuple[float, object]:
    with server.connect(receive_buffer=4096) as raw:
        began = time.monotonic()
        outcome = attack(raw)
        return time.monotonic() - began, outcome


@pytest.fixture(scope="module", autouse=True)
def slow(server: Watched, toy: Watched, at_rest: tuple[Vitals, Vitals]) -> Iterator[Slow]:
    """The slow attacks, begun."""
    with ThreadPoolExecutor(20) as threads:
        yield Slow(server, toy, threads)


def drip(raw: Raw, data: bytes, every_seconds: float, size: int = 1) -> None:
    """Send slowly, until the server hangs up."""
    try:
        for i in range(0, len(data), size):
            raw.send(data[i : i + size])
            time.sleep(every_seconds)
    except OSError:
        pass


def silent(raw: Raw) -> bool:
    """Says nothing."""
    return raw.ends()


def slow_head(raw: Raw) -> bool:
    """A byte of the head every half a second."""
    drip(raw, POST[:-5], 0.5)
    return raw.ends()


def slow_body(raw: Raw) -> str:
    """A byte of the body every half a second."""
    return too_slow(raw, post(b"x" * 100))


def slow_origin_body(raw: Raw) -> str:
    """The same at the origin's route."""
    return too_slow(raw, post(b"x" * 100, path=b"/submit"))


def slow_chunks(raw: Raw) -> str:
    """The same in chunks of a byte."""
    return too_slow(raw, request(b"POST /jobs", JSON + b"Transfer-Encoding: chunked\r\n", b"1\r\nx\r\n" * 20), 6)


def too_slow(raw: Raw, data: bytes, size: int = 1) -> str:
    """Send the body slowly, and be told."""
    head, end, body = data.partition(b"\r\n\r\n")
    raw.send(head + end)
    drip(raw, body[: 19 * size], 0.5, size)
    answer = raw.answer()
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert raw.ends()
    return answer.problem


def steady_body(raw: Raw) -> int:
    """2 KiB a second for 12 s."""
    body = b'{"kind":"a","payload":"%s"}' % (b"x" * 24_000)
    raw.send(post(body)[: -len(body)])
    drip(raw, body, 0.5, 1024)
    return raw.answer().status


def slow_lines(raw: Raw) -> tuple[int, int]:
    """A line of NDJSON, a byte a half a second for 12 s."""
    line = b'{"kind":"slow.line"}\n  \n'
    raw.send(post(line, NDJSON)[: -len(line)])
    drip(raw, line, 0.5)
    answer = raw.answer()
    return answer.status, answer.body.count(b'"QUEUED"')


def silent_lines(raw: Raw) -> tuple[int, int]:
    """Two lines of NDJSON, and 12 s of silence between them."""
    line = b'{"kind":"silent.line"}\n'
    raw.send(post(line * 2, NDJSON)[: -len(line)])
    time.sleep(12)
    raw.send(line)
    answer = raw.answer()
    return answer.status, answer.body.count(b'"QUEUED"')


def never_reads_a_list(raw: Raw) -> None:
    """Asks for the same long page again and again, and reads nothing."""
    say(raw, request(b"GET /jobs?limit=200") * 5000)
    raw.wait_for_hangup()


def never_reads_pipelined(raw: Raw) -> None:
    """Asks a lot and reads nothing."""
    say(raw, request(b"GET /" + b"a" * 3000) * 5000)
    raw.wait_for_hangup()


def never_reads_lines(raw: Raw) -> None:
    """Sends many bad lines of a stream without end, and reads none of the problems."""
    say(
        raw,
        request(b"POST /jobs", NDJSON + b"Transfer-Encoding: chunked\r\n") + b"ea60\r\n" + b"{}\n" * 20_000 + b"\r\n",
    )
    raw.wait_for_hangup()


def say(raw: Raw, data: bytes) -> None:
    """Send what the server takes."""
    raw.sock.settimeout(0.2)
    with contextlib.suppress(OSError):
        raw.send(data)


def never_reads_a_stream(raw: Raw) -> None:
    """Asks once, and reads nothing of what comes without end."""
    raw.send(request(b"GET /flood"))
    raw.wait_for_hangup()


def leaves_a_long_poll(raw: Raw) -> None:
    """Hangs up while the server waits; that it does not is seen in the end."""
    accepted = raw.ask(post(b'{"kind":"a","delay":3600}')).json()
    raw.send(request(b"GET /jobs/%s?wait=60" % accepted["id"].encode()))


def test_others_are_served_meanwhile(server: Watched, slow: Slow) -> None:
    """While they all are at it."""
    for _ in range(100):
        began = time.monotonic()
        assert server.ask(request(b"GET /readyz")).status == 200
        assert time.monotonic() - began < SLACK_SECONDS


def test_a_client_that_says_nothing_is_closed(slow: Slow) -> None:
    """After 5 s."""
    seconds, ended = slow.of(silent)

    assert ended
    assert 5 <= seconds < 5 + SLACK_SECONDS


def test_a_slow_head_is_closed(slow: Slow) -> None:
    """After 5 s, although bytes still come."""
    seconds, ended = slow.of(slow_head)

    assert ended
    assert 5 <= seconds < 5 + SLACK_SECONDS


@pytest.mark.parametrize("attack", [slow_body, slow_origin_body, slow_chunks], ids=lambda attack: attack.__name__)
def test_a_slow_body_is_refused(slow: Slow, attack: Callable[[Raw], object]) -> None:
    """After 10 s, with 408."""
    seconds, problem = slow.of(attack)

    assert problem == "timeout"
    assert 10 <= seconds < 10 + SLACK_SECONDS


def test_a_steady_body_may_take_longer(slow: Slow) -> None:
    """If at least 1 KiB comes a second."""
    seconds, status = slow.of(steady_body)

    assert status == 201
    assert seconds > 10


def test_lines_may_take_longer(slow: Slow) -> None:
    """NDJSON has no bound on the whole."""
    seconds, outcome = slow.of(slow_lines)

    assert outcome == (200, 1)
    assert seconds > 10


def test_lines_may_come_far_apart(slow: Slow) -> None:
    """Nor on the time between two of them, for 30 s."""
    seconds, outcome = slow.of(silent_lines)

    assert outcome == (200, 2)
    assert seconds > 10


NEVER_READ = [never_reads_a_list, never_reads_pipelined, never_reads_lines, never_reads_a_stream]


@pytest.mark.parametrize("attack", NEVER_READ, ids=lambda attack: attack.__name__)
def test_a_client_that_never_reads_is_closed(slow: Slow, attack: Callable[[Raw], object]) -> None:
    """After 5 s in which nothing moved."""
    seconds, _ = slow.of(attack)

    assert 5 <= seconds < 5 + SLACK_SECONDS


def test_after_all_this_the_servers_are_as_before(
    server: Watched, toy: Watched, at_rest: tuple[Vitals, Vitals], slow: Slow
) -> None:
    """Same open files, same tasks, and no fault inside, whatever they did."""
    for future in slow.outcomes.values():
        future.result(60)

    assert server.rests(at_rest[0]), f"{server.state} is not {at_rest[0]}"
    assert toy.rests(at_rest[1]), f"{toy.state} is not {at_rest[1]}"
