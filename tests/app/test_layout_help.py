"""The help of `folds` names the layouts of the registry, and loads no reader for it."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from cov3d.datasets.layouts import LAYOUTS
from tests.app.conftest import Command


def test_the_help_of_folds_names_every_layout(cov3d: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    more = (*LAYOUTS, replace(LAYOUTS[0], name="Another dataset"))
    monkeypatch.setattr("cov3d.app.app.LAYOUTS", more, raising=False)
    text = " ".join(cov3d("folds", "--help").out.split())
    assert "PHAROS 2025/2026, CC-CCII, COVID-CT-MD" in text
    assert all(layout.name in text for layout in more)


def test_the_command_line_starts_without_readers() -> None:
    code = "import sys, json, cov3d.app.app; print(json.dumps([*{'numpy', 'simplejpeg', 'nibabel'} & {*sys.modules}]))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout) == []
