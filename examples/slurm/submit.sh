#!/bin/bash
#SBATCH --job-name=cov3d-submit
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
# #SBATCH --account=ACCOUNT --partition=PARTITION

set -euo pipefail

# The paper's ten submissions, or those of a file: submit.sh --set sets.json
srun cov3d submit --data "$DATA" --output-dir "${OUTPUT:-submissions}" "$@"
