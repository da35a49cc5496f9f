"""The commands: their arguments, options and help. Each imports its own module when it runs."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from clinder._version import DOCUMENTATION, __version__
from clinder.cli.gateway_options import GatewaySettings, gateway_options
from clinder.cli.help import LAUNCH, SESSION, WIDTH, Command, RepositoryCommand
from clinder.cli.options import (
    FAILURE,
    OUTPUT,
    STDOUT,
    WHAT,
    WHERE,
    build_options,
    connection_options,
    hub_token_option,
    launch_options,
    option,
    quiet_option,
    seconds_option,
    session_files,
    stop_timeout,
    variable_options,
    warm_options,
)
from clinder.cli.streams import LOST, OutputLost, discard, print_error, print_status, write
from clinder.cli.values import WholeNumber, refuse_empty
from clinder.errors import EXIT_CODES, ClinderError, UsageError

_COMMAND = "clinder.command"
_SHELL_OUTPUT = re.compile(r"(?:^| )(?:-o ?|--output[ =])shell(?: |$)")
_COMPLETION_VARIABLE = "_CLINDER_COMPLETE"

_HUB_TOKEN = hub_token_option("A file with your JupyterHub token, if the hub requires a login.")
_EXIT_CODES = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {text}" for code, text in EXIT_CODES)


class _StartCommand(RepositoryCommand):
    """``start``: if it fails, a shell that evaluates its output must fail, too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        wanted = _SHELL_OUTPUT.search(" ".join(args))
        with _failing_output(wanted=bool(wanted)):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with _failing_output(wanted=ctx.params["output"] == "shell"):
            return super().invoke(ctx)


@contextmanager
def _failing_output(*, wanted: bool) -> Iterator[None]:
    try:
        yield
    except click.exceptions.Exit:  # --help
        raise
    except BaseException:
        if wanted:
            with suppress(OutputLost):
                write(FAILURE)
        raise


class _RunCommand(RepositoryCommand):
    """``run``: the arguments after ``--`` are another command, kept unchanged."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            separator = args.index("--")
            ctx.meta[_COMMAND] = args[separator + 1 :]
            args = args[:separator]
        elif not set(ctx.help_option_names) & set(args):
            raise _no_command(args)
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- COMMAND..."]


def _no_command(args: Sequence[str] = ()) -> UsageError:
    example = "clinder run ORG/REPO -- myst build --execute --html --strict"
    return UsageError(
        "There is no `--` before the command." if args else "There is no command to run.",
        hint=f"Put the command after `--`: {example}",
    )


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH},
    epilog=f"Documentation: {DOCUMENTATION}\n\n{_EXIT_CODES}",
)
@click.version_option(__version__, message="clinder %(version)s")
def cli() -> None:
    """Start a Jupyter session on a BinderHub, use it, and make sure that it stops.

    \b
    Examples:
      clinder run ORG/REPO -- myst build --execute --html --strict
      clinder start ORG/REPO@REF --session-file session.json
      clinder stop @session.json

    \b
    Shell completion (also zsh_source, fish_source):
      eval "$(_CLINDER_COMPLETE=bash_source clinder)"
    """


@cli.command(cls=_StartCommand, variables=LAUNCH)
@launch_options
@option(
    "-o",
    "--output",
    group=OUTPUT,
    type=click.Choice(["uri", "json", "shell"]),
    default="uri",
    show_default=True,
    help="The URI with its token, a JSON object, or `export` lines.",
)
@option(
    "--kernels",
    group=OUTPUT,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write kernelspecs of the session to a new folder, for tools that start local"
    " kernels: put DIR first in JUPYTER_PATH, or use `-o shell`.",
)
def start(output: str, kernels: Path | None, **options: Any) -> None:
    """Start a session and write it to stdout.

    If you omit REPOSITORY, clinder launches the current commit: in CI the commit being built,
    otherwise HEAD of this git checkout. With `--hub local`, sessions use the current directory.

    \b
    Examples:
      clinder start binder-examples/requirements
      clinder start ORG/REPO@v1.0 --hub https://hub.example.org --session-file session.json
      session=$(clinder start --hub local -o shell) && eval "$session"
    """
    from clinder.cli.start import start as start_session

    context = click.get_current_context()
    if (
        options["events"] == STDOUT
        and context.get_parameter_source("output") is not ParameterSource.DEFAULT
    ):
        raise UsageError("With `--events -`, no session is written to stdout, so omit --output.")
    start_session(build_options(**options), output, kernels)


@cli.command(cls=Command, variables=SESSION)
@click.argument("sessions", nargs=-1, metavar="[SESSION]...")
@session_files(WHAT, "The same as `@FILE`. Can be repeated.")
@_HUB_TOKEN
@stop_timeout
@connection_options
@quiet_option
def stop(sessions: tuple[str, ...], files: tuple[Path, ...], **options: Any) -> int:
    """Stop sessions and wait until they are gone.

    A session file is removed once its session is gone.

    SESSION is a session's URI with its token, `@FILE` to read a session file, or `-` to read URIs
    or JSON objects from standard input, one per line. Other users of this machine can see a URI
    among the arguments. If you name no session, clinder stops the one in JUPYTER_BASE_URL and
    JUPYTER_TOKEN.

    \b
    Examples:
      clinder stop @session.json
      clinder stop - < uris.txt
      clinder stop
    """
    from clinder.cli.stop import stop as stop_sessions

    return stop_sessions(sessions, files, **options)


@cli.command(cls=Command, variables=SESSION)
@click.argument("sessions", nargs=-1, metavar="[SESSION]...")
@session_files(WHAT, "The same as `@FILE`. Can be repeated.")
@_HUB_TOKEN
@stop_timeout
@connection_options
@option(
    "-o",
    "--output",
    group=OUTPUT,
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Format of the output.",
)
def status(sessions: tuple[str, ...], files: tuple[Path, ...], **options: Any) -> int:
    """Show whether sessions are running.

    The exit code is 10 if a session is gone. With several sessions, it is that of the first one
    that is gone or cannot be checked. `-o json` writes one line for each session.

    SESSION is a session's URI with its token, `@FILE` to read a session file, or `-` to read URIs
    or JSON objects from standard input, one per line. If you name no session, clinder checks the
    one in JUPYTER_BASE_URL and JUPYTER_TOKEN.

    \b
    Examples:
      clinder status @session.json
      clinder status -o json - < uris.txt
    """
    from clinder.cli.status import status as write_status

    return write_status(sessions, files, **options)


@cli.command(cls=_RunCommand, variables=LAUNCH)
@launch_options
@seconds_option(
    "--keep-alive",
    6 * 3600,
    "How long clinder keeps the hub from culling the session.",
)
@gateway_options
def run(keep_alive: float, **options: Any) -> int:
    """Start a session, run COMMAND with it, and always stop the session.

    COMMAND receives JUPYTER_BASE_URL and JUPYTER_TOKEN, by which MyST and Jupyter Book find the
    session through a gateway on this machine, and a JUPYTER_PATH for papermill, nbconvert, Sphinx
    and others. The exit code is COMMAND's, or 128+N if signal N ended it.

    \b
    Examples:
      clinder run ORG/REPO -- myst build --execute --html --strict
      clinder run ORG/REPO -- clinder exec -c "import xarray"
      clinder run --hub local -- clinder exec script.py
    """
    from clinder.cli.run import run as run_command

    command = click.get_current_context().meta.get(_COMMAND)
    if not command:
        raise _no_command()
    values = {each.name: options.pop(each.name) for each in fields(GatewaySettings)}
    settings = GatewaySettings(**values)
    return run_command(
        build_options(hands_out=not settings.use, **options),
        command,
        keep_alive=keep_alive,
        gateway=settings,
    )


@cli.command(cls=RepositoryCommand, variables=LAUNCH)
@warm_options
@option(
    "--all-members",
    group=WHERE,
    is_flag=True,
    help="Warm each member of a federation such as mybinder.org.",
)
@option(
    "-o",
    "--output",
    group=OUTPUT,
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Format of the lines, one for each hub.",
)
def warm(output: str, *, all_members: bool, **options: Any) -> int:
    """Have the image built on each hub, so that later launches need not wait for it.

    clinder launches REPOSITORY on every hub, waits until the server responds, and stops it. A hub
    that can only build does just that. Up to four hubs build at once, each with its own time limit.
    The exit code is the highest one of all hubs.

    \b
    Examples:
      clinder warm ORG/REPO --all-members
      clinder warm ORG/REPO@v1.0 --hub https://hub.example.org --hub https://hub2.example.org
    """
    from clinder.cli.warm import warm as warm_hubs

    launch = build_options(no_warm_up=True, hands_out=False, **options)
    return warm_hubs(launch, all_members=all_members, output=output)


@cli.command("environment-hash", cls=Command, variables={})
@option(
    "--ref",
    group=WHAT,
    default="HEAD",
    callback=refuse_empty,
    help="Branch, tag or commit.  [default: the one that is checked out]",
)
@option(
    "--directory",
    group=WHERE,
    default=Path(),
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A directory in the clone.  [default: .]",
)
@option(
    "-o",
    "--output",
    group=OUTPUT,
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="The hash, or a JSON object that also names the files.",
)
def environment_hash(ref: str, directory: Path, output: str) -> None:
    """Write a hash of a commit's environment files, to use in the key of a cache.

    The hash is that of the files that `--reuse-environment` compares. If the image might depend on
    others, it is that of all files, and a warning explains why. No hub is contacted.

    \b
    Examples:
      clinder environment-hash
      hash=$(clinder environment-hash) && echo "hash=$hash" >> "$GITHUB_OUTPUT"
    """
    from clinder.cli.environment_hash import write_hash

    write_hash(directory, ref, output)


@cli.command("exec", cls=Command, variables=SESSION)
@click.argument("arguments", nargs=-1, metavar="[SESSION] [SCRIPT]")
@option("-c", "--code", group=WHAT, help="The code to run.")
@session_files(WHERE, "The same as `@FILE`.")
@option("--session", group=WHERE, hidden=True)  # the same as SESSION
@option(
    "--kernel",
    group=WHERE,
    default="",
    callback=refuse_empty,
    help="The kernelspec to use.  [default: the server's]",
)
@_HUB_TOKEN
@variable_options
@seconds_option("--timeout", 3600, "Time limit for the code.")
@connection_options
def execute(arguments: tuple[str, ...], files: tuple[Path, ...], **options: Any) -> None:
    """Run code in a session and show its output.

    SCRIPT is a file with the code; `-` is standard input. If the code raises, clinder shows the
    remote traceback and exits with 1. The code runs on a kernel of its own.

    SESSION is a session's URI with its token, `@FILE` to read a session file, or `-` to read a URI
    or JSON object from standard input. If you name no session, the code runs in the one in
    JUPYTER_BASE_URL and JUPYTER_TOKEN.

    \b
    Examples:
      clinder run ORG/REPO -- clinder exec -c "import xarray"
      clinder exec @session.json script.py
    """
    from clinder.cli.execute import execute as execute_code

    execute_code(arguments, files, **options)


@cli.command(cls=Command, variables={})
@option(
    "--port",
    group=WHERE,
    default=8585,
    show_default=True,
    type=WholeNumber(0, 65535),
    help="The port to listen on; 0 picks a free one.",
)
@option(
    "--directory",
    group=WHAT,
    default=Path(),
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The directory that sessions run in.  [default: .]",
)
@option(
    "--token-file",
    group=WHAT,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Require a login with the token in this file. If the file does not exist, clinder"
    " creates it with a new token.",
)
@quiet_option
def hub(port: int, directory: Path, token_file: Path | None, quiet: bool) -> None:
    """Run the embedded hub, for this machine only, until Ctrl-C.

    It speaks the BinderHub API and launches real Jupyter Servers, but builds and fetches
    nothing: sessions use this Python environment and the files of the directory. Its URL is
    written to stdout.

    \b
    Examples:
      clinder hub
      clinder start ORG/REPO --hub http://127.0.0.1:8585
      clinder hub --token-file token
    """
    from clinder.cli.hub import hub as serve

    serve(port, directory, token_file, quiet=quiet)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every failure is one message."""
    try:
        return _dispatch(arguments)
    except click.ClickException as error:
        return _usage_error(error)
    except ClinderError as error:
        print_error(error)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        print_status("clinder: Cancelled by SIGINT.")
        return 130
    except Exception as error:  # noqa: BLE001 - a bug is one message, too, without a traceback
        from clinder._bugs import describe_bug

        print_status(
            f"clinder: {describe_bug(error)}\n"
            "  what to do: Report this line at https://github.com/org/clinder-action/issues"
        )
        return ClinderError.exit_code


def _dispatch(arguments: Sequence[str] | None) -> int:
    """Run the command. Click writes help and version itself, so a lost stdout is noticed here."""
    try:
        code = cli.main(arguments, prog_name="clinder", standalone_mode=False)
    except SystemExit:
        if _COMPLETION_VARIABLE in os.environ:
            raise
        # Apart from completion, click only exits this way if the pipe is broken.
        raise OutputLost("The output could not be written: Broken pipe.") from None
    except OSError as error:
        if error.errno not in LOST:
            raise
        discard(sys.stdout)
        raise OutputLost(f"The output could not be written: {error.strerror}.") from None
    return code if isinstance(code, int) else 0


def _usage_error(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print_status(error.format_message())
    else:
        print_status(f"clinder: {error.format_message()}")
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "clinder"
        print_status(f"  what to do: {path} --help")
    return error.exit_code
