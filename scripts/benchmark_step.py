"""Measures the loss and its gradient, VGG-19 to conv5_1, against the same in PyTorch.

    python scripts/benchmark_step.py --size 512 --rounds 5

needs PyTorch (`pip install torch`). The sides take turns (A B C D A B C D …) in one process: prepared parameters, plain ones (direct
convolution), PyTorch with NCHW tensors, PyTorch with channels_last ones. Random weights, average pooling. Prints medians of the seconds, and of
the ratios within a round; the losses of all must agree to 1e-4, or the exit status is 1.
"""

import argparse
import statistics
import sys
import time

import jax
import numpy as np
import torch
from compare_lbfgs import torch_loss

import nst_jax as nst


def random_params():
    """VGG-19's shapes, with weights that keep the activations' size."""
    rng = np.random.default_rng(0)
    params = {"mean": np.full(3, 0.45, np.float32)}
    for layer, shape in nst.NETWORKS["vgg19"].items():
        scale = np.sqrt(2 / (9 * shape[2]))
        params[layer] = {"kernel": (scale * rng.standard_normal(shape)).astype(np.float32), "bias": np.zeros(shape[3], np.float32)}
    return params


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=256, help="height and width in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()

    params, config, weights = random_params(), nst.TransferConfig(), nst.LossWeights()
    content, style, start = np.random.default_rng(1).random((3, args.size, args.size, 3), np.float32)
    targets = nst.make_targets(params, content, style, config)
    prepared = nst.prepare_params(params, config.content_layers + config.style_layers)

    @jax.jit
    def evaluate(image, params, targets):
        return jax.value_and_grad(lambda image: nst.total_loss(params, image, targets, weights, config), has_aux=True)(image)

    def ours(params):
        return lambda: float(jax.block_until_ready(evaluate(start, params, targets))[0][0])

    def theirs(memory_format):
        loss_function = torch_loss(params, targets, weights, config, memory_format)

        def run():
            image = torch.from_numpy(start).permute(2, 0, 1).contiguous().requires_grad_()
            loss = loss_function(image)
            loss.backward()
            return loss.item()

        return run

    sides = {
        "nst_jax": ours(prepared),
        "nst_jax, plain parameters": ours(params),
        "PyTorch NCHW": theirs(torch.contiguous_format),
        "PyTorch channels_last": theirs(torch.channels_last),
    }
    losses = [side() for side in sides.values()]  # compiles
    times = {name: [] for name in sides}
    for _ in range(args.rounds):
        for name, side in sides.items():
            started = time.perf_counter()
            side()
            times[name].append(time.perf_counter() - started)
    print(f"jax {jax.__version__}, torch {torch.__version__}, {args.size} × {args.size} pixels, {args.rounds} rounds, loss {losses[0]:.6g}")
    for name, seconds in times.items():
        ratio = statistics.median(other / own for own, other in zip(times["nst_jax"], seconds, strict=True))
        print(f"  {name:26s} {statistics.median(seconds):7.3f} s ({min(seconds):.3f} to {max(seconds):.3f})  {ratio:.2f} × nst_jax")
    return int(max(losses) > (1 + 1e-4) * min(losses))


if __name__ == "__main__":
    sys.exit(main())
