"""Kills runs and studies at random moments and compares what they come to with what they would have
come to.

    python scripts/survive.py run|study [--kills 50]
    python scripts/survive.py run|study --full-disk FOLDER

Each time the command is started in an empty folder, killed (SIGKILL), and given again until it
ends. Every second kill waits until a file is being written. Images and tables must be bit for bit
those of a command that nobody killed.

With `--full-disk`, FOLDER is the place of a small file system (`mount -t tmpfs -o size=24m tmpfs
FOLDER`), which is filled up but for less and less. The command must end well or with one line that
says what is wrong, leave what was there whole, and go on once there is room.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import nst_jax as nst

COMMANDS = {
    "run": [
        "stylize",
        "content.png",
        "style.png",
        "--output",
        "out/result.png",
        "--num-steps",
        "120",
        "--resume",
    ],
    "study": [
        "study",
        "content.png",
        "style.png",
        "--output-dir",
        "out",
        "--num-steps",
        "40",
        "--style-weight",
        "5",
        "50",
        "--init",
        "noise",
    ],
}
COMMON = ["--size", "96", "--network", "vgg16", "--checkpoint-every", "1e-3"]


def start(kind, folder):
    words = [sys.executable, "-m", "nst_jax", *COMMANDS[kind], *COMMON]
    return subprocess.Popen(
        words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    _, errors = process.communicate()
    if process.returncode:
        sys.exit(f"the command ended with {process.returncode}:\n{errors}")


def results(folder):
    """The files that must not depend on what happened on the way."""
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.suffix in (".png", ".csv")
    }
    left = [
        path.name
        for path in folder.rglob("*")
        if "checkpoint" in path.name or path.suffix in (".partial", ".lock")
    ]
    return found, left


def kill(process, folder, seconds, in_writing):
    """Kills the command after that long, or then at the next moment when a file is half written;
    says how far it had come."""
    time.sleep(seconds)
    while in_writing and process.poll() is None and not any((folder / "out").glob(".*.partial")):
        time.sleep(1e-4)
    half_written = any((folder / "out").glob(".*.partial"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    saved = any((folder / "out").glob("*.checkpoint*")) or any(
        (folder / "out").glob(".*.checkpoint*")
    )
    return (
        "while writing"
        if half_written
        else "with a checkpoint there"
        if saved
        else "before or after all checkpoints"
    )


def fill(folder, kind, wanted):
    """Runs the command with less and less room, and again once there is some."""
    same = 0
    rooms = [int(2**power) for power in np.arange(24, 11, -0.7)]
    for room in rooms:
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.name not in ("content.png", "style.png"):
                path.rmdir() if path.is_dir() else path.unlink()
        (folder / "out").mkdir()
        ballast = folder / "ballast"
        ballast.write_bytes(bytes(max(shutil.disk_usage(folder).free - room, 0)))
        process = start(kind, folder)
        _, errors = process.communicate()
        lines = [line for line in errors.splitlines() if line.startswith("nst-jax: error")]
        clear = process.returncode == 0 or (
            process.returncode == 2 and len(lines) == 1 and "Traceback" not in errors
        )
        broken = [path.name for path in folder.rglob("*.png") if not is_whole(path)]
        ballast.unlink()
        finish(start(kind, folder))
        found, left = results(folder)
        good = clear and not broken and found == wanted and not left
        same += good
        outcome = lines[0] if lines else f"status {process.returncode}"
        print(
            f"room for {room} bytes: {outcome}{'' if good else f' BAD {clear} {broken} {left}'}",
            flush=True,
        )
    print(f"{same} of {len(rooms)} clear, whole, and the same once there was room")
    sys.exit(same != len(rooms))


def is_whole(path):
    try:
        nst.read_image(path)
    except nst.ImageError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=COMMANDS)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full-disk", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    moments = random.Random(args.seed)
    images = np.random.default_rng(args.seed).random((2, 96, 80, 3))

    def fresh(folder):
        for name, image in zip(("content", "style"), images, strict=True):
            nst.write_image(Path(folder, f"{name}.png"), image)
        return Path(folder)

    with tempfile.TemporaryDirectory() as name:
        folder = fresh(name)
        finish(start(args.kind, folder))  # compiles
        for path in sorted((folder / "out").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        started = time.perf_counter()
        finish(start(args.kind, folder))
        seconds = time.perf_counter() - started
        wanted, _ = results(folder)
    print(
        (
            f"an uninterrupted {args.kind} takes {seconds:.1f} s and writes {len(wanted)} "
            "images and tables"
        ),
        flush=True,
    )

    if args.full_disk:
        fill(fresh(args.full_disk), args.kind, wanted)
    same, moments_hit = 0, {}
    for count in range(args.kills):
        with tempfile.TemporaryDirectory() as name:
            folder = fresh(name)
            moment = moments.uniform(0.2, 1.0) * seconds
            when = kill(start(args.kind, folder), folder, moment, in_writing=count % 2 == 1)
            moments_hit[when] = moments_hit.get(when, 0) + 1
            finish(start(args.kind, folder))
            found, left = results(folder)
            same += found == wanted and not left
            differing = [name for name in wanted if found.get(name) != wanted[name]] + left
            outcome = differing or "as if nothing had happened"
            print(f"{count + 1}: killed after {moment:.2f} s, {when}: {outcome}", flush=True)
    print(
        f"{same} of {args.kills} the same; killed "
        f"{', '.join(f'{number} × {when}' for when, number in moments_hit.items())}"
    )
    sys.exit(same != args.kills)


if __name__ == "__main__":
    main()
