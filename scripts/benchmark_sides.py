"""What `benchmark.py` measures, one side a process.

    python scripts/benchmark_sides.py SIDE '{"size": 256}'

prints one line of JSON. Not meant to be called by hand, but it can be.
"""

import dataclasses
import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np

STARTED = (
    time.time()
    - time.clock_gettime(time.CLOCK_BOOTTIME)
    + float(Path("/proc/self/stat").read_text().split()[21]) / os.sysconf("SC_CLK_TCK")
)
"""When this process was started, before it read a line of Python."""

AS_IN_A_RUN = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
"""The order of operations that nst_jax asks the compiler for, where a run is on a CPU."""


def seconds_of(function, repeats):
    """The first call's seconds, compilation included, and those of the `repeats` after it."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return times[0], times[1:]


def matmul(options):
    """The machine's peak: the best of some multiplications of large matrices by NumPy's BLAS."""
    left, right = np.random.default_rng(0).random((2, 3072, 3072), np.float32)
    _, times = seconds_of(lambda: left @ right, 8)
    return {"gflops": 2 * 3072**3 / min(times) / 1e9}


def params_of(options):
    """VGG-19 of a file, or its shapes, with weights that keep the activations' size."""
    import nst_jax as nst

    if options.get("network"):
        return nst.load_params(options["network"])
    rng = np.random.default_rng(0)
    params = {"mean": np.full(3, 0.45, np.float32)}
    for layer, shape in nst.NETWORKS["vgg19"].items():
        scale = np.sqrt(2 / (9 * shape[2]))
        params[layer] = {
            "kernel": (scale * rng.standard_normal(shape)).astype(np.float32),
            "bias": np.zeros(shape[3], np.float32),
        }
    return params


def problem(options):
    """Parameters, targets and starting image, alike for both frameworks."""
    import nst_jax as nst

    params = params_of(options)
    config = nst.TransferConfig(tile=options.get("tile", 0), coarse_to_fine=False)
    size = options["size"]
    content, style, start = np.random.default_rng(1).random((3, size, size, 3), np.float32)
    # In tiles, so that preparing needs less memory than what is measured.
    preparing = dataclasses.replace(config, tile=config.tile or (512 if size > 512 else 0))
    loss = nst.default_loss(preparing, papers_weights())
    return params, config, nst.make_targets(params, content, style, preparing, loss), start


def papers_weights():
    """Of the loss that both frameworks have: without the grain."""
    import nst_jax as nst

    return nst.LossWeights(grain=None)


def nst_jax(options):
    """Seconds of the loss and its gradient: alone, compiled here or by itself, in a loop, in
    lanes, or as a whole step of L-BFGS; whole or in tiles. Or of such a step where loss and
    gradient cost next to nothing."""
    import jax
    import jax.numpy as jnp

    import nst_jax as nst

    params, config, targets, start = problem(options)
    config = config.replace(precision=options.get("precision", "highest"))
    params = jax.device_put(params)  # as `load_params` gives them
    if not options.get("plain"):
        layers = config.content_layers + config.style_layers
        params = jax.block_until_ready(nst.prepare_params(params, layers, config.precision))
    weights, optimizer = papers_weights(), nst.make_optimizer(config)
    turns = options.get("loop", 1)

    def evaluate(image, params, targets):
        return nst.loss_and_gradient(params, image, targets, weights, config)

    def bowl(image, bend, targets):
        gradient = bend * (image - 0.5)
        return (jnp.sum(gradient * (image - 0.5)) / 2, {}), gradient

    def step(state, params, targets):
        own = bowl if kind == "bookkeeping" else evaluate
        return nst.step(state, lambda image: own(image, params, targets), optimizer)[0]

    def move(carry, params, targets):
        (loss, _), gradient = evaluate(carry[0], params, targets)
        return carry[0] - 1e-9 * gradient, loss

    kind, lanes = options.get("kind", "evaluation"), options.get("lanes", 0)
    if kind == "evaluation" and lanes:  # as a batch of lanes runs on the CPU
        program = jax.jit(
            lambda images, params, targets: jax.lax.map(
                lambda image: move((image, 0.0), params, targets), images
            )
        )
        arguments = (jnp.stack([start] * lanes),)
    elif kind == "evaluation" and turns == 1:
        program, arguments = jax.jit(evaluate), (jnp.asarray(start),)
    else:
        body = move if kind == "evaluation" else step
        turn = lambda carry, params, targets: jax.lax.fori_loop(
            0, turns, lambda _, carry: body(carry, params, targets), carry
        )
        program = jax.jit(turn, donate_argnums=0)  # as in a run
        arguments = (
            (jnp.array(start), jnp.zeros(()))
            if kind == "evaluation"
            else nst.init(start, optimizer),
        )
    loops = kind != "evaluation" or (turns > 1 and not lanes)
    # so unlike in their bends that the descent does not end before it is timed
    arguments += (10.0 ** (-4 * start) if kind == "bookkeeping" else params, targets)
    started = time.perf_counter()
    compiled = (
        evaluate
        if options.get("by_itself")
        else program.lower(*arguments).compile(AS_IN_A_RUN if loops or lanes else None)
    )
    compile_seconds = time.perf_counter() - started

    def run():
        nonlocal arguments
        found = jax.block_until_ready(compiled(*arguments))
        if loops:
            arguments = (found, *arguments[1:])

    if kind != "evaluation":  # as it goes on: the first steps learn more of the curvature
        for _ in range(-(-20 // turns)):
            run()
    _, times = seconds_of(run, options.get("repeats", 3))
    found = {"seconds": statistics.median(times) / turns}
    if not options.get("by_itself"):  # it compiles at its first call
        found["compile_seconds"] = compile_seconds
    if kind == "evaluation" and turns == 1 and not lanes:
        found["loss"] = float(compiled(*arguments)[0][0])
    return found


def torch(options):
    """The same loss and gradient in PyTorch, its batch of lanes included."""
    import torch as pytorch
    from compare_lbfgs import torch_loss

    params, config, targets, start = problem(options)
    memory_format = getattr(pytorch, options["memory_format"])
    loss_function = torch_loss(params, targets, papers_weights(), config, memory_format)
    pixels = (
        pytorch.from_numpy(np.stack([start] * max(options.get("lanes", 0), 1)))
        .permute(0, 3, 1, 2)
        .contiguous()
    )
    losses = []

    def run():
        image = pixels.clone().requires_grad_()
        with pytorch.autocast("cpu", pytorch.bfloat16, enabled=options.get("autocast", False)):
            loss = loss_function(image)
        loss.backward()
        losses.append(loss.item() / len(pixels))

    _, times = seconds_of(run, options.get("repeats", 3))
    return {"seconds": statistics.median(times), "loss": losses[-1]}


def study(options):
    """Seconds of a lane of a study, of a number of lanes and devices."""
    import nst_jax as nst

    params = params_of(options)
    content, style = np.random.default_rng(0).random(
        (2, options["size"], options["size"], 3), np.float32
    )
    config = nst.TransferConfig(num_steps=options["num_steps"], init="noise")
    seeds = {"seed": range(options["lanes"])}
    # Seconds of a lane leave compilation out.
    result = nst.run_study(params, content, style, seeds, config, lanes_at_once=options["lanes"])
    return {"seconds": float(result.seconds.sum())}


def reference_descent(options):
    """The descent of the paper's author: `torch.optim.LBFGS`, learning rate 1, history 100, from
    the content; counted from its first step."""
    import torch as pytorch
    from compare_lbfgs import run_torch, torch_loss

    import nst_jax as nst

    params, content, style, config, weights = _pictures(options)
    loss = nst.default_loss(config, weights)
    targets = nst.make_targets(params, content, style, config, loss)
    seconds, started = [], time.perf_counter()
    losses, best = run_torch(
        torch_loss(params, targets, weights, config, pytorch.contiguous_format),
        content,
        options["num_steps"],
        lambda: seconds.append(time.perf_counter() - started),
    )
    nst.write_image(options["picture"], best)
    # Its pixels go where they like; the picture that can be written is cut off, and has a loss of
    # its own.
    picture_loss, _ = nst.total_loss(params, np.clip(best, 0, 1), targets, weights, config)
    return {"seconds": seconds, "losses": losses.tolist(), "picture_loss": float(picture_loss)}


def nst_jax_descent(options):
    """The default descent, counted from the start of the process: imports, reading, compilation and
    all."""
    import nst_jax as nst

    params, content, style, config, weights = _pictures(options)
    seen = []
    result = nst.stylize(
        params,
        content,
        style,
        config,
        weights,
        callback=lambda progress: seen.append((progress.step, time.time() - STARTED)),
    )
    nst.write_image(options["picture"], result.image)
    steps, seconds = zip(*seen, strict=True)
    # Between two callbacks, steps are taken to last alike.
    every = np.interp(np.arange(1, int(result.num_steps) + 1), steps, seconds)
    return {
        "seconds": every.tolist(),
        "losses": result.losses.tolist(),
        "sizes": result.sizes.tolist(),
        "total": time.time() - STARTED,
    }


def _pictures(options):
    import nst_jax as nst

    content, style = (
        nst.read_image(options[name], size=options["size"]) for name in ("content", "style")
    )
    weights = dataclasses.replace(
        papers_weights(), content=options["content_weight"], style=options["style_weight"]
    )
    return (
        nst.load_params(options.get("network", "vgg16")),
        content,
        style,
        nst.TransferConfig(scaling=options["scaling"]),
        weights,
    )


def controls() -> dict[str, dict]:
    """What the controls add to the arguments of `descend`, by name; fields of the config apart."""
    import nst_jax as nst

    left = np.linspace(1, 0, 256, dtype=np.float32)
    edge = np.interp(np.arange(256), (124, 132), (1, 0)).astype(np.float32)
    halves = {"regions": lambda mask: [nst.Region(mask), nst.Region(1 - mask, style=1)]}
    return {
        "none": {},
        "two styles": {"style": 2},
        "turned copies": {"config": {"style_turns": True}},
        "two regions": {"style": 2, "mask": edge, **halves},
        "two regions that overlap everywhere": {"style": 2, "mask": left, **halves},
        "an area kept": {"mask": left, "keep": lambda mask: mask},
        "luminance": {"config": {"colours": "luminance"}},
        "without the grain": {"weights": papers_weights()},
        "edges": {"weights": nst.LossWeights(edges=0.2)},
        "matting": {"weights": nst.LossWeights(matting=30_000.0)},
        "neighbours": {"weights": nst.LossWeights(neighbours=2.0)},
        "wasserstein": {"config": {"style_loss": "wasserstein"}},
        "border replicate": {"config": {"border": "replicate"}},
        "border wrap": {"config": {"border": "wrap"}},
        "three octaves": {"config": {"octaves": 3}},
    }


def controlled(options):
    """Seconds of a step of a descent by Adam with a control."""
    import nst_jax as nst

    size = options["size"]
    own = controls()[options["control"]]
    content, *styles = np.random.default_rng(1).random((3, size, size, 3), np.float32)
    row = np.interp(np.linspace(0, 255, size), np.arange(256), own.get("mask", np.ones(256)))
    mask = np.repeat(row[None].astype(np.float32), size, axis=0)
    config = nst.TransferConfig(
        optimizer="adam",
        coarse_to_fine=False,
        num_steps=options["num_steps"],
        **own.get("config", {}),
    )
    arguments = {name: own[name](mask) for name in ("regions", "keep") if name in own}
    style = styles if own.get("style") else styles[0]
    chunks = nst.descend(
        params_of(options),
        content,
        style,
        config,
        own.get("weights"),
        seconds=1.0,
        **arguments,
    )
    seen = [(chunk.progress.step, time.perf_counter()) for chunk in chunks]
    (first, began), (last, ended) = seen[0], seen[-1]
    return {"seconds": (ended - began) / (last - first)}


SIDES = {
    side.__name__: side
    for side in (
        *(matmul, nst_jax, torch, study),
        *(reference_descent, nst_jax_descent, controlled),
    )
}


def main() -> None:
    options = json.loads(sys.argv[2])
    found = SIDES[sys.argv[1]](options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**found, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
