"""Measures nst_jax against PyTorch on the same work.

    python scripts/benchmark.py step|start|controls|memory|scale|time-to-loss|accelerator [options]

needs the extra `benchmark`. Every figure comes from a fresh process (of `accelerator`, those of one
kind share one), and the sides take turns (A B A B …), since machines are shared and noisy; what
counts are ratios within a round. Prints a table and writes it, with every measurement, to
`--output-dir` as Markdown and JSON; where growth is the point, a plot too. Each round of `step`
also measures the machine's matrix multiplication, of which speeds are given as a share.
"""

import argparse
import functools
import json
import os
import platform
import pty
import signal
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import benchmark_accelerator
import numpy as np
from benchmark_sides import controls

import nst_jax as nst

SIDES, ACCELERATOR = (
    Path(__file__).with_name(f"benchmark_{name}.py") for name in ("sides", "accelerator")
)
PEERS = {"PyTorch channels_last": "channels_last", "PyTorch NCHW": "contiguous_format"}
AUTOCAST = "PyTorch channels_last, bfloat16 by autocast"
BOOKKEEPING = "the same of a loss that costs next to nothing"


def measure(side, options=None, environment=None, python=sys.executable):
    """What one side finds, in a process of its own."""
    lines, why = measure_in(SIDES, side, options or {}, environment, python=python)
    if why:
        sys.exit(f"{side} {options} failed:\n{why}")
    return lines[-1]


def measure_in(script, side, options, environment=None, timeout=None, python=sys.executable):
    """The lines that a script's side finds, and why it ended early, of failure or after `timeout`
    seconds, or None."""
    words = [python, str(script), side, json.dumps(options)]
    why = None
    try:
        ended = subprocess.run(
            words,
            capture_output=True,
            text=True,
            env={**os.environ, **(environment or {})},
            check=False,
            timeout=timeout,
        )
        printed = ended.stdout
        if ended.returncode:
            why = ended.stderr[-2000:] or "killed"
    except subprocess.TimeoutExpired as error:
        printed, why = (error.stdout or b"").decode(errors="replace"), benchmark_accelerator.TIME_UP
    whole = [line for line in printed.splitlines(keepends=True) if line.endswith("\n")]
    return [json.loads(line) for line in whole if line.startswith("{")], why


def take_turns(sides, rounds):
    """Each side's measurements by name, one a round; `sides` maps a name to the arguments of
    `measure`."""
    found = {name: [] for name in sides}
    for count in range(rounds):
        for name, arguments in sides.items():
            found[name].append(measure(*arguments))
            print(f"  round {count + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
    return found


def middle(rows, key="seconds"):
    return statistics.median(row[key] for row in rows)


def spread(rows, key="seconds"):
    values = [row[key] for row in rows]
    return f"{middle(rows, key):.3f} ({min(values):.3f} to {max(values):.3f})"


def ratio(rows, others, key="seconds"):
    """The median, over rounds, of what the second takes of the first."""
    return statistics.median(other[key] / row[key] for row, other in zip(rows, others, strict=True))


def versions_of(python):
    """The version of JAX that an interpreter has, and its own."""
    asked = [python, "-c", "import jax, sys; print(jax.__version__, sys.version.split()[0])"]
    printed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    return dict(zip(("jax", "python"), printed.split(), strict=True))


def named(by):
    """The line that says which versions nst_jax's sides had."""
    return f"nst_jax by jax {by['jax']}, python {by['python']}"


def table(heads, rows):
    return "\n".join(
        "| " + " | ".join(map(str, row)) + " |" for row in [heads, ["---"] * len(heads), *rows]
    )


def run_step(args):
    """Loss and gradient, VGG-19 to conv5_1, alone, in a loop and in eight lanes; the optimiser's
    share of a step."""
    by = versions_of(args.python)
    rows, raw = [], {"nst_jax by": by}
    for size in args.size:
        common = {"size": size, "repeats": args.repeats}

        def own(common=common, **options):
            return "nst_jax", common | options, None, args.python

        sides = {"matmul": ("matmul",), "nst_jax": own()}
        sides |= {
            name: ("torch", common | {"memory_format": memory_format})
            for name, memory_format in PEERS.items()
        }
        if size <= args.autocast_up_to:
            autocast = {"memory_format": "channels_last", "autocast": True, "repeats": 1}
            sides[AUTOCAST] = ("torch", common | autocast)
        sides["parameters as loaded"] = own(plain=True)
        sides["parameters as loaded, without jax.jit"] = own(plain=True, by_itself=True)
        sides["factors in bfloat16"] = own(precision="default")
        sides["in a loop"] = own(loop=4)
        sides["a step of L-BFGS, in a loop"] = own(loop=4, kind="step")
        sides[BOOKKEEPING] = own(loop=4, kind="bookkeeping")
        if size <= args.lanes_up_to:
            lanes = common | {"lanes": 8, "repeats": 1}
            sides["8 lanes"] = own(lanes)
            sides |= {
                f"8 lanes, {name}": ("torch", lanes | {"memory_format": memory_format})
                for name, memory_format in PEERS.items()
            }
        found = raw[size] = take_turns(sides, args.rounds)
        peak, work = middle(found["matmul"], "gflops"), network_gflops(size)
        losses = [
            row["loss"]
            for name in ("nst_jax", *PEERS, "parameters as loaded")
            for row in found[name]
        ]
        if max(losses) > (1 + 1e-4) * min(losses):
            sys.exit(f"the sides' losses differ by more than 1e-4: {sorted(set(losses))}")
        for name in list(sides)[1:]:
            mine = found["8 lanes" if name.startswith("8 lanes") else "nst_jax"]
            share = work * (8 if name.startswith("8 lanes") else 1) / middle(found[name]) / peak
            compiling = (
                f"{middle(found[name], 'compile_seconds'):.1f}"
                if "compile_seconds" in found[name][0]
                else ""
            )
            peak_bytes = f"{middle(found[name], 'peak_bytes') / 1e9:.2f}"
            compared = (
                f"{ratio(mine, found[name]):.2f} ×",
                f"{ratio(mine, found[name], 'peak_bytes'):.2f} ×",
            )
            rows.append(
                [
                    f"{size}²",
                    name,
                    spread(found[name]),
                    compared[0],
                    "" if name == BOOKKEEPING else f"{100 * share:.0f} %",
                    peak_bytes,
                    compared[1],
                    compiling,
                ]
            )
        rows.append(
            [f"{size}²", "matrix multiplication", f"{peak:.0f} GFLOP/s", "", "", "", "", ""]
        )
    heads = [
        "pixels",
        "what",
        "seconds",
        "against nst_jax",
        "of the peak (direct work)",
        "peak GB",
        "against nst_jax",
        "compiling, s",
    ]
    return raw, f"{named(by)}\n\n{table(heads, rows)}", None


def network_gflops(size):
    """Multiplications and additions of direct convolutions, forward and back to the pixels, to
    conv5_1."""
    shapes = [
        (int(layer[4]) - 1, shape[2] * shape[3])
        for layer, shape in nst.NETWORKS["vgg19"].items()
        if layer <= "conv5_1"
    ]
    return sum(2 * 2 * 9 * channels * (size >> block) ** 2 for block, channels in shapes) / 1e9


def wait_for(screen, text):
    """The time at which a text has been written to a terminal."""
    seen = b""
    while text not in seen:
        try:
            seen += os.read(screen, 4096)
        except OSError:  # so a terminal says that nobody writes to it any more
            sys.exit(f"the command ended before its first step:\n{seen.decode(errors='replace')}")
    return time.perf_counter()


IMPORTS = """
import json, time

times = [time.perf_counter()]
import jax
times.append(time.perf_counter())
import nst_jax
times.append(time.perf_counter())
print(json.dumps({"jax": times[1] - times[0], "nst_jax": times[2] - times[1]}))
"""


def run_start(args):
    """From the start of a command to its first step, with an empty cache of compiled programs and
    with a full one, and the imports that are part of it."""
    raw = {"cold": [], "warm": [], "imports": []}
    with tempfile.TemporaryDirectory() as folder:
        for index in range(2):
            nst.write_image(
                f"{folder}/{index}.png",
                np.random.default_rng(index).random((args.size[0], args.size[0], 3)),
            )
        for count in range(args.rounds):
            environment = {**os.environ, "XDG_CACHE_HOME": f"{folder}/cache{count}"}
            for kind in ("cold", "warm"):
                words = [
                    sys.executable,
                    "-m",
                    "nst_jax",
                    "stylize",
                    "0.png",
                    "1.png",
                    "--network",
                    "vgg16",
                    "--size",
                    str(args.size[0]),
                ]
                words += ["--num-steps", "500", "--overwrite"]
                screen, terminal = pty.openpty()
                termios.tcsetwinsize(screen, (24, 80))
                started = time.perf_counter()
                with subprocess.Popen(
                    words, cwd=folder, env=environment, stderr=terminal, stdout=subprocess.DEVNULL
                ) as process:
                    os.close(terminal)
                    # the bar appears after the first step
                    seconds = wait_for(screen, b"/500") - started
                    process.send_signal(signal.SIGKILL)
                os.close(screen)
                raw[kind].append({"seconds": seconds})
            timed = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, check=True)
            raw["imports"].append(json.loads(timed.stdout))
    rows = [
        [f"{args.size[0]}²", f"first step shown, {kind} cache", spread(raw[kind])]
        for kind in ("cold", "warm")
    ]
    for name, what in (("jax", "import jax"), ("nst_jax", "import nst_jax, after it")):
        rows.append(["", what, spread(raw["imports"], name)])
    return raw, table(["pixels", "what", "seconds"], rows), None


def run_controls(args):
    """A step of a descent with each control, against one without."""
    rows, raw = [], {}
    for size in args.size:
        common = {"size": size, "num_steps": args.num_steps}
        names = ["none", *(name for name in args.control if name != "none")]
        sides = {name: ("controlled", common | {"control": name}) for name in names}
        found = raw[size] = take_turns(sides, args.rounds)
        for name, own in found.items():
            peak_bytes = f"{middle(own, 'peak_bytes') / 1e9:.2f}"
            against = f"{ratio(found['none'], own):.3f} ×"
            rows.append([f"{size}²", name, spread(own), against, peak_bytes])
    heads = ["pixels", "control", "seconds", "against none", "peak GB"]
    return raw, table(heads, rows), None


def run_memory(args):
    """Peak memory of a process that evaluates loss and gradient, against pixels."""
    kinds = {"nst_jax": {}, **{f"nst_jax, tiles of {tile}": {"tile": tile} for tile in args.tile}}
    rows, raw = [], {}
    for size in args.size:
        for name, options in kinds.items():
            if (options.get("tile", size) < size) or (not options and size <= args.whole_up_to):
                raw.setdefault(name, {})[size] = measure(
                    "nst_jax", {"size": size, "repeats": 1, **options}
                )
        for name, memory_format in PEERS.items():
            if size <= args.peers_up_to:
                raw.setdefault(name, {})[size] = measure(
                    "torch", {"size": size, "repeats": 1, "memory_format": memory_format}
                )
    whole = raw.get("nst_jax", {})
    for name, by_size in raw.items():
        for size, found in by_size.items():
            times = f"{found['seconds'] / whole[size]['seconds']:.2f} ×" if size in whole else ""
            rows.append(
                [
                    name,
                    f"{size}²",
                    f"{found['peak_bytes'] / 1e9:.2f}",
                    f"{found['seconds']:.2f}",
                    times,
                ]
            )
    heads = ["what", "pixels", "peak GB", "seconds", "against the whole image"]
    series = {
        name: [(size**2, found["peak_bytes"] / 2**30) for size, found in by_size.items()]
        for name, by_size in raw.items()
    }
    return raw, table(heads, rows), plot(series, "pixels", "peak memory of the process, GiB")


def run_scale(args):
    """Seconds against pixels, lanes, and simulated devices."""
    pixels = {
        size: take_turns(
            {"nst_jax": ("nst_jax", {"size": size, "repeats": args.repeats})}, args.rounds
        )
        for size in args.size
    }
    base = {"size": args.lane_size, "num_steps": args.num_steps}
    by_lanes = take_turns(
        {lanes: ("study", base | {"lanes": lanes}) for lanes in args.lanes}, args.rounds
    )
    by_devices = take_turns(
        {
            devices: (
                "study",
                base | {"lanes": max(args.devices)},
                {
                    "XLA_FLAGS": (
                        f"{os.environ.get('XLA_FLAGS', '')} "
                        f"--xla_force_host_platform_device_count={devices}"
                    )
                },
            )
            for devices in args.devices
        },
        args.rounds,
    )
    rows, series = [], {}
    found = {
        "pixels": {size**2: by_side["nst_jax"] for size, by_side in pixels.items()},
        "lanes": by_lanes,
        f"simulated devices for {max(args.devices)} lanes": by_devices,
    }
    for what, by_count in found.items():
        # the smallest is left out of the comparison
        second = list(by_count)[min(1, len(by_count) - 1)]
        for count, measured in by_count.items():
            linear = middle(by_count[second]) * (1 if "devices" in what else count / second)
            rows.append([what, count, spread(measured), f"{middle(measured) / linear:.2f} ×"])
        series[what] = [(count, middle(measured)) for count, measured in by_count.items()]
    heads = ["what", "number", "seconds", "against growth in line with the second"]
    return (
        found,
        table(heads, rows),
        [plot({what: points}, what, "seconds") for what, points in series.items()],
    )


def run_accelerator(args):
    """Loss and gradient, steps, runs, lanes and memory on a GPU or TPU, beside PyTorch on the same
    card."""
    return benchmark_accelerator.report(args, functools.partial(measure_in, ACCELERATOR), table)


def run_time_to_loss(args):
    """How long until the picture is as good as the one that the paper's author's descent ends with,
    and until its loss is what that descent reports, of pixels that leave [0, 1]; start-up and
    compilation count on this side alone."""
    pairs = [
        (Path(content), Path(style), int(size))
        for content, style, size in (pair.split(",") for pair in args.pair)
    ]
    by = versions_of(args.python)
    rows, raw = [], {}
    for content, style, size in pairs:
        name = f"{content.stem} × {style.stem}, {size}"
        common = {
            "content": str(content),
            "style": str(style),
            "size": size,
            "num_steps": args.num_steps,
            "scaling": args.scaling,
        }
        common |= {"content_weight": args.content_weight, "style_weight": args.style_weight}
        raw[name] = {"nst_jax": [], "reference": []}
        pictures = {
            side: Path(args.output_dir, f"{content.stem}_{style.stem}_{side}.png")
            for side in raw[name]
        }
        for _ in range(args.rounds):
            for side, found in raw[name].items():
                found.append(
                    measure(
                        f"{side}_descent",
                        common | {"picture": str(pictures[side])},
                        python=args.python if side == "nst_jax" else sys.executable,
                    )
                )
                print(f"  {name}: {side}", file=sys.stderr, flush=True)
        own, other = raw[name]["nst_jax"], raw[name]["reference"]
        for mine, theirs in zip(own, other, strict=True):
            mine["final_ratio"] = (
                min(mine["losses"][place] for place in at_full_size(mine)) / theirs["picture_loss"]
            )
        rows.append(
            [
                *(
                    name,
                    f"{statistics.median(row['seconds'][-1] for row in other):.0f}",
                    f"{middle(own, 'total'):.0f}",
                ),
                time_until(own, other, [row["picture_loss"] for row in other]),
                f"{middle(own, 'final_ratio'):.3f} ×",
                time_until(
                    own,
                    other,
                    [min(loss for loss in row["losses"] if loss == loss) for row in other],
                ),
            ]
        )
        columns = [
            nst.read_image(path, size=size)
            for path in (content, style, pictures["reference"], pictures["nst_jax"])
        ]
        sheet = nst.make_labelled_sheet(
            [columns],
            column_labels=["content", "style", "torch.optim.LBFGS, 500", "nst_jax, default"],
            cell=384,
        )
        nst.write_image(
            Path(args.output_dir, f"time_to_loss_{content.stem}_{style.stem}_{size}.jpg"), sheet
        )
        for picture in pictures.values():
            picture.unlink()
    heads = [
        "pictures",
        "reference, s",
        "nst_jax, all its steps, s",
        "time to the loss of the reference's picture",
        "final loss",
    ]
    heads += ["time to the loss that the reference reports"]
    return raw | {"nst_jax by": by}, f"{named(by)}\n\n{table(heads, rows)}", None


def at_full_size(own):
    """The places of the evaluations that were made at full size."""
    return [place for place, size in enumerate(own["sizes"]) if size == max(own["sizes"])]


def time_until(own, other, wanted):
    """The share of the reference's time until the losses wanted, one a round, and the first round's
    step."""
    reached = [
        next((place for place in at_full_size(mine) if mine["losses"][place] <= loss), None)
        for mine, loss in zip(own, wanted, strict=True)
    ]
    if None in reached:
        return "not reached"
    shares = [
        mine["seconds"][place] / theirs["seconds"][-1]
        for mine, theirs, place in zip(own, other, reached, strict=True)
    ]
    return f"{statistics.median(shares):.2f} × (step {reached[0] + 1})"


def plot(series, x_label, y_label):
    """Lines over doubly logarithmic axes, as a function that writes them."""

    def write(path):
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, StrMethodFormatter

        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot(xscale="log", yscale="log", xlabel=x_label, ylabel=y_label)
        for name, points in series.items():
            axes.plot(*zip(*points, strict=True), "o-", label=name)
        measured = sorted({x for points in series.values() for x, _ in points})
        axes.set_xticks(measured, [f"{x:,}" for x in measured])
        axes.set_xticks([], minor=True)
        axes.yaxis.set_minor_locator(LogLocator(subs=(1.5, 2, 3, 4, 5, 7)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
        axes.grid(alpha=0.3, which="both")
        if len(series) > 1:
            axes.legend()
        figure.savefig(path, dpi=100)

    return write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name, run, rounds, **sizes):
        command = commands.add_parser(
            name, help=run.__doc__.partition("\n")[0], description=run.__doc__
        )
        command.set_defaults(run=run)
        command.add_argument("--rounds", type=int, default=rounds)
        command.add_argument("--output-dir", default="docs/benchmarks", help="default: %(default)s")
        if sizes:
            command.add_argument("--size", type=int, nargs="+", **sizes)
        return command

    step = add("step", run_step, 5, default=[256, 512, 1024], help="height and width in pixels")
    step.add_argument(
        "--repeats", type=int, default=3, help="evaluations in a process after the first"
    )
    step.add_argument(
        "--lanes-up-to",
        type=int,
        default=256,
        help="largest size at which eight lanes are measured",
    )
    step.add_argument(
        "--autocast-up-to",
        type=int,
        default=1024,
        help="largest size at which PyTorch's bfloat16 is measured, minutes where a CPU has none",
    )
    add("start", run_start, 3, default=[512], help="height and width in pixels")
    own = add("controls", run_controls, 3, default=[256], help="height and width in pixels")
    own.add_argument("--num-steps", type=int, default=21, help="of which the first is not timed")
    names = list(controls())
    own.add_argument("--control", nargs="+", choices=names, default=names, metavar="NAME")
    memory = add(
        "memory", run_memory, 1, default=[256, 512, 1024, 2048], help="heights and widths in pixels"
    )
    memory.add_argument("--tile", type=int, nargs="+", default=[512])
    memory.add_argument(
        "--whole-up-to", type=int, default=1024, help="largest size that is evaluated whole"
    )
    memory.add_argument(
        "--peers-up-to", type=int, default=1024, help="largest size that PyTorch evaluates"
    )
    scale = add(
        "scale", run_scale, 3, default=[128, 256, 512, 1024], help="heights and widths in pixels"
    )
    scale.add_argument("--repeats", type=int, default=3)
    scale.add_argument("--lanes", type=int, nargs="+", default=[1, 2, 4, 8])
    scale.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4])
    scale.add_argument("--lane-size", type=int, default=128)
    scale.add_argument("--num-steps", type=int, default=10)
    descent = add("time-to-loss", run_time_to_loss, 1)
    descent.add_argument("--pair", nargs="+", required=True, metavar="CONTENT,STYLE,SIZE")
    descent.add_argument("--num-steps", type=int, default=500, help="closures of the reference")
    descent.add_argument("--scaling", default="mean")
    descent.add_argument("--content-weight", type=float, default=1.0)
    descent.add_argument("--style-weight", type=float, default=1.0)
    for command in (step, descent):
        command.add_argument(
            "--python",
            default=sys.executable,
            help="interpreter of nst_jax's sides, where PyTorch needs another",
        )
    card = add(
        "accelerator",
        run_accelerator,
        1,
        default=[512, 1024, 2048],
        help="heights and widths in pixels",
    )
    card.set_defaults(output_dir="accelerator")  # the page about it is written by hand
    card.add_argument("--precision", nargs="+", default=benchmark_accelerator.PRECISIONS)
    card.add_argument("--network", help="a file of VGG-19's weights; seeded ones if left out")
    card.add_argument(
        "--peers-up-to", type=int, default=2048, help="largest size that PyTorch evaluates"
    )
    card.add_argument(
        "--run-size", type=int, nargs="+", default=[512, 1024], help="sizes of whole runs"
    )
    card.add_argument("--num-steps", type=int, default=500, help="steps of whole runs")
    card.add_argument("--lanes", type=int, nargs="+", default=[1, 4, 16, 64])
    card.add_argument("--lane-size", type=int, default=256)
    card.add_argument("--lane-steps", type=int, default=100)
    card.add_argument("--memory-size", type=int, nargs="*", default=[2048, 4096])
    card.add_argument(
        "--matrix",
        type=int,
        default=8192,
        help="side of the matrices of which the card's rate is taken",
    )
    card.add_argument("--repeats", type=int, default=20)
    card.add_argument(
        "--seconds", type=float, default=480, help="in all; what does not fit is left out"
    )
    args = parser.parse_args()

    folder = Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    versions = {name: version(name) for name in ("jax", "torch", "numpy") if find_spec(name)}
    raw, text, plots = args.run(args)
    machine = {
        **versions,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "processor": processor(),
    }
    print(", ".join(f"{key} {value}" for key, value in machine.items()), text, sep="\n\n")
    settings = {
        name: value
        for name, value in vars(args).items()
        if name not in ("run", "output_dir", "pair", "python")
    }
    (folder / f"{args.command}.json").write_text(
        json.dumps({"machine": machine, "settings": settings, "found": raw}, indent=1) + "\n"
    )
    (folder / f"{args.command}.md").write_text(
        f"{', '.join(f'{key} {value}' for key, value in machine.items())}\n\n{text}\n"
    )
    for index, write in enumerate(plots if isinstance(plots, list) else [plots] if plots else []):
        write(folder / f"{args.command}{f'_{index + 1}' if isinstance(plots, list) else ''}.png")


def processor() -> str:
    """What the operating system calls it."""
    try:
        return next(
            line.partition(": ")[2]
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    main()
