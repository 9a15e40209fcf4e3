"""The `celo` command: sub-commands are imported when they are used.

`celo --help` and shell completion import click and nothing else; JAX is imported by the commands
that compute, when they start to.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from typing import Any

import click

from celo.errors import CeloError

# name -> (module, one line for --help). The help line stands here so that it costs no import.
COMMANDS = {
    "eval": ("celo.cli.evaluate", "Train optimizers on tasks and compare them."),
    "report": ("celo.cli.report", "Tables, figures and a page of finished runs."),
    "compare": ("celo.cli.compare", "Is A better than B, where, and how sure is that?"),
    "metrics": ("celo.cli.metrics", "What optimizers are judged by: list, show."),
    "meta-train": ("celo.cli.meta_train", "Meta-train a learned optimizer: new weights."),
    "plugins": ("celo.cli.plugins", "Installed optimizers: list, show, check, new."),
    "tasks": ("celo.cli.tasks", "Tasks: list, show."),
    "suites": ("celo.cli.suites", "Named lists of tasks: list, show."),
    "data": ("celo.cli.data", "Data sets: list, pull, verify, rm."),
    "zoo": ("celo.cli.zoo", "Pretrained weights: list, show, pull, push, verify, path, rm."),
    "bench": ("celo.cli.bench", "What updates and training steps cost on this machine."),
    "doctor": ("celo.cli.doctor", "What would not work here, and what mends it."),
    "completion": ("celo.cli.completion", "Print the shell completion script."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(COMMANDS[cmd_name][0]).command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            value = super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()
            return value
        except BrokenPipeError:
            # The reader went away (`| head`): not our failure, and nobody is left to tell. Caught
            # here because click would leave with 1.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 0

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1, cutoff=0.7)
            if not near or args[0].startswith("-"):
                raise
            message = f"{error.message} Did you mean {near[0]}?"
            raise click.UsageError(message, ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 incomplete, 130 interrupted.",
)
@click.version_option(package_name="celo", prog_name="celo")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
def cli(debug: bool) -> None:
    """Learned optimizers: use, compare and extend them."""


def main(argv: list[str] | None = None) -> None:
    """Runs the command line and leaves with the documented exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    # Accepted anywhere on the line: whoever adds it does so at the end of the failing command.
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        code = cli.main(args=arguments, prog_name="celo", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        _fail(arguments, "interrupted", "interrupted", None, 130, error, debug)
    except click.ClickException as error:
        _fail(arguments, "usage", error.format_message(), _usage_hint(error), 2, error, debug)
    except CeloError as error:
        _fail(arguments, error.code, error.message, error.hint, error.exit_code, error, debug)
    except OSError as error:
        message = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        _fail(arguments, "system", message, None, 1, error, debug)
    except MemoryError as error:
        _fail(arguments, "memory", "out of memory", None, 1, error, debug)
    except Exception as error:
        hint = _defect_hint()
        message = f"{type(error).__name__}: {error}"
        _fail(arguments, "internal", message, hint, 1, error, debug)


def _defect_hint() -> str:
    from celo import discovery

    hint = "this is a defect of celo or of a plugin; --debug shows where it happened"
    with contextlib.suppress(Exception):
        damaged = discovery.entry_points("celo.optimizers", False)[1]
        if damaged:  # other libraries, JAX among them, stumble over them too
            names = ", ".join(sorted({name for name, _, _ in damaged}))
            return f"the metadata of {names} are damaged: reinstall or remove it; {hint}"
    return hint


def _usage_hint(error: click.ClickException) -> str | None:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"see `{error.ctx.command_path} --help`"
    return None


def _fail(
    arguments: list[str],
    code: str,
    message: str,
    hint: str | None,
    exit_code: int,
    error: BaseException,
    debug: bool,
) -> None:
    if debug:
        traceback.print_exception(error)
    from celo.cli.output import print_json, say

    say(f"celo: {message}")
    if hint:
        say(f"  {hint}")
    if _wants_json(arguments):
        with contextlib.suppress(OSError):
            print_json({"schema": 1, "error": {"code": code, "message": message, "hint": hint}})
    sys.exit(exit_code)


def _wants_json(arguments: list[str]) -> bool:
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return any(a == "--format=json" or (a == "--format" and b == "json") for a, b in pairs)
