"""`jobqueue health`: ask /healthz, for HEALTHCHECK. Loads next to nothing, as it is run every few seconds."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
from urllib.parse import urlsplit

import click

EXIT_UNHEALTHY, EXIT_UNREACHED = 1, 3
TIMEOUT_SECONDS = 5


@click.command()
@click.option(
    "--url", metavar="URL", envvar="JOBQUEUE_URL", help="The server.  [as JOBQUEUE_HOST and JOBQUEUE_PORT say]"
)
def health(url: str | None) -> int:
    """Ask a server whether it is alive: exit code 0, 1 if it is not well, 3 if none was reached."""
    try:
        status = _ask(_connection(url))
    except (OSError, http.client.HTTPException) as error:
        click.echo(f"jobqueue: no server reached ({' '.join(str(error).split())})", err=True)
        return EXIT_UNREACHED
    if status != 200:
        click.echo(f"jobqueue: the server answered {status}", err=True)
        return EXIT_UNHEALTHY
    click.echo("ok")
    return 0


def _ask(connection: http.client.HTTPConnection) -> int:
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    finally:
        connection.close()


def _connection(url: str | None) -> http.client.HTTPConnection:
    unix = os.environ.get("JOBQUEUE_UNIX")
    if url is None and unix:
        return _UnixConnection(unix)
    if url is None:
        host = os.environ.get("JOBQUEUE_HOST", "127.0.0.1")
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - where to ask, not where to bind
        port = os.environ.get("JOBQUEUE_PORT") or os.environ.get("PORT") or "8080"
        url = f"{'https' if os.environ.get('JOBQUEUE_TLS_CERT') else 'http'}://{host}:{port}"
    scheme, name, number = _parse(url)
    if scheme == "https":
        # whether it is alive, not who it is: a certificate for the public name would not fit the loopback address
        context = ssl._create_unverified_context()  # noqa: S323, SLF001 - see above
        return http.client.HTTPSConnection(name, number, timeout=TIMEOUT_SECONDS, context=context)
    return http.client.HTTPConnection(name, number, timeout=TIMEOUT_SECONDS)


def _parse(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port. Raises UsageError."""
    try:
        parts = urlsplit(url)
        name, number = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError as error:
        raise click.UsageError(f"{url!r} is no URL of a server: {error}") from None
    if parts.scheme not in ("http", "https") or not name:
        raise click.UsageError(f"{url!r} is no URL of a server, which is like http://127.0.0.1:8080")
    return parts.scheme, name, number


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket file."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_SECONDS)
        self.sock.connect(self._path)
