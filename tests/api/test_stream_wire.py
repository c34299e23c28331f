"""POST /jobs as NDJSON over a real socket: answers stream back while lines stream in."""

from __future__ import annotations

import json
import socket
from contextlib import AbstractAsyncContextManager

import trio.testing

from tests.api.bench import NDJSON, Api
from tests.api.doors import SocketDoor, Talk

LINE = json.dumps({"kind": "echo", "queue": "parked"}).encode() + b"\n"


def talking(api: Api) -> AbstractAsyncContextManager[Talk]:
    assert isinstance(api.door, SocketDoor)
    headers = [(b"host", api.door.host), (b"content-type", NDJSON.encode()), (b"transfer-encoding", b"chunked")]
    return api.door.talk("POST", "/jobs", headers)


async def test_answers_come_before_the_last_line_was_sent(wire: Api) -> None:
    """Streamed back while it streams in, and committed by then."""
    async with talking(wire) as talk:
        await talk.send(LINE)
        assert (await talk.head()).status == 200
        first = await talk.line()
        assert (await wire.job(first["id"]))["status"] == "QUEUED"
        await talk.send(LINE[:9])
        await talk.send(LINE[9:] + LINE)
        assert [(await talk.line())["status"] for _ in range(2)] == ["QUEUED", "QUEUED"]
        await talk.end()
        assert await talk.body() == b""


async def test_the_server_goes_on_reading_while_its_answers_are_unread(wire: Api) -> None:
    """The server never stops reading because its answers are unread: far more than buffers hold goes in first."""
    faulty = json.dumps(dict.fromkeys(map(str, range(100)))).encode() + b"\n"  # its answer is five times as long
    count = 2_000
    async with talking(wire) as talk:
        talk.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
        for _ in range(count // 100):
            await talk.send(faulty * 100)
        await talk.send(LINE)
        await talk.end()
        await talk.head()
        body = await talk.body()
    assert len(body) > 8 << 20  # more than the kernel keeps for a sender
    assert [json.loads(line)["status"] for line in body.splitlines()] == [422] * count + ["QUEUED"]


async def test_a_client_that_leaves_half_way_has_submitted_what_it_sent(wire: Api) -> None:
    """Each chunk is a commit of its own."""
    async with talking(wire) as talk:
        await talk.send(LINE + LINE + LINE[:5])
        await talk.head()
        ids = [(await talk.line())["id"] for _ in range(2)]
    await trio.testing.wait_all_tasks_blocked(0.01)
    items = (await wire.get("/jobs")).json()["items"]
    assert [item["id"] for item in items] == ids[::-1]
