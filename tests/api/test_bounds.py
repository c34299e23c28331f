"""What a job may leave behind is bounded, however much its handler says; what was cut says so."""

from __future__ import annotations

from tests.api.bench import Api

MIB = 1 << 20


async def test_a_result_of_a_mebibyte_is_kept(front: Api) -> None:
    """To the byte: the quotes count."""
    job = await front.done("loud", payload={"result": MIB - 2})
    assert (job["status"], len(job["result"])) == ("DONE", MIB - 2)


async def test_a_larger_result_is_fatal(front: Api) -> None:
    """FAILED at once, since another try would return the same; the error says how large it was."""
    job = await front.done("loud", payload={"result": MIB - 1}, max_attempts=5)
    assert (job["status"], job["reason"], job["attempt"], job["result"]) == ("FAILED", "fatal", 1, None)
    assert job["error"]["message"] == "the result is too large: 1,048,577 bytes of JSON, at most 1,048,576"


async def test_of_a_long_message_the_beginning_is_kept(front: Api) -> None:
    """Of an error, of progress, of a line: cut with a mark that says how long it was."""
    job = await front.done("loud", payload={"lines": 0, "long": 123_456}, max_attempts=1)
    mark = "... (cut: 123,456 characters in all)"
    (line,) = (await front.get(f"/jobs/{job['id']}/logs")).json()["items"]
    cut = {job["error"]["message"]: 1_000, job["progress"]["message"]: 1_000, line["message"]: 8_192}
    assert all(len(text) == most and text.endswith(mark) for text, most in cut.items())
    traceback = job["error"]["traceback"]
    assert len(traceback) <= 16 << 10
    assert traceback.startswith("(the beginning is cut: 12")


async def test_of_many_lines_the_last_are_kept(front: Api) -> None:
    """1,000 lines a job, newest first."""
    job = await front.done("loud", payload={"lines": 1_100, "long": 1}, max_attempts=1)
    items = (await front.get(f"/jobs/{job['id']}/logs")).json()["items"]
    assert len(items) == 1_000
    assert [items[0]["message"], items[1]["message"], items[-1]["message"]] == ["x", "line 1099", "line 101"]


async def test_of_many_attempts_the_last_are_kept(front: Api) -> None:
    """100 attempts a job, newest first."""
    job = await front.done("fail", max_attempts=130, retry={"backoff": "list", "delays": [0]})
    assert job["attempt"] == 130
    items = (await front.get(f"/jobs/{job['id']}/attempts")).json()["items"]
    assert [item["attempt"] for item in items] == list(range(130, 30, -1))
