"""Images per second of the loaders, from memory and from disk, against those of a round, and what a round loses.

    python benchmarks/loading.py [--side 64] [--images 20000] [--workers 0,2,4] [--seconds 4]

The same random RGB images in four forms: in memory; an .npy that is mapped; an npz of numpy.savez that is mapped; PNG
files.  From disk means data.memory=0, so that each batch is read by `data.workers` processes (0: by the main process).
The files were just written, so that they are in the page cache of the system: a cold disk adds its own time.

Columns: images/s of the loader alone; its ratio to the images/s of rounds with the images in memory, of the perceptron
and of DCGAN; and the images/s of the perceptron trained from it, relative to memory.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from gpu import train
from PIL import Image
from record import record

from saddlepoint.config.compose import compose
from saddlepoint.experiment.build import load_data

BATCH = 64


def write_images(folder: Path, n: int, side: int, files: int) -> dict[str, Path]:
    """Write n random images as .npy and npz, and the first of them as PNG files; return the paths."""
    x = np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8)
    np.save(folder / "images.npy", x)
    np.savez(folder / "images.npz", x=x)
    (folder / "png").mkdir()
    for i in range(files):
        Image.fromarray(x[i]).save(folder / "png" / f"{i:06}.png")
    return {"memory": folder / "images.npy", "npy": folder / "images.npy", "npz": folder / "images.npz",
            "png": folder / "png"}  # fmt: skip


def loader_rate(overrides: list[str], seconds: float) -> float:
    """Return the images per second of the training batches alone, after the first ten."""
    batches = load_data(compose(overrides)).training_batches()
    for _ in range(10):
        next(batches)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next(batches)
        count += 1
    return count * BATCH / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=64, help="32 or 64 pixels")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--files", type=int, default=2_000, help="of them as PNG")
    parser.add_argument("--workers", default="0,2,4")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    given = parser.parse_args()
    shared = ["data=image_folder", "data.extractor=null", f"batch={BATCH}", "metric=[]", "logger=none", "callback=[]",
              "images=1_000_000_000"]  # fmt: skip
    numbers: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(Path(folder), given.images, given.side, given.files)
        rounds = {}
        memory_overrides = [*shared, f"data.folder={paths['memory']}", "data.memory=1_000_000_000_000"]
        for architecture in ("mlp", "dcgan"):
            clock = train([*memory_overrides, f"architecture={architecture}"], "eager", given.seconds, 5)
            rounds[architecture] = clock.images_per_second(BATCH)
            print(f"{architecture}: {rounds[architecture]:,.0f} images/s with the images in memory", flush=True)
        for form, path in paths.items():
            for workers in [0] if form == "memory" else map(int, given.workers.split(",")):
                memory = 10**12 if form == "memory" else 0
                overrides = [*shared, f"data.folder={path}", f"data.memory={memory}", f"data.workers={workers}"]
                rate = loader_rate(overrides, given.seconds)
                speeds = []
                for where in (memory_overrides, overrides):  # one after the other, under the same load
                    clock = train([*where, "architecture=mlp"], "eager", given.seconds, 5)
                    speeds.append(clock.images_per_second(BATCH))
                trained = speeds[1] / speeds[0]
                print(
                    f"{form:6} workers={workers}: {rate:9,.0f} images/s, {rate / rounds['mlp']:6.1f} of the "
                    f"perceptron, {rate / rounds['dcgan']:7.1f} of DCGAN; trained from it, {trained:.2f} of memory",
                    flush=True,
                )  # fmt: skip
                label = f"{form}, {workers} workers"
                numbers |= {f"{label}, images/s": rate, f"{label}, trained": trained}
    record(f"loading, {given.side} x {given.side}", **numbers, **{f"{k} round, images/s": v for k, v in rounds.items()})


if __name__ == "__main__":
    main()
