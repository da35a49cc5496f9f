"""A click program with three commands: the minimum for clinder's help."""

import click


@click.group()
def cli() -> None:
    """Do one of three things."""


@cli.command()
@click.option("--times", default=1, help="How often.")
def one(times: int) -> None:
    """Do the first."""


@cli.command()
def two() -> None:
    """Do the second."""


@cli.command()
@click.argument("what")
def three(what: str) -> None:
    """Do the third."""


if __name__ == "__main__":
    cli()
