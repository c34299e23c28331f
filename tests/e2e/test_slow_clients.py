"""Clients that take their time, on purpose or not: each has a bound, and no other client notices.

They run side by side in threads from the start, since each takes seconds; a test waits for the one that it is about.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.e2e.raw_http import NDJSON, TOY, Raw, ServerProcess, Vitals, eventually, post, request, vitals

POST = post(b'{"kind":"simulate"}')


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """The server that has them all at once."""
    with ServerProcess(TOY) as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def at_rest(server: ServerProcess) -> Vitals:
    """The vital signs of the server before the first of them."""
    return vitals(server)


class Slow:
    """Attacks that run in threads, each to its own end."""

    def __init__(self, server: ServerProcess, threads: ThreadPoolExecutor) -> None:
        self._server = server
        self.outcomes: dict[str, Future[tuple[float, object]]] = {
            attack.__name__: threads.submit(self._timed, attack)
            for attack in (
                silent,
                slow_head,
                slow_body,
                steady_body,
                slow_lines,
                never_reads_pipelined,
                never_reads_a_stream,
                leaves_a_long_poll,
            )
        }

    def _timed(self, attack: Callable[[Raw], object]) -> tuple[float, object]:
        with self._server.connect(receive_buffer=4096) as raw:
            began = time.monotonic()
            outcome = attack(raw)
            return time.monotonic() - began, outcome

    def of(self, attack: Callable[[Raw], object]) -> tuple[float, object]:
        """How long `attack` took, in seconds, and what it saw."""
        return self.outcomes[attack.__name__].result(30)


@pytest.fixture(scope="module", autouse=True)
def slow(server: ServerProcess, at_rest: Vitals) -> Iterator[Slow]:
    """The slow attacks, begun."""
    with ThreadPoolExecutor(20) as threads:
        yield Slow(server, threads)


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
    raw.send(post(b"x" * 100)[:-100])
    drip(raw, b"x" * 19, 0.5)
    return raw.answer().problem


def steady_body(raw: Raw) -> int:
    """2 KiB a second for 12 s."""
    body = b'"' + b"x" * 24_000 + b'"'
    raw.send(post(body)[: -len(body)])
    drip(raw, body, 0.5, 1024)
    return raw.answer().status


def slow_lines(raw: Raw) -> int:
    """A byte of NDJSON a second for 12 s."""
    raw.send(post(b"{}\n" * 4, NDJSON)[:-12])
    drip(raw, b"{}\n" * 4, 1)
    return raw.answer().status


def never_reads_pipelined(raw: Raw) -> None:
    """Asks a lot and reads nothing."""
    raw.sock.settimeout(0.2)
    with contextlib.suppress(OSError):
        raw.send(request(b"GET /" + b"a" * 3000) * 5000)
    raw.wait_for_hangup()


def never_reads_a_stream(raw: Raw) -> None:
    """Asks once, and reads nothing of what comes without end."""
    raw.send(request(b"GET /flood"))
    raw.wait_for_hangup()


def leaves_a_long_poll(raw: Raw) -> None:
    """Hangs up while the app waits; that the app does not is seen in the end."""
    raw.send(request(b"GET /wait"))


def test_a_client_that_says_nothing_is_closed(slow: Slow) -> None:
    """After 5 s."""
    seconds, ended = slow.of(silent)

    assert ended
    assert 5 <= seconds < 8


def test_a_slow_head_is_closed(slow: Slow) -> None:
    """After 5 s, although bytes still come."""
    seconds, ended = slow.of(slow_head)

    assert ended
    assert 5 <= seconds < 8


def test_a_slow_body_is_refused(slow: Slow) -> None:
    """After 10 s, with 408."""
    seconds, problem = slow.of(slow_body)

    assert problem == "timeout"
    assert 10 <= seconds < 14


def test_a_steady_body_may_take_longer(slow: Slow) -> None:
    """If at least 1 KiB comes a second."""
    seconds, status = slow.of(steady_body)

    assert status == 201
    assert seconds > 10


def test_lines_may_take_longer(slow: Slow) -> None:
    """NDJSON has no bound on the whole."""
    seconds, status = slow.of(slow_lines)

    assert status == 200
    assert seconds > 10


@pytest.mark.parametrize("attack", [never_reads_pipelined, never_reads_a_stream])
def test_a_client_that_never_reads_is_closed(slow: Slow, attack: Callable[[Raw], object]) -> None:
    """After 5 s in which nothing moved."""
    seconds, _ = slow.of(attack)

    assert 5 <= seconds < 9


def test_after_all_this_the_server_is_as_before(server: ServerProcess, at_rest: Vitals, slow: Slow) -> None:
    """Same open files, same tasks, no connection left, and no error inside, whatever they did."""
    for future in slow.outcomes.values():
        future.result(30)

    assert eventually(lambda: vitals(server) == at_rest), f"{vitals(server)} is not {at_rest}"
