"""The command line: parses, calls, and words the errors. Every error a user can cause is one line and status 2."""

import io
import os
import signal
import sys
import threading
import time

import click

from ncagen.commands.audit import audit
from ncagen.commands.bench import bench
from ncagen.commands.build import build
from ncagen.commands.console import CANNOT, PIPE_CLOSED, STOPPED
from ncagen.commands.export import export
from ncagen.commands.pull import pull
from ncagen.commands.push import push
from ncagen.commands.rebuild import rebuild
from ncagen.commands.receipt import receipt
from ncagen.commands.show import show
from ncagen.commands.stdout import CannotPrint, drop_stdout, take_stdout
from ncagen.commands.verify import verify
from ncagen.commands.view import view
from ncagen.dataset.shard import one_line
from ncagen.errors import NcagenError
from ncagen.version import VERSION

STOP_SECONDS = 1.5
RESUMABLE = ["build"], ["export"], ["pull"], ["push"], ["rebuild"]


def run(arguments: list[str]) -> int:
    """Runs one command and returns the exit status."""
    stopped = "stopped; the same command goes on from here" if arguments[:1] in RESUMABLE else "stopped"
    asked = _stop_in_time(stopped)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="replace")
    try:
        take_stdout()
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _fail(stopped, STOPPED)
    except Exception as error:
        # An interrupt within numba's compiler comes out as an error of another kind.
        return _fail(stopped, STOPPED) if asked.is_set() else _format_error(error)


def _format_error(error: Exception) -> int:
    """The one line for an error that a user can cause; anything else goes on as it is."""
    if isinstance(error, NcagenError):
        return _fail(str(error), error.status)
    if isinstance(error, click.ClickException):
        return _fail(error.format_message())
    if isinstance(error, CannotPrint):
        drop_stdout()
        return PIPE_CLOSED if isinstance(error.error, BrokenPipeError) else _fail(f"cannot print: {error}")
    if not isinstance(error, OSError):
        raise error
    said = error.strerror or one_line(error)
    return _fail(said if error.filename is None else f"{error.filename}: {said}")


def _run(arguments: list[str]) -> int:
    """One command without click's own handling of errors, signals and closed pipes."""
    try:
        with main.make_context("ncagen", arguments) as context:
            return main.invoke(context) or 0
    except click.exceptions.Exit as left:
        return left.exit_code


def _stop_in_time(message: str) -> threading.Event:
    """SIGTERM stops as Ctrl-C does, and either ends the process even if the main thread is deep in a kernel.

    Python sees a signal between two steps of its own only. A thread learns of it at once and, where the orderly way
    takes too long, leaves: what lies on disk is whole at any moment, and the next build sweeps the rest. So the orderly
    way is walked once, and a second signal does not interrupt it. Returns what is set once a signal was seen.
    """
    asked = threading.Event()

    def stop(*_):
        if asked.is_set() and os.name == "posix":  # elsewhere no thread watches
            return
        asked.set()
        raise KeyboardInterrupt

    def watch():
        while os.read(told, 1)[0] not in (signal.SIGINT, signal.SIGTERM):
            pass
        time.sleep(STOP_SECONDS)
        os.write(sys.stderr.fileno(), f"ncagen: {message}\n".encode())
        os._exit(STOPPED)

    signal.signal(signal.SIGTERM, stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a background process of a script ignores it
        signal.signal(signal.SIGINT, stop)
    if os.name != "posix":
        return asked
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    threading.Thread(target=watch, daemon=True).start()
    return asked


def _fail(message: str, status: int = CANNOT) -> int:
    click.echo("ncagen: " + " ".join(message.split()), err=True)
    return status


@click.group(
    invoke_without_command=True,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(VERSION, message="%(version)s")
@click.pass_context
def main(context):
    """A factory for synthetic language-model data from neural cellular automata."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
        context.exit(CANNOT)


for command in (build, verify, show, view, export, bench, receipt, rebuild, push, pull, audit):
    main.add_command(command)
