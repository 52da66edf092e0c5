"""The names of runs' folders."""

from dataclasses import replace
from pathlib import Path

import pytest

from cov3d.challenge.experiments import experiments, options_of
from cov3d.challenge.run_names import differing, name_without_fold, run_name
from cov3d.challenge.runs import default_name
from cov3d.preprocessing.sizes import Size
from cov3d.training.options import TrainingOptions


@pytest.mark.parametrize("number", experiments())
def test_an_experiment_is_named_alike_where_it_is_trained_and_where_it_is_looked_for(number: int) -> None:
    begun_with = Path("stoic.safetensors") if experiments()[number].stoic else None
    for fold in (0, 3):
        name = run_name(options_of(number, fold=fold), begun_with)
        assert name == default_name(number, fold) == f"experiment-{number}_fold-{fold}_seed-{number}"


def test_the_runs_of_all_folds_share_a_name() -> None:
    options = TrainingOptions(size=Size.SMALL, gamma=1.5, seed=7)
    names = {name_without_fold(replace(options, fold=fold), "x.safetensors") for fold in range(5)}
    assert names == {"resnet_small_gamma-1.5_from-checkpoint_seed-7"}
    assert differing(options) == {"gamma": 1.5}
