# What the configuration asks for, and what it takes.

import json
import shlex
import sys
from pathlib import Path

from cov3d.challenge.experiments import ENSEMBLES, SUBMISSIONS, experiments, find, options_of
from cov3d.challenge.run_names import run_name
from cov3d.models.names import Architecture
from cov3d.preprocessing.sizes import Size

DATA, STOIC = config["data"], config["stoic"]
RUNS = config["runs"] or f"{DATA}/runs"
STATE = f"{DATA}/workflow"  # files that say which commands are done
SHARDS = range(1, config["shards"] + 1)
FOLDS = sorted(map(int, config["folds"]))
ALL_FOLDS = list(range(5))
NUMBERS = sorted(map(int, experiments() if config["experiments"] == "all" else config["experiments"]))
TYPES = {"size": Size, "architecture": Architecture}
OPTIONS = {name: TYPES.get(name, lambda value: value)(value) for name, value in config["options"].items()}

STEP_SECONDS = {  # of two scans, docs/training.md
    ("resnet", "small"): 0.016,
    ("resnet", "medium"): 0.101,
    ("resnet", "large"): 0.248,
    ("swin", "small"): 0.081,
    ("swin", "medium"): 0.310,
}
RUN_MB, STORE_MB = 653, {"tiny": 0.1, "small": 0.6, "medium": 6.0, "large": 12.0}


def options(number, fold=0):
    """The options of an experiment's run."""
    return options_of(int(number), fold=int(fold), **OPTIONS)


def run_of(number, fold):
    """The folder of an experiment's run."""
    start = "x" if needs_stoic(number) else None
    return f"{RUNS}/{run_name(options(number, fold), start)}"


def needs_stoic(number):
    """Whether an experiment starts from a network that was trained on STOIC."""
    return find(int(number)).stoic and options(number).pretrained


def words(given):
    """Options of the command line."""
    found = []
    for name, value in given.items():
        flag = name.replace("_", "-")
        found += [f"--{flag}" if value else f"--no-{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
    return shlex.join(found)


def scan_count():
    """Number of scans in the scan table, or what the configuration says."""
    table = Path(DATA, "scans.csv")
    return len(table.read_text().splitlines()) - 1 if table.exists() else config["training_scans"]


def minutes(number):
    """Minutes of a run on an H100, by the steps of its training and a sixth more for validation."""
    chosen = options(number)
    step = STEP_SECONDS.get((chosen.architecture.value, chosen.size.value), 0.016)
    return max(1, round(chosen.epochs * scan_count() / 2 * step * 7 / 6 / 60))


def stoic_run(number):
    """The run on STOIC that an experiment starts from: network, size and dropout are the same."""
    chosen = options(number)
    given = {"architecture": chosen.architecture, "size": chosen.size, "dropout": chosen.dropout}
    return options_of(None, **given)


def pretraining_minutes(run):
    """Minutes of a run on STOIC's 2,000 scans, four fifths of which are trained on."""
    chosen = STOIC_RUNS[run]
    step = STEP_SECONDS.get((chosen.architecture.value, chosen.size.value), 0.016)
    return max(1, round(chosen.epochs * 800 * step * 7 / 6 / 60))


def runs_of_submissions():
    """Experiment and fold of each run that the submissions average: of the paper's sets, or all runs."""
    if config["submissions"] == "none":
        return set()
    if config["submissions"] != "paper":
        return {(number, fold) for number in NUMBERS for fold in FOLDS}
    return {
        (number, fold)
        for one in SUBMISSIONS
        for number in (MEMBERS[one.source] if isinstance(one.source, str) else [one.source])
        for fold in one.folds
    }


COMPLETE = FOLDS == ALL_FOLDS
MEMBERS = {one.name: one.experiments for one in ENSEMBLES}
NAMES = list(MEMBERS) if config["ensembles"] == "paper" else config["ensembles"]
POSSIBLE = [name for name in NAMES if set(MEMBERS[name]) <= set(NUMBERS)]
RUN_LIST = {(number, fold) for number in NUMBERS for fold in FOLDS} | runs_of_submissions()
TRAINED = sorted({number for number, fold in RUN_LIST})
STOIC_RUNS = {run_name(stoic_run(number)): stoic_run(number) for number in TRAINED if needs_stoic(number)}
SIZES = sorted({options(number).size.value for number in TRAINED})
STOIC_SIZES = sorted({one.size.value for one in STOIC_RUNS.values()})


wildcard_constraints:
    size="|".join(Size),
    number=r"\d+",
    fold=r"\d",
    shard=r"\d+",
    name="|".join(MEMBERS),


def announce():
    """What the whole will take."""
    hours = (sum(minutes(number) for number, fold in RUN_LIST) + sum(map(pretraining_minutes, STOIC_RUNS))) / 60
    stores = sum(STORE_MB[size] for size in SIZES) * scan_count() + sum(STORE_MB[size] for size in STOIC_SIZES) * 2000
    disk = (len(RUN_LIST) + len(STOIC_RUNS)) * RUN_MB + stores
    stoic = f" and {len(STOIC_RUNS)} on STOIC" if STOIC_RUNS else ""
    print(
        f"{len(TRAINED)} experiments, {len(RUN_LIST)} runs{stoic}: about {hours:.1f} GPU hours on an H100 and "
        f"{disk / 1000:.0f} GB of disk without the test predictions, if none is done",
        file=sys.stderr,
    )


if workflow.is_main_process:
    announce()
