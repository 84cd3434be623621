"""What a shell completes: commands and options by Typer, and experiments in the place of a command."""

import os
from typing import Any

import typer
from typer.core import TyperGroup

from harness.spec.heads import experiment_names

COMMAND = "lb-lab"  # a shell completes after the name of a program, so not after `python run_experiment.py`
ASKED = "_LB_LAB_COMPLETE"  # the variable in which the script of Typer says what the shell wants
OPTIONS = ("--install-completion", "--show-completion")


def experiments_with(incomplete: str) -> list[str]:
    """Return the names of the lab's experiments that begin so."""
    return [name for name in experiment_names() if name.startswith(incomplete)]


class DefaultVerb(TyperGroup):
    """Commands among which `run` may be left out: an experiment's name in the place of one means `run`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command's name, the command, and the words after it."""
        return super().resolve_command(ctx, args if args[0] in self.commands else ["run", *args])

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Return what the first word may become: a command, an option, or what `run` may begin with."""
        experiment = next(one for one in self.commands["run"].params if one.param_type_name == "argument")
        return [*super().shell_complete(ctx, incomplete), *experiment.shell_complete(ctx, incomplete)]


def answer_shell(app: typer.Typer) -> None:
    """Answer a shell that asks what a command line may become, and end the process; else do nothing."""
    if os.environ.get(ASKED):
        typer.main.get_command(app).main(prog_name=COMMAND, complete_var=ASKED)
