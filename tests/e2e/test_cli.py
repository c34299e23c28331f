"""The command line as a user meets it: how the server starts, what it says when it cannot, and its exit codes."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.command import MODULE, QUIET, SCRIPT, ask, free_port, run, started
from tests.e2e.server_process import START_SECONDS


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests."""
    for name in os.environ.keys() - QUIET.keys():
        monkeypatch.delenv(name)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *made],
        check=True,
        capture_output=True,
    )
    return certificate, key


# -- how it starts


@pytest.mark.parametrize("command", [MODULE, SCRIPT], ids=["module", "script"])
def test_without_a_command_it_serves(tmp_path: Path, command: tuple[str, ...]) -> None:
    """`jobqueue` = `jobqueue serve`, `python -m jobqueue` is the same; port 0 picks one and logs it."""
    with started(tmp_path, "--port", "0", command=command) as server:
        assert server.get("/healthz").json() == {"status": "ok"}
        assert server.address[1] > 0
        assert server.log.find("listening") is not None
    assert (tmp_path / "jobqueue.db").exists()  # the default store


def test_the_platform_says_the_port(tmp_path: Path) -> None:
    """The platform's PORT."""
    free = free_port()
    with started(tmp_path, "--store", "memory:", env={"PORT": str(free)}) as server:
        assert server.address == ("127.0.0.1", free)


def test_a_file_says_what_flags_and_environment_leave_open(tmp_path: Path) -> None:
    """Flag beats environment beats file."""
    file = tmp_path / "settings.toml"
    file.write_text('port = 1\nstore = "memory:"\nworkers = 1\nlog_format = "json"\n')
    with started(tmp_path, "--port", "0", "--config", str(file), env={"JOBQUEUE_WORKERS": "3"}) as server:
        assert server.address[1] > 1
        said = server.log.find("listening")
    assert said is not None
    assert (said["store"], said["workers"]) == ("memory", 3)


def test_an_open_server_says_so(tmp_path: Path) -> None:
    """`--auth open` lets it listen for all: it warns at boot, and /readyz says so."""
    with started(tmp_path, *("--port", "0", "--store", "memory:", "--host", "0.0.0.0", "--auth", "open")) as server:
        port = server.address[1]
        ready = httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).json()
        warned = server.log.find("open")
    assert ready["auth"] == "open"
    assert warned is not None
    assert warned["level"] == "warning"


def test_it_serves_on_a_socket_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--unix PATH` serves on a socket file, `health` asks there, and the file goes with the server."""
    path = tmp_path / "jobqueue.sock"
    with started(tmp_path, "--unix", str(path), "--store", "memory:") as server:
        assert server.log.wait("listening", START_SECONDS)
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            assert client.get("http://localhost/healthz").status_code == 200
            assert client.post("http://localhost/submit", json={"payload": "x"}).status_code == 200
        monkeypatch.setenv("JOBQUEUE_UNIX", str(path))
        assert ask(capsys, "health") == (0, [])
        assert server.kill(15) == 0
    assert not path.exists()


def test_it_serves_tls(
    tmp_path: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--tls-cert`, `--tls-key`; `health` asks there too."""
    certificate, key = map(str, pair)
    options = ("--port", "0", "--store", "memory:", "--tls-cert", certificate, "--tls-key", key)
    with started(tmp_path, *options) as server:
        port = server.address[1]
        assert server.url.startswith("https://")
        trust = ssl.create_default_context(cafile=certificate)
        with httpx.Client(verify=trust, trust_env=False, base_url=f"https://localhost:{port}") as client:
            assert client.get("/healthz").status_code == 200
            assert client.post("/jobs", json={"kind": "simulate"}).status_code == 201
            assert (
                client.post("/jobs", json={"kind": "a"}, headers={"origin": f"https://localhost:{port}"}).status_code
                == 201
            )
        monkeypatch.setenv("JOBQUEUE_PORT", str(port))
        monkeypatch.setenv("JOBQUEUE_TLS_CERT", certificate)
        assert ask(capsys, "health") == (0, [])


# -- why it does not start: 2


def test_a_port_that_is_taken_is_2(tmp_path: Path, taken: int) -> None:
    """Port taken: 2, and one line that says where."""
    ended = run(tmp_path, "--port", str(taken), "--store", "memory:")
    assert (ended.code, len(ended.err)) == (2, 1)
    assert ended.err[0].startswith("jobqueue: ")
    assert f"127.0.0.1:{taken}" in ended.err[0]


def test_a_store_that_is_in_use_is_2(tmp_path: Path) -> None:
    """Store in use: 2, and the other server goes on."""
    with started(tmp_path, "--port", "0", "--store", "sqlite:jobs.db") as server:
        assert server.get("/readyz").status_code == 200
        ended = run(tmp_path, "--port", "0", "--store", "sqlite:jobs.db")
        assert (ended.code, len(ended.err)) == (2, 1)
        assert "jobs.db" in ended.err[0]
        assert server.submit(kind="simulate")["status"] == "QUEUED"


def test_a_store_that_is_damaged_is_74(tmp_path: Path) -> None:
    """Storage, also a damaged file: 74, and the file is left as it was."""
    file = tmp_path / "jobs.db"
    file.write_bytes(b"this is no database" * 1000)
    ended = run(tmp_path, "--port", "0", "--store", "sqlite:jobs.db")
    assert (ended.code, len(ended.err)) == (74, 1)
    assert "jobs.db" in ended.err[0]
    assert file.read_bytes() == b"this is no database" * 1000


def test_handlers_that_cannot_be_had_are_2(tmp_path: Path) -> None:
    """Each registry that cannot be loaded has its line."""
    ended = run(tmp_path, "--port", "0", "--store", "memory:", "--handlers", "nowhere:x", "--handlers", "os:path")
    assert (ended.code, len(ended.err)) == (2, 2)
    assert "nowhere:x" in ended.err[0]
    assert "os:path" in ended.err[1]


def test_a_certificate_that_is_none_is_2(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    """One line that names it."""
    certificate, key = pair
    certificate.write_text("nonsense")
    ended = run(tmp_path, *("--port", "0", "--store", "memory:", "--tls-cert", str(certificate), "--tls-key", str(key)))
    assert (ended.code, len(ended.err)) == (2, 1)
    assert str(certificate) in ended.err[0]


def test_a_socket_file_that_is_another_file_is_2(tmp_path: Path) -> None:
    """It is not removed."""
    file = tmp_path / "precious"
    file.write_text("data")
    ended = run(tmp_path, "--store", "memory:", "--unix", str(file))
    assert (ended.code, len(ended.err)) == (2, 1)
    assert file.read_text() == "data"


def test_all_faults_are_told_together(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Usage or configuration: 2, one line each that says what and where, all faults together."""
    monkeypatch.setenv("JOBQUEUE_WORKERS", "many")
    code, lines = ask(capsys, "serve", "--port", "99999", "--host", "0.0.0.0", "--store", "x")
    assert code == 2
    assert [line.split(": ")[1] for line in lines] == ["--port", "--store", "JOBQUEUE_WORKERS", "--host 0.0.0.0"]


def test_a_bind_that_others_reach_must_be_meant(capsys: pytest.CaptureFixture[str]) -> None:
    """Another bind without keys or `--auth open`: 2."""
    code, lines = ask(capsys, "--host", "0.0.0.0")
    assert (code, len(lines)) == (2, 1)
    assert "--auth open" in lines[0]


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            ("nope",),
            ("--nope",),
            ("serve", "extra"),
            ("--port",),
            ("serve", "--port"),
            ("version", "--x"),
            ("health", "x"),
        ),
        ("health", "--url", "http://127.0.0.1:x"),
        ("health", "--url", "http://[::1"),
        ("health", "--url", "ftp://127.0.0.1"),
        ("health", "--url", "127.0.0.1:8080"),
        ("health", "--url", ""),
        ("health", "--url", "http://"),
        ("health", "--url", "http://a..b"),
    ],
)
def test_a_command_that_is_none_is_2(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    """Usage: 2, and one line."""
    code, lines = ask(capsys, *arguments)
    assert (code, len(lines)) == (2, 1)
    assert lines[0].startswith("jobqueue: ")
