"""Training runs: what they leave, that they repeat, that every hyper-parameter matters, how they end."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from cov3d.errors import Cov3dError, OutputError, StoreError, TrainingDivergedError
from cov3d.evaluation.summary import Selection, selection_of
from cov3d.inference.networks import load_members
from cov3d.inference.predict import predict_store
from cov3d.models.names import Architecture
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.training import assemble, checkpoint
from cov3d.training.callbacks import seed_everything
from cov3d.training.checkpoint import seen_in_training
from cov3d.training.device import amp_mode, choose_device
from cov3d.training.folder import RUN_FILES
from cov3d.training.learner import Run, train
from cov3d.training.loaders import EpochShuffle, choose_fold
from cov3d.training.options import Compute, Precision, TrainingOptions
from tests.training.conftest import fill

CPU = torch.device("cpu")
QUICK = TrainingOptions(size=Size.TINY, epochs=1)


def run(labelled: tuple[Store, pd.DataFrame], folder: Path, options: TrainingOptions = QUICK, **kwargs: Any) -> Run:
    store, table = labelled
    return train(options, choose_fold(table, options.fold), store, folder, device=CPU, **kwargs)


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_the_paper_s_network_trains_twice_to_the_same_weights(
    labelled: tuple[Store, pd.DataFrame], tmp_path: Path
) -> None:
    first = run(labelled, tmp_path / "first")
    second = run(labelled, tmp_path / "second")
    assert equal(weights(first.model), weights(second.model))
    for name in ("history.csv", "config.json", "summary.json", "validation-presence.csv", "presence.safetensors"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name


@pytest.mark.usefixtures("quick_network")
def test_the_run_folder_is_as_designed(labelled: tuple[Store, pd.DataFrame], tmp_path: Path) -> None:
    found = run(labelled, tmp_path / "run", replace(QUICK, epochs=3))
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *("config.json", "fold.csv", "history.csv", "summary.json", "last.pt", ".lock"),
        *("presence.safetensors", "severity.safetensors", "validation-presence.csv", "validation-severity.csv"),
    }
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert list(history.columns) == [
        *("epoch", "train_loss", "valid_loss", "presence_f1", "severity_f1", "learning_rate")
    ]
    assert history["epoch"].tolist() == [1, 2, 3]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["tasks"]["presence"]["best"]["macro_f1"] == pytest.approx(history["presence_f1"].max())
    assert summary["tasks"]["presence"]["best_epoch"] == int(history["presence_f1"].to_numpy().argmax()) + 1
    assert summary["tasks"]["severity"]["last"]["macro_f1"] == pytest.approx(history["severity_f1"].iloc[-1])
    for task in ("presence", "severity"):
        reported = summary["tasks"][task]
        assert reported["best_is"].startswith("selected on this fold: the best macro F1 of 3 epochs; ")
        assert (reported["epochs_to_choose_from"], reported["last_epoch"]) == (3, 3)
        info = checkpoint.read_info(tmp_path / "run" / f"{task}.safetensors")
        chosen = selection_of(tmp_path / "run", task, info.epoch)
        assert chosen == Selection(task, info.epoch, 3, {one: found.last[one].macro_f1 for one in found.last})
        assert found.last[task].macro_f1 == pytest.approx(history[f"{task}_f1"].iloc[-1])
        elsewhere = selection_of(tmp_path, task, info.epoch)
        assert str(elsewhere) == f"epoch {info.epoch}, selected on this fold by {task} macro F1"
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["options"]["learning_rate"] == 1e-4
    assert config["training_scans"] == 6
    assert set(config["versions"]) >= {"cov3d", "torch", "fastai"}
    assert found.best.keys() == {"presence", "severity"}


@pytest.mark.usefixtures("quick_network")
def test_a_checkpoint_says_all_that_is_needed_to_use_it(labelled: tuple[Store, pd.DataFrame], tmp_path: Path) -> None:
    run(labelled, tmp_path / "run", replace(QUICK, seed=4, dropout=0.3, experiment=7))
    info = checkpoint.read_info(tmp_path / "run" / "presence.safetensors")
    assert (info.architecture, info.size, info.task, info.fold, info.seed) == ("resnet", "tiny", "presence", 0, 4)
    assert info.categories == ("non-covid", "mild", "moderate", "severe", "critical")
    assert info.model == {"dropout": 0.3}
    assert info.lung_share == pytest.approx((0.10, 0.15))
    assert info.temperature is None
    assert info.experiment == 7
    assert info.options["gamma"] == 2.0
    trained_on = list(labelled[1].loc[labelled[1]["fold"] == 1, "scan"])
    assert seen_in_training(info, trained_on) == 6
    assert seen_in_training(info, [*trained_on[:2], "another"]) == 2
    assert not any(scan in "".join(info.trained_on) for scan in trained_on)


@pytest.mark.usefixtures("quick_network")
def test_a_run_of_swin_has_no_dropout_and_its_checkpoint_is_loaded_again(
    labelled: tuple[Store, pd.DataFrame], tmp_path: Path
) -> None:
    run(labelled, tmp_path / "run", TrainingOptions(Architecture.SWIN, Size.TINY, epochs=1))
    _, info = checkpoint.load(tmp_path / "run" / "presence.safetensors")
    assert (info.architecture, info.model, info.options["dropout"]) == ("swin", {}, None)


def test_dropout_is_the_networks_own_unless_given_and_swin_takes_none() -> None:
    for architecture in (Architecture.RESNET, Architecture.R2PLUS1D, Architecture.MC3):
        assert TrainingOptions(architecture).dropout == 0.2
        assert TrainingOptions(architecture, dropout=0.0).dropout == 0.0
    assert TrainingOptions(Architecture.SWIN).dropout is None
    with pytest.raises(Cov3dError, match="--dropout: swin has no dropout"):
        TrainingOptions(Architecture.SWIN, dropout=0.2)


@pytest.mark.usefixtures("quick_network")
def test_the_best_checkpoint_gives_its_validation_table_again(
    labelled: tuple[Store, pd.DataFrame], tmp_path: Path
) -> None:
    store, table = labelled
    run(labelled, tmp_path / "run", replace(QUICK, epochs=3))
    saved = pd.read_csv(tmp_path / "run" / "validation-presence.csv")
    (member,) = load_members([tmp_path / "run" / "presence.safetensors"], CPU)
    again = predict_store(member, choose_fold(table, 0).validation, store, device=CPU)
    assert saved.filter(like="p_").to_numpy() == pytest.approx(again, abs=1e-6)


@pytest.mark.usefixtures("quick_network")
def test_workers_change_nothing_over_several_epochs(labelled: tuple[Store, pd.DataFrame], tmp_path: Path) -> None:
    options = replace(QUICK, epochs=3, batch_size=1)
    first = run(labelled, tmp_path / "first", options, compute=Compute(workers=0))
    second = run(labelled, tmp_path / "second", options, compute=Compute(workers=2))
    assert equal(weights(first.model), weights(second.model))
    assert (tmp_path / "first" / "history.csv").read_bytes() == (tmp_path / "second" / "history.csv").read_bytes()


def test_every_epoch_has_an_order_of_its_own_that_can_be_had_again() -> None:
    shuffle = EpochShuffle(20, seed=1)
    epochs = [list(shuffle) for _ in range(3)]
    assert all(sorted(order) == list(range(20)) for order in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    again = EpochShuffle(20, seed=1)
    assert [list(again) for _ in range(3)] == epochs


CHANGES: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 3,
    "accumulate": 2,
    "learning_rate": 1e-3,
    "weight_decay": 0.1,
    "decoupled_decay": True,
    "gamma": 0.0,
    "emd_weight": 0.9,
    "distances": (1.0, 2.0, 3.0, 4.0),
    "negative_positive_distance": 5.0,
    "dropout": 0.6,
    "reflect": False,
    "brightness": 0.3,
    "contrast": 0.3,
    "seed": 9,
}
ELSEWHERE = {
    "experiment": "tests/app/test_experiments.py",
    "architecture": "test_a_run_of_swin_has_no_dropout_and_its_checkpoint_is_loaded_again",
    "size": "test_another_size_than_the_stores_is_refused",
    "fold": "test_another_fold_trains_on_other_scans",
    "precision": "test_precision_follows_the_device",
    "pretrained": "test_start.py",
}


def test_every_hyper_parameter_is_tried() -> None:
    assert asdict(QUICK).keys() == CHANGES.keys() | ELSEWHERE.keys()


@pytest.fixture(scope="module")
def reference_weights() -> dict[str, dict[str, Tensor]]:
    return {}


@pytest.mark.usefixtures("quick_network")
@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_hyper_parameter_changes_the_weights(
    name: str,
    labelled: tuple[Store, pd.DataFrame],
    tmp_path: Path,
    reference_weights: dict[str, dict[str, Tensor]],
) -> None:
    if not reference_weights:
        reference_weights["reference"] = weights(run(labelled, tmp_path / "reference").model)
    changed = run(labelled, tmp_path / "changed", replace(QUICK, **{name: CHANGES[name]}))
    assert not equal(reference_weights["reference"], weights(changed.model))


@pytest.mark.usefixtures("quick_network")
def test_another_fold_trains_on_other_scans(labelled: tuple[Store, pd.DataFrame], tmp_path: Path) -> None:
    found = run(labelled, tmp_path / "run", replace(QUICK, fold=1))
    assert len(found.best["presence"].table) == 6
    assert json.loads((tmp_path / "run" / "config.json").read_text())["training_scans"] == 3


def test_another_size_than_the_stores_is_refused(labelled: tuple[Store, pd.DataFrame]) -> None:
    with pytest.raises(StoreError, match="size is 'tiny', not 'small'"):
        Store.open(labelled[0].folder, Size.SMALL)


def test_a_scan_that_is_not_preprocessed_is_named_before_training(
    labelled: tuple[Store, pd.DataFrame], tmp_path: Path
) -> None:
    store, table = labelled
    more = pd.concat([table, table.tail(1).assign(scan="train/x/absent")])
    with pytest.raises(StoreError, match=r"1 of 10 scans .*train/x/absent.*cov3d preprocess --size tiny"):
        run((store, more), tmp_path / "run")


@pytest.mark.usefixtures("quick_network")
def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_best_so_far(
    labelled: tuple[Store, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaking(assemble.FocalEMDLoss):
        calls = 0

        def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
            Breaking.calls += 1
            value = super().forward(logits, labels)
            return value * float("nan") if Breaking.calls == 7 else value  # epoch 2: 3 steps, 2 validations an epoch

    monkeypatch.setattr(assemble, "FocalEMDLoss", Breaking)
    with pytest.raises(TrainingDivergedError, match=r"loss became nan in epoch 2, step 2: .*--learning-rate"):
        run(labelled, tmp_path / "run", replace(QUICK, epochs=4))
    model, info = checkpoint.load(tmp_path / "run" / "presence.safetensors")
    assert info.epoch == 1
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
    assert len(pd.read_csv(tmp_path / "run" / "history.csv")) == 1


@pytest.mark.usefixtures("quick_network")
def test_a_fold_without_severities_has_no_severity_checkpoint_and_says_null(
    labelled: tuple[Store, pd.DataFrame], tmp_path: Path
) -> None:
    store, table = labelled
    ungraded = table[(table["fold"] == 1) | table["label"].isin(["non-covid", "covid"])]
    found = run((store, ungraded), tmp_path / "run")
    assert "severity" not in found.best
    assert not (tmp_path / "run" / "severity.safetensors").exists()
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["tasks"]["severity"]["best"] is None


@pytest.mark.usefixtures("quick_network")
def test_a_disk_that_fails_while_saving_is_an_error_of_ours(
    labelled: tuple[Store, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"presence\.safetensors can't be written: No space left"):
        run(labelled, tmp_path / "run")
    assert not list((tmp_path / "run").glob("*.part"))


@pytest.mark.usefixtures("quick_network")
def test_weights_that_blow_up_in_an_epochs_last_step_are_not_saved_as_best(
    labelled: tuple[Store, pd.DataFrame], tmp_path: Path
) -> None:
    with pytest.raises(TrainingDivergedError, match="output is not a number after epoch 1"):
        run(labelled, tmp_path / "run", replace(QUICK, learning_rate=1e38, batch_size=6))
    assert not list((tmp_path / "run").glob("*.safetensors"))


@pytest.mark.usefixtures("quick_network")
def test_a_run_is_not_overwritten_unless_asked(labelled: tuple[Store, pd.DataFrame], tmp_path: Path) -> None:
    run(labelled, tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="already holds a run"):
        run(labelled, tmp_path / "run")
    run(labelled, tmp_path / "run", replace(QUICK, seed=2), overwrite=True)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["options"]["seed"] == 2
    assert {path.name for path in (tmp_path / "run").iterdir()} - set(RUN_FILES) == {"notes.txt", ".lock"}


def test_a_damaged_volume_is_found_before_training(tmp_path: Path) -> None:
    store, table = fill(tmp_path / "store", ["non-covid", "mild"], [0, 1])
    (file,) = (store.folder / "volumes" / "train" / "x").glob("scan_1.*")
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(
        StoreError, match=r"1 of 2 scans are missing or incomplete .*scan_1\): run cov3d preprocess --size tiny"
    ):
        run((store, table), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        *({"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}),
        *({"weight_decay": -1.0}, {"gamma": -1.0}, {"emd_weight": 1.5}, {"dropout": 1.0}, {"brightness": -0.1}),
        *({"contrast": float("inf")}, {"distances": (1.0, -1.0, 1.0, 1.0)}, {"negative_positive_distance": -1.0}),
    ],
)
def test_a_hyper_parameter_out_of_range_is_refused_by_name(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(Cov3dError, match="--" + name.replace("_", "-")):
        TrainingOptions(**wrong)


def test_precision_follows_the_device() -> None:
    assert amp_mode(Precision.AUTO, CPU) is None
    assert amp_mode(Precision.FP32, CPU) is None
    assert amp_mode(Precision.BF16, CPU) == "bf16"
    with pytest.raises(Cov3dError, match="--precision fp16 needs a CUDA device"):
        amp_mode(Precision.FP16, CPU)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:0", "", "cuda:"])
def test_a_device_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(Cov3dError, match="--device must be auto, cpu, cuda or cuda:N"):
        choose_device(name)


def test_devices_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == CPU
    with pytest.raises(Cov3dError, match="no CUDA device"):
        choose_device("cuda:1")


def test_equal_seeds_draw_equal_numbers() -> None:
    drawn = []
    for _ in range(2):
        seed_everything(3)
        drawn.append((torch.rand(1).item(), float(np.random.rand())))  # noqa: NPY002
    assert drawn[0] == drawn[1]
