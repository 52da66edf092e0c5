"""README and docs: size, links, the commands, options and files that they name, and what is made from the code."""

import ast
import inspect
import re
import shlex
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cov3d.app.app import Cov3d

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
_BY_ID = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())

sys.path.insert(0, str(DOCS))
import draw_layers  # noqa: E402
import make_reference  # noqa: E402


@cache
def options() -> dict[str, set[str]]:
    """The options of each command of the app; those of the app itself under an empty name."""
    app = Cov3d().main_app.getcommand()
    found = {name: _options(command) for name, command in app.commands.items()}
    return {"": _options(app), **found}


def _options(command: Any) -> set[str]:
    names = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return {name for name in names if name.startswith("-")} | {"--help"}


def command_lines(page: str) -> list[list[str]]:
    """Every `cov3d …` in code, of a block (lines that end in a backslash joined) or of a line, as words."""
    fenced = re.findall(r"^```[^\n]*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    lines = [line for block in fenced for line in block.replace("\\\n", " ").splitlines()]
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL))
    found = []
    for line in (*lines, *inline):
        start = re.match(r"(?:\$ )?(?:[A-Z_]+=\S+ )?(?:torchrun .*-m )?(cov3d(?: .*)?)$", line.strip())
        if start:
            found.append(shlex.split(start[1].replace("'", ""), comments=True))
    return found


def test_readme_is_one_page() -> None:
    text = (ROOT / "README.md").read_bytes()
    assert len(text) <= 9216
    for fact in (b"make demo", b"make test", b"Linux and macOS", b"Research use only", b"arXiv:2303.09440", b"docs/"):
        assert fact in text, fact


@_BY_ID
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings]
    return {re.sub(r"[-\s]+", "-", heading.encode("ascii", "ignore").decode()) for heading in plain}


@_BY_ID
def test_every_command_and_option_that_a_page_names_is_in_the_app(page: Path) -> None:
    wrong = []
    for words in command_lines(page.read_text(encoding="utf-8")):
        command = words[1] if len(words) > 1 and not words[1].startswith("-") else ""
        if command in ("COMMAND", "…"):
            continue
        if command not in options():
            wrong.append(words)
            continue
        given = {word.partition("=")[0] for word in words[1:] if re.match(r"--?[a-z]", word)}
        wrong += [[*words[:2], option] for option in sorted(given - options()[command])]
    assert wrong == []


@_BY_ID
def test_every_option_named_alone_is_an_option_of_some_command(page: Path) -> None:
    named = set(re.findall(r"`(--[a-z][a-z-]*)[ `=]", page.read_text(encoding="utf-8")))
    known = set().union(*options().values()) | {
        *("--index-url", "--output", "--profile", "--loss-copy", "--cpu"),
        *("--configfile", "--unlock", "--slurm-status-command", "--gpus"),  # of Snakemake and Slurm
        *("--ipc", "--shm-size", "--stop-timeout", "--user", "--bind"),  # of Docker and Apptainer
    }
    assert named - known == set()


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "reference" / "python.md"], ids=["README", "python"])
def test_every_call_in_python_fits_the_package(page: Path) -> None:
    import cov3d

    if not hasattr(cov3d, "predict"):
        pytest.skip("the package has no Python API yet")
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    calls = [node for block in blocks for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call)]
    ours = [call for call in calls if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "cov3d"]
    assert ours
    for call in ours:
        function = getattr(cov3d, call.func.attr)  # type: ignore[attr-defined]
        inspect.signature(function).bind(*call.args, **{str(word.arg): word.value for word in call.keywords})


def test_the_pages_name_commands_at_all() -> None:
    named = {words[1] for page in PAGES for words in command_lines(page.read_text(encoding="utf-8")) if len(words) > 1}
    assert set(options()) - {""} <= named
    assert sum(len(command_lines(page.read_text(encoding="utf-8"))) for page in PAGES) > 60


@_BY_ID
def test_every_file_of_the_code_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    made_there = set(re.findall(r'^```python title="([^"]+)"', text, re.MULTILINE))
    named = set(re.findall(r"`((?:cov3d|tests|benchmarks|docs)/[\w./-]*\w)`", text)) - made_there
    assert [
        path for path in sorted(named) if not (ROOT / path).exists() and not path.startswith("cov3d/app/cov3d")
    ] == []


def test_the_page_of_commands_is_that_of_the_app() -> None:
    assert make_reference.PAGE.read_text(encoding="utf-8") == make_reference.page(), "run docs/make_reference.py"


def test_the_picture_of_the_rooms_is_that_of_the_code() -> None:
    drawn = draw_layers.picture(draw_layers.imports())
    assert draw_layers.PICTURE.read_text(encoding="utf-8") == drawn, "run docs/draw_layers.py"


def test_every_folder_of_the_package_is_a_room() -> None:
    folders = {file.parent.name for file in (ROOT / "cov3d").glob("*/__init__.py")}
    assert {name for name, _ in draw_layers.ROOMS} == folders


def test_no_room_imports_a_later_one() -> None:
    assert draw_layers.upward(draw_layers.imports()) == []


@pytest.mark.parametrize("line", ["from cov3d.reports import tables", "import cov3d.app.app", "from cov3d import app"])
def test_a_planted_upward_import_is_found(tmp_path: Path, line: str) -> None:
    package = tmp_path / "cov3d"
    shutil.copytree(ROOT / "cov3d", package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / "models" / "adapt.py").open("a", encoding="utf-8") as file:
        file.write(f"\n\ndef planted():\n    {line}\n")
    (found,) = draw_layers.upward(draw_layers.imports(package))
    assert found == ("models", "app" if "app" in line else "reports")


def test_the_page_of_files_names_every_file_and_column_that_the_code_has_a_constant_for() -> None:
    from cov3d.challenge import sets, submission, submit
    from cov3d.datasets import scan_table, splits
    from cov3d.datasets.origin import origin_file
    from cov3d.evaluation import comparison
    from cov3d.inference import validate
    from cov3d.preprocessing import overrides, record, store
    from cov3d.readers import left_out
    from cov3d.reports import report
    from cov3d.training import folder, tune

    page = (DOCS / "reference" / "files.md").read_text(encoding="utf-8")
    columns = (*scan_table.COLUMNS, *record.RECORD_COLUMNS, *left_out.COLUMNS)
    tables = (overrides.COLUMNS, splits.COLUMNS, sets.COLUMNS)
    files = (
        *(*folder.RUN_FILES, *validate.RESULT_FILES, *comparison.RESULT_FILES, *submission.FILES),
        *(scan_table.FILE_NAME, overrides.FILE_NAME, store.MANIFEST, submit.OVERVIEW, report.PAGE),
        *(tune.STUDY, tune.TABLE, tune.BEST, left_out.FILE_NAME, origin_file(Path(scan_table.FILE_NAME)).name),
    )
    wanted = [*(f"`{column}`" for column in columns), *(",".join(table) for table in tables), *files]
    assert [name for name in wanted if name not in page] == []
