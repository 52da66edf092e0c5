"""docs/paper.md: what it names exists, and the counts in it are the paper's."""

import inspect
import re
from pathlib import Path

from cov3d.app.app import Cov3d
from cov3d.app.training import training_options

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")


def test_every_file_that_it_names_exists() -> None:
    named = re.findall(r"`((?:cov3d|tests)/[\w/.]*)`", PAGE)
    assert len(named) > 15
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_table_and_section_is_mapped() -> None:
    parts = ["2.1", *(f"3.{number}" for number in range(1, 7)), "6", "equations 1 to 7", "equation 8"]
    parts += [f"Table {number}" for number in range(1, 6)] + ["Tables 6, 7", "Figure 1", "Figure 2"]
    mapping = PAGE.partition("## Misprints")[0]
    assert [part for part in parts if part not in mapping] == []


def test_every_option_that_it_names_is_an_option() -> None:
    named = set(re.findall(r"`(?:[\w ]*)--([a-z-]+)", PAGE))
    declared = {name.replace("_", "-") for name in inspect.signature(training_options).parameters}
    app = Cov3d()
    for command in ("preprocess", "train", "folds", "ensemble", "submit"):
        declared |= {name.replace("_", "-") for name in inspect.signature(getattr(app, command)).parameters}
    assert named - declared == set()
    assert {"decoupled-decay", "splits", "temperature"} <= named
