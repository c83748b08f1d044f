"""What `benchmark.py accelerator` measures, and the tables of it.

    python scripts/benchmark_accelerator.py SIDE '[{"size": 512}]'

prints a line of JSON for each of the options in the list. VGG-19's weights are seeded, so that it
runs where nothing can be fetched; `network` names a file instead. PyTorch, where it is installed
for the same card, is the peer.
"""

import dataclasses
import functools
import json
import statistics
import sys
import tempfile
import time
import traceback

import numpy as np
from benchmark_sides import papers_weights, params_of, problem

FLOPS_A_PIXEL = 376e9 / 512**2
"""Of VGG-19 to conv5_1 by direct convolution, forward and back to the pixels."""

# in the order in which they are measured
BYTES_A_PIXEL = {"default": 3e9 / 512**2, "bfloat16": 1.5e9 / 512**2, "highest": 3e9 / 512**2}
"""Of activations, written once and read once, forward and back, by precision."""

PRECISIONS = tuple(BYTES_A_PIXEL)


def timed(run, wait, repeats):
    """The median seconds of a call, after one that is not counted."""
    wait(run())
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        wait(run())
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def card(options):
    """The card's rates: products of large random matrices, TFLOP/s, and a copy, GB/s read and
    written."""
    import jax
    import jax.numpy as jnp

    side, repeats = options["side"], options["repeats"]
    left, right = jax.random.normal(jax.random.key(0), (2, side, side))
    found = {"device": jax.devices()[0].device_kind, "jax": jax.__version__}
    for name in PRECISIONS:
        kind = jnp.bfloat16 if name == "bfloat16" else jnp.float32
        factors = left.astype(kind), right.astype(kind)
        program = jax.jit(
            functools.partial(jnp.matmul, precision="highest" if name == "highest" else None)
        )
        seconds = timed(
            lambda factors=factors, program=program: program(*factors),
            jax.block_until_ready,
            repeats,
        )
        found[name] = 2 * side**3 / seconds / 1e12
    source, copy = (
        jax.random.normal(jax.random.key(0), (4 * side * side,)),
        jax.jit(lambda source: source + 1),
    )
    found["copy"] = (
        2 * source.nbytes / timed(lambda: copy(source), jax.block_until_ready, repeats) / 1e9
    )
    return found


def evaluation(options):
    """The loss and its gradient, and a step of L-BFGS with them, at a size and a precision."""
    import jax

    import nst_jax as nst

    params, config, targets, start = problem(options)
    config = dataclasses.replace(config, precision=options["precision"])
    params = jax.device_put(nst.prepare_params(params, config.content_layers + config.style_layers))
    weights, optimizer, turns = papers_weights(), nst.make_optimizer(config), options["repeats"]
    evaluate = lambda image, params, targets: nst.loss_and_gradient(
        params, image, targets, weights, config
    )

    def descend(state, params, targets, turns):
        move = lambda _, state: nst.step(
            state, lambda image: evaluate(image, params, targets), optimizer
        )[0]
        return jax.lax.fori_loop(0, turns, move, state)

    found = {}
    image, targets = jax.device_put((start, targets))
    started = time.perf_counter()
    once = jax.jit(evaluate).lower(image, params, targets).compile()
    found["compile_seconds"] = time.perf_counter() - started
    found["seconds"] = timed(lambda: once(image, params, targets), jax.block_until_ready, turns)
    (loss, _), gradient = once(image, params, targets)
    found |= {
        "loss": float(loss),
        "gradient_norm": float(np.linalg.norm(np.asarray(gradient, np.float64))),
    }
    found["bytes"] = bytes_of(once)
    if options["with_step"]:
        state = nst.init(start, optimizer)
        several = jax.jit(descend, donate_argnums=0).lower(state, params, targets, turns).compile()
        found["step_bytes"] = bytes_of(several)

        def go_on():
            nonlocal state
            state = several(state, params, targets, turns)
            return state

        wait = lambda state: jax.block_until_ready(state.image)
        wait(go_on())  # the first steps learn more of the curvature
        found["step_seconds"] = timed(go_on, wait, 3) / turns
    return found


def bytes_of(compiled):
    """What a compiled program says it needs, 0 where it does not."""
    needed = compiled.memory_analysis()
    if needed is None:
        return 0
    results = needed.output_size_in_bytes - needed.alias_size_in_bytes  # donated, a place for both
    return needed.argument_size_in_bytes + results + needed.temp_size_in_bytes


def memory(options):
    """What the compiled step of a run needs at a size, whole or in tiles; nothing is run."""
    import jax
    import jax.numpy as jnp

    import nst_jax as nst

    config = nst.TransferConfig(precision=options["precision"], tile=options["tile"])
    params, optimizer, weights = params_of(options), nst.make_optimizer(config), nst.LossWeights()
    image = jax.ShapeDtypeStruct((options["size"], options["size"], 3), jnp.float32)
    targets = jax.eval_shape(lambda image: nst.make_targets(params, image, image, config), image)
    state = jax.eval_shape(lambda image: nst.init(image, optimizer), image)

    def step(state, params, targets):
        return nst.step(
            state,
            lambda image: nst.loss_and_gradient(params, image, targets, weights, config),
            optimizer,
        )[0]

    compiled = jax.jit(step, donate_argnums=0).lower(state, params, targets).compile()
    return {
        "bytes": bytes_of(compiled),
        "limit": (jax.devices()[0].memory_stats() or {}).get("bytes_limit"),
    }


def run(options):
    """A run of the default schedule, `turns` times in one process: the first compiles.

    The picture is judged in float32, whatever the run's precision; the losses on the way are scaled
    by that loss over the run's own.
    """
    import jax

    import nst_jax as nst

    params, config, content, style = pictures(options)
    config = dataclasses.replace(config, precision=options["precision"])
    found = {"seconds": []}
    for _ in range(options["turns"]):
        started = time.perf_counter()
        result = nst.stylize(params, content, style, config, papers_weights())
        jax.block_until_ready(result.image)
        found["seconds"].append(time.perf_counter() - started)
    found["picture_loss"] = judged(params, content, style, result.image)
    share = found["picture_loss"] / float(result.loss)
    at_full_size = np.asarray(result.sizes) == np.max(result.sizes)
    found["losses"] = [
        float(loss) * share if counts else None
        for loss, counts in zip(result.losses, at_full_size, strict=True)
    ]
    return found


def judged(params, content, style, image):
    """The loss of a picture, computed in float32."""
    import jax

    import nst_jax as nst

    config = nst.TransferConfig()
    loss = nst.default_loss(config, papers_weights())
    targets = nst.make_targets(params, content, style, config, loss)
    judge = jax.jit(lambda *arguments: nst.total_loss(*arguments, loss, config)[0])
    return float(judge(params, image, targets))


def lanes(options):
    """Seconds of a lane's step, of so many lanes at once."""
    import jax

    import nst_jax as nst

    params, config, content, style = pictures(options)
    config = dataclasses.replace(config, precision=options["precision"], coarse_to_fine=False)
    weights = nst.LossWeights(style=np.geomspace(1, 100, options["lanes"]).astype(np.float32))
    times = []
    for _ in range(2):
        started = time.perf_counter()
        jax.block_until_ready(nst.stylize_batch(params, content, style, config, weights).image)
        times.append(time.perf_counter() - started)
    return {"seconds": times[1] / options["lanes"] / config.num_steps, "cold_seconds": times[0]}


def pictures(options):
    """Smooth random pictures, seeded, so that no file is needed: noise at several sizes, added
    up."""
    import jax
    import jax.numpy as jnp

    import nst_jax as nst

    def picture(seed):
        size, total = options["size"], 0.0
        for octave in range(2, 8):
            noise = jax.random.uniform(
                jax.random.key(100 * seed + octave), (2**octave, 2**octave, 3)
            )
            total = total + jax.image.resize(noise, (size, size, 3), "cubic") / 2**octave
        return np.asarray((total - jnp.min(total)) / (jnp.max(total) - jnp.min(total)))

    return (
        params_of(options),
        nst.TransferConfig(num_steps=options["num_steps"]),
        picture(1),
        picture(2),
    )


def torch_settings(options):
    """PyTorch set up as one of the peers: the loss and the pixels' device and autocast."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    kind, compiled = options["kind"], options.get("compiled", False)
    for backend in (torch.backends.cuda.matmul, torch.backends.cudnn):
        backend.allow_tf32 = kind != "float32"
    torch.backends.cudnn.benchmark = True
    memory_format = torch.channels_last if options["channels_last"] else torch.contiguous_format

    def wrap(loss_function):
        def loss(images):
            with torch.autocast(device, torch.bfloat16, enabled=kind == "bfloat16"):
                return loss_function(images)

        return torch.compile(loss) if compiled else loss

    def wait(_):
        if device == "cuda":
            torch.cuda.synchronize()

    return torch, device, memory_format, wrap, wait


def torch_evaluation(options):
    """The same loss and gradient in PyTorch."""
    from compare_lbfgs import torch_loss

    torch, device, memory_format, wrap, wait = torch_settings(options)
    params, config, targets, start = problem(options)
    loss_function = wrap(
        torch_loss(params, targets, papers_weights(), config, memory_format, device)
    )
    pixels = torch.from_numpy(start[None]).permute(0, 3, 1, 2).to(device).contiguous()
    found = {}

    def once():
        image = pixels.clone().requires_grad_()
        loss = loss_function(image)
        loss.backward()
        found["loss"], found["gradient"] = loss, image.grad

    started = time.perf_counter()
    wait(once())
    compile_seconds = time.perf_counter() - started
    seconds = timed(once, wait, options["repeats"])
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    norm = float(found["gradient"].double().norm())
    return {
        "seconds": seconds,
        "compile_seconds": compile_seconds,
        "bytes": peak,
        "loss": float(found["loss"]),
        "gradient_norm": norm,
    }


def torch_run(options):
    """The descent of the paper's author in PyTorch, twice in one process."""
    from compare_lbfgs import run_torch, torch_loss

    import nst_jax as nst

    params, config, content, style = pictures(options)
    loss = nst.default_loss(config, papers_weights())
    targets = nst.make_targets(params, content, style, config, loss)
    _, device, memory_format, wrap, wait = torch_settings(options)
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        closure = torch_loss(params, targets, papers_weights(), config, memory_format, device)
        losses, best = run_torch(wrap(closure), content, config.num_steps, device=device)
        wait(None)
        seconds.append(time.perf_counter() - started)
    picture_loss = judged(params, content, style, np.clip(best, 0, 1))
    return {"seconds": seconds, "losses": losses.tolist(), "picture_loss": picture_loss}


PEERS = {
    "PyTorch, float32": {"kind": "float32", "channels_last": False},
    "PyTorch, TF32": {"kind": "tf32", "channels_last": False},
    "PyTorch channels_last, TF32": {"kind": "tf32", "channels_last": True},
    "PyTorch channels_last, TF32, torch.compile": {
        "kind": "tf32",
        "channels_last": True,
        "compiled": True,
    },
    "PyTorch channels_last, bfloat16": {"kind": "bfloat16", "channels_last": True},
}


LEAST_SECONDS = 20
"""With less left, no measurement is begun."""

TIME_UP = "not measured, the time was up"


def report(args, measure, table):
    """All sides' measurements, and the tables of them.

    What is most wanted comes first, because the time may not do for all. Measurements of one kind
    share a process.
    """
    found, began = {}, time.perf_counter()
    folder = tempfile.TemporaryDirectory()

    def sides(name, many, cache="all"):
        """Measurements one after another in a process; what fails is said, and the rest goes on."""
        keys = [f"{name} {json.dumps(options)}" for options in many]
        started = time.perf_counter()
        left = args.seconds - (started - began)
        environment = {
            "JAX_COMPILATION_CACHE_DIR": f"{folder.name}/{cache}",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        if name.startswith("torch"):
            # A peer takes only its problem from this library, which need not be fast, and the
            # memory is the peer's.
            environment |= {
                "XLA_FLAGS": "--xla_gpu_autotune_level=0",
                "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            }
        many = [{"network": args.network, **options} for options in many]
        lines, why = [], TIME_UP
        if left >= LEAST_SECONDS:
            lines, why = measure(name, many, environment, left)
        error = {"error": ((why or "").strip() or "killed").splitlines()[-1][:300]}
        lines += [error] * (len(many) - len(lines))
        found.update(zip(keys, lines, strict=True))
        print(f"  {time.perf_counter() - started:5.1f} s  {keys}", file=sys.stderr, flush=True)
        return lines

    def side(name, cache="all", **options):
        return sides(name, [options], cache)[0]

    rates = side("card", side=args.matrix, repeats=args.repeats)
    if "error" in rates:
        sys.exit(f"the card's own rates cannot be measured: {rates['error']}")

    def evaluations(size):
        """Rows of the first table."""
        common = {"size": size, "repeats": args.repeats}
        own = [{**common, "precision": name, "with_step": True} for name in args.precision]
        rows = [
            evaluation_row(
                f"nst_jax, {options['precision']}", size, line, rates, options["precision"]
            )
            for options, line in zip(own, sides("evaluation", own), strict=True)
        ]
        if size <= args.peers_up_to:
            rows += [torch_row(name, common) for name in PEERS if "compiled" not in PEERS[name]]
        return rows

    def torch_row(name, common):
        line = side("torch_evaluation", **common, **PEERS[name])
        return evaluation_row(name, common["size"], line, rates)

    def runs(size):
        """Rows of the second."""
        options = {"size": size, "num_steps": args.num_steps}
        peer = side("torch_run", **options, **PEERS["PyTorch channels_last, TF32"])
        wanted = peer.get("picture_loss")  # None where the peer was not measured
        rows = [run_row("torch.optim.LBFGS, history 100, channels_last, TF32", size, peer, None)]
        for precision in args.precision:
            cache, options["precision"] = f"{size} {precision}", precision
            line = side("run", cache, **options, turns=2)
            rows.append(run_row(f"nst_jax, {precision}", size, line, wanted))
            if precision == args.precision[0]:
                line = side("run", cache, **options, turns=1)
                name = f"nst_jax, {precision}, programs from the disk"
                rows.append(run_row(name, size, line, wanted))
        return rows

    def lanes():
        """Rows of the third."""
        common = {"num_steps": args.lane_steps, "precision": "default"}
        many = [{"size": args.lane_size, "lanes": count, **common} for count in args.lanes]
        lines = sides("lanes", many)
        first = lines[0].get("seconds")
        return [
            [options["lanes"], *lane_cells(line, first)]
            for options, line in zip(many, lines, strict=True)
        ]

    def memories():
        """Rows of the last."""
        many = [
            {"size": size, "tile": tile, "precision": "default"}
            for size in args.memory_size
            for tile in ((0, 1024) if size > 1024 else (0,))
        ]
        return [
            [
                f"{options['size']}²",
                options["tile"] or "whole",
                *memory_cells(options["size"], line),
            ]
            for options, line in zip(many, sides("memory", many), strict=True)
        ]

    first_rows, first_runs = evaluations(args.size[0]), runs(args.run_size[0])
    lane_rows, memory_rows = lanes(), memories()
    # minutes of compilation
    common = {"size": args.size[0], "repeats": args.repeats}
    if args.size[0] <= args.peers_up_to:
        first_rows += [torch_row(name, common) for name in PEERS if "compiled" in PEERS[name]]
    larger_rows = [row for size in args.size[1:] for row in evaluations(size)]
    larger_runs = [row for size in args.run_size[1:] for row in runs(size)]
    folder.cleanup()
    parts = [
        f"{rates['device']}, jax {rates['jax']}; products of {args.matrix}² matrices, TFLOP/s: "
        + ", ".join(f"{name} {rates[name]:.0f}" for name in PRECISIONS)
        + f"; copy {rates['copy']:.0f} GB/s; weights: {args.network or 'seeded'}",
        table(
            [
                "pixels",
                "what",
                "loss and gradient, ms",
                "GB",
                "compiling, s",
                "step of L-BFGS, ms",
                "step / floor",
                "its GB",
            ],
            first_rows + larger_rows,
        ),
        table(
            [
                "pixels",
                f"{args.num_steps} steps",
                "first, s",
                "again, s",
                "loss of the picture",
                "to the loss of the peer's picture, s",
            ],
            first_runs + larger_runs,
        ),
        f"Lanes of {args.lane_size}², {args.lane_steps} steps with their start, precision "
        "`default`:\n\n"
        + table(["lanes", "a lane's step, ms", "pictures a second, against the first"], lane_rows),
        "A step of L-BFGS, precision `default`, as compiled:\n\n"
        + table(
            ["pixels", "tile", "GB", "JAX's memory holds, at as many bytes a pixel"], memory_rows
        ),
    ]
    return found, "\n\n".join(parts), None


def lane_cells(line, first):
    """A lane's step, and how many times as many pictures a second as the first line that makes."""
    if "error" in line:
        return [line["error"], ""]
    return [f"{1e3 * line['seconds']:.2f}", f"{first / line['seconds']:.2f} ×" if first else ""]


def memory_cells(size, needed):
    """What a size needs, and the side of the largest picture that JAX's memory then holds."""
    if "error" in needed:
        return [needed["error"], ""]
    if not needed["bytes"]:
        return ["the compiler does not tell", ""]
    limit = needed["limit"]
    largest = f"{int(size * (limit / needed['bytes']) ** 0.5)}²" if limit else ""
    return [f"{needed['bytes'] / 1e9:.2f}", largest]


def evaluation_row(name, size, found, rates, precision=None):
    """A line of the first table."""
    if "error" in found:
        return [f"{size}²", name, found["error"], "", "", "", "", ""]
    step, share = found.get("step_seconds"), ""
    if step and precision:
        pairs = 30 * 2 * 2 * 12 * size**2  # read twice
        moved = size**2 * BYTES_A_PIXEL[precision] + pairs
        floor = size**2 * FLOPS_A_PIXEL / rates[precision] / 1e12 + moved / rates["copy"] / 1e9
        share = f"{step / floor:.1f} ×"
    return [
        f"{size}²",
        name,
        f"{1e3 * found['seconds']:.2f}",
        f"{found['bytes'] / 1e9:.2f}",
        f"{found['compile_seconds']:.1f}",
        f"{1e3 * step:.2f}" if step else "",
        share,
        f"{found['step_bytes'] / 1e9:.2f}" if step else "",
    ]


def run_row(name, size, found, wanted):
    """A line of the second table; `wanted` is the loss of the peer's picture."""
    if "error" in found:
        return [f"{size}²", name, found["error"], "", "", ""]
    first, *again = found["seconds"]
    picture = f"{found['picture_loss']:.4f}"
    if not again:
        return [f"{size}²", name, f"{first:.1f}", "", picture, ""]
    text = "" if wanted is None else "not reached"
    reached = [
        place
        for place, loss in enumerate(found["losses"])
        if wanted is not None and loss is not None and loss <= wanted
    ]
    if reached:  # a step of half the size counts a quarter
        cost = [0.25 if loss is None else 1.0 for loss in found["losses"]]
        text = f"{again[0] * sum(cost[: reached[0] + 1]) / sum(cost):.2f} (step {reached[0] + 1})"
    return [f"{size}²", name, f"{first:.1f}", f"{again[0]:.2f}", picture, text]


SIDES = {
    side.__name__: side
    for side in (card, evaluation, memory, run, lanes, torch_evaluation, torch_run)
}


def main():
    side, many = SIDES[sys.argv[1]], json.loads(sys.argv[2])
    for options in many:
        try:
            found = side(options)
        except Exception as error:  # of memory, mostly, which the next may have enough of
            traceback.print_exc()
            found = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
