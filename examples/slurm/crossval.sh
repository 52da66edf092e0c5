#!/bin/bash
#SBATCH --job-name=cov3d-crossval
#SBATCH --array=0-4
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
# #SBATCH --account=ACCOUNT --partition=PARTITION

set -euo pipefail

case "${1:-}" in
    [0-9]*) set -- --experiment "$@" ;;
esac
# Folds count from 0. A fold that was preempted starts again by itself and resumes. After a time limit, submit the script
# again: finished folds are left as they are.
srun cov3d crossval --data "$DATA" --fold "$SLURM_ARRAY_TASK_ID" "$@"
