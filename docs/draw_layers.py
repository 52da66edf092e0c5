"""Draw docs/explanation/layers.svg from the code: which room of the package imports which.

    python docs/draw_layers.py

`ROOMS` is the one list of rooms, in the order of the work. A test fails while the picture differs from the code, and
where a room imports one that comes after it.
"""

import ast
from collections.abc import Iterator
from html import escape
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "cov3d"
PICTURE = Path(__file__).parent / "explanation" / "layers.svg"

ROOMS = (
    ("readers", "path → volume"),
    ("datasets", "dataset folder → scan table"),
    ("phantom", "synthetic datasets"),
    ("preprocessing", "scan → crop in the store"),
    ("models", "networks"),
    ("evaluation", "predictions, labels → numbers"),
    ("training", "loss, loaders, learner, run folder"),
    ("inference", "networks on scans, ensembles"),
    ("challenge", "submissions, the paper's results"),
    ("reports", "tables, figures, pages"),
    ("api", "what a command does, from Python"),
    ("app", "the command line"),
)
"""Each room and its subject. A room imports only rooms before it."""

_CELL, _LEFT, _TOP, _MARGIN = 34, 330, 40, 20


def imports(package: Path = PACKAGE) -> set[tuple[str, str]]:
    """Pairs (room, room that it imports), without imports within a room."""
    names = [name for name, _ in ROOMS]
    pairs = set()
    for name in names:
        for file in (package / name).rglob("*.py"):
            imported = {module.split(".")[1] for module in _modules(file, package.name)}
            pairs |= {(name, other) for other in imported & set(names) if other != name}
    return pairs


def _modules(file: Path, package: str) -> Iterator[str]:
    """Modules of the package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (module for module in found if module.startswith(f"{package}."))


def upward(pairs: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs in which a room imports one that comes after it."""
    order = [name for name, _ in ROOMS]
    return sorted(pair for pair in pairs if order.index(pair[1]) > order.index(pair[0]))


def picture(pairs: set[tuple[str, str]]) -> str:
    """The picture, as SVG: a row a room, and a dot in the column of each room that it imports."""
    names = [name for name, _ in ROOMS]
    width, height = _LEFT + _CELL * len(names) + _MARGIN, _TOP + 46 + _CELL * len(names)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="13" role="img" aria-label="Which room imports which">',
        f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
    ]
    for row, (name, subject) in enumerate(ROOMS):
        y = _TOP + 60 + row * _CELL
        parts.append(f'<line x1="{_MARGIN}" x2="{width - _MARGIN}" y1="{y - 22}" y2="{y - 22}" stroke="#d5dbe3"/>')
        parts.append(f'<text x="{_MARGIN}" y="{y}" font-weight="bold" fill="#16324f">{name}</text>')
        parts.append(f'<text x="{_MARGIN + 95}" y="{y}" fill="#4a5a6a">{escape(subject)}</text>')
        x = _LEFT + row * _CELL + _CELL // 2
        parts.append(f'<text transform="translate({x + 4} {_TOP + 32}) rotate(-55)" fill="#16324f">{name}</text>')
        parts.append(f'<rect x="{x - 12}" y="{y - 17}" width="24" height="24" rx="4" fill="#e8edf3"/>')
        for column, other in enumerate(names):
            if (name, other) in pairs:
                x = _LEFT + column * _CELL + _CELL // 2
                parts.append(f'<circle cx="{x}" cy="{y - 5}" r="7" fill="#1f6fb2"/>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture(imports()), encoding="utf-8")
