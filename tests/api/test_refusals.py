"""What the framework refuses, HEAD, the headers of answers, and faults of our own: all in one voice."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueue.api.routes import ROUTES
from tests.api.bench import JSON, Api, served
from tests.api.doors import MemoryDoor
from tests.api.test_health import Failing

UNKNOWN = "01920000-0000-7000-8000-00000000ffff"


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/x", "/job", "/jobs/", "//jobs", "/jobs//", "/JOBS", "/status", "/status/", "/submit/", "/jobs/x/y"),
        *(
            f"/jobs/{UNKNOWN}/",
            f"/jobs/{UNKNOWN}/cancel/",
            f"/status/{UNKNOWN}/x",
            "/../jobs",
            "/%2e%2e/jobs",
            "/jobs%00",
        ),
        *("/favicon.ico", "/static/x", "/healthz/", "/docs/x", "/jobs/%2F", "/jobs/..%2f..", "/%ff", "/jobs%0A"),
    ],
)
async def test_an_unknown_path_is_404(api: Api, path: str) -> None:
    """Unknown path: 404, whatever the method."""
    (await api.get(path)).problem(404, "not-found")
    (await api.ask("POST", path, b"{}", type=JSON)).problem(404, "not-found")


ALLOWED = {
    "/submit": "POST",
    f"/status/{UNKNOWN}": "GET, HEAD",
    "/jobs": "GET, HEAD, POST",
    f"/jobs/{UNKNOWN}": "DELETE, GET, HEAD, PATCH",
    "/jobs/cancel": "DELETE, GET, HEAD, PATCH, POST",  # it has the form of /jobs/{id}, too
    "/jobs/retry": "DELETE, GET, HEAD, PATCH, POST",
    "/jobs/delete": "DELETE, GET, HEAD, PATCH, POST",
    f"/jobs/{UNKNOWN}/cancel": "POST",
    f"/jobs/{UNKNOWN}/retry": "POST",
    f"/jobs/{UNKNOWN}/explain": "GET, HEAD",
    f"/jobs/{UNKNOWN}/attempts": "GET, HEAD",
    f"/jobs/{UNKNOWN}/logs": "GET, HEAD",
    f"/jobs/{UNKNOWN}/events": "GET, HEAD",
    "/events": "GET, HEAD",
    "/queues": "GET, HEAD",
    "/queues/{name}": "GET, HEAD, PATCH",
    "/schedules": "GET, HEAD",
    "/schedules/{name}": "DELETE, GET, HEAD, PUT",
    "/schedules/{name}/trigger": "POST",
    "/clock/advance": "POST",
    "/healthz": "GET, HEAD",
    "/readyz": "GET, HEAD",
}


@pytest.mark.parametrize("path", ALLOWED)
async def test_the_wrong_method_is_405_and_told_the_right_ones(api: Api, path: str) -> None:
    """Unknown method: 405 + Allow."""
    known = ALLOWED[path].split(", ")
    for method in {"OPTIONS", "PUT", "TRACE", "BREW"}.difference(known):
        answer = await api.ask(method, path)
        answer.problem(405, "method-not-allowed")
        assert sorted(answer.headers["allow"].split(", ")) == sorted(known)


def test_every_route_is_in_that_table() -> None:
    """So that a new route is not forgotten above."""
    assert {route.path.replace("{id}", UNKNOWN) for route in ROUTES} == ALLOWED.keys()


@pytest.mark.parametrize("path", ["/jobs", "/healthz", "/readyz", "/jobs/{id}", "/status/{id}", "/jobs/{id}/logs"])
async def test_head_is_get_without_the_body(api: Api, path: str) -> None:
    """RFC 9110 section 9.3.2: the same headers."""
    path = path.format(id=(await api.park())["id"])
    get, head = await api.get(path), await api.ask("HEAD", path)
    assert (head.status, head.headers["content-length"]) == (200, str(len(get.body)))
    assert {name: head.headers[name] for name in get.headers if name != "date"} == {
        name: value for name, value in get.headers.items() if name != "date"
    }
    assert not head.body or isinstance(api.door, MemoryDoor)  # there the connection leaves it out


async def test_head_of_what_is_not_there_is_404(api: Api) -> None:
    """The same status as GET."""
    for path in ("/nothing", f"/jobs/{UNKNOWN}", f"/status/{UNKNOWN}"):
        assert (await api.ask("HEAD", path)).status == 404


async def test_head_may_be_answered_with_304(api: Api) -> None:
    """It has an ETag as GET has."""
    path = f"/jobs/{(await api.park())['id']}"
    etag = (await api.get(path)).headers["etag"]
    assert (await api.ask("HEAD", path, if_none_match=etag)).status == 304


async def test_an_answer_is_json_and_not_kept_by_caches(api: Api) -> None:
    """JSON out; jobs change."""
    for path in ("/jobs", "/healthz", "/readyz"):
        headers = (await api.get(path)).headers
        assert (headers["content-type"], headers["cache-control"]) == ("application/json", "no-store")


@pytest.mark.parametrize("name", ["server", "x-powered-by", "set-cookie", "access-control-allow-origin"])
async def test_an_answer_says_nothing_of_what_made_it(api: Api, name: str) -> None:
    """No answer reveals internals, and no other site may read it."""
    if name == "server" and "hypercorn" in (await api.get("/jobs")).headers.get(name, ""):
        return  # Hypercorn's own connection signs its answers
    for answer in (await api.get("/jobs", origin="http://evil.example"), await api.get("/nothing")):
        assert name not in answer.headers


async def test_each_refusal_has_an_id_of_its_own(api: Api) -> None:
    """`request_id`."""
    ids = {(await api.get(path)).problem(404, "not-found")["request_id"] for path in ("/x", "/x", f"/jobs/{UNKNOWN}")}
    assert len(ids) == 3


async def test_a_fault_of_ours_is_500_and_shows_nothing(logged: list[Any]) -> None:
    """500 internal: nothing of the inside shown; what happened is in the log."""
    for door in ("front", "quart"):
        async with served(door, store=Failing, workers=0) as api:
            assert isinstance(api.store, Failing)
            api.store.fault = RuntimeError("secret of the inside")
            answer = await api.post("/jobs", {"kind": "echo"})
            answer.problem(500, "internal")
            assert b"secret" not in answer.body
            api.store.fault = None
            assert (await api.post("/jobs", {"kind": "echo"})).status == 201
    assert sum("secret" in str(entry.get("exc_info")) for entry in logged) == 2
    logged.clear()


async def test_a_fault_of_an_endpoint_is_500_and_shows_nothing(logged: list[Any]) -> None:
    """The same, behind both doors, of a read."""
    for door in ("front", "quart"):
        async with served(door, store=Unreadable) as api:
            for path in (f"/jobs/{UNKNOWN}", f"/status/{UNKNOWN}", "/jobs"):
                answer = await api.get(path)
                answer.problem(500, "internal")
                assert b"secret" not in answer.body
    assert len(logged) == 6
    logged.clear()


class Unreadable(Failing):
    """A store that is read in vain."""

    async def get(self, ids: Any, *, whole: bool = True) -> Any:
        raise RuntimeError("secret of the inside")

    page = get  # type: ignore[assignment]  # it only raises
