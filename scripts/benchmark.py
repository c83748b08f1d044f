"""Measures what a step of the descent costs beside the evaluation of the network, alone and in a loop.

    python scripts/benchmark.py --size 512 --rounds 5

Times four things in turn (A B C D A B C D …) in one process: the loss and its gradient alone; `nst_jax.step` alone, which adds the optimiser's
bookkeeping; the same step inside a loop of `--loop` steps; and a step of `stylize`, from what twice as many steps take more. Prints medians of
the seconds and of the ratios within a round, since machines are shared and noisy.
"""

import argparse
import dataclasses
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

import nst_jax as nst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=512, help="height and width in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loop", type=int, default=4, help="steps in the loop")
    parser.add_argument("--network", default="vgg16")
    args = parser.parse_args()

    params, config = nst.load_params(args.network), nst.TransferConfig(num_steps=args.loop)
    content, style = (np.random.default_rng(seed).random((args.size, args.size, 3)).astype(np.float32) for seed in (0, 1))
    targets = nst.make_targets(params, content, style, config)
    optimizer = nst.make_optimizer(config)

    def evaluate(image, params, targets):
        return jax.value_and_grad(lambda image: nst.total_loss(params, image, targets, nst.LossWeights(), config), has_aux=True)(image)

    def advance(state, params, targets):
        return nst.step(state, lambda image: evaluate(image, params, targets), optimizer)[0]

    alone = jax.jit(evaluate)
    step = jax.jit(advance, donate_argnums=0)
    loop = jax.jit(
        lambda state, count, params, targets: jax.lax.fori_loop(0, count, lambda _, state: advance(state, params, targets), state),
        donate_argnums=0,
    )
    image = jnp.asarray(content)

    def fresh():
        return jax.block_until_ready(nst.init(jnp.copy(image), optimizer))

    def seconds(function, *arguments):
        started = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        return time.perf_counter() - started

    def run(num_steps):
        return seconds(lambda: nst.stylize(params, content, style, dataclasses.replace(config, num_steps=num_steps)).image)

    sides = {
        "evaluation": lambda: seconds(alone, image, params, targets),
        "step": lambda: seconds(step, fresh(), params, targets),
        "step in a loop": lambda: seconds(loop, fresh(), args.loop, params, targets) / args.loop,
        "step of stylize": lambda: (run(2 * args.loop) - run(args.loop)) / args.loop,
    }
    for side in sides.values():
        side()  # compiles
    rounds = [{name: side() for name, side in sides.items()} for _ in range(args.rounds)]
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}, {args.network}, {args.size} × {args.size} pixels, {args.rounds} rounds")
    for name in sides:
        times = [times[name] for times in rounds]
        ratio = statistics.median(times[name] / times["evaluation"] for times in rounds)
        print(f"  {name:16s} {statistics.median(times):7.3f} s ({min(times):.3f} to {max(times):.3f})  {ratio:.3f} of the evaluation")
    ratio = statistics.median(times["step in a loop"] / times["step"] for times in rounds)
    print(f"  a step in a loop takes {ratio:.3f} of a step alone")


if __name__ == "__main__":
    main()
