"""`celo completion`: the script that makes a shell complete commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a SHELL.

    For example: eval "$(celo completion bash)" in ~/.bashrc.
    """
    from celo.cli.main import cli

    completion = get_completion_class(shell)
    assert completion is not None  # the choices above are click's own
    click.echo(completion(cli, {}, "celo", "_CELO_COMPLETE").source())
