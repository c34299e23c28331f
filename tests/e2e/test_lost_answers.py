"""Clients that are gone before their answer is: what they sent in full has been done, once, and a retry finds it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.raw_http import JSON, NDJSON, eventually, post, request
from tests.e2e.watched_server import Vitals, Watched, watched

ROUNDS = 20
DELAYED = b'{"kind":"a","delay":3600,"tags":["%s"]}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A server whose commits take their time: they go to a disk."""
    folder = tmp_path_factory.mktemp("lost")
    with watched(folder, store=f"sqlite:{folder / 'jobs.db'}") as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def at_rest(server: Watched) -> Vitals:
    """What it holds before the first test."""
    return server.settled()


def tagged(server: Watched, tag: bytes) -> list[str]:
    """The ids of the jobs that have this tag."""
    found = server.ask(request(b"GET /jobs?tag=" + tag)).json()
    return [job["id"] for job in found["items"]]


def exist(server: Watched, tag: bytes, count: int) -> bool:
    """Whether so many jobs have this tag, now or soon."""
    return eventually(lambda: len(tagged(server, tag)) == count)


def send_and_reset(server: Watched, data: bytes) -> None:
    """Ask for a commit, and be gone while it is made."""
    raw = server.connect()
    assert raw.ask(request(b"GET /healthz")).status == 200  # it is served by now: not one that was never accepted
    raw.send(data)
    raw.reset()


@pytest.mark.parametrize("many", [1, 3], ids=["one", "array"])
def test_a_reset_during_the_commit_loses_no_job(server: Watched, many: int) -> None:
    """The job exists, and a retry with its key is answered with it."""
    for number in range(ROUNDS):
        tag = b"commit-%d-%d" % (many, number)
        item = DELAYED % tag
        body = item if many == 1 else b"[" + b",".join([item] * many) + b"]"
        data = post(body, JSON + b"Idempotency-Key: %s\r\n" % tag)
        send_and_reset(server, data)
        assert exist(server, tag, many), "the job is lost"

        again = server.ask(data)
        said = again.json()
        assert (again.status, again.headers["idempotency-replayed"]) == (201, "true")
        assert {job["id"] for job in said.get("jobs", [said])} == set(tagged(server, tag))


def test_a_reset_during_the_commit_at_the_origins_route_loses_no_job(server: Watched) -> None:
    """The same for POST /submit."""
    data = post(b'{"payload":"x"}', JSON + b"Idempotency-Key: origin\r\n", b"/submit")
    send_and_reset(server, data)
    jobs = request(b"GET /jobs?kind=simulate")
    assert eventually(lambda: len(server.ask(jobs).json()["items"]) == 1)

    again = server.ask(data)
    assert (again.status, again.headers["idempotency-replayed"]) == (200, "true")
    assert again.json()["job_id"] == server.ask(jobs).json()["items"][0]["id"]


def test_a_retry_that_meets_its_first_request_is_one_with_it(server: Watched) -> None:
    """The retry comes at once, whether the first is done or not: one job."""
    for number in range(ROUNDS):
        tag = b"at-once-%d" % number
        data = post(DELAYED % tag, JSON + b"Idempotency-Key: %s\r\n" % tag)
        with server.connect() as retry:
            send_and_reset(server, data)
            answer = retry.ask(data)

        assert answer.status == 201
        assert tagged(server, tag) == [answer.json()["id"]]


def test_lines_that_were_sent_before_a_reset_are_jobs(server: Watched) -> None:
    """A stream that breaks off has submitted what it sent, and can be sent again with the keys of its lines."""
    keyed = [
        json.dumps({"kind": "a", "delay": 3600, "tags": ["line"], "idempotency_key": f"line-{number}"}).encode() + b"\n"
        for number in range(50)
    ]
    data = post(b"".join(keyed), NDJSON)
    send_and_reset(server, data[: -len(keyed[-1])])
    assert exist(server, b"line", 49)

    answers = [json.loads(line) for line in server.ask(data).body.splitlines()]
    assert sorted(answer["id"] for answer in answers) == sorted(tagged(server, b"line"))
    assert len(answers) == 50


def test_a_command_that_was_sent_is_done(server: Watched) -> None:
    """Cancel, and be gone."""
    id = server.ask(post(DELAYED % b"cancelled")).json()["id"].encode()
    send_and_reset(server, request(b"POST /jobs/%s/cancel" % id))

    assert eventually(lambda: server.ask(request(b"GET /jobs/" + id)).json()["status"] == "CANCELLED")


def test_what_was_not_sent_in_full_is_not_done(server: Watched) -> None:
    """However little is missing."""
    data = post(DELAYED % b"half")
    for cut in range(1, len(DELAYED)):
        send_and_reset(server, data[:-cut])
    assert server.ask(data).status == 201
    assert len(tagged(server, b"half")) == 1


def test_after_all_this_the_server_is_as_before(server: Watched, at_rest: Vitals) -> None:
    """Same open files, same tasks, and no fault inside."""
    assert server.rests(at_rest), f"{server.state} is not {at_rest}"
