"""The README is executed: its curl tour against a real server, its handlers as they stand there."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from jobqueue.config import NAMES
from tests.e2e.server_process import ROOT, ServerProcess, running_server

README = (ROOT / "README.md").read_text()
ID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
WORDS = {
    "<id>": ID,
    "<time>": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",
    "<ended>": "(?:DONE|FAILED|SCHEDULED)",
    '"RUNNING"': '"(?:QUEUED|RUNNING)"',  # on a busy machine a worker may be slower than the next command
    "...": ".*",
}


class Step(NamedTuple):
    """A command of the tour and what the README says it prints."""

    command: str
    prints: str


def tour() -> list[Step]:
    """All steps, in the order of the README."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    steps = [step for block in blocks for step in re.split(r"^\$ ", block, flags=re.MULTILINE) if step]
    return [Step(*step.split("\n", 1)) for step in steps]


def pattern(text: str) -> str:
    """What is printed, as an expression: the words in <> and ... stand for what differs."""
    parts = re.split("|".join(f"({re.escape(word)})" for word in WORDS), text.strip())
    return "".join(WORDS.get(part, re.escape(part)) for part in parts if part)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with running_server(tmp_path) as server:
        yield server


@pytest.fixture
def still(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server whose clock stands still, as the README starts it."""
    started = re.search(r"`jobqueue (--clock manual .*) --port 8081`", README)
    assert started is not None
    with running_server(tmp_path, *started.group(1).split()) as server:
        yield server


def test_the_tour_prints_what_the_readme_says(server: ServerProcess, still: ServerProcess) -> None:
    """Each curl command of the README, run in order against its server, prints what stands below it."""
    steps = tour()
    assert len(steps) >= 12
    addresses = {"localhost:8080": server.url, "localhost:8081": still.url}
    last = ""
    for step in steps:
        command = step.command.replace("<id>", last)
        for name, url in addresses.items():
            command = command.replace(name, url.removeprefix("http://"))
        done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert re.fullmatch(pattern(step.prints), done.stdout.strip(), re.DOTALL), f"{command}\n{done.stdout}"
        found = re.search(ID, done.stdout)
        last = found.group() if found else last


def test_the_tour_of_idempotency_makes_one_job(server: ServerProcess) -> None:
    """The two requests with one Idempotency-Key that the README shows answer with the same id."""
    keyed = [step.command.replace("localhost:8080", server.url.removeprefix("http://")) for step in tour()]
    keyed = [command for command in keyed if "Idempotency-Key" in command]
    outputs = [subprocess.run(["bash", "-c", command], check=True, capture_output=True).stdout for command in keyed]
    ids = {re.findall(ID.encode(), output)[0] for output in outputs}
    assert len(outputs) == 2
    assert len(ids) == 1


def test_the_handlers_of_the_readme_work(tmp_path: Path) -> None:
    """The registry that the README shows is served as it stands: an async handler, a fatal error, a process handler."""
    source = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert source is not None
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage" / "tasks.py").write_text(source.group(1))
    with running_server(
        tmp_path, "--handlers", "mypackage.tasks:handlers", env={"PYTHONPATH": str(tmp_path)}
    ) as server:
        sent = server.wait(server.submit(kind="mail.send", payload={"to": "a@example.org"})["id"])
        refused = server.wait(server.submit(kind="mail.send", payload={"to": "a@b.invalid"})["id"])
        drawn = server.wait(server.submit(kind="thumbnail", payload={"width": 400})["id"])
        log = server.client.get(f"/jobs/{drawn['id']}/logs").json()
    assert (sent["status"], sent["result"], sent["progress"]["percent"]) == ("DONE", {"sent": True}, 50)
    assert sent["max_attempts"] == 8
    assert (refused["status"], refused["reason"], refused["attempt"]) == ("FAILED", "fatal", 1)
    assert (drawn["status"], drawn["result"]) == ("DONE", {"width": 100})
    assert [line["message"] for line in log["items"]] == ["rendering"]


def test_the_configuration_table_is_complete() -> None:
    """Every setting of the server stands in the README's table, and nothing else does."""
    table = README.split("## Configuration")[1].split("Exit codes")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `--")]
    flags = {flag for row in rows for flag in re.findall(r"`--([a-z-]+)`", row.split("|")[1])}
    assert flags == {name.replace("_", "-") for name in NAMES}
