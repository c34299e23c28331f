"""Writes that a web page of another site makes are refused: any page can post to localhost."""

from __future__ import annotations

import pytest

from tests.api.bench import Api, served
from tests.api.doors import HOST

OURS = HOST.decode()
WRITE = {"kind": "echo", "queue": "parked"}


async def write(api: Api, **headers: str) -> int:
    answer = await api.post("/jobs", WRITE, **headers)
    if answer.status != 201:
        answer.problem(403, "cross-site")
    return answer.status


@pytest.mark.parametrize(
    "site, status",
    [("same-origin", 201), ("none", 201), ("cross-site", 403), ("same-site", 403), ("x", 403), ("", 403)],
)
async def test_a_write_must_come_from_the_same_site(front: Api, site: str, status: int) -> None:
    """A write with `Sec-Fetch-Site` must come from the same origin, or from the user."""
    assert await write(front, sec_fetch_site=site) == status


@pytest.mark.parametrize(
    "origin, host, status",
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080", 201),
        ("http://localhost:8080", "localhost:8080", 201),
        ("http://localhost", "localhost", 201),
        ("http://localhost", "localhost:80", 201),
        ("http://LOCALHOST:8080", "localhost:8080", 201),
        ("http://[::1]:8080", "[::1]:8080", 201),
        ("https://jobs:8080", "jobs:8080", 201),
        ("https://jobs", "jobs", 201),
        ("http://127.0.0.1:8081", "127.0.0.1:8080", 403),
        ("http://127.0.0.1", "127.0.0.1:8080", 403),
        ("http://localhost:8080", "127.0.0.1:8080", 403),
        ("https://evil.example", "127.0.0.1:8080", 403),
        ("null", "127.0.0.1:8080", 403),
        ("", "127.0.0.1:8080", 403),
        ("127.0.0.1:8080", "127.0.0.1:8080", 403),
        ("chrome-extension://127.0.0.1:8080", "127.0.0.1:8080", 403),
        ("http://127.0.0.1:8080, http://evil.example", "127.0.0.1:8080", 403),
    ],
)
async def test_a_write_must_come_from_the_same_origin(front: Api, origin: str, host: str, status: int) -> None:
    """A write with `Origin`: Origin matches Host, whatever a proxy in between made of the scheme."""
    assert await write(front, origin=origin, host=host) == status


@pytest.mark.parametrize(
    "host, status",
    [
        *(("127.0.0.1:8080", 201), ("10.0.0.7", 201), ("[::1]:8080", 201), ("localhost", 201), ("jobs:8080", 201)),
        *(("x.localhost", 201), ("jobs.example.org", 201), ("JOBS.example.org:8080", 201), ("evil.example", 403)),
        *(("jobs.example.org.evil.example", 403), ("127.0.0.1.evil.example", 403), ("localhost.evil.example", 403)),
    ],
)
async def test_an_open_server_has_names_that_no_stranger_can_point_at_it(host: str, status: int) -> None:
    """In open mode Host must be an address, localhost, a name without a dot, or in --hosts."""
    async with served(hosts=("jobs.example.org",)) as api:
        assert await write(api, origin=f"http://{host.lower()}", sec_fetch_site="same-origin", host=host) == status


@pytest.mark.parametrize("path", ["/submit", "/jobs", "/jobs/x/cancel", "/jobs/x/retry"])
async def test_every_write_is_guarded_behind_every_door(api: Api, path: str) -> None:
    """In every mode, for each route that changes something, before anything is looked at."""
    (await api.ask("POST", path, b"{", origin="http://evil.example")).problem(403, "cross-site")
    (await api.ask("POST", path, b"{", sec_fetch_site="cross-site")).problem(403, "cross-site")
    assert (await api.get("/jobs")).json()["items"] == []


async def test_a_read_is_not_guarded(front: Api) -> None:
    """It is about writes: what a browser may show of a read is the browser's affair."""
    assert (await front.get("/jobs", origin="http://evil.example", sec_fetch_site="cross-site")).status == 200


async def test_programs_send_none_of_these_headers(api: Api) -> None:
    """A program needs no Origin."""
    assert await write(api) == 201
