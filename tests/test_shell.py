"""The shell scripts and container recipes: linted, and the recipes install the same, which exists."""

import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = [*sorted((ROOT / "examples").rglob("*.sh")), *sorted((ROOT / "tests").rglob("*.sh"))]
DOCKERFILE = (ROOT / "containers" / "Dockerfile").read_text()
RECIPE = (ROOT / "containers" / "apptainer.def").read_text()


def passes(*words: object, given: str | None = None) -> None:
    tool = shutil.which(str(words[0]), path=Path(sys.executable).parent)
    if tool is None and words[0] == "hadolint" and (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("there is no hadolint for this machine")
    assert tool is not None, f"{words[0]} is not installed"
    ended = subprocess.run([tool, *map(str, words[1:])], input=given, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_pass_shellcheck(script: Path) -> None:
    passes("shellcheck", script)


def test_the_dockerfile_passes_hadolint() -> None:
    passes("hadolint", ROOT / "containers" / "Dockerfile")


@pytest.mark.parametrize("section", ["post", "environment", "runscript", "test"])
def test_the_apptainer_recipe_passes_shellcheck(section: str) -> None:
    body = re.search(rf"^%{section}\n(.*?)(?=^%|\Z)", RECIPE, re.MULTILINE | re.DOTALL)
    assert body is not None
    assert body[1].strip()
    passes("shellcheck", "--shell=sh", "-", given=re.sub(r"\{\{ (\w+) \}\}", r"\1", body[1]))


def test_both_recipes_install_the_same_extras_of_the_same_files() -> None:
    (of_docker,) = re.findall(r"'\.\[(.+?)\]'", DOCKERFILE)
    (of_apptainer,) = re.findall(r"'/source\[(.+?)\]'", RECIPE)
    assert of_docker == of_apptainer
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(of_docker.split(",")) <= set(project["optional-dependencies"])
    for name in ("torch", "torchvision"):
        (needed,) = (one for one in project["dependencies"] if re.match(rf"{name}\W", one))
        assert f"'{needed}'" in DOCKERFILE
        assert f"'{needed}'" in RECIPE
    copied = re.findall(r"^    (\S+) /source/", RECIPE, re.MULTILINE)
    assert sorted(copied) == sorted(" ".join(re.findall(r"^COPY ([a-zA-Z].+) \S+$", DOCKERFILE, re.MULTILINE)).split())
    ignored = (ROOT / "containers" / "Dockerfile.dockerignore").read_text().splitlines()
    assert [line for line in ignored if line.startswith("!")] == [f"!{name}" for name in ["cov3d", *copied[:3]]]
    for name in (*copied, project["readme"], *project["license-files"]):
        assert name in copied
        assert (ROOT / name).exists()


def test_the_image_runs_as_an_ordinary_user() -> None:
    assert re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE) == ["1000"]
