"""How time grows with the batch, the resolution, the number of samples, of ranks, and of run folders.

    python benchmarks/growth.py [--only batch,resolution,samples,ranks,folders] [--seconds 4]

For each, seconds at several sizes and the exponent of the last doubling, log2 of its ratio: 1 is proportional to the
size, 0 does not depend on it.  The perceptron and R3GAN's blocks (32 channels) on random RGB images; samples are those
of the default game on digits, generated and measured by the default metrics; ranks are processes of this machine's CPU,
which share one global batch of 512.
"""

from __future__ import annotations

import argparse
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gpu import train
from record import record

import saddlepoint
from saddlepoint.callback.evaluation import Sampler
from saddlepoint.config.compose import compose
from saddlepoint.experiment.build import build

QUIET = ["metric=[]", "logger=none", "callback=[]", "images=1_000_000_000"]
Points = Iterator[tuple[int, float]]  # size and seconds


def of_batch(folder: Path, seconds: float) -> Points:
    for batch in (16, 32, 64, 128, 256, 512, 1024):
        clock = train([*QUIET, f"batch={batch}"], "eager", seconds, 20)
        yield batch, batch / clock.images_per_second(batch)


def of_resolution(folder: Path, seconds: float) -> Points:
    for side in (8, 16, 32, 64):
        np.savez(
            path := folder / f"{side}.npz", x=np.random.default_rng(0).integers(0, 256, (99, side, side, 3), np.uint8)
        )
        widths = f"widths=[{','.join(['32'] * int(math.log2(side) - 1))}]"
        sizes = [
            f"architecture.{player}.{key}" for player in ("discriminator", "generator") for key in (widths, "group=8")
        ]
        clock = train(
            [*QUIET, "data=image_folder", f"data.folder={path}", "data.extractor=null", "architecture=r3gan", *sizes,
             "batch=16"], "eager", seconds, 3,
        )  # fmt: skip
        yield side, 16 / clock.images_per_second(16)


def of_samples(folder: Path, seconds: float) -> Points:
    experiment = build(compose(["logger=none"]))
    for n in (1_250, 2_500, 5_000, 10_000, 20_000):
        experiment.evaluator.n = n
        start, count = time.perf_counter(), 0
        while not count or time.perf_counter() - start < seconds:
            Sampler(experiment.game, True, "running").evaluate(experiment.evaluator, experiment.data)
            count += 1
        yield n, (time.perf_counter() - start) / count


def of_ranks(folder: Path, seconds: float) -> Points:
    for devices in (1, 2):
        run = saddlepoint.train(compose(
            ["metric=[]", "logger=none", "callback=[]", "batch=512", "images=100_000", "device=cpu",
             f"devices={devices}", f"outputs={folder}", f"name=ranks{devices}", "threads=1"]
        ))  # fmt: skip
        yield devices, run.summary["seconds"] / 100_000 * 512


def of_folders(folder: Path, seconds: float) -> Points:
    for runs in (250, 500, 1_000):
        program = [
            sys.executable,
            Path(__file__).with_name("compare.py"),
            "--runs",
            str(runs),
            "--arms",
            str(runs // 5),
        ]
        printed = subprocess.run(program, capture_output=True, text=True, check=True).stdout
        yield runs, float(re.search(r"([\d.]+) s of CPU time", printed)[1])


OF = {"batch": (of_batch, "seconds per round, perceptron"),
      "resolution": (of_resolution, "seconds per round, R3GAN blocks, batch 16"),
      "samples": (of_samples, "seconds per evaluation"), "ranks": (of_ranks, "seconds per round, batch 512"),
      "folders": (of_folders, "seconds of CPU time of compare")}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(OF), help="separated by commas")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in given.only.split(","):
            points_of, what = OF[name]
            points = []
            for size, elapsed in points_of(Path(folder), given.seconds):
                points.append((size, elapsed))
                print(f"{name} {size:6,}: {elapsed:.5g} {what}", flush=True)
            (a, t), (b, u) = points[-2:]
            exponent = math.log(u / t) / math.log(b / a)
            print(f"{name}: exponent {exponent:.2f} at the end")
            record(f"growth with {name}", unit=what, points=points, exponent=exponent)


if __name__ == "__main__":
    main()
