"""The command line as a person meets it: help, the whole way from scans to submission, and every refusal."""

import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK

from cov3d.app.app import COMMANDS, Cov3d
from cov3d.phantom import write_phantom
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.training import checkpoint
from tests.conftest import Ended, sphere_chest, write_slices

Command = Callable[..., Ended]
SCANS = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom dataset, the smallest there is."""
    root = tmp_path_factory.mktemp("cli") / "data"
    write_phantom(root, n_scans=SCANS, seed=101, resolution=64)
    return root


@pytest.fixture(scope="module")
def trained(data: Path) -> Path:
    """The run folder of one epoch of training on it, by the command line in a process of its own."""
    for command in ("folds", "preprocess --size tiny --jobs 1", "train --size tiny --no-pretrained --epochs 1"):
        words = [sys.executable, "-m", "cov3d", *command.split(), "--data", str(data)]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        assert "Traceback" not in ended.stderr
    return data / "runs" / "resnet_tiny_epochs-1_pretrained-False_fold-0_seed-0"


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


def test_commands_stand_in_the_order_of_the_work(cov3d: Command) -> None:
    text = cov3d("--help").out
    places = [text.index(f"│ {command.replace('_', '-')} ") for command in COMMANDS]
    assert places == sorted(places)
    for foreign in ("one-batch", "lightning", "predict "):
        assert foreign not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_every_option_a_text(cov3d: Command, command: str) -> None:
    ended = cov3d(command.replace("_", "-"), "--help")
    assert ended.code == 0
    assert "Usage" in ended.out
    for name, parameter in inspect.signature(getattr(Cov3d(), command)).parameters.items():
        assert parameter.default.help, f"{command}: {name} has no help"


def test_help_loads_neither_torch_nor_fastai() -> None:
    code = (
        "import sys; sys.argv = ['cov3d', 'train', '--help']\n"
        "from cov3d.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'fastai', 'pandas', 'scipy', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_version_and_citations(cov3d: Command) -> None:
    from cov3d import __version__

    assert cov3d("--version").out.strip() == __version__
    assert "Enhanced detection of the presence and severity" in cov3d("--bibtex").out
    bibliography = cov3d("--bibliography").out
    assert "Turnbull" in bibliography
    assert "[1]" in bibliography


def test_python_m_cov3d_is_the_command() -> None:
    ended = subprocess.run([sys.executable, "-m", "cov3d", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\d+\.\d+\.\d+\s*", ended.stdout)


def test_the_run_folder_is_complete(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert names >= {
        *("config.json", "history.csv", "summary.json", "curves.png", "presence.safetensors"),
        "validation-presence.csv",
    }
    assert (trained / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_validate_states_the_temperature_of_the_checkpoint(
    cov3d: Command, data: Path, trained: Path, tmp_path: Path
) -> None:
    file = tmp_path / "presence.safetensors"
    shutil.copy(trained / "presence.safetensors", file)
    for temperature, count in ((2.0, 1), (1.0, 0)):
        checkpoint.write_temperature(file, temperature)
        ended = cov3d("validate", "--data", data, "--checkpoint", file, "--output-dir", tmp_path / f"{temperature}")
        assert ended.code == 0, ended.err
        shown = re.sub(r"\s+", " ", ended.out)
        assert shown.count("scaled by temperature 2, which crossval fitted for presence") == count


def test_validate_scores_the_checkpoint_as_training_did(cov3d: Command, data: Path, trained: Path) -> None:
    ended = cov3d("validate", "--data", data, "--checkpoint", trained / "presence.safetensors")
    assert ended.code == 0, ended.err
    assert "Research use only" in ended.out
    folder = trained / "presence-fold-0"
    assert {path.name for path in folder.iterdir()} == {
        *("predictions.csv", "scores.json", "scores.csv", "confusion-presence.csv", "confusion-severity.csv"),
        *("confusion.png", "curves.png", "reliability.png", "origin.json"),
    }
    summary = json.loads((trained / "summary.json").read_text())
    reported = json.loads((folder / "scores.json").read_text())
    assert reported["presence"]["macro_f1"] == pytest.approx(summary["tasks"]["presence"]["best"]["macro_f1"])
    assert reported["presence"]["scores"][0]["low"] <= reported["presence"]["macro_f1"]
    assert reported["selection"] == {
        "selected": "selected on this fold",
        "by": "presence macro F1",
        "epoch": summary["tasks"]["presence"]["best_epoch"],
        "epochs_to_choose_from": summary["epochs"],
        "last_epoch_macro_f1": {
            task: one["last"]["macro_f1"] for task, one in summary["tasks"].items() if one["last"]["scans"]
        },
    }
    flat = re.sub(r"\s+", " ", ended.out)
    assert flat.count("epoch 1, the only epoch") == 2
    assert re.search(rf"last epoch {summary['tasks']['presence']['last']['macro_f1']:.3f}", flat)
    assert "presence: fewer than 10 scans of a class" in ended.err
    again, before = (pd.read_csv(file) for file in (folder / "predictions.csv", trained / "validation-presence.csv"))
    assert again["scan"].tolist() == before["scan"].tolist()
    assert again.filter(like="p_").to_numpy() == pytest.approx(before.filter(like="p_").to_numpy(), abs=1e-5)
    assert cov3d("validate", "--data", data, "--checkpoint", trained / "presence.safetensors").code == 2


def test_validate_on_a_fold_that_was_trained_on_warns(
    cov3d: Command, data: Path, trained: Path, tmp_path: Path
) -> None:
    fold = pd.read_csv(data / "scans.csv")["fold"].dropna().astype(int).max()
    checkpoint = trained / "presence.safetensors"
    ended = cov3d("validate", "--data", data, "--checkpoint", checkpoint, "--fold", fold, "--output-dir", tmp_path)
    assert ended.code == 0, ended.err
    scored = len(pd.read_csv(tmp_path / "predictions.csv"))
    assert f"trained on {scored} of the {scored} scans of fold {fold}" in ended.err
    assert "selected on this fold" not in ended.out
    assert json.loads((tmp_path / "scores.json").read_text())["selection"] is None


def test_validate_scores_each_source_and_takes_seed_and_specificity(
    cov3d: Command, data: Path, trained: Path, tmp_path: Path
) -> None:
    scans = pd.read_csv(trained / "validation-presence.csv")["scan"]
    sources = pd.DataFrame({"scan": scans, "source": [("north", "south")[n % 2] for n in range(len(scans))]})
    sources.to_csv(tmp_path / "sources.csv", index=False)
    words = ["validate", "--data", data, "--checkpoint", trained / "presence.safetensors"]
    words += ["--sources", tmp_path / "sources.csv", "--seed", 3, "--specificity", 0.5]
    ended = cov3d(*words, "--output-dir", tmp_path / "out")
    assert ended.code == 0, ended.err
    rows = pd.read_csv(tmp_path / "out" / "centres.csv")
    assert set(rows["source"]) == {"north", "south"}
    assert "Macro F1 by source" in ended.out
    reported = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert (reported["seed"], reported["specificity"]) == (3, 0.5)
    assert "sensitivity at specificity 0.5" in ended.out


@pytest.mark.parametrize(("task", "folder"), [("presence", "task1"), ("severity", "task2"), ("both", "task1")])
def test_submission_files_hold_exactly_the_tasks_scans_each_once(
    cov3d: Command, data: Path, trained: Path, tmp_path: Path, task: str, folder: str
) -> None:
    checkpoint = trained / "presence.safetensors"
    ended = cov3d(
        *("infer", "--checkpoint", checkpoint, "--scans", data / folder, "--task", task),
        *("--output-dir", tmp_path, "--jobs", 1),
    )
    assert ended.code == 0, ended.err
    assert "Research use only" in ended.out
    scans = sorted({path.parent.name for path in (data / folder).rglob("*.jpg")})
    files = {
        "presence": ["covid", "non-covid"],
        "severity": ["mild", "moderate", "severe", "critical"],
        "both": ["covid", "non-covid"],
    }
    assert sorted(name for file in files[task] for name in lines(tmp_path / f"{file}.csv")) == scans
    written = {path.name for path in tmp_path.iterdir()}
    assert ("mild.csv" in written) == (task != "presence")
    assert written >= {"predictions.csv", "manifest.csv"}
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == len(scans)


def test_several_checkpoints_and_scan_folders_are_taken(
    cov3d: Command, data: Path, trained: Path, tmp_path: Path
) -> None:
    checkpoint = trained / "presence.safetensors"
    ended = cov3d(
        *("infer", "--checkpoint", checkpoint, "--checkpoint", checkpoint, "--no-submission", "--batch-size", 1),
        *("--scans", data / "task1", "--scans", data / "task2", "--output-dir", tmp_path, "--jobs", 2),
    )
    assert ended.code == 0, ended.err
    assert "2 checkpoints" in ended.out
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert all(scan.startswith(("task1/", "task2/")) for scan in table["scan"])
    assert {path.name for path in tmp_path.iterdir()} == {
        *("predictions.csv", "review.csv", "manifest.csv", "intake.csv", "infer.html", "prediction.json")
    }


def test_skip_errors_lists_bad_scans_and_exits_3(cov3d: Command, data: Path, trained: Path, tmp_path: Path) -> None:
    bad = tmp_path / "scans" / "test_ct_scan_7"
    bad.mkdir(parents=True)
    for slice_name in ("1.jpg", "2.jpg"):
        (bad / slice_name).write_bytes(b"not an image")
    write_slices(tmp_path / "scans" / "test_ct_scan_8", np.full((4, 32, 32), 90, np.uint8))
    words = ["infer", "--checkpoint", trained / "presence.safetensors", "--scans", tmp_path / "scans", "--jobs", 1]
    stopped = cov3d(*words, "--output-dir", tmp_path / "a")
    assert (stopped.code, list((tmp_path / "a").glob("*"))) == (2, [])
    assert "to skip scans that can't be read, give --skip-errors" in stopped.err.replace("\n", " ")
    alone = cov3d(*words[:3], "--scans", bad, "--jobs", 1, "--output-dir", tmp_path / "c")
    assert (alone.code, "--skip-errors" in alone.err) == (2, False)
    skipped = cov3d(*words, "--output-dir", tmp_path / "b", "--skip-errors")
    assert skipped.code == 3
    assert "test_ct_scan_7" in skipped.err
    assert pd.read_csv(tmp_path / "b" / "predictions.csv")["scan"].tolist() == ["test_ct_scan_8"]


def test_preprocess_continues_past_bad_scans_where_asked(cov3d: Command, tmp_path: Path) -> None:
    write_slices(tmp_path / "good", np.full((4, 32, 32), 90, np.uint8))
    (tmp_path / "bad").mkdir()
    for slice_name in ("1.jpg", "2.jpg"):
        (tmp_path / "bad" / slice_name).write_bytes(b"not an image")
    words = ["preprocess", "--data", tmp_path, "--size", "tiny", "--jobs", 1]
    assert cov3d(*words).code == 2
    ended = cov3d(*words, "--skip-errors")
    assert ended.code == 3
    assert "bad" in ended.err
    manifest = pd.read_csv(tmp_path / "preprocessed" / "tiny" / "manifest.csv")
    assert manifest["scan"].tolist() == ["good"]
    assert "no lungs were found" in ended.out


def test_folds_makes_the_table_once_and_again_where_asked(cov3d: Command, data: Path, tmp_path: Path) -> None:
    table = tmp_path / "scans.csv"
    words = ["folds", "--data", data, "--table", table]
    first = cov3d(*words)
    assert first.code == 0
    assert "non-covid" in first.out
    before = table.read_bytes()
    assert cov3d(*words).code == 2
    others = set()
    for seed in range(1, 5):
        assert cov3d(*words, "--overwrite", "--seed", seed).code == 0
        others.add(table.read_bytes())
    assert others - {before}


def test_folds_follows_a_table_of_splits_and_reports_what_is_wrong_with_it(
    cov3d: Command, data: Path, tmp_path: Path
) -> None:
    scans = sorted(path.relative_to(data).as_posix() for path in (data / "train").glob("*/*"))
    rows = [f"{scan},4,{int('/covid/' in scan)}," for scan in scans]
    (tmp_path / "splits.csv").write_text("\n".join(["path,split,has_covid,category", *rows, "train/covid/x,1,1,mild"]))
    words = ["folds", "--data", data, "--table", tmp_path / "scans.csv"]
    ended = cov3d(*words, "--splits", tmp_path / "splits.csv")
    assert ended.code == 0, ended.err
    assert f"splits.csv line {len(rows) + 2}: 'train/covid/x' is no scan of the dataset" in ended.err
    assert "laid out as COV19-CT-DB" in ended.out
    table = pd.read_csv(tmp_path / "scans.csv").set_index("scan")
    assert set(table.loc[scans, "fold"]) == {4}
    assert set(table.loc[scans, "label"]) == {"covid", "non-covid"}
    assert cov3d(*words, "--overwrite", "--splits", tmp_path / "none.csv").code == 2


def chests(root: Path, count: int) -> list[str]:
    """Scans of a plain chest; the names of `count` of them."""
    names = [f"scan_{number}" for number in range(count)]
    for name in names:
        write_slices(root / name, sphere_chest(depth=40))
    return names


def test_preprocess_ends_with_a_report_unless_turned_off(cov3d: Command, tmp_path: Path) -> None:
    names = chests(tmp_path, 2)
    write_slices(tmp_path / "blank", np.full((40, 32, 32), 90, np.uint8))
    (tmp_path / "bad").mkdir()
    for slice_name in ("1.jpg", "2.jpg"):
        (tmp_path / "bad" / slice_name).write_bytes(b"not an image")
    words = ["preprocess", "--data", tmp_path, "--size", "tiny", "--jobs", 1, "--skip-errors"]
    ended = cov3d(*words, "--no-report")
    assert ended.code == 3
    folder = tmp_path / "preprocessed" / "tiny" / "report"
    assert not folder.exists()
    ended = cov3d(*words)
    assert ended.code == 3
    assert f"1 of 3 crops to check: look at {folder / 'crops.html'}" in ended.out
    assert {file.name for file in folder.iterdir()} == {"crops.html", "crops-1.png"}
    page = (folder / "crops.html").read_text()
    assert page.index(">1 scan is not preprocessed<") < page.index("<tbody>")
    assert "<b>bad</b>: none of the 2 slices in" in page
    assert page.index('<tr data-scan="blank"') < page.index(f'<tr data-scan="{names[0]}"')


def test_the_report_is_made_again_from_the_store_alone(cov3d: Command, tmp_path: Path) -> None:
    names = chests(tmp_path, 3)
    words = ["preprocess", "--data", tmp_path, "--size", "tiny", "--jobs", 1]
    assert cov3d(*words, "--only-report").code == 2
    assert cov3d(*words).code == 0
    store = tmp_path / "preprocessed" / "tiny"
    before = {file.name: file.read_bytes() for file in (store / "report").iterdir()}
    for name in names:
        shutil.rmtree(tmp_path / name)
    shutil.rmtree(store / "report")
    ended = cov3d(*words, "--only-report")
    assert ended.code == 0, ended.err
    assert f"0 of 3 crops to check: look at {store / 'report' / 'crops.html'}" in ended.out
    assert {file.name: file.read_bytes() for file in (store / "report").iterdir()} == before
    # The scan table is not needed, but where it is there the scans that are missing are named.
    (store / "records" / f"{names[1]}.json").unlink()
    assert cov3d(*words, "--only-report").code == 0
    assert f"<b>{names[1]}</b>: it is not in the store yet" in (store / "report" / "crops.html").read_text()
    (tmp_path / "scans.csv").unlink()
    assert cov3d(*words, "--only-report").code == 0
    assert names[1] not in (store / "report" / "crops.html").read_text()


def test_a_person_looks_writes_a_line_and_runs_again(cov3d: Command, tmp_path: Path) -> None:
    names = chests(tmp_path, 2)
    words = ["preprocess", "--data", tmp_path, "--size", "tiny", "--jobs", 1]
    assert cov3d(*words).code == 0
    (tmp_path / "overrides.csv").write_text(f"scan,z0,z1,y0,y1,x0,x1\n{names[1]},2,38,10,80,5,90\n")
    ended = cov3d(*words)
    assert ended.code == 0, ended.err
    assert "1 crop box given by a person" in ended.out
    assert "1 scan preprocessed, 1 already there" in ended.out
    assert "warning" not in ended.err
    manifest = pd.read_csv(tmp_path / "preprocessed" / "tiny" / "manifest.csv").set_index("scan")
    assert manifest["crop"].tolist() == ["lungs", "override"]
    assert manifest.loc[names[1], ["z0", "z1", "y0", "y1", "x0", "x1"]].tolist() == [2, 38, 10, 80, 5, 90]
    assert "0 scans preprocessed, 2 already there" in cov3d(*words).out
    (tmp_path / "overrides.csv").write_text(f"scan,z0,z1,y0,y1,x0,x1\n{names[1]},2,41,10,80,5,90\n")
    ended = cov3d(*words)
    assert ended.code == 2
    assert "overrides.csv line 2: the box" in ended.err


def test_preprocess_makes_a_missing_table_and_says_so(cov3d: Command, tmp_path: Path) -> None:
    write_slices(tmp_path / "scan", np.full((4, 32, 32), 90, np.uint8))
    ended = cov3d("preprocess", "--data", tmp_path, "--size", "tiny", "--jobs", 1, "--store", tmp_path / "s")
    assert ended.code == 0, ended.err
    assert "made the scan table" in ended.out
    assert (tmp_path / "scans.csv").exists()
    assert (tmp_path / "s" / "manifest.csv").exists()


def test_files_in_hounsfield_units_go_the_same_way_as_slices(cov3d: Command, trained: Path, tmp_path: Path) -> None:
    grey = sphere_chest()
    grey[6:10, 36:60, 20:36] = 200  # head and feet, right and left differ
    write_slices(tmp_path / "d" / "slices", grey)
    hounsfield = np.rint(grey * (1500 / 255) - 1150).astype(np.int16)
    image = SimpleITK.GetImageFromArray(hounsfield[::-1])  # as scanners number them, from the feet
    image.SetSpacing((1.5, 1.25, 5.0))
    for name in ("patient/ct.nii.gz", "masks/ct.nii.gz"):
        (tmp_path / "d" / name).parent.mkdir()
        SimpleITK.WriteImage(image, str(tmp_path / "d" / name))
    ended = cov3d("preprocess", "--data", tmp_path / "d", "--size", "tiny", "--jobs", 1)
    assert ended.code == 0, ended.err
    manifest = pd.read_csv(tmp_path / "d" / "preprocessed" / "tiny" / "manifest.csv").set_index("scan")
    assert manifest.index.tolist() == ["patient/ct.nii.gz", "slices"]
    assert manifest.loc["patient/ct.nii.gz", ["spacing_z", "spacing_y", "spacing_x"]].tolist() == [5.0, 1.25, 1.5]
    store = Store.open(tmp_path / "d" / "preprocessed" / "tiny", Size.TINY)
    one, other = (store.read(scan).astype(int) for scan in manifest.index)
    assert np.abs(one - other).mean() < 2
    assert all(np.abs(np.flip(one, axis) - other).mean() > 4 for axis in (0, 2))
    ended = cov3d(
        *("infer", "--checkpoint", trained / "presence.safetensors", "--output-dir", tmp_path / "out"),
        *("--scans", tmp_path / "d" / "patient" / "ct.nii.gz", "--scans", tmp_path / "d" / "slices", "--jobs", 1),
    )
    assert ended.code == 0, ended.err
    assert pd.read_csv(tmp_path / "out" / "predictions.csv")["scan"].tolist() == manifest.index.tolist()


def refusals(data: Path, trained: Path, tmp: Path) -> dict[str, tuple[list[object], str]]:
    """Command lines that can't be done, with what the one sentence must say."""
    (tmp / "empty").mkdir()
    (tmp / "scanless").mkdir()
    (tmp / "scanless" / "readme.txt").write_text("x")
    (tmp / "notimage").mkdir()
    for slice_name in ("1.jpg", "2.jpg"):
        (tmp / "notimage" / slice_name).write_bytes(b"not an image")
    (tmp / "file").write_text("x")
    checkpoint = trained / "presence.safetensors"
    infer: list[object] = ["infer", "--jobs", 1, "--output-dir", tmp / "out"]
    mine = [*infer, "--checkpoint", checkpoint]
    on = ["--data", data]
    tiny = ["--size", "tiny", "--no-pretrained"]
    return {
        "missing dataset": (["folds", "--data", tmp / "nowhere"], "no dataset folder"),
        "empty dataset": (["folds", "--data", tmp / "empty"], "no scan found"),
        "dataset without scans": (["preprocess", "--data", tmp / "scanless"], "no scan found"),
        "table that is none": (["folds", *on, "--table", tmp / "file" / "t.csv"], "can't be written"),
        "preprocess into a file": (["preprocess", *on, "--store", tmp / "file" / "s"], "can't be written"),
        "overrides missing": (["preprocess", *on, "--overrides", tmp / "no.csv"], "no overrides file"),
        "overrides that are none": (["preprocess", *on, "--overrides", tmp / "file"], "line 1: the columns .* missing"),
        "overrides in a folder": (["preprocess", *on, "--overrides", tmp / "empty"], "can't be read"),
        "report and none": (["preprocess", *on, "--only-report", "--no-report"], "cannot be combined"),
        "report without a store": (["preprocess", *on, "--only-report", "--size", "small"], "no preprocessed scans"),
        "train without a store": (
            ["train", *on, "--size", "small", "--no-pretrained"],
            "run cov3d preprocess --size small first",
        ),
        "store of another size": (
            ["train", *on, "--size", "small", "--no-pretrained", "--store", data / "preprocessed" / "tiny"],
            "other settings",
        ),
        "fold that is empty": (["train", *on, *tiny, "--table", tmp / "one.csv", "--fold", 3], "no scan is in fold 3"),
        "fold out of range": (["train", *on, "--fold", 5], "--fold must be from 0 to 4, not 5"),
        "size that is none": (["train", *on, "--size", "huge"], "huge"),
        "option that is none": (["train", *on, "--speed", "9"], "No such option"),
        "run that exists": (["train", *on, *tiny, "--epochs", 1], "already holds a run"),
        "run in a file": (["train", *on, *tiny, "--output-dir", tmp / "file" / "r"], "can't be written"),
        "weights missing": (["train", *on, "--size", "tiny", "--weights", tmp / "w"], "no weights file"),
        "weights that are none": (["train", *on, "--size", "tiny", "--weights", tmp / "file"], "can't be read"),
        "weights and none": (["train", *on, *tiny, "--weights", tmp / "file"], "cannot be combined"),
        "start from a missing checkpoint": (["train", *on, "--from-checkpoint", tmp / "no"], "no checkpoint"),
        "start from no checkpoint": (["train", *on, "--from-checkpoint", tmp / "file"], "not a checkpoint"),
        "all weights and some": (["weights", "--all", "--architecture", "mc3"], "cannot be combined"),
        "dropout of swin": (
            ["train", *on, *tiny, "--architecture", "swin", "--dropout", 0.2],
            "--dropout: swin has no dropout",
        ),
        "device that is none": (["train", *on, *tiny, "--device", "gpu"], "--device must be auto"),
        "learning rate of zero": (["train", *on, *tiny, "--learning-rate", 0], "--learning-rate must be above 0"),
        "validate a missing checkpoint": (["validate", *on, "--checkpoint", tmp / "no"], "no checkpoint"),
        "validate no checkpoint": (["validate", *on, "--checkpoint", tmp / "file"], "not a checkpoint"),
        "validate without a store": (
            ["validate", "--data", tmp, "--table", data / "scans.csv", "--checkpoint", checkpoint],
            "run cov3d preprocess --size tiny first",
        ),
        "infer with no checkpoint": (
            [*infer, "--checkpoint", tmp / "file", "--scans", data / "task1"],
            "not a checkpoint",
        ),
        "infer a missing folder": ([*mine, "--scans", tmp / "nowhere"], "no scan or folder"),
        "infer an empty folder": ([*mine, "--scans", tmp / "empty"], "no scan found"),
        "infer a folder without scans": ([*mine, "--scans", tmp / "scanless"], "no scan found"),
        "infer what is no image": ([*mine, "--scans", tmp / "notimage"], "can be read as JPEG"),
        "infer into a file": (
            ["infer", "--checkpoint", checkpoint, "--scans", data / "task2", "--output-dir", tmp / "file"],
            "can't be",
        ),
        "infer two scans of one name": ([*mine, "--scans", data], "submission files have names only"),
        "infer without scans": (mine, "give either scans or from_store"),
        "phantom into a full folder": (["phantom", data], "not empty|holds|empty"),
        "phantom with lesions nowhere": (
            ["phantom", tmp / "p", "--lesions", "middle"],
            "is not one of",
        ),
        "phantom of too few": (["phantom", tmp / "p", "--scans", 3], "scans"),
        "demo into a folder of others": (["demo", tmp], "not a folder of an earlier demo"),
    }


def test_every_failure_is_one_sentence_and_exit_code_2(
    cov3d: Command, data: Path, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "one.csv").write_text(
        "scan,partition,label,fold\ntrain/covid/a,train,mild,1\ntrain/covid/b,train,mild,2\n"
    )
    for name, (words, sentence) in refusals(data, trained, tmp_path).items():
        ended = cov3d(*words)
        flat = re.sub(r"[\s│╭╮╰╯─]+", " ", ended.err)
        assert ended.code == 2, (name, ended)
        assert "Traceback" not in ended.err + ended.out, name
        assert re.search(sentence, flat), (name, flat)
    assert not list((tmp_path / "out").glob("*"))
    assert not list(tmp_path.rglob("*.part"))


def test_an_interrupted_command_exits_with_130(cov3d: Command, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cov3d.datasets.scan_table.build", interrupt)
    ended = cov3d("folds", "--data", data, "--overwrite")
    assert ended.code == 130
    assert "Traceback" not in ended.err


def test_phantom_writes_what_it_says(cov3d: Command, tmp_path: Path) -> None:
    ended = cov3d(
        *("phantom", tmp_path / "p", "--scans", SCANS, "--seed", 101, "--resolution", 64, "--masks", "--jobs", 1)
    )
    assert ended.code == 0, ended.err
    assert "synthetic" in ended.out
    assert len(list((tmp_path / "p" / "masks").rglob("*.nii.gz"))) == SCANS
