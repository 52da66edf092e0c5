"""The words of a command line of cov3d, as a message or a file quotes them: ready to be pasted into a shell."""

import shlex
from collections.abc import Iterable


def command(name: str, *words: object, **options: object) -> str:
    """A command line, quoted for a shell.

    Args:
        name: of the command, such as `train`.
        words: that follow it as they are.
        options: by name, underscores for hyphens. None leaves one out, True and False make a flag (`--x`, `--no-x`),
            several values follow their option one after the other.
    """
    parts: list[object] = ["cov3d", name, *words]
    for option, value in options.items():
        parts += _option(option.replace("_", "-"), value)
    return shlex.join(map(str, parts))


def _option(name: str, value: object) -> Iterable[object]:
    if value is None:
        return ()
    if isinstance(value, bool):
        return (f"--{name}" if value else f"--no-{name}",)
    several = isinstance(value, tuple | list)
    return (f"--{name}", *(value if several else (value,)))  # type: ignore[misc]
