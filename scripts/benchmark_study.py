"""What a lane of a study costs against a run of its own.

    python scripts/benchmark_study.py [--size 128] [--num-steps 20] [--rounds 3]

Runs of both kinds take turns; the ratios are of neighbours in time. Compilation is not counted on either side.
"""

import argparse
import statistics
import time

import jax
import numpy as np

import nst_jax as nst


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--num-steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 4, 16])
    arguments = parser.parse_args()
    params = nst.load_params("vgg16")
    rng = np.random.default_rng(0)
    content, style = rng.random((2, arguments.size, arguments.size, 3), np.float32)
    config = nst.TransferConfig(num_steps=arguments.num_steps, init="noise")

    def single() -> float:
        started = time.perf_counter()
        jax.block_until_ready(nst.stylize(params, content, style, config).image)
        return time.perf_counter() - started

    single()
    print("lanes at once  seconds a lane  a lane / a single run  lanes/s")
    for num_lanes in arguments.lanes:
        costs, ratios = [], []
        for _ in range(arguments.rounds):
            alone = single()
            result = nst.run_study(params, content, style, {"seed": range(num_lanes)}, config, lanes_at_once=num_lanes)
            costs.append(float(result.seconds.mean()))
            ratios.append(costs[-1] / alone)
        cost = statistics.median(costs)
        print(f"{num_lanes:13}  {cost:14.2f}  {statistics.median(ratios):21.3f}  {1 / cost:7.3f}", flush=True)


if __name__ == "__main__":
    main()
