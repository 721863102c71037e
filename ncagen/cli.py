"""Runs the command line: parses, calls, and prints errors. Every error a user can cause is one line and status 2."""

import io
import logging
import os
import signal
import sys
import threading
import time

import click
from click.shell_completion import shell_complete

from ncagen.commands.audit import audit
from ncagen.commands.bench import bench
from ncagen.commands.build import build
from ncagen.commands.console import CANNOT, PIPE_CLOSED, STOPPED
from ncagen.commands.corpus import corpus
from ncagen.commands.evaluate import evaluate
from ncagen.commands.export import export
from ncagen.commands.pull import pull
from ncagen.commands.push import push
from ncagen.commands.rebuild import rebuild
from ncagen.commands.receipt import receipt
from ncagen.commands.recommend import recommend
from ncagen.commands.show import show
from ncagen.commands.stdout import CannotPrint, drop_stdout, take_stdout
from ncagen.commands.verify import verify
from ncagen.commands.view import view
from ncagen.dataset.shard import one_line
from ncagen.errors import NcagenError
from ncagen.version import VERSION

STOP_SECONDS = 1.5
QUIET = {"--quiet", "--json"}
COMPLETE = "_NCAGEN_COMPLETE"  # click's name for a command `ncagen`; its script for the shell sets it
COMPLETIONS = ("bash_source", "zsh_source", "fish_source", "bash_complete", "zsh_complete", "fish_complete")
RESUMABLE = ["build"], ["evaluate"], ["export"], ["pull"], ["push"], ["rebuild"]


def run(arguments: list[str]) -> int:
    """Runs one command and returns the exit status."""
    stopped = "stopped; run the same command to resume" if arguments[:1] in RESUMABLE else "stopped"
    asked = _stop_in_time(stopped)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="replace")
    try:
        take_stdout()
        _set_notices(arguments)
        instruction = os.environ.get(COMPLETE)
        status = _complete(instruction) if instruction else _run(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _fail(stopped, STOPPED)
    except Exception as error:
        # An interrupt within numba's compiler comes out as an error of another kind.
        return _fail(stopped, STOPPED) if asked.is_set() else _format_error(error)


def _format_error(error: Exception) -> int:
    """The one line for an error that a user can cause; any other error is raised again."""
    if isinstance(error, NcagenError):
        return _fail(str(error), error.status)
    if isinstance(error, click.ClickException):
        return _fail(_usage(error))
    if isinstance(error, CannotPrint):
        drop_stdout()
        return PIPE_CLOSED if isinstance(error.error, BrokenPipeError) else _fail(f"cannot print: {error}")
    if not isinstance(error, OSError):
        raise error
    said = error.strerror or one_line(error)
    return _fail(said if error.filename is None else f"{error.filename}: {said}")


def _usage(error: click.ClickException) -> str:
    """The message of a usage error; a missing argument and an unknown command name the help to read."""
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if context is None or not message.startswith(("No such command", "Missing argument")):
        return message
    return f"{message.removesuffix('.')}; see {context.command_path} --help"


def _run(arguments: list[str]) -> int:
    """One command without click's own handling of errors, signals and closed pipes."""
    try:
        with main.make_context("ncagen", arguments) as context:
            return main.invoke(context) or 0
    except click.exceptions.Exit as left:
        return left.exit_code


def _set_notices(arguments: list[str]) -> None:
    """Has `compile_notice` say nothing where a command is to be quiet. By name: the module imports numba."""
    level = logging.ERROR if QUIET & set(arguments) else logging.NOTSET
    logging.getLogger("ncagen.compile_notice").setLevel(level)


def _complete(instruction: str) -> int:
    """What a shell asks for: the script that switches completion on, or the words that fit. Raises NcagenError."""
    if instruction not in COMPLETIONS:
        known = ", ".join(name for name in COMPLETIONS if name.endswith("_source"))
        raise NcagenError(f"{COMPLETE} {instruction!r} is not known: use {known}")
    return shell_complete(main, {}, "ncagen", COMPLETE, instruction)


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
    epilog="""\b
Completion in your shell: run the line for it, or put it into the shell's startup file.
  bash  eval "$(_NCAGEN_COMPLETE=bash_source ncagen)"
  zsh   eval "$(_NCAGEN_COMPLETE=zsh_source ncagen)"
  fish  _NCAGEN_COMPLETE=fish_source ncagen | source
""",
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


for command in (
    build,
    verify,
    show,
    view,
    export,
    bench,
    receipt,
    rebuild,
    push,
    pull,
    audit,
    evaluate,
    corpus,
    recommend,
):
    main.add_command(command)
