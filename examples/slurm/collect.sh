#!/bin/bash
#SBATCH --job-name=cov3d-collect
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=01:00:00
# #SBATCH --account=ACCOUNT --partition=PARTITION

set -euo pipefail

case "${1:-}" in
    [0-9]*) set -- --experiment "$@" ;;
esac
# Never trains; names the folds that are missing.
srun cov3d crossval --data "$DATA" --collect "$@"
