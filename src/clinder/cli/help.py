"""The help of a command: grouped options, environment variables, forms of REPOSITORY, a link."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from clinder._version import DOCUMENTATION
from clinder.cli.options import GROUPS, OUTPUT, Option

WIDTH = 140
"""Columns of the widest help. Longer lines would be hard to read."""

NETWORK = {
    "HTTPS_PROXY, HTTP_PROXY, NO_PROXY": "the proxy to use",
    "REQUESTS_CA_BUNDLE": "a file with your network's certificate authority",
}
_HUB_TOKEN = {"CLINDER_HUB_TOKEN": "your token, if the hub requires a login"}
SESSION = {
    "JUPYTER_BASE_URL, JUPYTER_TOKEN": "the session, if you name none",
    **_HUB_TOKEN,
    **NETWORK,
}
LAUNCH = {
    "CLINDER_BUILD_TOKEN": "the hub's build token",
    **_HUB_TOKEN,
    "GITHUB_ACTIONS, GITLAB_CI, READTHEDOCS, NETLIFY": "the commit, if you omit REPOSITORY",
    **NETWORK,
    "NO_COLOR": "disable colours",
}

_COLUMN = 30


class Command(click.Command):
    """A command with grouped options. ``variables`` are those it reads besides its options'.

    All usage errors of a command point to its own help.
    """

    def __init__(self, *arguments: Any, variables: Mapping[str, str], **settings: Any):
        super().__init__(*arguments, **settings)
        self.variables = variables

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, and add the context to a usage error."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section per group, and one for the variables."""
        sections = {group: list(_records(self, ctx, group)) for group in GROUPS}
        sections["Environment variables"] = [*_option_variables(self), *self.variables.items()]
        widest = max(len(name) for rows in sections.values() for name, _ in rows)
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    width = min(widest, _COLUMN)
                    formatter.write_dl([(name.ljust(width), text) for name, text in rows], _COLUMN)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the link to the command's documentation."""
        super().format_epilog(ctx, formatter)
        formatter.write_paragraph()
        formatter.write(f"Documentation: {DOCUMENTATION}commands/#clinder-{self.name}\n")


class RepositoryCommand(Command):
    """A command whose help ends with the forms of REPOSITORY."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the forms, then the link."""
        from clinder.repository.parse import FORMS

        with formatter.section("Forms of REPOSITORY"):
            for form, example in FORMS:
                formatter.write(f"  {form:<24}{example}\n")
        super().format_epilog(ctx, formatter)


def options_in_order(command: click.Command) -> list[click.Option]:
    """Return a command's visible options in the order of its help, without ``--help``."""
    options = [
        each for each in command.params if isinstance(each, click.Option) and not each.hidden
    ]
    return sorted(options, key=lambda option: GROUPS.index(_group(option)))


def _group(option: click.Option) -> str:
    return option.group if isinstance(option, Option) else OUTPUT  # click's own --help


def _records(command: click.Command, ctx: click.Context, group: str) -> Iterator[tuple[str, str]]:
    for option in command.get_params(ctx):
        if isinstance(option, click.Option) and _group(option) == group:
            record = option.get_help_record(ctx)
            if record:  # it has none if it is hidden
                yield record


def _option_variables(command: click.Command) -> Iterator[tuple[str, str]]:
    for option in options_in_order(command):
        if option.envvar:
            several = "; separate several with spaces" if option.multiple else ""
            yield str(option.envvar), f"{option.opts[0]}{several}"
