"""The command line. Each command imports what it runs: `jobqueue health` must not load the server."""

from __future__ import annotations

import sys

import click

from jobqueue import __version__
from jobqueue.cli.health import health
from jobqueue.cli.serve import serve
from jobqueue.errors import StartupError

EXIT_USAGE = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """A job server driven by plain HTTP. Without a command: serve."""


@cli.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


cli.add_command(serve)
cli.add_command(health)


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit: 0, or as README, "Exit codes" has it."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = ["serve", *arguments]
    try:
        code = cli.main(arguments, prog_name="jobqueue", standalone_mode=False)
    except click.ClickException as error:
        click.echo(f"jobqueue: {' '.join(error.format_message().split())}", err=True)
        code = EXIT_USAGE
    except click.Abort:
        code = 1
    except StartupError as error:
        for line in error.lines:
            click.echo(f"jobqueue: {line}", err=True)
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)
