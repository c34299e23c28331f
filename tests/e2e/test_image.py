"""The image and the first command, as people use them: `docker build`, `docker run`, the origin's curl, `docker stop`.

Where the machine has no Docker engine `.ci/docker-engine` makes one. Nothing here is skipped: no engine, no pass.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import jobqueue

ROOT = Path(__file__).parents[2]


class Docker:
    """The docker command, with the settings of the engine in use."""

    def __init__(self) -> None:
        settings = subprocess.run([ROOT / ".ci/docker-engine"], check=True, stdout=subprocess.PIPE, text=True).stdout
        self.env = os.environ | dict(word.split("=", 1) for word in shlex.split(settings) if word != "export")

    def __call__(self, *arguments: str) -> str:
        """What `docker ARGUMENTS` prints; a failure shows all it said."""
        done = subprocess.run(
            ["docker", *arguments], check=False, capture_output=True, text=True, env=self.env, timeout=300
        )
        assert done.returncode == 0, f"docker {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def inspect(self, name: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self("inspect", name))
        return found[0]

    @contextmanager
    def container(self, *arguments: str, files: Path | None = None) -> Iterator["Container"]:
        """A started container, gone afterwards; `files` are in its working folder before it starts."""
        name = self("create", "-p", "127.0.0.1::8080", *arguments)
        try:
            if files:
                self("cp", f"{files}/.", f"{name}:{self.inspect(name)['Config']['WorkingDir']}")
            self("start", name)
            yield Container(self, name)
        finally:
            self("rm", "--force", "--volumes", name)


class Container:
    """One container that serves, or will in a moment."""

    def __init__(self, docker: Docker, name: str) -> None:
        self.docker = docker
        self.name = name
        self.url = "http://localhost:" + docker("port", name, "8080/tcp").rpartition(":")[2]

    def wait_until_healthy(self, seconds: int = 30) -> None:
        """Curl does the waiting."""
        retry = ["--retry", str(seconds), "--retry-delay", "1", "--retry-all-errors"]
        done = subprocess.run(["curl", "-fsS", *retry, f"{self.url}/healthz"], check=False, capture_output=True)
        assert done.returncode == 0, self.docker("logs", self.name)

    def submit(self, payload: str) -> str:
        """Submit as the origin's README does, and give the job's id."""
        body = json.dumps({"payload": payload})
        curl = ["curl", "-sS", "-X", "POST", f"{self.url}/submit", "-d", body, "-w", "\n%{http_code}"]
        answer, status = subprocess.run(curl, check=True, stdout=subprocess.PIPE, text=True).stdout.rsplit("\n", 1)
        assert status == "200", answer
        return str(json.loads(answer)["job_id"])

    def stop(self) -> int:
        self.docker("stop", "-t", "10", self.name)
        code: int = self.docker.inspect(self.name)["State"]["ExitCode"]
        return code


@pytest.fixture(scope="module")
def docker() -> Docker:
    return Docker()


@pytest.fixture(scope="module")
def image(docker: Docker) -> Iterator[str]:
    """The image, built from the checkout by the command of the Dockerfile's first line."""
    tag = f"jobqueue-test:{uuid.uuid4().hex}"
    docker("build", "--pull=false", "--build-arg", "REVISION=abc123", "-t", tag, str(ROOT))
    yield tag
    docker("image", "rm", "--force", tag)


@pytest.fixture
def volume(docker: Docker) -> Iterator[str]:
    name = docker("volume", "create", f"jobqueue-test-{uuid.uuid4().hex}")
    yield name
    docker("volume", "rm", "--force", name)


def hardened(image: str, volume: str) -> list[str]:
    """How a careful operator runs it: nothing writable but /tmp and the volume, no rights to be had."""
    limits = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    return [*limits, "-v", f"{volume}:/data", image]


def test_the_image_says_how_it_is_to_be_run(docker: Docker, image: str) -> None:
    """User, port, volume, stop signal and commands are in the image; the server needs no flags."""
    config = docker.inspect(image)["Config"]
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    assert list(config["Volumes"]) == ["/data"]
    assert (config["Entrypoint"], config["Cmd"]) == (["jobqueue"], ["serve"])
    env = {"JOBQUEUE_HOST=0.0.0.0", "JOBQUEUE_AUTH=open", "JOBQUEUE_STORE=sqlite:/data/jobqueue.db"}
    assert env <= set(config["Env"])


def test_the_labels_tell_what_it_is(docker: Docker, image: str) -> None:
    """The OCI labels name this version, the commit that was given and the licence."""
    prefix = "org.opencontainers.image."
    labels = docker.inspect(image)["Config"]["Labels"]
    ours = {key.removeprefix(prefix): value for key, value in labels.items() if key.startswith(prefix)}
    assert ours.pop("description")
    assert ours == {
        "title": "jobqueue",
        "version": jobqueue.__version__,
        "revision": "abc123",
        "licenses": "MIT",
        "base.name": "python:3.13-slim",
    }


def test_another_command_runs_in_its_place(docker: Docker, image: str) -> None:
    """`docker run jobqueue version` prints the version."""
    assert jobqueue.__version__ in docker("run", "--rm", image, "version")


def test_it_serves_the_origins_clients_hardened(docker: Docker, image: str, volume: str) -> None:
    """With a read-only root and no rights it answers the origin's two routes, and runs as 10001."""
    with docker.container(*hardened(image, volume)) as server:
        server.wait_until_healthy()
        job = server.submit("hello")
        status = httpx.get(f"{server.url}/status/{job}").raise_for_status().json()
        assert (status["id"], status["payload"]) == (job, "hello")
        assert docker("exec", server.name, "id", "-u") == "10001"


def test_its_health_check_passes(docker: Docker, image: str, volume: str) -> None:
    """The command that the engine asks for health succeeds inside the hardened container."""
    with docker.container(*hardened(image, volume)) as server:
        server.wait_until_healthy()
        check = docker.inspect(server.name)["Config"]["Healthcheck"]
        assert check["Test"] == ["CMD", "jobqueue", "health"]
        assert check["StartPeriod"] > 0
        docker("exec", server.name, *check["Test"][1:])


def test_docker_stop_loses_nothing(docker: Docker, image: str, volume: str) -> None:
    """`docker stop` with jobs at work ends with 0, and the next container on the volume knows and ends every job."""
    with docker.container(*hardened(image, volume)) as server:
        server.wait_until_healthy()
        jobs = [server.submit(f"job {n}") for n in range(20)]
        assert server.stop() == 0, docker("logs", server.name)
    with docker.container(*hardened(image, volume)) as server:
        server.wait_until_healthy()
        for job in jobs:
            ended = httpx.get(f"{server.url}/jobs/{job}?wait=30", timeout=60).raise_for_status().json()
            assert ended["status"] in {"DONE", "FAILED"}


def test_an_interrupt_ends_it_in_the_foreground(docker: Docker, image: str) -> None:
    """`docker run` as the README has it, then Ctrl-C: the server is process 1, gets the signal, and ends with 0."""
    name = f"jobqueue-test-{uuid.uuid4().hex}"
    run = ["docker", "run", "--rm", "--name", name, "-p", "127.0.0.1::8080", image]
    with subprocess.Popen(run, env=docker.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as foreground:
        try:
            assert foreground.stdout is not None
            assert foreground.stdout.readline()  # its first log line: it has started
            Container(docker, name).wait_until_healthy()
            foreground.send_signal(signal.SIGINT)
            assert foreground.wait(timeout=20) == 0
        finally:
            docker("rm", "--force", name)  # lets `docker run` end, whatever happened


def test_the_first_command_of_the_readme_starts_the_server(docker: Docker, tmp_path: Path) -> None:
    """On a machine that has Python 3.11 and nothing else, the README's one line sets up and serves."""
    [command] = re.findall(
        r"^\s*(python3 -m venv \.venv && .*jobqueue)\s*$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    unwanted = shutil.ignore_patterns(".venv*", ".git", "__pycache__", ".*_cache", ".hypothesis", "*.db*")
    checkout = shutil.copytree(ROOT, tmp_path / "checkout", ignore=unwanted)
    reachable = ["-e", "JOBQUEUE_HOST=0.0.0.0", "-e", "JOBQUEUE_AUTH=open"]
    bare = ["-w", "/checkout", *reachable, "python:3.11-slim", "sh", "-c", command]
    with docker.container(*bare, files=checkout) as server:
        server.wait_until_healthy(seconds=180)
        assert server.submit("hello")
