"""A running server under random commands over HTTP, held against a model that says the same a second time.

Hypothesis draws the commands and shrinks what fails; it prints the steps, which is how to see it again. The server's
clock is manual, so `POST /clock/advance` is also how the test waits until all that may run has run.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.e2e.fork_server import ForkServer
from tests.e2e.http_model import DELAYS, Model, ModelJob, Refused
from tests.e2e.model_handlers import REGISTRY
from tests.e2e.server_process import running_server

QUEUES = ("open", "held")
KINDS = ("ok", "flaky", "fail", "fatal", "parents")
RETRY = {"backoff": "list", "delays": list(DELAYS)}
EPOCH_SECONDS = 80_000.0  # all that the clock is moved on by: less than any retention

unique = st.none() | st.fixed_dictionaries(
    {
        "key": st.sampled_from(("red", "blue")),
        "while": st.sampled_from(("queued", "active", "exists")),
        "on_conflict": st.sampled_from(("reject", "return", "replace")),
    }
)
drafts = st.fixed_dictionaries(
    {
        "queue": st.sampled_from(QUEUES),
        "kind": st.sampled_from(KINDS),
        "payload": st.none() | st.integers(-3, 3) | st.text("ab", max_size=3),
        "max_attempts": st.integers(1, 3),
    },
    optional={
        "priority": st.integers(-2, 2),
        "group": st.sampled_from(("g", "h")),
        "tags": st.lists(st.sampled_from(("t", "u")), unique=True, max_size=2),
        "delay": st.sampled_from((5, 50)),
        "unique": unique,
        "on_dependency_failure": st.sampled_from(("cancel", "run")),
    },
)
picks = st.integers(0, 1000)
filters = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(("DONE", "FAILED", "CANCELLED", "QUEUED", "SCHEDULED", "BLOCKED")),
        "queue": st.sampled_from(QUEUES),
        "kind": st.sampled_from(KINDS),
        "group": st.sampled_from(("g", "h")),
        "tag": st.sampled_from(("t", "u")),
    },
)


class Machine(RuleBasedStateMachine):
    """One server and its model."""

    forks: ClassVar[ForkServer]
    folder: ClassVar[Path]

    @initialize()
    def start(self) -> None:
        """A fresh server with a clock that stands."""
        self.model = Model()
        self.stack = ExitStack()
        options = ("--store", "memory:", "--clock", "manual", "--queues", "*", "--workers", "3")
        server = running_server(self.folder, *options, handlers=[REGISTRY], forks=self.forks)
        self.client = self.stack.enter_context(server).client

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()

    # -- asking

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """The status and the answer, once all that follows from it has happened."""
        response = self.client.request(method, path, **options)
        if method != "GET":
            self.client.post("/clock/advance", json={"seconds": 0})
        return response.status_code, response.json() if response.content else None

    def agree(self, method: str, path: str, act: Callable[[], Any], **options: Any) -> Any:
        """Ask, and let the model do the same: both accept or both refuse, with the same status."""
        status, answer = self.ask(method, path, **options)
        expected = None
        try:
            act()
        except Refused as refused:
            expected = refused.status
        assert status == expected if expected else status < 300, (method, path, status, answer)
        return answer

    def some(self, pick: int, *, removed: bool = False) -> str | None:
        """A job's id, sometimes of one that was removed."""
        ids = [*self.model.jobs, *(sorted(self.model.removed) if removed else ())]
        return ids[pick % len(ids)] if ids else None

    # -- commands

    @rule(draft=drafts, parents=st.lists(picks, max_size=2))
    def submit(self, draft: dict[str, Any], parents: list[int]) -> None:
        """One job, perhaps with a unique key, perhaps after others."""
        model = self.model
        ids = tuple(dict.fromkeys(id for pick in parents if (id := self.some(pick)) is not None))
        body = {**draft, "retry": RETRY} | ({"depends_on": list(ids)} if ids else {})
        met = model.meets(draft["queue"], draft.get("unique"))
        status, answer = self.ask("POST", "/jobs", json=body)
        answers = {"reject": 409, "return": 200, "replace": 201}
        expected = 201 if met is None else answers[draft["unique"]["on_conflict"]]
        assert status == expected, (status, answer)
        if status == 409:
            assert answer["type"] == "/problems/duplicate"
            assert met is not None
            assert met.id in str(answer)
        elif status == 200:
            assert met is not None
            assert answer["id"] == met.id
        else:
            model.accept(self.modelled(answer["id"], draft, ids))

    def modelled(self, id: str, draft: dict[str, Any], parents: tuple[str, ...] = ()) -> ModelJob:
        return ModelJob(
            id=id,
            order=len(self.model.jobs) + len(self.model.removed),
            queue=draft["queue"],
            kind=draft["kind"],
            payload=draft["payload"],
            priority=draft.get("priority", 0),
            group=draft.get("group"),
            tags=tuple(draft.get("tags", ())),
            max_attempts=draft["max_attempts"],
            delay=draft.get("delay"),
            unique=draft.get("unique"),
            parents=parents,
            on_failure=draft.get("on_dependency_failure", "cancel"),
        )

    @rule(chain=st.lists(st.sampled_from(KINDS), min_size=2, max_size=4), queue=st.sampled_from(QUEUES))
    def submit_workflow(self, chain: list[str], queue: str) -> None:
        """An array in which each job depends on the one before."""
        each = [{"queue": queue, "kind": kind, "payload": n, "max_attempts": 1} for n, kind in enumerate(chain)]
        body = [job | ({"depends_on": [f"#{n - 1}"]} if n else {}) for n, job in enumerate(each)]
        status, answer = self.ask("POST", "/jobs", json=body)
        assert status == 201, answer
        ids = [job["id"] for job in answer["jobs"]]
        jobs = [
            self.modelled(id, job, (ids[n - 1],) if n else ())
            for n, (id, job) in enumerate(zip(ids, each, strict=True))
        ]
        for n, job in enumerate(jobs):
            job.order += n
            job.status = "BLOCKED" if job.parents else "QUEUED"
            self.model.jobs[job.id] = job
        self.model.settle()

    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        """Cancel a job."""
        if (id := self.some(pick, removed=True)) is not None:
            self.agree("POST", f"/jobs/{id}/cancel", lambda: self.model.cancel(id))

    @rule(pick=picks)
    def retry(self, pick: int) -> None:
        """Retry a job."""
        if (id := self.some(pick, removed=True)) is not None:
            self.agree("POST", f"/jobs/{id}/retry", lambda: self.model.retry(id))

    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        """Remove a job."""
        if (id := self.some(pick, removed=True)) is not None:
            self.agree("DELETE", f"/jobs/{id}", lambda: self.model.delete(id))

    @rule(pick=picks, priority=st.integers(-3, 3), most=st.integers(1, 4))
    def amend(self, pick: int, priority: int, most: int) -> None:
        """Change a job that has not ended."""
        if (id := self.some(pick, removed=True)) is None:
            return

        def act() -> None:
            job = self.model.known(id)
            if job.ended:
                raise Refused(409)
            job.priority, job.max_attempts = priority, most

        self.agree("PATCH", f"/jobs/{id}", act, json={"priority": priority, "max_attempts": most})

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:  # noqa: FBT001 - drawn
        """Pause a queue, or let it go on."""

        def act() -> None:
            (self.model.paused.add if paused else self.model.paused.discard)("held")
            self.model.settle()

        answer = self.agree("PATCH", "/queues/held", act, json={"paused": paused})
        assert answer["paused"] is paused

    @precondition(lambda self: self.model.now < EPOCH_SECONDS)
    @rule(seconds=st.sampled_from((0.5, 5, 10, 60, 100, 1000)))
    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.agree("POST", "/clock/advance", lambda: self.model.advance(seconds), json={"seconds": seconds})

    @rule(action=st.sampled_from(("cancel", "retry", "delete")), wanted=filters, dry=st.booleans())
    def in_bulk(self, action: str, wanted: dict[str, str], dry: bool) -> None:  # noqa: FBT001 - drawn
        """Cancel, retry or remove all that a filter finds: newest first, each by the rules of one."""
        found = self.matching(wanted)
        status, answer = self.ask("POST", f"/jobs/{action}", json={"filter": wanted, "dry_run": dry})
        assert status == 200, answer
        assert answer["matched"] == len(found)
        assert answer["next"] is None
        if dry:
            assert answer["changed"] == 0
            return
        changed = 0
        for id in found:
            before = self.model.jobs[id].status
            try:
                getattr(self.model, action)(id)
            except Refused:
                continue
            changed += action != "cancel" or before != "CANCELLED"
        # what one job's end did to another meanwhile may be counted for either
        assert abs(answer["changed"] - changed) <= len(found)

    # -- looking

    def matching(self, wanted: dict[str, str]) -> list[str]:
        """What the filter finds, newest first."""

        def fits(job: ModelJob) -> bool:
            values = {"status": job.status, "queue": job.queue, "kind": job.kind, "group": job.group}
            return all(value in job.tags if name == "tag" else values[name] == value for name, value in wanted.items())

        return [job.id for job in sorted(self.model.jobs.values(), key=lambda job: -job.order) if fits(job)]

    @rule(wanted=filters, limit=st.sampled_from((1, 3, 200)))
    def look_through(self, wanted: dict[str, str], limit: int) -> None:
        """A list shows all that its filter finds, newest first, over its pages."""
        found: list[str] = []
        target = f"/jobs?{'&'.join(f'{name}={value}' for name, value in (wanted | {'limit': str(limit)}).items())}"
        cursor = ""
        while True:
            status, page = self.ask("GET", target + cursor)
            assert status == 200, page
            found += [job["id"] for job in page["items"]]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert found == self.matching(wanted)

    @rule(pick=picks)
    def explain(self, pick: int) -> None:
        """A job that waits says why; one that has ended has nothing to say."""
        if (id := self.some(pick)) is None:
            return
        status, answer = self.ask("GET", f"/jobs/{id}/explain")
        assert status == 200, answer
        job = self.model.jobs[id]
        causes = {cause["cause"] for cause in answer["causes"]}
        expected = {"SCHEDULED": "scheduled", "BLOCKED": "dependency", "QUEUED": "paused"}.get(job.status)
        assert (expected in causes) if expected else not causes, (job, answer)

    @invariant()
    def all_is_as_modelled(self) -> None:
        """Every job is shown as the model has it, and the queues count the same."""
        if not hasattr(self, "stack"):
            return
        status, page = self.ask(
            "GET", "/jobs?limit=200&fields=id,status,reason,attempt,epoch,priority,result,depends_on"
        )
        assert status == 200, page
        shown = {job["id"]: job for job in page["items"]}
        assert shown.keys() == self.model.jobs.keys()
        for id, job in self.model.jobs.items():
            one = shown[id]
            assert (one["status"], one["reason"], one["attempt"], one["epoch"], one["priority"]) == (
                job.status, job.reason, job.attempt, job.epoch, job.priority,
            ), (job, one)  # fmt: skip
            assert one["depends_on"] == list(job.parents)
            if job.status == "DONE" and job.kind != "parents":
                assert one["result"] == job.result
        depths = {queue["name"]: queue["depth"] for queue in self.ask("GET", "/queues")[1]["items"]}
        for queue in QUEUES:
            statuses = [job.status for job in self.model.jobs.values() if job.queue == queue]
            assert {name: n for name, n in depths.get(queue, {}).items() if n} == {
                s: statuses.count(s) for s in set(statuses)
            }


@pytest.mark.parametrize("examples, steps", [(40, 25), pytest.param(1_000, 50, marks=pytest.mark.soak)])
def test_a_running_server_does_what_the_model_does(tmp_path: Path, examples: int, steps: int) -> None:
    """Random commands over HTTP: every answer, and every job after it, is as the model has it."""
    with ForkServer("jobqueue.cli:main", "jobqueue.cli.serve", "jobqueue.server", "tests.e2e.model_handlers") as forks:
        Machine.forks, Machine.folder = forks, tmp_path
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
