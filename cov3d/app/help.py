"""The help of a command: each option's full name on a line of its own, whatever the width, and its text below.

typer's own help has a column for the names, and cuts them off in it at the width of a usual terminal.
"""

import inspect
from typing import Any

from rich.console import Console, Group
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text
from torchapp.cli import CLICommand

_WIDEST = 100
_ARGUMENTS, _OPTIONS = "Arguments", "Options"


class Command(CLICommand):
    """A command with help that can be read at any width."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, on stdout."""
        console = Console(highlight=False)
        console.width = min(console.width, _WIDEST)
        console.print(Padding(Text(self.get_usage(ctx), "bold"), 1))
        for number, paragraph in enumerate(inspect.cleandoc(self.help or "").split("\n\n")):
            console.print(Padding(Text(" ".join(paragraph.split()), "dim" if number else ""), (0, 1, 1, 1)))
        for title, parameters in _panels(self.get_params(ctx)).items():
            rows = [row for parameter in parameters for row in _rows(parameter, ctx)]
            console.print(Panel(Group(*rows), title=title, title_align="left", border_style="dim"))


def _panels(parameters: list[Any]) -> dict[str, list[Any]]:
    """Arguments and options by the title of the panel that they stand in, arguments first and --help last."""
    panels: dict[str, list[Any]] = {_ARGUMENTS: []}
    for parameter in parameters:
        default = _ARGUMENTS if parameter.param_type_name == "argument" else _OPTIONS
        panels.setdefault(getattr(parameter, "rich_help_panel", None) or default, []).append(parameter)
    panels[_OPTIONS] = panels.pop(_OPTIONS, [])
    return {title: found for title, found in panels.items() if found}


def _rows(parameter: Any, ctx: Any) -> list[Any]:
    """The lines of an option or argument: its names and what it takes; its text."""
    names, text = parameter.get_help_record(ctx)
    words = [*parameter.opts, *parameter.secondary_opts]
    line = Text(names)
    line.highlight_words(words, "bold cyan")
    return [line, Padding(Text(text), (0, 0, 0, 4))] if text else [line]
