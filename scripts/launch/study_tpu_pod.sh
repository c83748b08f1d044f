#!/usr/bin/env bash
# An example of a study on a TPU pod slice of Google Cloud: a process a host. Not run where this was written; adapt it to your project.
#
#     scripts/launch/study_tpu_pod.sh my-pod europe-west4-a photo.jpg painting.jpg /mnt/shared/study --style-weight 5 20 80 --seed 0 1
#
# Pictures and folder must be on a disk that all hosts mount; nst_jax with its extra `tpu` must be installed on each.
set -euo pipefail
pod=$1 zone=$2 content=$3 style=$4 folder=$5
shift 5
# JAX asks the pod for the coordinator, the number of processes and its own place.
gcloud compute tpus tpu-vm ssh "$pod" --zone "$zone" --worker=all \
    --command "$(printf '%q ' nst-jax study "$content" "$style" --output-dir "$folder" --distributed "$@")"
