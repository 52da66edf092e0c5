"""Every package that the code imports is declared, and nothing is installed that only tests use."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name_of(requirement: str) -> str:
    """A requirement's package, as package indexes compare names."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", requirement)[0]).lower()


def imported(folder: Path) -> set[str]:
    """Packages (as indexes name them) that the files of a folder import."""
    modules = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.partition(".")[0])
    known = packages_distributions()
    foreign = modules - sys.stdlib_module_names - {"cov3d"}
    return {name_of(known[module][0]) if module in known else module for module in foreign}


def declared(*extras: str) -> set[str]:
    requirements = list(PROJECT["dependencies"])
    for extra in extras:
        requirements += PROJECT["optional-dependencies"][extra]
    return {name_of(requirement) for requirement in requirements}


def test_what_the_package_imports_is_declared() -> None:
    assert imported(ROOT / "cov3d") - declared("dask", "onnx", "tensorboard", "wandb") == set()


def test_what_is_declared_is_imported() -> None:
    assert declared() - imported(ROOT / "cov3d") == set()


def test_what_only_tests_and_benchmarks_need_is_an_extra() -> None:
    assert "simpleitk" in declared("dev") - declared()  # a quarter of a gigabyte
