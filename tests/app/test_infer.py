"""`cov3d infer`: what can be refused at once is refused before networks are loaded."""

from pathlib import Path

import numpy as np
import pytest

from cov3d.inference import networks
from tests.app.conftest import Command
from tests.conftest import write_slices
from tests.inference.conftest import make_run


@pytest.mark.usefixtures("quick_network")
def test_two_scans_of_one_name_are_refused_before_a_network_is_loaded(
    cov3d: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = make_run(tmp_path / "runs", 1, 0) / "presence.safetensors"
    for place in ("one", "two"):
        write_slices(tmp_path / "scans" / place / "ct_1", np.zeros((3, 32, 32), np.uint8))
    loaded: list[object] = []
    monkeypatch.setattr(networks, "load_members", lambda files, device, **how: loaded.append(files))
    ended = cov3d("infer", "--checkpoint", checkpoint, "--scans", tmp_path / "scans", "--output-dir", tmp_path / "out")
    assert ended.code == 2
    assert "2 scans have the name ct_1 (one/ct_1, two/ct_1)" in ended.err
    assert loaded == []
    assert not (tmp_path / "out").exists()
