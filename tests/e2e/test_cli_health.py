"""`jobqueue health`, `version` and help: what they print, and their exit codes."""

from __future__ import annotations

import http.server
import os
import socket
import threading
from pathlib import Path

import pytest

from jobqueue import __version__, cli
from tests.e2e.command import QUIET, ask, free_port, run, started


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests."""
    for name in os.environ.keys() - QUIET.keys():
        monkeypatch.delenv(name)


def test_it_tells_its_version(tmp_path: Path) -> None:
    """`version`."""
    ended = run(tmp_path, "version")
    assert (ended.code, ended.out, ended.err) == (0, [__version__], [])


@pytest.mark.parametrize(
    "arguments", [("--help",), ("-h",), ("serve", "--help"), ("health", "-h"), ("version", "--help")]
)
def test_it_explains_itself(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    """Help is no error."""
    with pytest.raises(SystemExit) as left:
        cli.main(list(arguments))
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("Usage: jobqueue")


def test_a_server_that_is_well_is_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`health` asks /healthz: 0; where, says a flag, JOBQUEUE_URL, or what the server itself was told."""
    with started(tmp_path, "--port", "0", "--store", "memory:") as server:
        assert ask(capsys, "health", "--url", server.url) == (0, [])
        monkeypatch.setenv("JOBQUEUE_URL", server.url + "/")
        assert ask(capsys, "health") == (0, [])
        monkeypatch.delenv("JOBQUEUE_URL")
        monkeypatch.setenv("PORT", str(server.address[1]))
        monkeypatch.setenv("JOBQUEUE_HOST", "0.0.0.0")  # as in the image
        assert ask(capsys, "health") == (0, [])


def test_a_server_that_is_not_well_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    """An error answer: 1."""

    class Ill(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(500 if self.path == "/healthz" else 200)

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - the base class has this name

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ill) as ill:
        thread = threading.Thread(target=ill.serve_forever)
        thread.start()
        code, lines = ask(capsys, "health", "--url", f"http://127.0.0.1:{ill.server_port}")
        ill.shutdown()
        thread.join()
    assert (code, lines) == (1, ["jobqueue: the server answered 500"])


def test_no_server_is_3(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """No server reached: 3, and one line."""
    free = free_port()
    for arguments in (("--url", f"http://127.0.0.1:{free}"), ("--url", f"https://127.0.0.1:{free}")):
        code, lines = ask(capsys, "health", *arguments)
        assert (code, len(lines)) == (3, 1)
    monkeypatch.setenv("JOBQUEUE_UNIX", "/nowhere.sock")
    assert ask(capsys, "health")[0] == 3


def test_what_is_no_server_of_http_is_3(capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody answers, but not HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as sock:

        def answer() -> None:
            peer, _ = sock.accept()
            with peer:
                peer.sendall(b"SSH-2.0-x\r\n")
                peer.recv(1000)

        thread = threading.Thread(target=answer)
        thread.start()
        code, lines = ask(capsys, "health", "--url", f"http://127.0.0.1:{sock.getsockname()[1]}")
        thread.join()
    assert (code, len(lines)) == (3, 1)
