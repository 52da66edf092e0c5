#!/bin/bash
#SBATCH --job-name=cov3d-crops
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=01:00:00
# #SBATCH --account=ACCOUNT --partition=PARTITION

set -euo pipefail

# When every share is done: one page of all crops. It fails if labelled scans are missing, without which no fold trains.
srun cov3d preprocess --data "$DATA" --size "${SIZE:-medium}" --only-report
