"""Where a step of L-BFGS spends its time on an accelerator, kernel by kernel.

    python scripts/profile_step.py [--size 512] [--precision default] [--num-steps 20] [--hlo FILE]

Prints, a step: the seconds with and without the profiler, and each kernel's name, calls and
microseconds.
"""

import argparse
import collections
import dataclasses
import gzip
import json
import tempfile
import time
from pathlib import Path

import jax
from benchmark_sides import papers_weights, problem

import nst_jax as nst


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--precision", default="default")
    parser.add_argument("--num-steps", type=int, default=20)
    parser.add_argument("--most", type=int, default=40, help="kernels that are listed")
    parser.add_argument(
        "--hlo", type=Path, default=None, help="where to write the compiled program"
    )
    arguments = parser.parse_args()
    params, config, targets, start = problem({"size": arguments.size})
    config = dataclasses.replace(config, precision=arguments.precision)
    params, targets = jax.device_put(
        (nst.prepare_params(params, config.content_layers + config.style_layers), targets)
    )
    weights, optimizer = papers_weights(), nst.make_optimizer(config)

    def descend(state, params, targets, turns):
        evaluate = lambda image: nst.loss_and_gradient(params, image, targets, weights, config)
        return jax.lax.fori_loop(
            0, turns, lambda _, state: nst.step(state, evaluate, optimizer)[0], state
        )

    state = nst.init(start, optimizer)
    program = (
        jax.jit(descend, donate_argnums=0)
        .lower(state, params, targets, arguments.num_steps)
        .compile()
    )
    if arguments.hlo:
        arguments.hlo.write_text(program.as_text())
    for _ in range(2):
        state = jax.block_until_ready(program(state, params, targets, arguments.num_steps))
    started = time.perf_counter()
    state = jax.block_until_ready(program(state, params, targets, arguments.num_steps))
    print(f"{1e3 * (time.perf_counter() - started) / arguments.num_steps:.3f} ms a step")
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            started = time.perf_counter()
            state = jax.block_until_ready(program(state, params, targets, arguments.num_steps))
            print(
                f"{1e3 * (time.perf_counter() - started) / arguments.num_steps:.3f} ms a "
                "step under the profiler"
            )
        report(next(Path(folder).rglob("*.trace.json.gz")), arguments.num_steps, arguments.most)


def report(path: Path, num_steps: int, most: int) -> None:
    """The kernels of a trace, the longest first."""
    with gzip.open(path) as file:
        events = json.load(file)["traceEvents"]
    processes = {
        event["pid"]: event["args"]["name"]
        for event in events
        if event.get("name") == "process_name"
    }
    lines = {
        (event["pid"], event["tid"]): event["args"]["name"]
        for event in events
        if event.get("name") == "thread_name"
    }
    found: dict[str, list[float]] = collections.defaultdict(list)
    for event in events:
        is_kernel = event.get("ph") == "X" and "/device:" in processes.get(event["pid"], "")
        if is_kernel and "Stream" in lines.get((event["pid"], event["tid"]), ""):
            found[event["name"] + " " + event.get("args", {}).get("hlo_op", "")].append(
                event["dur"]
            )
    print(
        f"{sum(map(sum, found.values())) / num_steps:.0f} µs of kernels, "
        f"{sum(map(len, found.values())) / num_steps:.0f} launches, a step"
    )
    for name, durations in sorted(found.items(), key=lambda item: -sum(item[1]))[:most]:
        print(
            f"{sum(durations) / num_steps:9.1f} µs {len(durations) / num_steps:6.1f} ×  "
            f"{name[:150]}"
        )


if __name__ == "__main__":
    main()
