#!/bin/bash
#SBATCH --job-name=cov3d-preprocess
#SBATCH --array=1-8
#SBATCH --cpus-per-task=4
#SBATCH --mem=4G
#SBATCH --time=04:00:00
#SBATCH --requeue
# #SBATCH --account=ACCOUNT --partition=PARTITION

set -euo pipefail

# Shares count from 1. A share that was killed is continued by the same command. Exit code 3: some scans can't be read.
srun cov3d preprocess --data "$DATA" --size "${SIZE:-medium}" --jobs 4 --skip-errors \
    --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" || [ $? -eq 3 ]
