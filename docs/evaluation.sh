#!/usr/bin/env bash
# Evaluation from end to end, on synthetic scans: two of the paper's experiments in five folds each, compared,
# averaged, turned into submissions, and reported.
#
#     bash docs/evaluation.sh [FOLDER]      # default: ./cov3d-evaluation
#
# Run it again after an interruption: what is done is skipped. More scans or epochs: SCANS=150 EPOCHS=10 bash …
#
# With data of your own, leave out the first command, and of `options` the size, the epochs and what follows them.
set -euo pipefail

data=${1:-cov3d-evaluation}
scans=${SCANS:-40}
# Small, and from random weights, with larger steps than the paper's, which starts from Kinetics and STOIC.
options=(--size tiny --epochs "${EPOCHS:-2}" --no-pretrained --batch-size 4 --learning-rate 1e-3)

step() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

[ -e "$data/phantom_truth.csv" ] || step cov3d phantom "$data" --scans "$scans" --resolution 256
cd "$data"
[ -e scans.csv ] || step cov3d folds
step cov3d preprocess --size tiny

# Experiment 6, a ResNet, the paper's best of presence without STOIC; 16, a Swin, its best of severity. A run a fold.
for experiment in 6 16; do
    step cov3d crossval --experiment $experiment "${options[@]}"
done

# Which is better, on the scans that neither was trained on?
for task in presence severity; do
    step cov3d compare runs/crossval_experiment-6_* runs/crossval_experiment-16_* --task $task \
        --output-dir comparison/$task --overwrite
done

# Their mean; and whether fewer members or another threshold would do better.
step cov3d ensemble runs/experiment-{6,16}_*_fold-* --task severity --output-dir ensembles/severity --overwrite
step cov3d ensemble runs/experiment-{6,16}_*_fold-* --task presence --output-dir ensembles/presence --overwrite \
    --select-members --select-threshold

# Three submissions to each task: one network, five of them, and ten.
cat >sets.csv <<END
task,number,members,folds,threshold
presence,1,6,0,
presence,2,6,all,
presence,3,6 16,all,
severity,1,16,0,
severity,2,16,all,
severity,3,6 16,all,
END
step cov3d submit --set sets.csv --output-dir submissions --overwrite
step cov3d check-submission submissions/presence/* --scans task1 --allow-empty
step cov3d check-submission submissions/severity/* --scans task2 --allow-empty

step cov3d report runs/* ensembles/*
printf '\nlook at %s\n' "$PWD/report/report.html"
