"""The app's side of a request: ASGI's receive and send over a connection in memory."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from jobqueue.http.answer import AnswerError
from jobqueue.http.asgi import Message, Receive, Scope, Send
from tests.unit.http_kit import GET, answers, body_of, connected, deaf, echo, head, piece, post, start


async def test_a_body_comes_piece_by_piece() -> None:
    """As it arrives, and the last piece says so."""
    messages: list[Message] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        while not messages or messages[-1]["more_body"]:
            messages.append(await receive())
        await deaf(_scope, receive, send)

    async with connected(app) as client:
        await client.send(head(b"Content-Length: 4") + b"a")
        await client.send(b"bc")
        await client.send(b"d")

    assert [(message["body"], message["more_body"]) for message in messages] == [
        (b"a", True),
        (b"bc", True),
        (b"d", False),
    ]


async def test_a_request_without_a_body_has_an_empty_one() -> None:
    """One message, and it is the last."""
    async with connected(echo) as client:
        (answer,) = await client.ask(GET)

        assert answer.body == b"/"


async def test_chunks_are_undone() -> None:
    """The app sees the content alone."""
    async with connected(echo) as client:
        (answer,) = await client.ask(head(b"Transfer-Encoding: chunked") + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")

        assert answer.body == b"abc"


async def test_leave_to_send_is_given_when_the_app_asks() -> None:
    """A client that expects 100-continue holds its body back until then."""
    async with connected(echo) as client:
        await client.send(head(b"Expect: 100-continue", b"Content-Length: 2"))
        assert await client.said() == b"HTTP/1.1 100 Continue\r\n\r\n"

        (answer,) = await client.ask(b"ab")
        assert answer.body == b"ab"


async def test_no_leave_is_given_for_a_body_that_nobody_wants() -> None:
    """The client gets its answer instead, and need not send."""
    async with connected(deaf) as client:
        await client.send(head(b"Expect: 100-continue", b"Content-Length: 2"))

        assert (await client.said()).startswith(b"HTTP/1.1 413 ")


async def test_no_leave_is_given_for_a_body_that_is_here() -> None:
    """The client did not wait."""
    async with connected(echo) as client:
        await client.send(post(b"ab", b"Expect: 100-continue"))

        assert (await client.said()).startswith(b"HTTP/1.1 200 ")


async def test_a_body_that_turns_bad_never_comes() -> None:
    """The app hears http.disconnect, and what it leaves unanswered is answered with the reason."""
    async with connected(echo) as client:
        await client.send(head(b"Transfer-Encoding: chunked") + b"2\r\nab\r\n")
        (answer,) = await client.ask(b"XX")

        assert answer.problem["status"] == 400
        assert client.counters.errors == 0


async def test_a_body_that_ends_too_early_never_comes() -> None:
    """A client that closed its sending half can still read why."""
    async with connected(echo) as client:
        await client.send(head(b"Content-Length: 4") + b"a")
        await client.stream.send_eof()
        (answer,) = answers(await client.rest())

        assert answer.problem["status"] == 400
        assert "ended within the body" in answer.problem["detail"]


async def test_an_app_may_answer_a_body_that_never_comes() -> None:
    """It knows best."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        assert await body_of(receive) is None
        await deaf(_scope, receive, send)

    async with connected(app) as client:
        await client.send(head(b"Content-Length: 4") + b"a")
        await client.stream.send_eof()

        assert answers(await client.rest())[0].status == 413


async def test_a_body_and_its_answer_may_cross() -> None:
    """One task reads lines, another answers them; neither waits for the other."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        lines, queue = trio.open_memory_channel[bytes](10)

        async def read() -> None:
            with lines:
                more = True
                while more:
                    message = await receive()
                    more = message["more_body"]
                    await lines.send(message["body"])

        await send(start())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            async for line in queue:
                await send(piece(line.upper(), more=True))
        await send(piece())

    async with connected(app) as client:
        await client.send(head(b"Transfer-Encoding: chunked") + b"2\r\na\n\r\n")
        assert (await client.said()).endswith(b"\r\n2\r\nA\n\r\n")
        await client.send(b"2\r\nb\n\r\n")
        assert await client.said() == b"2\r\nB\n\r\n"
        await client.send(b"0\r\n\r\n")
        assert await client.said() == b"0\r\n\r\n"


async def test_an_app_may_wait_for_the_end() -> None:
    """After the body, receive waits until the answer is sent; then there is nothing more to come."""
    order = []

    async def watch(receive: Receive) -> None:
        order.append((await receive())["type"])

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await body_of(receive)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, receive)
            await trio.testing.wait_all_tasks_blocked()
            order.append("answer")
            await deaf(_scope, receive, send)
        order.append((await receive())["type"])

    async with connected(app) as client:
        await client.ask(GET)

    assert order == ["answer", "http.disconnect", "http.disconnect"]


@pytest.mark.parametrize(
    "messages",
    [
        [piece()],
        [start(), start()],
        [start(), piece(), piece()],
        [start(), piece(more=True), start()],
        [{"type": "http.response.push"}],
        [{"type": "websocket.accept"}],
    ],
)
async def test_an_answer_comes_in_turn(messages: list[dict[str, object]]) -> None:
    """What the app sends out of turn is its own fault, and it hears of it."""
    heard = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            try:
                await send(message)
            except AnswerError as error:
                heard.append(str(error))

    async with connected(app) as client:
        await client.send(GET)

    assert len(heard) == 1
    assert heard[0].endswith("out of turn")


async def test_head_and_body_go_out_together() -> None:
    """One write for a whole answer, not two."""
    async with connected(echo, pair=trio.testing.lockstep_stream_pair) as client:
        await client.stream.send_all(post(b"hello"))

        assert (await client.stream.receive_some(4096)).endswith(b"\r\n\r\nhello")
