"""`jobqueue serve`: argv to a checked Config, and the program run with it."""

from __future__ import annotations

import os
from typing import Any

import click


@click.command()
@click.option("--config", metavar="FILE", help="A TOML file of these settings.")
@click.option("--host", metavar="ADDRESS", help="Where to listen.  [127.0.0.1]")
@click.option("--port", metavar="N", help="0 picks a free one and logs it.  [8080]")
@click.option("--unix", metavar="PATH", help="Listen on a socket file instead.")
@click.option("--tls-cert", metavar="FILE", help="Serve TLS with this certificate.")
@click.option("--tls-key", metavar="FILE", help="The certificate's key.")
@click.option("--store", metavar="URL", help="memory: or sqlite:PATH.  [sqlite:jobqueue.db]")
@click.option("--workers", metavar="N", help="Local workers; 0 = none.  [5]")
@click.option("--queues", metavar="NAMES", multiple=True, help="The queues they serve; * = all.  [default]")
@click.option("--handlers", metavar="MODULE:NAME", multiple=True, help="A registry of handlers; repeatable.")
@click.option("--grace", metavar="SECONDS", help="For running jobs at shutdown.  [8]")
@click.option("--drain-delay", metavar="SECONDS", help="Go on serving so long after the signal.  [0]")
@click.option("--auth", metavar="open", help="Let everybody in, on any address.")
@click.option("--hosts", metavar="NAMES", multiple=True, help="Names under which browsers may reach an open server.")
@click.option("--max-queued", metavar="N", help="Waiting jobs a queue.  [2000000]")
@click.option("--max-body", metavar="BYTES", help="Of a request of one job.  [1048576]")
@click.option("--max-connections", metavar="N", help="Open at once.  [2000]")
@click.option("--log-format", metavar="FORM", help="auto, json or text.  [auto]")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.  [info]")
@click.option("--clock", metavar="KIND", help="system, or manual: job time moves by POST /clock/advance.  [system]")
def serve(config: str | None, **flags: Any) -> int:
    """Run the server until a signal ends it.

    Every option is also an environment variable, --max-body for one JOBQUEUE_MAX_BODY.
    """
    from jobqueue.config import load

    settings = load(flags, os.environ, config)

    import trio

    from jobqueue import logs, server

    logs.configure(settings.log_format, settings.log_level)
    try:
        return trio.run(server.run, settings)
    except BaseException as error:  # noqa: BLE001 - whatever ends the program becomes its exit code
        startup = server.startup_error(error)
        if startup is not None:
            raise startup from None
        return server.exit_code(error)
