"""The paper's experiments: what `train --experiment` trains with, what wins over it, and the table that is printed."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from cov3d.app.app import Cov3d
from cov3d.challenge.experiments import ENSEMBLES, SUBMISSIONS, check_start, options_of
from cov3d.challenge.run_names import run_name
from cov3d.errors import Cov3dError
from cov3d.models import weights
from cov3d.models.names import Architecture
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.training import learner, start
from cov3d.training.options import TrainingOptions
from cov3d.training.start import Start, StartKind
from tests.app.conftest import ReachedError
from tests.conftest import Ended
from tests.training.test_checkpoint import INFO

Command = Callable[..., Ended]

# The paper's Table 5, typed from the paper's text and not from the file under test:
# number, network, size, STOIC, dropout, λ, σ_b, σ_c, epochs; presence, its CV; severity, its CV.
TABLE_5 = """
 1 resnet medium yes 0.2 0.2 0.04 0.04 50  93.2 93.5±0.5  60.7 64.5±5.5
 2 resnet medium yes 0.2 0.2 0.04 0.04 50  93.1 93.3±0.7  59.5 66.7±6.6
 3 resnet medium yes 0.2 0.1 0.04 0.04 50  92.9 93.5±0.5  64.7 64.7±4.1
 4 resnet medium yes 0.2 0.2 0.04 0    50  92.8 93.4±0.7  57.6 61.1±5.9
 5 resnet large  yes 0.5 0.1 0.04 0    40  92.2 93±1      61.9 64±5.9
 6 resnet medium no  0.2 0.2 0.03 0    50  92.1 93.4±1    62.0 65.3±6.2
 7 resnet large  yes 0.5 0.1 0    0    40  92.1 93±0.7    52.5 57.3±6.2
 8 resnet medium no  0.2 0.2 0    0    40  92.0 93.2±0.9  62.0 64.8±4.4
 9 resnet medium no  0.5 0.1 0    0    40  91.7 92.6±0.6  61.2 60.2±9.9
10 resnet medium no  0.5 0.5 0    0    40  91.6 93±0.9    54.6 58.6±4.2
11 swin   small  no  -   0.2 0.03 0    50  91.5 -         68.1 -
12 resnet small  no  0.5 0.1 0    0    40  91.3 -         61.4 -
13 resnet large  yes 0.2 0.2 0.04 0    50  91.2 92.8±1.4  68.6 63±8.5
14 resnet medium yes 0.5 0.1 0.04 0    40  91.2 92.8±1.1  51.6 61.4±9.1
15 resnet small  no  0.5 0.5 0    0    40  91.2 -         66.3 -
16 swin   small  no  -   0.2 0.04 0.04 50  91.0 -         72.8 -
17 resnet large  yes 0.2 0.2 0.04 0    50  90.9 92.7±1    59.1 63.3±6.7
18 swin   small  no  -   0.2 0.03 0    40  90.9 -         70.0 -
19 swin   small  no  -   0.1 0    0    40  90.7 -         67.0 -
20 resnet small  no  0.5 0   0.03 0    40  90.6 -         62.8 -
21 swin   small  no  -   0.1 0.03 0    40  90.6 -         67.6 -
22 resnet small  no  0.5 0.9 0    0    40  90.2 -         51.0 -
"""
ROWS = [line.split() for line in TABLE_5.strip().splitlines()]
STOIC_ROWS = [int(row[0]) for row in ROWS if row[3] == "yes"]


@pytest.fixture(autouse=True)
def weights_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    stoic = Start(StartKind.CHECKPOINT, {}, "stoic.safetensors", "0", INFO)
    monkeypatch.setattr(weights, "find_or_fetch", lambda architecture, *arguments: Path("kinetics.pth"))
    monkeypatch.setattr(
        start, "from_kinetics", lambda architecture, file: Start(StartKind.KINETICS, {}, file.name, "0")
    )
    monkeypatch.setattr(start, "from_checkpoint", lambda file: stoic)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two scans, with a store of each size that the experiments take, empty."""
    root = tmp_path_factory.mktemp("experiments")
    (root / "scans.csv").write_text("scan,partition,label,fold\na,train,mild,0\nb,train,mild,1\n")
    for size in (Size.SMALL, Size.MEDIUM, Size.LARGE):
        Store.create(root / "preprocessed" / size, size)
    return root


def words(data: Path, number: int, *more: object) -> list[object]:
    begin = ["--from-checkpoint", data / "stoic.safetensors"] if number in STOIC_ROWS else []
    return ["train", "--data", data, "--experiment", number, *begin, *more]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_an_experiment_sets_every_hyper_parameter_of_its_row(
    row: list[str], reached: Callable[..., ReachedError], data: Path
) -> None:
    number, network, size, _, dropout, emd_weight, brightness, contrast, epochs = row[:9]
    call = reached(learner, "train", *words(data, int(number)))
    found: TrainingOptions = call.arguments[0]
    assert found == TrainingOptions(
        architecture=Architecture(network),
        size=Size(size),
        dropout=None if dropout == "-" else float(dropout),
        emd_weight=float(emd_weight),
        brightness=float(brightness),
        contrast=float(contrast),
        epochs=int(epochs),
        seed=int(number),
        experiment=int(number),
        # What Table 5 does not give is the same for all: sections 3.2, 3.5 and 3.6.
        fold=0,
        batch_size=2,
        learning_rate=1e-4,
        weight_decay=1e-5,
        gamma=2.0,
        distances=(1.0, 1.0, 1.0, 1.0),
        negative_positive_distance=1.0,
        reflect=True,
        pretrained=True,
    )
    assert call.arguments[3] == data / "runs" / f"experiment-{number}_fold-0_seed-{number}"
    assert call.arguments[2].size == size
    assert call.options["start"].kind == ("checkpoint" if int(number) in STOIC_ROWS else "kinetics")


@pytest.mark.parametrize(("one", "other"), [(1, 2), (13, 17)])
def test_repeats_differ_in_the_seed_alone(one: int, other: int) -> None:
    first, second = vars(options_of(one)), vars(options_of(other))
    assert {name for name in first if first[name] != second[name]} == {"seed", "experiment"}


def test_an_option_that_is_given_wins_also_where_it_is_the_default(
    reached: Callable[..., ReachedError], data: Path
) -> None:
    default = TrainingOptions()
    assert (default.dropout, default.epochs, default.seed) == (0.2, 40, 0)  # and of experiment 9: 0.5, 40, 9
    given = words(data, 9, "--dropout", 0.2, "--seed", 0, "--fold", 1, "--gamma", 1.5, "--no-reflect")
    call = reached(learner, "train", *given)
    found = call.arguments[0]
    assert (found.dropout, found.seed, found.fold, found.gamma, found.reflect) == (0.2, 0, 1, 1.5, False)
    assert (found.emd_weight, found.brightness, found.experiment) == (0.1, 0.0, 9)
    assert call.arguments[3].name == "experiment-9_gamma-1.5_dropout-0.2_reflect-False_fold-1_seed-0"


def test_another_network_than_the_experiments_has_its_own_dropout(
    reached: Callable[..., ReachedError], data: Path
) -> None:
    swin = reached(learner, "train", *words(data, 12, "--architecture", "swin"))
    assert (swin.arguments[0].architecture, swin.arguments[0].dropout) == ("swin", None)
    assert swin.arguments[3].name == "experiment-12_architecture-swin_fold-0_seed-12"
    resnet = reached(learner, "train", *words(data, 16, "--architecture", "resnet"))
    assert (resnet.arguments[0].dropout, resnet.arguments[0].emd_weight) == (0.2, 0.2)


def test_python_calls_take_an_experiment_too() -> None:
    app = Cov3d()
    assert app.training_options(experiment=8, epochs=3) == options_of(8, epochs=3)
    assert app.training_options() == TrainingOptions()


@pytest.mark.parametrize("number", [0, 23, -1])
def test_an_experiment_that_is_none_is_refused(cov3d: Command, data: Path, number: int) -> None:
    ended = cov3d("train", "--data", data, f"--experiment={number}")
    assert ended.code == 2
    assert "the paper's experiments are 1 to 22" in ended.err


def test_pretraining_on_stoic_is_asked_for_before_anything_is_read(cov3d: Command, tmp_path: Path) -> None:
    ended = cov3d("train", "--data", tmp_path / "nowhere", "--experiment", 5)
    assert ended.code == 2
    assert "experiment 5 starts from a network that was pretrained on STOIC" in ended.err
    assert "--from-checkpoint" in ended.err
    assert "cov3d train --data STOIC --architecture resnet --size large --dropout 0.5" in ended.err


def test_only_the_rows_of_table_5_with_stoic_need_a_checkpoint() -> None:
    for row in ROWS:
        number = int(row[0])
        check_start(number, "stoic.safetensors")
        if row[3] == "yes":
            with pytest.raises(Cov3dError, match="--from-checkpoint"):
                check_start(number, None)
        else:
            check_start(number, None)
    check_start(None, None)


def test_the_csv_is_table_5_with_the_papers_scores(cov3d: Command) -> None:
    ended = cov3d("experiments", "--format", "csv")
    header, *lines = ended.out.splitlines()
    assert header == (
        "experiment,architecture,size,stoic,dropout,emd_weight,brightness,contrast,epochs,"
        "presence_validation,presence_cv,presence_cv_sd,severity_validation,severity_cv,severity_cv_sd"
    )

    def plain(values: list[str]) -> list[object]:
        """Numbers as numbers, an empty place as None."""
        return [None if value in ("", "-") else value if value.isalpha() else float(value) for value in values]

    def cross_validated(value: str) -> list[str]:
        return ["-", "-"] if value == "-" else value.split("±")

    expected = [[*row[:10], *cross_validated(row[10]), row[11], *cross_validated(row[12])] for row in ROWS]
    assert [plain(line) for line in csv.reader(lines)] == [plain(row) for row in expected]
    assert len(list(csv.DictReader(io.StringIO(ended.out)))) == 22


def test_the_table_is_printed_whole_into_a_pipe(cov3d: Command) -> None:
    ended = cov3d("experiments")
    assert "…" not in ended.out
    printed = [line.split() for line in ended.out.splitlines()]
    for line in (
        "5 resnet large yes 0.5 0.1 0.04 0.0 40 92.2 93.0±1.0 61.9 64.0±5.9",
        "11 swin small no – 0.2 0.03 0.0 50 91.5 – 68.1 –",
        "EP3 presence 1, 2, 3, 4 93.4 93.8±0.6",
    ):
        assert line.split() in printed


def test_json_holds_ensembles_and_submissions_too(cov3d: Command) -> None:
    content = json.loads(cov3d("experiments", "--format", "json").out)
    assert [row["number"] for row in content["experiments"]] == list(range(1, 23))
    assert content["experiments"][15]["severity"]["validation"] == 72.8
    assert [row["name"] for row in content["ensembles"]] == ["EP1", "EP2", "EP3", "EP4", "ES1", "ES2", "ES3", "ES4"]
    assert len(content["submissions"]) == 10


def test_the_ensembles_are_those_of_tables_6_and_7() -> None:
    typed = """
    EP1 presence 1,2            93.2 94±0.6
    EP2 presence 1,2,3          93.2 93.6±0.6
    EP3 presence 1,2,3,4        93.4 93.8±0.6
    EP4 presence 1,2,3,4,5      93.2 93.8±0.8
    ES1 severity 16,18          68.4 None±None
    ES2 severity 16,18,13       67.5 None±None
    ES3 severity 16,18,13,11    66.5 None±None
    ES4 severity 16,18,13,11,21 66.5 None±None
    """
    for ensemble, line in zip(ENSEMBLES, typed.strip().splitlines(), strict=True):
        name, task, experiments, validation, cv = line.split()
        assert (ensemble.name, ensemble.task) == (name, task)
        assert ensemble.experiments == tuple(map(int, experiments.split(",")))
        assert ensemble.score.validation == float(validation)
        assert [str(ensemble.score.cv).removesuffix(".0"), str(ensemble.score.cv_sd)] == cv.split("±")


def test_the_submissions_are_those_of_section_6() -> None:
    one, all_five = (0,), (0, 1, 2, 3, 4)
    assert [(found.task, found.number, found.source, found.folds) for found in SUBMISSIONS] == [
        *(("presence", 1, 1, one), ("presence", 2, 1, all_five), ("presence", 3, 4, all_five)),
        *(("presence", 4, "EP3", one), ("presence", 5, "EP3", all_five)),
        *(("severity", 1, 16, one), ("severity", 2, 18, one), ("severity", 3, 13, one)),
        *(("severity", 4, 13, all_five), ("severity", 5, "ES1", one)),
    ]


def test_every_field_that_differs_stands_in_the_name() -> None:
    chosen = options_of(1, size=Size.SMALL, contrast=0.1)
    assert run_name(chosen) == "experiment-1_size-small_contrast-0.1_fold-0_seed-1"
    assert "experiment" in {field.name for field in fields(TrainingOptions)}
