"""Errors on the wire: problem+json as RFC 9457 has it."""

from __future__ import annotations

import json

import pytest

from jobqueue.errors import BadRequest, Draining, Duplicate, Fault, Invalid, MethodNotAllowed, QueueFull, retry_after
from jobqueue.http import problem_body, problem_headers


def test_a_problem_names_everything() -> None:
    """The members of the interface, in their order, and what the error adds."""
    error = Duplicate("taken", faults=(Fault("/unique", "held"),), extra={"job_id": "j1"})

    assert list(json.loads(problem_body(error, "r1")).items()) == [
        ("type", "/problems/duplicate"),
        ("title", "Duplicate job"),
        ("status", 409),
        ("detail", "taken"),
        ("errors", [{"pointer": "/unique", "detail": "held"}]),
        ("request_id", "r1"),
        ("job_id", "j1"),
    ]


def test_a_problem_quotes_any_text() -> None:
    """Even what UTF-8 cannot hold, and what would be markup elsewhere."""
    detail = json.loads(problem_body(Invalid("ä \ud800 \0 </script>"), "r1"))["detail"]

    assert detail == "ä ? \0 </script>"


@pytest.mark.parametrize("error", [QueueFull("full"), Draining()])
def test_who_may_come_again_is_told_when(error: QueueFull | Draining) -> None:
    """429 and 503 carry Retry-After even where nothing could be computed."""
    assert (b"retry-after", b"30") in problem_headers(error)


def test_a_computed_wait_is_kept() -> None:
    """The server's arithmetic beats the default."""
    headers = problem_headers(QueueFull("full", headers=retry_after(2.2)))

    assert [value for name, value in headers if name == b"retry-after"] == [b"3"]


def test_an_error_adds_its_headers() -> None:
    """As 405 must name what is allowed."""
    assert problem_headers(MethodNotAllowed("no", headers=(("Allow", "GET"),))) == [
        (b"content-type", b"application/problem+json"),
        (b"allow", b"GET"),
    ]
    assert problem_headers(BadRequest()) == [(b"content-type", b"application/problem+json")]
