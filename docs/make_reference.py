"""Write docs/reference/commands.md from the app itself: every command, its arguments and its options.

    python docs/make_reference.py

A test fails while the page differs from the app.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cov3d.app.app import Cov3d

PAGE = Path(__file__).parent / "reference" / "commands.md"

_HEAD = """# Commands

<!-- Made by docs/make_reference.py. Do not edit. -->

`cov3d COMMAND --help` prints the same text. A switch with two names, such as `--resume` / `--no-resume`, takes either.
An option with an empty default is left out unless you give it.
"""


def page() -> str:
    """The page, as Markdown."""
    app = Cov3d().main_app.getcommand()
    contents = [f"| [`{name}`](#{name}) | {_cell(_summary(command))} |" for name, command in app.commands.items()]
    parts = [_HEAD, "\n".join(["| command | what it does |", "|---|---|", *contents]) + "\n"]
    parts += [_command(name, command) for name, command in app.commands.items()]
    parts.append("## Options of cov3d itself\n\n" + _table(app.params))
    return "\n".join(parts)


def _summary(command: Any) -> str:
    return str(command.help or "").split("\n\n")[0]


def _command(name: str, command: Any) -> str:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    panels: dict[str, list[Any]] = {}
    for parameter in command.params:
        if parameter not in arguments:
            panels.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(parameter)
    usage = " ".join(["cov3d", name, *map(_argument, arguments), "[OPTIONS]"])
    parts = [f"## {name}", *(" ".join(text.split()) for text in command.help.split("\n\n")), f"```\n{usage}\n```"]
    if arguments:
        parts.append(_table(arguments))
    parts += [f"**{panel}**\n\n{_table(options)}" for panel, options in panels.items()]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _argument(argument: Any) -> str:
    name = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _table(parameters: Iterable[Any]) -> str:
    rows = [f"| {_names(one)} | {_default(one)} | {_cell(one.help or '')} |" for one in parameters]
    return "\n".join(["| name | default | meaning |", "|---|---|---|", *rows]) + "\n"


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_argument(parameter)}`"
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    if parameter.secondary_opts:
        return f"{names} / `{parameter.secondary_opts[0]}`"
    return f"{names} {_value(parameter)}".strip()


def _value(parameter: Any) -> str:
    """What the option takes, in italics: its choices, or its type and bounds; nothing for a switch."""
    kind = parameter.type
    if choices := getattr(kind, "choices", None):
        return "*" + ", ".join(str(getattr(choice, "value", choice)) for choice in choices) + "*"
    if getattr(parameter, "is_flag", False):
        return ""
    if parameter.metavar:
        return f"*{parameter.metavar}*"
    words = [{"int range": "int", "float range": "float", "str": "text"}.get(kind.name, kind.name)]
    if parameter.nargs > 1:
        words = ["float"] * parameter.nargs
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    if low is not None:
        words.append(f"≥ {low:g}" if high is None else f"from {low:g} to {high:g}")
    return f"*{' '.join(words)}*"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    switch = bool(parameter.secondary_opts) or getattr(parameter, "is_flag", False)
    shown = getattr(parameter, "show_default", None)
    if isinstance(shown, str) and not switch:
        return _cell(shown)
    value = parameter.default
    if switch and isinstance(value, bool):
        return "yes" if value else "no"
    if switch:
        return {"False": "no", **dict.fromkeys((name.lstrip("-") for name in parameter.opts), "yes")}.get(
            str(shown), _cell(shown) if isinstance(shown, str) else "no"
        )
    return "" if value is None or value in ([], ()) else f"`{getattr(value, 'value', value)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
