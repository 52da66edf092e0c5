"""Every option that a command declares reaches the code that it is about, and none is left out of these tests."""

import inspect
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cov3d.inference.on_cluster
import cov3d.inference.predictor  # noqa: F401
from cov3d.app import options
from cov3d.app.app import COMMANDS, Cov3d
from cov3d.challenge import submission
from cov3d.challenge.experiments import options_of
from cov3d.challenge.run_names import run_name
from cov3d.errors import Cov3dError
from cov3d.files import in_place
from cov3d.inference import job, networks, predict
from cov3d.inference import validate as validation
from cov3d.inference.kept import KeptScan
from cov3d.inference.networks import Extras, Member
from cov3d.models.names import Architecture
from cov3d.preprocessing import batch
from cov3d.preprocessing.crop import Box
from cov3d.preprocessing.record import RECORD_COLUMNS
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.training import learner
from cov3d.training.device import choose_device
from cov3d.training.distributed import World, launched
from cov3d.training.options import Compute, Precision, TrainingOptions
from cov3d.training.start import RANDOM
from tests.app.conftest import ReachedError
from tests.conftest import Ended
from tests.training.conftest import fill
from tests.training.test_checkpoint import INFO

Command = Callable[..., Ended]

HYPER_PARAMETERS: dict[str, tuple[list[Any], Any]] = {
    "architecture": (["mc3"], "mc3"),
    "size": (["tiny"], Size.TINY),
    "fold": ([1], 1),
    "epochs": ([7], 7),
    "batch_size": ([3], 3),
    "accumulate": ([4], 4),
    "learning_rate": ([0.01], 0.01),
    "weight_decay": ([0.02], 0.02),
    "gamma": ([3.5], 3.5),
    "emd_weight": ([0.7], 0.7),
    "distances": ([1, 2, 3, 4], (1.0, 2.0, 3.0, 4.0)),
    "negative_positive_distance": ([2.5], 2.5),
    "dropout": ([0.4], 0.4),
    "brightness": ([0.3], 0.3),
    "contrast": ([0.2], 0.2),
    "seed": ([11], 11),
    "precision": (["fp32"], Precision.FP32),
    "decoupled_decay": ([], True),
}
ELSEWHERE: dict[str, dict[str, str]] = {
    # option: the test, here or in test_cli.py or tests/phantom/test_phantom.py, that changes it
    "phantom": {
        "directory": "test_phantom_writes_what_it_says",
        "scans": "test_phantom_writes_what_it_says",
        "seed": "test_a_phantoms_seed_and_layout_reach_it",
        "resolution": "test_phantom_writes_what_it_says",
        "masks": "test_phantom_writes_what_it_says",
        "layout": "test_a_phantoms_seed_and_layout_reach_it",
        "lesions": "test_the_lungs_with_lesions_reach_a_phantom",
        "jobs": "test_jobs_reach_the_pool",
    },
    "folds": {
        "data": "test_every_failure_is_one_sentence_and_exit_code_2",
        "table": "test_folds_makes_the_table_once_and_again_where_asked",
        "splits": "test_folds_follows_a_table_of_splits_and_reports_what_is_wrong_with_it",
        "seed": "test_folds_makes_the_table_once_and_again_where_asked",
        "overwrite": "test_folds_makes_the_table_once_and_again_where_asked",
    },
    "preprocess": {
        "data": "test_preprocess_makes_a_missing_table_and_says_so",
        "table": "test_a_table_elsewhere_is_read",
        "size": "test_every_failure_is_one_sentence_and_exit_code_2",
        "store": "test_preprocess_makes_a_missing_table_and_says_so",
        "overrides": "test_overrides_elsewhere_are_read",
        "report": "test_preprocess_ends_with_a_report_unless_turned_off",
        "only_report": "test_the_report_is_made_again_from_the_store_alone",
        "jobs": "test_jobs_reach_the_pool",
        "shard": "test_a_shard_is_its_share_of_the_scans",
        "dask": "test_a_dask_address_reaches_the_batch",
        "skip_errors": "test_preprocess_continues_past_bad_scans_where_asked",
    },
    "experiments": {"format": "tests/app/test_experiments.py"},
    "train": {
        **dict.fromkeys(
            ("data", "table", "store", "output_dir", "overwrite", "device", "workers", "pretrained", "reflect"),
            "test_what_else_train_declares_reaches_the_run",
        ),
        **dict.fromkeys(("weights", "weights_dir", "from_checkpoint"), "tests/app/test_weights.py"),
        **dict.fromkeys(("tensorboard", "wandb", "wandb_offline", "wandb_project"), "tests/app/test_tracking.py"),
        **dict.fromkeys(
            ("resume", "validation_batch_size", "compile", "channels_last", "gradient_checkpointing", "deterministic"),
            "test_how_a_run_is_computed_reaches_it",
        ),
        "experiment": "tests/app/test_experiments.py",
    },
    "crossval": dict.fromkeys(
        (
            *("store", "output_dir", "data", "table", "experiment", "pretrained", "reflect", "weights", "weights_dir"),
            *(
                "runs",
                "collect",
                "sources",
                "temperature",
                "from_checkpoint",
                "tensorboard",
                "wandb",
                "wandb_offline",
                "wandb_project",
                "device",
                "workers",
            ),
            *("device", "workers", "validation_batch_size", "compile", "channels_last"),
            *("gradient_checkpointing", "deterministic"),
        ),
        "tests/app/test_crossval.py",
    ),
    "tune": dict.fromkeys(
        (
            *("trials", "objective", "search", "prune", "store", "output_dir", "overwrite"),
            *("data", "table", "experiment", "pretrained", "reflect", "weights", "weights_dir", "from_checkpoint"),
            *("device", "workers", "validation_batch_size", "compile", "channels_last"),
            *("gradient_checkpointing", "deterministic"),
        ),
        "tests/app/test_tune.py",
    ),
    "weights": dict.fromkeys(("architecture", "every", "weights_dir"), "tests/app/test_weights.py"),
    "validate": {
        **dict.fromkeys(
            ("checkpoint", "data", "table", "store", "fold", "output_dir", "overwrite", "device", "workers"),
            "test_what_validate_declares_reaches_the_scoring",
        ),
        **dict.fromkeys(
            ("sources", "specificity", "seed"), "test_validate_scores_each_source_and_takes_seed_and_specificity"
        ),
    },
    "compare": dict.fromkeys(
        ("run_a", "run_b", "task", "seed", "output_dir", "overwrite"), "tests/evaluation/test_comparison.py"
    ),
    "infer": dict.fromkeys(
        (
            *("checkpoint", "scans", "task", "submission", "line_format", "output_dir", "overwrite", "skip_errors"),
            *("device", "jobs", "batch_size"),
        ),
        "test_what_infer_declares_reaches_the_prediction",
    )
    | dict.fromkeys(("series", "name_by"), "tests/inference/test_intake.py")
    | dict.fromkeys(("from_store", "shard", "dask"), "tests/inference/test_shares.py")
    | dict.fromkeys(("explain", "review_only", "precision", "mc_dropout"), "tests/inference/test_answers.py"),
    "ensemble": {
        **dict.fromkeys(
            ("predictions", "name", "data", "runs", "fold", "all_folds", "task", "temperature", "sources"),
            "tests/inference/test_ensemble.py",
        ),
        **dict.fromkeys(("output_dir", "overwrite"), "tests/inference/test_ensemble.py"),
        **dict.fromkeys(
            ("select_members", "select_threshold", "out_of_fold", "seed"), "tests/inference/test_selection.py"
        ),
    },
    "submit": dict.fromkeys(
        (
            *("which", "data", "runs", "presence_scans", "severity_scans", "line_format", "output_dir", "overwrite"),
            *("skip_errors", "device", "jobs", "batch_size", "temperature"),
        ),
        "tests/challenge/test_submit.py",
    ),
    "check_submission": dict.fromkeys(
        ("folder", "scans", "task", "line_format", "allow_empty"), "tests/challenge/test_check.py"
    ),
    "explain": dict.fromkeys(("checkpoint", "sanity", "scans", "seed", "device"), "tests/inference/test_sanity.py"),
    "export": dict.fromkeys(("checkpoint", "form", "output", "overwrite"), "tests/inference/test_export.py"),
    "report": dict.fromkeys(("runs", "data", "table", "store", "output_dir"), "tests/app/test_report.py"),
    "demo": dict.fromkeys(
        ("directory", "scans", "seed", "epochs", "overwrite", "device", "jobs", "quick"), "tests/app/test_demo.py"
    ),
}


for _command in ("preprocess", "train", "crossval", "tune", "validate", "report"):
    ELSEWHERE[_command]["strict"] = "tests/app/test_stale.py"


@pytest.mark.parametrize("command", COMMANDS)
def test_no_option_is_left_out(command: str) -> None:
    declared = set(inspect.signature(getattr(Cov3d(), command)).parameters)
    tried = set(ELSEWHERE[command]) | (set(HYPER_PARAMETERS) if command in ("train", "tune", "crossval") else set())
    assert declared == tried
    here = Path(__file__).parent
    written = "".join(file.read_text() for file in (here / "test_options.py", here / "test_cli.py"))
    for test in ELSEWHERE[command].values():
        assert f"def {test}(" in written or (here.parents[1] / test).is_file(), test


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of four scans, two folds, preprocessed at size tiny."""
    root = tmp_path_factory.mktemp("options")
    _, table = fill(root / "preprocessed" / "tiny", ["non-covid", "mild", "non-covid", "severe"], [0, 0, 1, 1])
    table.to_csv(root / "scans.csv", index=False)
    return root


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


@pytest.mark.parametrize("name", HYPER_PARAMETERS)
def test_a_hyper_parameter_reaches_the_run_and_no_other_changes(
    name: str, reached: Callable[..., ReachedError], data: Path, tmp_path: Path
) -> None:
    words, value = HYPER_PARAMETERS[name]
    size = [] if name == "size" else ["--size", "tiny"]
    call = reached(
        *(learner, "train", "train", "--data", data, "--no-pretrained", "--output-dir", tmp_path, *size),
        *(flag(name), *words),
    )
    chosen: TrainingOptions = call.arguments[0]
    assert getattr(chosen, name) == value
    default = TrainingOptions(size=Size.TINY, pretrained=False)
    others = {field.name for field in fields(TrainingOptions)} - {name}
    assert all(getattr(chosen, other) == getattr(default, other) for other in others)


def test_what_else_train_declares_reaches_the_run(
    reached: Callable[..., ReachedError], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cov3d: Command
) -> None:
    base = ["train", "--size", "tiny", "--no-pretrained"]
    elsewhere = tmp_path / "table.csv"
    elsewhere.write_text((data / "scans.csv").read_text().replace(",severe,", ",critical,"))
    chosen = reached(
        *(learner, "train", *base, "--data", data, "--table", elsewhere, "--output-dir", tmp_path / "run"),
        *("--store", data / "preprocessed" / "tiny", "--workers", 3, "--device", "cpu", "--no-reflect"),
    )
    assert not chosen.arguments[0].reflect
    assert "critical" in set(chosen.arguments[1].train["label"])
    assert chosen.arguments[3] == tmp_path / "run"
    assert (chosen.options["compute"].workers, chosen.options["device"]) == (3, torch.device("cpu"))
    assert chosen.options["start"] == RANDOM

    plain = reached(learner, "train", *base, "--data", data)
    assert plain.arguments[3] == data / "runs" / "resnet_tiny_pretrained-False_fold-0_seed-0"
    assert plain.options["compute"] == Compute(workers=0)
    assert plain.options["continues"] is False
    assert plain.options["world"] == World()
    assert plain.options["overwrite"] is False
    assert reached(learner, "train", *base, "--data", data, "--overwrite").options["overwrite"] is True


def test_how_a_run_is_computed_reaches_it(reached: Callable[..., ReachedError], data: Path, cov3d: Command) -> None:
    base = ["train", "--size", "tiny", "--no-pretrained", "--data", data]
    for words, name, value in (
        (["--compile"], "compile", True),
        (["--channels-last"], "channels_last", True),
        (["--no-channels-last"], "channels_last", False),
        (["--gradient-checkpointing"], "gradient_checkpointing", True),
        (["--validation-batch-size", "6"], "validation_batch_size", 6),
        (["--no-deterministic"], "deterministic", False),
    ):
        compute = reached(learner, "train", *base, *words).options["compute"]
        assert compute == replace(Compute(), **{name: value})
    assert reached(learner, "train", *base, "--resume").options["continues"] is True
    ended = cov3d(*base, "--resume", "--overwrite")
    assert (ended.code, "--resume and --overwrite cannot be combined" in ended.err) == (2, True)


def test_torchrun_gives_each_process_its_place(
    reached: Callable[..., ReachedError], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert launched() == World(rank=5, size=8, local_rank=1, local_size=4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert choose_device("auto", 1) == choose_device("cuda", 1) == torch.device("cuda", 1)
    with pytest.raises(Cov3dError, match="each process of torchrun needs its own GPU"):
        choose_device("cuda:3", 1)
    with pytest.raises(Cov3dError, match="this machine has only 4 CUDA devices: lower torchrun's --nproc-per-node"):
        choose_device("auto", 4)


def test_loading_processes_share_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cov3d.processors.cpus", lambda: 24)
    assert options.default_workers(None, "cuda") == 8
    assert options.default_workers(None, "cuda", 4) == 6
    assert options.default_workers(None, "cuda", 48) == 1
    assert options.default_workers(None, "cpu", 2) == 0
    assert options.default_workers(5, "cpu", 2) == 5


def test_what_validate_declares_reaches_the_scoring(
    reached: Callable[..., ReachedError], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cov3d: Command
) -> None:
    info = INFO.__class__(**{**vars(INFO), "fold": 1})
    monkeypatch.setattr(networks, "load_members", lambda files, device, **how: [Member(torch.nn.Identity(), info)])
    base = ["validate", "--checkpoint", tmp_path / "best.safetensors", "--data", data]
    plain = reached(validation, "validate", *base)
    assert plain.arguments[1]["scan"].tolist() == ["train/x/scan_2", "train/x/scan_3"]
    elsewhere = tmp_path / "table.csv"
    elsewhere.write_text((data / "scans.csv").read_text().replace(",mild,", ",moderate,"))
    other = reached(
        *(validation, "validate", *base, "--fold", 0, "--table", elsewhere, "--workers", 2, "--device", "cpu"),
        *("--store", data / "preprocessed" / "tiny"),
    )
    assert other.arguments[1]["label"].tolist() == ["non-covid", "moderate"]
    assert (other.options["workers"], other.options["device"]) == (2, torch.device("cpu"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scores.json").write_text("{}")
    assert cov3d(*base, "--output-dir", tmp_path / "out").code == 2
    reached(validation, "validate", *base, "--output-dir", tmp_path / "out", "--overwrite")


def test_what_infer_declares_reaches_the_prediction(
    reached: Callable[..., ReachedError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cov3d: Command
) -> None:
    for scan in ("a", "b", "c"):
        (tmp_path / "scans" / scan).mkdir(parents=True)
        for slice_name in ("1.jpg", "2.jpg"):
            (tmp_path / "scans" / scan / slice_name).write_bytes(b"")
    loaded: list[Path] = []

    def load_members(files: list[Path], device: torch.device, *, amp: str | None) -> list[Member]:
        loaded[:] = files
        return [Member(torch.nn.Identity(), INFO) for _ in files]

    monkeypatch.setattr(networks, "load_members", load_members)
    monkeypatch.setattr("cov3d.training.checkpoint.read_info", lambda file: INFO)
    base = ["infer", "--checkpoint", tmp_path / "one", "--scans", tmp_path / "scans", "--output-dir", tmp_path / "out"]
    more = (*base, "--checkpoint", tmp_path / "two", "--jobs", 2, "--batch-size", 5, "--skip-errors", "--device", "cpu")
    call = reached(job, "predict_each", *more, "--mc-dropout", 0, "--explain")
    assert loaded == [tmp_path / "one", tmp_path / "two"]
    assert list(call.arguments[0]) == ["a", "b", "c"]
    assert call.arguments[1].device == torch.device("cpu")
    assert (call.options["jobs"], call.options["batch_size"]) == (2, 5)
    assert call.options["extras"] == Extras(draw=True, explain=True)
    assert reached(job, "predict_scans", *more).options["skip_errors"] is True
    assert reached(job, "predict_scans", *base, "--jobs", 1).options["skip_errors"] is False
    reached(submission, "check_names", *base)
    checked = reached(submission, "check_categories", *base, "--task", "severity")
    assert checked.arguments == (INFO.categories, "severity")
    reached(job, "predict_scans", *base, "--no-submission")
    with monkeypatch.context() as patch:
        each = np.full((1, 5), 0.2, np.float32)
        one = {"a": KeptScan(each, dict.fromkeys(RECORD_COLUMNS, 1) | {"scan": "a", "crop": "override", "notes": ""})}
        patch.setattr(job, "predict_scans", lambda *_, **__: predict.collected(one, [INFO], {}))
        written = reached(submission, "write_submission", *base, "--line-format", "row", "--overwrite")
        assert (written.arguments[1], *written.arguments[3:]) == (INFO.categories, "both", "row")
        assert in_place(written.arguments[2]) == tmp_path / "out"
    assert cov3d(*base, "--task", "neither").code == 2
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predictions.csv").write_text("x")
    (tmp_path / "out" / "mild.csv").write_text("of an earlier run")
    assert cov3d(*base).code == 2
    reached(job, "predict_scans", *base, "--overwrite")
    assert (tmp_path / "out" / "mild.csv").exists()  # until the new results are complete


def test_jobs_reach_the_pool(reached: Callable[..., ReachedError], data: Path, tmp_path: Path) -> None:
    import cov3d.phantom as phantoms

    assert (
        reached(batch, "preprocess_scans", "preprocess", "--data", data, "--size", "tiny", "-j", 3).options["jobs"] == 3
    )
    assert reached(phantoms, "write_phantom", "phantom", tmp_path / "p", "--jobs", 4).options["jobs"] == 4
    plain = reached(batch, "preprocess_scans", "preprocess", "--data", data, "--size", "tiny")
    assert plain.options["jobs"] == options.cpus()


def test_a_shard_is_its_share_of_the_scans(
    reached: Callable[..., ReachedError], data: Path, cov3d: Command, tmp_path: Path
) -> None:
    words = ["preprocess", "--data", data, "--size", "tiny"]
    shares = [list(reached(batch, "preprocess_scans", *words, "--shard", f"{n}/3").arguments[0]) for n in (1, 2, 3)]
    assert shares == [["train/x/scan_0", "train/x/scan_3"], ["train/x/scan_1"], ["train/x/scan_2"]]
    for wrong, sentence in {
        "0/3": "numbered from 1 to 3",
        "4/3": "numbered from 1 to 3",
        "3": "such as 3/64, not '3'",
        "1/0": "such as 3/64",
        "-1/3": "such as 3/64",
        "a/b": "such as 3/64",
    }.items():
        ended = cov3d(*words, f"--shard={wrong}", "--store", tmp_path / "s")
        assert ended.code == 2, wrong
        assert sentence in ended.err, wrong
    assert not (tmp_path / "s").exists()


def test_a_dask_address_reaches_the_batch(reached: Callable[..., ReachedError], data: Path, cov3d: Command) -> None:
    words = ["preprocess", "--data", data, "--size", "tiny"]
    call = reached(batch, "preprocess_scans", *words, "--dask", "tcp://somewhere:8786")
    assert call.options["dask"] == "tcp://somewhere:8786"
    assert reached(batch, "preprocess_scans", *words).options["dask"] is None
    for pair in (("--dask", "--jobs"), ("--only-report", "--shard"), ("--only-report", "--dask")):
        values = {"--dask": ["tcp://somewhere:8786"], "--jobs": [2], "--shard": ["1/2"], "--only-report": []}
        ended = cov3d(*words, *(word for option in pair for word in (option, *values[option])))
        assert ended.code == 2
        assert f"{pair[0]} and {pair[1]} cannot be combined" in ended.err


def test_a_phantoms_seed_and_layout_reach_it(reached: Callable[..., ReachedError], tmp_path: Path) -> None:
    import cov3d.phantom as phantoms

    call = reached(phantoms, "write_phantom", "phantom", tmp_path / "p", "--seed", 9, "--layout", "stoic")
    assert (call.options["seed"], call.options["layout"]) == (9, "stoic")
    assert reached(phantoms, "write_phantom", "phantom", tmp_path / "p").options["layout"] == "cov19ctdb"


def test_the_lungs_with_lesions_reach_a_phantom(reached: Callable[..., ReachedError], tmp_path: Path) -> None:
    import cov3d.phantom as phantoms

    call = reached(phantoms, "write_phantom", "phantom", tmp_path / "p", "--lesions", "one-sided")
    assert call.options["lesions"] == "one-sided"
    assert reached(phantoms, "write_phantom", "phantom", tmp_path / "p").options["lesions"] == "both"


def test_a_table_elsewhere_is_read(reached: Callable[..., ReachedError], data: Path, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("scan,partition,label,fold\nonly/this,test,,\n")
    call = reached(
        *(batch, "preprocess_scans", "preprocess", "--data", data, "--size", "tiny"),
        *("--table", tmp_path / "table.csv"),
    )
    assert list(call.arguments[0]) == ["only/this"]
    assert isinstance(call.arguments[1], Store)


def test_overrides_elsewhere_are_read(reached: Callable[..., ReachedError], data: Path, tmp_path: Path) -> None:
    base = ["preprocess", "--data", data, "--size", "tiny"]
    assert reached(batch, "preprocess_scans", *base).options["overrides"] == {}
    (tmp_path / "mine.csv").write_text("scan,z0,z1,y0,y1,x0,x1\ntrain/x/scan_1,1,2,3,4,5,6\n")
    call = reached(batch, "preprocess_scans", *base, "--overrides", tmp_path / "mine.csv")
    assert {scan: override.box for scan, override in call.options["overrides"].items()} == {
        "train/x/scan_1": Box(1, 2, 3, 4, 5, 6)
    }


def test_a_runs_default_name_says_what_differs_from_the_paper() -> None:
    assert run_name(TrainingOptions()) == "resnet_medium_fold-0_seed-0"
    assert run_name(TrainingOptions(size=Size.SMALL, fold=3, seed=2, emd_weight=0.5, reflect=False)) == (
        "resnet_small_emd-weight-0.5_reflect-False_fold-3_seed-2"
    )
    assert run_name(options_of(1), Path("stoic")) == "experiment-1_fold-0_seed-1"
    assert run_name(options_of(8), Path("x")) == "experiment-8_from-checkpoint_fold-0_seed-8"
    assert run_name(TrainingOptions(Architecture.SWIN, Size.SMALL)) == "swin_small_fold-0_seed-0"
    assert run_name(TrainingOptions(Architecture.MC3, dropout=0.5)) == "mc3_medium_dropout-0.5_fold-0_seed-0"
