"""Shares, a Dask cluster, a store and a run that was killed give the same bytes as one command that ran through."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from cov3d.inference.shares import Share
from cov3d.training import checkpoint
from tests.app.conftest import Command
from tests.conftest import sphere_chest, write_slices
from tests.inference.cell_network import CellNetwork, cell_info, use_cell_network

FACTS = "prediction.json"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_cell_network(monkeypatch)
    for number in range(7):
        voxels = sphere_chest(depth=40 + number, side=128)
        voxels[20:28, 56:72, 86 : 90 + number] = 250
        write_slices(tmp_path / "scans" / f"ct_{number}", voxels)
    checkpoint.save(tmp_path / "presence.safetensors", CellNetwork(), cell_info())
    return tmp_path


def words(root: Path, out: str, *more: object) -> list[object]:
    return [
        *("infer", "--checkpoint", root / "presence.safetensors", "--scans", root / "scans", "--explain"),
        *("--output-dir", root / out, "--device", "cpu", "--jobs", 1, *more),
    ]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a result that is not hidden."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    kept = {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
    return {name: content for name, content in kept.items() if not name.startswith(".")}


def test_a_share_takes_complete_batches_and_all_shares_take_all() -> None:
    scans = [f"s{number}" for number in range(11)]
    shares = [Share(number, 3).select(scans, batch_size=2) for number in (1, 2, 3)]
    assert shares == [["s0", "s1", "s6", "s7"], ["s2", "s3", "s8", "s9"], ["s4", "s5", "s10"]]


def test_three_shares_in_any_order_write_what_one_command_writes(root: Path, cov3d: Command) -> None:
    assert cov3d(*words(root, "whole")).code == 0
    for share in ("3/3", "1/3"):
        ended = cov3d(*words(root, "shared", "--shard", share))
        assert ended.code == 0, ended.err
        assert "the results are written when all shares are done" in " ".join(ended.out.split())
        assert contents(root / "shared") == {}
    ended = cov3d(*words(root, "shared", "--shard", "2/3"))
    assert ended.code == 0, ended.err
    assert contents(root / "shared") == contents(root / "whole")


def test_a_scan_that_one_share_cannot_read_is_named_by_the_last(root: Path, cov3d: Command) -> None:
    for file in (root / "scans" / "ct_0").iterdir():
        file.write_bytes(b"no picture")
    first = cov3d(*words(root, "shared", "--shard", "1/2", "--skip-errors"))
    last = cov3d(*words(root, "shared", "--shard", "2/2", "--skip-errors"))
    assert first.code == 0, first.err
    assert last.code == 3
    assert "ct_0" in last.out + last.err
    assert pd.read_csv(root / "shared" / "predictions.csv")["scan"].tolist() == [f"ct_{n}" for n in range(1, 7)]


def test_a_command_that_was_stopped_five_times_writes_the_same_bytes(
    root: Path, cov3d: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cov3d.inference import raw_scans

    assert cov3d(*words(root, "whole")).code == 0
    real, read = raw_scans.preprocess_scan, [0]

    def stopping(path: Path, *given: object, **how: object) -> object:
        read[0] += 1
        if read[0] % 4 == 3 and read[0] < 20:
            raise KeyboardInterrupt
        return real(path, *given, **how)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(raw_scans, "preprocess_scan", stopping)
        codes = []
        while not (root / "stopped" / "predictions.csv").exists():
            codes.append(cov3d(*words(root, "stopped")).code)
            assert len(codes) < 10
    assert codes[-1] == 0
    assert set(codes[:-1]) == {130}
    assert len(codes) >= 3
    assert contents(root / "stopped") == contents(root / "whole")
    assert not list((root / "stopped").glob(".predicted/*"))


def test_a_store_is_predicted_as_the_scans_that_were_preprocessed_into_it(root: Path, cov3d: Command) -> None:
    import cov3d as package
    from cov3d.preprocessing.sizes import Size

    assert cov3d(*words(root, "raw")[:5], "--output-dir", root / "raw", "--device", "cpu", "--jobs", 1).code == 0
    (root / "data").mkdir()
    table = pd.DataFrame({"scan": [f"ct_{n}" for n in range(7)], "partition": "test", "label": "", "fold": ""})
    shutil.copytree(root / "scans", root / "data", dirs_exist_ok=True)
    table.to_csv(root / "data" / "scans.csv", index=False)
    package.preprocess(root / "data", size=Size.TINY, jobs=1)
    store = root / "data" / "preprocessed" / "tiny"
    ended = cov3d(
        *("infer", "--checkpoint", root / "presence.safetensors", "--from-store", store),
        *("--output-dir", root / "stored", "--device", "cpu", "--jobs", 2),
    )
    assert ended.code == 0, ended.err
    for name in ("predictions.csv", "review.csv", "covid.csv"):
        assert (root / "stored" / name).read_bytes() == (root / "raw" / name).read_bytes(), name


def test_dask_workers_write_what_this_machine_writes(root: Path, cov3d: Command) -> None:
    distributed = pytest.importorskip("distributed")
    assert cov3d(*words(root, "whole")).code == 0
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        ended = cov3d(*words(root, "cluster", "--dask", cluster.scheduler_address))
    assert ended.code == 0, ended.err
    assert contents(root / "cluster") == contents(root / "whole")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--shard", "0/2"), "--shard"),
        (("--shard", "1/2", "--dask", "tcp://127.0.0.1:1"), "--dask and --shard cannot be combined"),
        (("--from-store", "nowhere"), "give either scans or from_store"),
    ],
)
def test_what_cannot_be_shared_is_refused(more: tuple[str, ...], sentence: str, root: Path, cov3d: Command) -> None:
    ended = cov3d(*words(root, "refused", *more))
    assert ended.code == 2
    assert sentence in " ".join(ended.err.split())
    assert not (root / "refused").exists()
