#!/usr/bin/env bash
# An example of a study on Slurm: four nodes with one GPU each, a process a node. Not run where this was written; adapt it to your cluster.
#
#     sbatch scripts/launch/study_slurm.sh photo.jpg painting.jpg /shared/folder --style-weight 5 20 80 --seed 0 1 2 3 --init noise
#
# The folder must be one that all nodes see. The same command again goes on with what is missing.
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-task=1
#SBATCH --time=02:00:00
set -euo pipefail
content=$1 style=$2 folder=$3
shift 3
# JAX asks Slurm for the coordinator, the number of processes and its own place.
srun nst-jax study "$content" "$style" --output-dir "$folder" --distributed "$@"
