"""The paper's tables and figures from made-up runs, against counts and scores worked out otherwise."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from cov3d.challenge import paper_results, paper_tables
from cov3d.challenge.runs import Runs
from cov3d.evaluation.predictions import load_predictions
from cov3d.labels import CATEGORIES
from cov3d.reports import figures, paper_figures
from cov3d.training.checkpoint import write_temperature
from tests.inference.conftest import make_run
from tests.reports.runs import scan_table, write_run
from tests.training.conftest import quick_network  # noqa: F401  a fixture

SEVERITY_NAMES = list(CATEGORIES[1:])


@pytest.fixture
def scans() -> pd.DataFrame:
    """Twelve scans a fold, six unlabelled ones to test on."""
    labels = {"non-covid": 4, "mild": 2, "moderate": 2, "severe": 2, "critical": 1, "covid": 1}
    counts: dict[tuple[str, str, int | None], int] = {
        ("train" if fold else "validation", label, fold): count for fold in range(5) for label, count in labels.items()
    }
    return scan_table({**counts, ("test", "", None): 6})


def macro_f1(table: pd.DataFrame, task: str) -> float:
    """By scikit-learn, from the words in a prediction table, in percent."""
    if task == "presence":
        true = np.where(table["label"] == "non-covid", "non-covid", "covid")
        return 100 * float(f1_score(true, table["presence"], average="macro"))
    with_severity = table[table["label"].isin(SEVERITY_NAMES)]
    return 100 * float(
        f1_score(
            with_severity["label"], with_severity["severity"], labels=SEVERITY_NAMES, average="macro", zero_division=0
        )
    )


def values(table: paper_tables.PaperTable, column: str, **where: object) -> float:
    """The one value of a table's CSV in a row that is told by another column."""
    ((name, value),) = where.items()
    (found,) = table.frame.loc[table.frame[name] == value, column]
    return float(found)


def test_counts_are_those_of_the_scan_table(scans: pd.DataFrame) -> None:
    scans = scans.drop(index=scans[(scans["fold"] == 2) & (scans["label"] == "critical")].index)
    first = paper_tables.counts_by_partition(scans)
    assert first.rows[0] == ("non-covid", "16", "4", "0", "20")
    assert first.rows[4] == ("critical", "3", "1", "0", "4")
    assert first.rows[-2:] == (("no label", "0", "0", "6", "6"), ("all", "47", "12", "6", "65"))
    assert first.head == ("label", "train", "validation", "test", "all")
    second = paper_tables.severities_by_partition(scans)
    assert second.head == ("label", "train", "validation", "all")
    assert second.rows == (
        ("mild", "8", "2", "10"),
        ("moderate", "8", "2", "10"),
        ("severe", "8", "2", "10"),
        ("critical", "3", "1", "4"),
        ("all", "27", "7", "34"),
    )


def test_a_dataset_of_another_layout_has_its_own_labels() -> None:
    scans = scan_table({("train", "covid-severe", 3): 2, ("train", "non-covid", 0): 1})
    assert paper_tables.counts_by_partition(scans).rows == (
        ("non-covid", "1", "1"),
        ("covid-severe", "2", "2"),
        ("all", "3", "3"),
    )


def test_our_results_stand_beside_the_papers(scans: pd.DataFrame, tmp_path: Path) -> None:
    tables = {
        fold: write_run(tmp_path / f"experiment-6_fold-{fold}_seed-6", scans, fold=fold, experiment=6, seed=fold)
        for fold in range(5)
    }
    write_run(tmp_path / "mine", scans, fold=0, experiment=8, contrast=0.04, skill=1.0)
    found = paper_results.experiment_table(Runs(tmp_path, tmp_path))
    assert len(found.rows) == 22
    for task, paper in (("presence", (92.1, 93.4, 1.0)), ("severity", (62.0, 65.3, 6.2))):
        ours = [macro_f1(tables[fold][task], task) for fold in range(5)]
        columns = ("paper", "cv_paper", "cv_sd_paper", "ours", "cv_ours", "cv_sd_ours")
        row = [values(found, f"{task}_{column}", experiment=6) for column in columns]
        assert row == pytest.approx([*paper, ours[0], np.mean(ours), np.std(ours, ddof=1)], abs=0.006)
        place = found.head.index(f"{task} ours")
        assert found.rows[5][place] == f"{ours[0]:.1f}"
        assert found.rows[5][place + 3] == f"{np.mean(ours):.1f} ± {np.std(ours, ddof=1):.1f}"
    assert found.rows[5][-1] == "–"
    assert found.rows[7][-1] == "contrast 0.04"
    presence = slice(found.head.index("presence paper"), found.head.index("severity paper"))
    assert found.rows[0][presence] == ("93.2", "–", "–", "93.5 ± 0.5", "–")
    assert found.rows[10][presence] == ("91.5", "–", "–", "–", "–")
    assert found.missing == (
        "experiment 8: no run on folds 1–4: cov3d crossval --experiment 8",
        "no run of experiments 1–5, 7, 9–22: cov3d train --experiment N --fold 0 makes one, cov3d crossval "
        "--experiment N those of all folds",
    )


def test_the_last_epoch_stands_beside_the_best(scans: pd.DataFrame, tmp_path: Path) -> None:
    write_run(tmp_path / "a", scans, experiment=12)
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    summary["tasks"]["severity"]["best"]["macro_f1"], summary["tasks"]["severity"]["last"]["macro_f1"] = 0.756, 0.25
    summary["tasks"]["presence"]["best"] = summary["tasks"]["presence"]["last"] = None
    (tmp_path / "a" / "summary.json").write_text(json.dumps(summary))
    row = paper_results.experiment_table(Runs(tmp_path, tmp_path)).rows[11]
    assert row[9:] == ("91.3", "–", "–", "–", "–", "61.4", "75.6", "25.0", "–", "–", "–")


@pytest.mark.usefixtures("quick_network")
def test_ensembles_are_without_the_temperatures_that_were_fitted(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "runs", number, 0, scans=60) for number in (1, 2)]
    tables = [load_predictions(run / "validation-presence.csv")[0] for run in runs]
    columns = [f"p_{name.replace('-', '_')}" for name in CATEGORIES]
    negative = np.mean([table[columns].to_numpy()[:, 0] for table in tables], axis=0)
    mean = tables[0].assign(presence=np.where(negative < 0.5, "covid", "non-covid"))
    for run in runs:
        write_temperature(run / "presence.safetensors", 10.0)  # at which every scan would be positive
    sixth = paper_results.ensemble_table("presence", Runs(tmp_path / "runs", tmp_path))
    assert values(sixth, "presence_ours", ensemble="EP1") == pytest.approx(macro_f1(mean, "presence"), abs=0.006)
    assert (mean["presence"] == "non-covid").any()


def test_ensembles_are_those_of_our_runs(scans: pd.DataFrame, tmp_path: Path) -> None:
    tables = {
        number: [
            write_run(tmp_path / f"{number}-{fold}", scans, fold=fold, experiment=number, seed=10 * number + fold)
            for fold in range(5 if number < 3 else 1)
        ]
        for number in (1, 2, 16, 18)
    }
    columns = ["p_" + name.replace("-", "_") for name in CATEGORIES]

    def of_mean(fold: int) -> float:
        parts = [tables[number][fold]["presence"].sort_values("scan") for number in (1, 2)]
        mean = sum(part["p_non_covid"] for part in parts) / 2
        return macro_f1(parts[0].assign(presence=np.where(mean < 0.5, "covid", "non-covid")), "presence")

    sixth = paper_results.ensemble_table("presence", Runs(tmp_path, tmp_path))
    ours = [of_mean(fold) for fold in range(5)]
    row = [values(sixth, f"presence_{name}", ensemble="EP1") for name in ("paper", "ours", "cv_ours", "cv_sd_ours")]
    assert row == pytest.approx([93.2, ours[0], np.mean(ours), np.std(ours, ddof=1)], abs=0.006)
    assert sixth.rows[1] == ("EP2", "1, 2, 3", "93.2", "–", "93.6 ± 0.6", "–")
    assert sixth.missing[0] == "EP2, fold 0: no run of experiment 3 on fold 0"

    seventh = paper_results.ensemble_table("severity", Runs(tmp_path, tmp_path))
    parts = [tables[number][0]["severity"].sort_values("scan") for number in (16, 18)]
    conditional = sum(
        part[columns[1:]].to_numpy() / part[columns[1:]].sum(axis=1).to_numpy()[:, None] for part in parts
    )
    mean = parts[0].assign(severity=np.array(SEVERITY_NAMES)[np.argmax(conditional, axis=1)])
    assert values(seventh, "severity_ours", ensemble="ES1") == pytest.approx(macro_f1(mean, "severity"), abs=0.006)
    assert seventh.rows[0][-1] == "–"
    assert seventh.missing[0] == "ES1, folds 0–4: no run of experiment 16 on folds 1–4, 18 on folds 1–4"


def test_runs_that_do_not_fit_together_are_reported_and_no_error(scans: pd.DataFrame, tmp_path: Path) -> None:
    for fold in range(5):
        write_run(tmp_path / f"{fold}", scans, fold=fold, experiment=19)
    # As if the run on fold 1 had been made with another scan table.
    for task in ("presence", "severity"):
        shutil.copy(tmp_path / "2" / f"validation-{task}.csv", tmp_path / "1")
    found = paper_results.experiment_table(Runs(tmp_path, tmp_path))
    assert "is in two folds" in found.missing[0]
    assert found.rows[18][found.head.index("presence CV ours")] == "–"
    write_run(tmp_path / "again", scans, experiment=19)
    assert "2 times" in paper_results.experiment_table(Runs(tmp_path, tmp_path)).missing[0]


def test_a_table_is_written_as_csv_and_as_markdown(scans: pd.DataFrame, tmp_path: Path) -> None:
    paper_tables.save(paper_results.ensemble_table("severity", Runs(tmp_path, tmp_path)), tmp_path)
    read = pd.read_csv(tmp_path / "table-7.csv")
    assert read["severity_paper"].tolist() == [68.4, 67.5, 66.5, 66.5]
    assert read["severity_ours"].isna().all()
    lines = (tmp_path / "table-7.md").read_text(encoding="utf-8").splitlines()
    assert lines[2:5] == [
        "| name | experiments | paper | ours | CV paper | CV ours |",
        "| --- | --: | --: | --: | --: | --: |",
        "| ES1 | 16, 18 | 68.4 | – | – | – |",
    ]
    assert "- ES1, fold 0: no run of experiment 16 on fold 0, 18 on fold 0" in lines


def test_figures_show_every_scan_on_logarithmic_axes(scans: pd.DataFrame, tmp_path: Path) -> None:
    figure = paper_figures.slices({"train": [20, 60, 61, 700], "test": [60]})
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_xlabel(), axes.get_ylabel()) == ("log", "slices per scan", "scans")
    assert axes.get_yscale() == "log"
    # Of an outline, every second corner but the ends has the height of a bin.
    shown = [outline.get_xy()[1:-1:2, 1].sum() for outline in axes.patches]
    assert sorted(shown) == [1, 4]
    assert all((outline.get_xy()[:, 0] > 0).all() for outline in axes.patches)
    paper_figures.slices({"train": [60]})
    (second,) = figures.folds(scans).axes
    assert second.get_yscale() == "log"
    assert sum(bar.get_height() for bar in second.patches) == 60
    for suffix in ("png", "svg"):
        contents = []
        for name in ("one", "two"):
            figures.save(paper_figures.slices({"train": [20, 60], "test": [60]}), tmp_path / f"{name}.{suffix}")
            contents.append((tmp_path / f"{name}.{suffix}").read_bytes())
        assert contents[0] == contents[1]
