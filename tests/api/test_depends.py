"""`depends_on` on POST /jobs: what is taken, what is shown, and what a child is told of its parents."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueue.actors import parents
from tests.api.bench import Api, served

UNKNOWN = "0192f0c1-7e1a-7cc3-98c4-dc0c0c07398f"


async def test_a_child_waits(api: Api) -> None:
    """BLOCKED until its parent is DONE; then it runs."""
    parent = await api.running("slow")
    child = await api.submit(depends_on=[parent["id"]])
    assert (child["status"], child["depends_on"]) == ("BLOCKED", [parent["id"]])
    assert (await api.get(f"/status/{child['id']}")).json()["status"] == "QUEUED"
    api.bench.gate.set()
    assert (await api.ended(child["id"]))["status"] == "DONE"
    assert (await api.job(parent["id"]))["finished_at"] <= (await api.job(child["id"]))["started_at"]


async def test_it_is_shown(api: Api) -> None:
    """A job shows the ids it depends on, each once, and what their failure does."""
    parent = await api.park()
    said = [parent["id"].upper(), parent["id"]]
    child = await api.submit(depends_on=said, on_dependency_failure="run")
    assert (child["depends_on"], child["on_dependency_failure"]) == ([parent["id"]], "run")
    assert await api.job(child["id"]) == child
    assert (parent["depends_on"], parent["on_dependency_failure"]) == ([], "cancel")


async def test_a_failed_parent_cancels_at_once(api: Api) -> None:
    """CANCELLED, reason `dependency`, in the 201 where the parent has failed already."""
    parent = await api.done("fatal")
    assert parent["status"] == "FAILED"
    answer = await api.post("/jobs", {"kind": "echo", "depends_on": [parent["id"]]})
    assert answer.status == 201
    assert (answer.json()["status"], answer.json()["reason"]) == ("CANCELLED", "dependency")
    freed = await api.submit(depends_on=[parent["id"]], on_dependency_failure="run")
    assert (await api.ended(freed["id"]))["status"] == "DONE"


async def test_a_wait_for_a_child_that_is_cancelled(api: Api) -> None:
    """Who waits for a child hears of its end when its parent fails."""
    parent = await api.running("slow")
    child = await api.submit(depends_on=[parent["id"]])
    await api.act(parent["id"], "cancel")
    found = await api.ended(child["id"])
    assert (found["status"], found["reason"]) == ("CANCELLED", "dependency")


async def test_a_workflow_in_one_array(api: Api) -> None:
    """With "#0" an item names an earlier item of the array; the jobs show real ids."""
    said = [
        {"kind": "echo", "payload": 1},
        {"kind": "echo", "payload": 2, "depends_on": ["#0"]},
        {"kind": "echo", "payload": 3, "depends_on": ["#0", "#1"]},
    ]
    jobs = (await api.post("/jobs", said)).json()["jobs"]
    assert jobs[2]["depends_on"] == [jobs[0]["id"], jobs[1]["id"]]
    assert [job["status"] for job in jobs] == ["QUEUED", "BLOCKED", "BLOCKED"]
    assert (await api.ended(jobs[2]["id"]))["result"] == 3


@pytest.mark.parametrize("bad", [UNKNOWN, "#0", "#1", "#9999", "#01", "#-1", "#", "#99999", "x", "", "\u0661"])
async def test_unknown_parents(front: Api, bad: str) -> None:
    """An unknown id, or an item that is no earlier one: 422, with a pointer to it."""
    parent = await front.park()
    said = {"kind": "echo", "depends_on": [parent["id"], bad]}
    assert (await front.post("/jobs", said)).pointers(422, "validation") == ["/depends_on/1"]
    assert (await front.post("/jobs", [said])).pointers(422, "validation") == ["/0/depends_on/1"]
    (line,) = await front.stream(said)
    assert (line["status"], line["errors"][0]["pointer"]) == (422, "/depends_on/1")


async def test_a_removed_parent_is_unknown(api: Api) -> None:
    """422, as for an id that never was."""
    parent = await api.done()
    await api.remove(parent["id"])
    answer = await api.post("/jobs", {"kind": "echo", "depends_on": [parent["id"]]})
    assert answer.pointers(422, "validation") == ["/depends_on/0"]


@pytest.mark.parametrize(
    "fields, pointer",
    [
        ({"depends_on": UNKNOWN}, "/depends_on"),
        ({"depends_on": [5]}, "/depends_on/0"),
        ({"on_dependency_failure": "ignore"}, "/on_dependency_failure"),
    ],
    ids=["text", "number", "mode"],
)
async def test_what_is_no_dependency(front: Api, fields: dict[str, Any], pointer: str) -> None:
    """422 with a pointer."""
    assert (await front.post("/jobs", {"kind": "echo", **fields})).pointers(422, "validation") == [pointer]


async def test_a_job_depends_on_1000_others_at_most() -> None:
    """The 1,001st is refused, though it is named twice."""
    async with served(max_body=1 << 20) as api:
        parents = [(await api.park())["id"] for _ in range(2)]
        said = {"kind": "echo", "depends_on": parents * 500}
        assert (await api.post("/jobs", said)).json()["depends_on"] == parents
        said["depends_on"] = [*parents * 500, parents[0]]
        assert (await api.post("/jobs", said)).pointers(422, "validation") == ["/depends_on"]


async def test_the_1001st_dependent() -> None:
    """On one job at most 1,000 others may depend."""
    async with served(max_body=1 << 20) as api:
        child = {"kind": "echo", "depends_on": [(await api.park())["id"]]}
        for _ in range(2):
            assert (await api.post("/jobs", [child] * 500)).status == 201
        assert (await api.post("/jobs", child)).pointers(422, "validation") == ["/depends_on/0"]


async def test_a_child_reads_its_parents(api: Api) -> None:
    """ctx.parents: of each parent its status and its result."""
    one, two = await api.done("echo", payload={"n": [1, None, "x"]}), await api.done("fatal")
    child = await api.submit(depends_on=[one["id"], two["id"]], on_dependency_failure="run")
    await api.ended(child["id"])
    assert api.bench.seen[-1].parents == {
        one["id"]: {"status": "DONE", "result": {"n": [1, None, "x"]}},
        two["id"]: {"status": "FAILED", "result": None},
    }
    await api.done()
    assert api.bench.seen[-1].parents == {}


async def test_a_parent_that_is_gone_is_not_told_of(api: Api) -> None:
    """Removed by hand before the child starts, it is no longer among ctx.parents."""
    one, two = await api.done(payload=1), await api.running("slow")
    child = await api.submit(depends_on=[one["id"], two["id"]])
    await api.remove(one["id"])
    api.bench.gate.set()
    await api.ended(child["id"])
    assert list(api.bench.seen[-1].parents) == [two["id"]]


async def test_results_that_are_too_many_to_hand_over(front: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than 16 MiB of them fail the child for good, and say why."""
    monkeypatch.setattr(parents, "RESULTS_MOST_BYTES", 10)
    jobs = [await front.done(payload="12345") for _ in range(2)]
    found = await front.done(depends_on=[job["id"] for job in jobs])
    assert (found["status"], found["reason"], found["attempt"]) == ("FAILED", "fatal", 1)
    assert "results" in found["error"]["message"]
    assert (await front.done(depends_on=[jobs[0]["id"]]))["status"] == "DONE"


async def test_a_retried_child_runs_at_once(api: Api) -> None:
    """Explicit retry ignores depends_on, and still shows it."""
    parent = await api.done("fatal")
    child = await api.submit(depends_on=[parent["id"]])
    answer = await api.act(child["id"], "retry")
    assert (answer.json()["status"], answer.json()["depends_on"]) == ("QUEUED", [parent["id"]])
    assert (await api.ended(child["id"]))["status"] == "DONE"
