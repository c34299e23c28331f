"""Paths and methods over real sockets: what is there, what is not, and what may be done with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobqueue.api.routes import ROUTES
from tests.e2e.raw_http import JSON, post, request
from tests.e2e.watched_server import Vitals, Watched, watched

NAME = b"default"  # of a queue, and of a schedule
SCHEDULE = b'{"cron":"@yearly","paused":true,"job":{"kind":"simulate"}}'
UNKNOWN = b"01920000-0000-7000-8000-00000000ffff"
READS = sorted({route.path for route in ROUTES if route.method == "GET" and not route.path.endswith("/events")})


def fits(form: str, path: str) -> bool:
    """Whether a path is of that form: `/jobs/cancel` is one of `/jobs/{id}`, too."""
    wanted, parts = form.split("/"), path.split("/")
    return len(wanted) == len(parts) and all(a in (b, "{id}") for a, b in zip(wanted, parts, strict=True))


ALLOWED = {path: {row.method for row in ROUTES if fits(row.path, path)} for path in {route.path for route in ROUTES}}
OF_ONE_JOB = sorted((route.method, route.path) for route in ROUTES if "{id}" in route.path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The server that is asked."""
    with watched(tmp_path_factory.mktemp("routes")) as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def at_rest(server: Watched) -> Vitals:
    """What it holds before the first test."""
    return server.settled()


@pytest.fixture(scope="module")
def job(server: Watched) -> bytes:
    """The id of a job that does not change; beside it stands a schedule."""
    length = JSON + b"Content-Length: %d\r\n" % len(SCHEDULE)
    assert server.ask(request(b"PUT /schedules/" + NAME, length, SCHEDULE)).status == 201
    accepted = server.ask(post(b'{"kind":"simulate","delay":3600}'))
    return str(accepted.json()["id"]).encode()


@pytest.mark.parametrize("path", READS)
def test_head_is_get_without_a_body(server: Watched, job: bytes, path: str) -> None:
    """The same status and headers; the next answer stands right behind it."""
    target = path.encode().replace(b"{id}", job).replace(b"{name}", NAME)
    with server.connect() as raw:
        get = raw.ask(request(b"GET " + target))
        raw.send(request(b"HEAD " + target) + request(b"GET " + target))
        head, after = raw.answer("HEAD"), raw.answer()

    assert (get.status, head.status, after.status) == (200, 200, 200)
    assert head.body == b""
    assert {**head.headers, "date": ""} == {**get.headers, "date": ""}


@pytest.mark.parametrize("path", ["/nothing", "/jobs/{id}", "/status/{id}", "/jobs/{id}/logs"])
def test_head_of_what_is_not_there_is_404(server: Watched, path: str) -> None:
    """With the length of the problem, but without it."""
    with server.connect() as raw:
        raw.send(request(b"HEAD " + path.encode().replace(b"{id}", UNKNOWN)) + request(b"GET /healthz"))
        head = raw.answer("HEAD")

        assert (head.status, head.headers["content-type"]) == (404, "application/problem+json")
        assert int(head.headers["content-length"]) > 0
        assert raw.answer().status == 200


METHODS = [b"BREW", b"get", b"Post", b"DELETE", b"PUT", b"PATCH", b"OPTIONS", b"TRACE", b"PROPFIND", b"M-SEARCH"]


@pytest.mark.parametrize("method", METHODS, ids=bytes.decode)
def test_an_unknown_method_is_405_on_every_route(server: Watched, method: bytes) -> None:
    """With the methods that are known there, and the connection goes on."""
    for path, known in ALLOWED.items():
        if method.decode() in known:
            continue
        with server.connect() as raw:
            answer = raw.ask(request(b"%s %s" % (method, path.encode().replace(b"{id}", UNKNOWN))))

            assert (answer.status, answer.problem) == (405, "method-not-allowed")
            assert set(answer.headers["allow"].split(", ")) == known | ({"HEAD"} if "GET" in known else set())
            assert raw.ask(request(b"GET /healthz")).status == 200


def test_an_unread_body_of_an_unknown_method_ends_the_connection(server: Watched) -> None:
    """It was announced and not awaited."""
    with server.connect() as raw:
        answer = raw.ask(request(b"PUT /jobs", JSON + b"Content-Length: 1000\r\n", b"{"))

        assert (answer.status, answer.problem) == (405, "method-not-allowed")
        assert answer.headers["connection"] == "close"
        assert raw.ends()


@pytest.mark.parametrize("method, path", OF_ONE_JOB)
def test_an_unknown_job_is_404_on_every_route(server: Watched, method: str, path: str) -> None:
    """A problem, and the connection goes on."""
    with server.connect() as raw:
        answer = raw.ask(request(b"%s %s" % (method.encode(), path.encode().replace(b"{id}", UNKNOWN))))

        assert (answer.status, answer.problem) == (404, "not-found")
        assert raw.ask(request(b"GET /healthz")).status == 200


ODD = [
    *(b"/nothing", b"/", b"//", b"//jobs", b"/jobs/", b"/jobs//", b"/JOBS", b"/jobs;x", b"/job", b"/healthz/", b"/%"),
    *(b"/%00", b"/jobs%00", b"/jobs/%00", b"/jobs/%00/logs", b"/status/%00", b"/%ff", b"/jobs/%ff", b"/status/%ff"),
    *(b"/jobs/%ff/logs", b"/..", b"/../jobs", b"/jobs/..", b"/jobs/../jobs", b"/../../etc/passwd", b"/%2e%2e/jobs"),
    *(b"/jobs/%2e%2e", b"/jobs/..%2f..", b"/jobs/%2F", b"/jobs/\\", b"/jobs/%0a", b"/jobs/%0d%0aX:%20a", b"/static/x"),
    *(b"/jobs/" + UNKNOWN + b"%00", b"/jobs/" + UNKNOWN + b"/", b"/jobs/" + b"a" * 8_000, b"/" + b"/" * 8_000),
    *(b"/jobs/%F0%9F%92%A9", b"/status/" + b"%00" * 2_000, b"/jobs/" + b"%2f" * 2_000, b"/jobs/{id}", b"/jobs/<id>"),
]


@pytest.mark.parametrize("path", ODD, ids=lambda path: f"{path[:24].decode()} {len(path)}")
def test_an_odd_path_is_404(server: Watched, path: bytes) -> None:
    """A problem, no header of the client's making, and the connection goes on."""
    with server.connect() as raw:
        answer = raw.ask(request(b"GET " + path))

        assert (answer.status, answer.problem) == (404, "not-found")
        assert "x" not in answer.headers
        assert raw.ask(request(b"GET /healthz")).status == 200


@pytest.mark.parametrize(
    "start", [b"/", b"/jobs/", b"/jobs?cursor=", b"/status/", b"http://localhost/"], ids=bytes.decode
)
def test_nine_thousand_characters_are_414(server: Watched, start: bytes) -> None:
    """In a path or a query; and the connection closes."""
    with server.connect() as raw:
        answer = raw.ask(request(b"GET " + start + b"a" * 9_000))

        assert (answer.status, answer.problem) == (414, "target-too-long")
        assert answer.headers["connection"] == "close"
        assert raw.ends()


def test_after_all_this_the_server_is_as_before(server: Watched, at_rest: Vitals) -> None:
    """Same open files, same tasks, and no fault inside."""
    assert server.rests(at_rest), f"{server.state} is not {at_rest}"
