"""The help of a command: each option's full name on a line of its own, whatever the width, and its text below.

typer's own help has a column for the names, and cuts them off in it at the width of a usual terminal.
"""

import inspect
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text
from torchapp.cli import CLICommand
from typer import Context

_WIDEST = 100
_ARGUMENTS, _OPTIONS = "Arguments", "Options"


class _Parameter(Protocol):
    """The parts of click's options and arguments that the help shows. typer has its own copy of click's classes."""

    param_type_name: str
    opts: list[str]
    secondary_opts: list[str]

    def get_help_record(self, ctx: Context) -> tuple[str, str]: ...


class Command(CLICommand):
    """A command with help that can be read at any width."""

    def format_help(self, ctx: Context, formatter: object) -> None:
        """Print the help, on stdout."""
        console = Console(highlight=False)
        console.width = min(console.width, _WIDEST)
        console.print(Padding(Text(self.get_usage(ctx), "bold"), 1))
        for number, paragraph in enumerate(inspect.cleandoc(self.help or "").split("\n\n")):
            console.print(Padding(Text(" ".join(paragraph.split()), "dim" if number else ""), (0, 1, 1, 1)))
        for title, parameters in _panels(self.get_params(ctx)).items():
            rows = [row for parameter in parameters for row in _rows(parameter, ctx)]
            console.print(Panel(Group(*rows), title=title, title_align="left", border_style="dim"))


def _panels(parameters: list[_Parameter]) -> dict[str, list[_Parameter]]:
    """Arguments and options by the title of the panel that they stand in, arguments first and --help last."""
    panels: dict[str, list[_Parameter]] = {_ARGUMENTS: []}
    for parameter in parameters:
        default = _ARGUMENTS if parameter.param_type_name == "argument" else _OPTIONS
        panels.setdefault(getattr(parameter, "rich_help_panel", None) or default, []).append(parameter)
    panels[_OPTIONS] = panels.pop(_OPTIONS, [])
    return {title: found for title, found in panels.items() if found}


def _rows(parameter: _Parameter, ctx: Context) -> list[RenderableType]:
    """The lines of an option or argument: its names and what it takes; its text."""
    names, text = parameter.get_help_record(ctx)
    words = [*parameter.opts, *parameter.secondary_opts]
    line = Text(names)
    line.highlight_words(words, "bold cyan")
    return [line, Padding(Text(text), (0, 0, 0, 4))] if text else [line]
