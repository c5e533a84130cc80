"""Seconds of training to a stated quality, with the same networks and optimizer: train, torchgan, Lightning's pattern.

    python benchmarks/quality.py data=mnist architecture=conv28 data.root=...   # any overrides of train
    python benchmarks/quality.py --target 15 --most 3_000_000 --between 32_000 --seeds 0,1,2

Quality: the Frechet distance of 10,000 samples to the training images by the shipped classifier `mnist`, measured every
`--between` images, outside of the clock.  The trainings are processes of their own (`peer.py`) and take turns between
two measurements.  `train` samples from its averaged weights, as it does by default; the others keep no average.  A
training that has not reached the target after `--most` images is given with its best distance.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from peer import PERIOD
from peers import PEERS, rotated, running
from record import record

from saddlepoint.config.compose import compose
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.experiment.build import load_data
from saddlepoint.extractor.classifier import Shipped
from saddlepoint.metric.frechet_distance import FrechetDistance
from saddlepoint.pixel import to_float
from saddlepoint.run.storage.archive import load_arrays


def distance(evaluator: Evaluator, path: Path, reals) -> float:
    """Return the Frechet distance of the samples in an npz."""
    x = torch.from_numpy(load_arrays(path)["x"]).permute(0, 3, 1, 2)
    chunks = iter(x.split(500))
    scores = evaluator(lambda n: to_float(next(chunks)[:n]), reals)
    return next(iter(scores.values())).value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=float, default=15.0)
    parser.add_argument("--most", type=int, default=3_000_000, help="images")
    parser.add_argument("--between", type=int, default=32_000, help="images between two measurements")
    parser.add_argument("--seeds", default="0", help="separated by commas")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("overrides", nargs="*", default=[], help="of saddlepoint train")
    given = parser.parse_args()
    overrides = given.overrides or ["data=mnist", "architecture=conv28"]
    config = compose([*overrides, "metric=[]", "logger=none"])
    reals = load_data(config).split("train")
    rounds = max(1, round(given.between / config.batch / PERIOD)) * PERIOD
    seconds: dict[str, list[float]] = {name: [] for name in PEERS}
    with tempfile.TemporaryDirectory() as folder:
        evaluator = Evaluator(
            Shipped("mnist"), {"fid": FrechetDistance()}, given.samples, "train", 500, Path(folder) / "cache"
        )
        for seed in map(int, given.seeds.split(",")):
            with running(list(PEERS), [*overrides, f"seed={seed}"]) as peers:
                clocks, best = dict.fromkeys(PEERS, 0.0), dict.fromkeys(PEERS, float("inf"))
                left = list(peers)
                for turn in range(1, given.most // (rounds * config.batch) + 1):
                    for peer in rotated(left, turn):
                        clocks[peer.name] += peer.ask(f"play {rounds}")["wall"]
                        peer.ask(f"sample {given.samples} {folder}/{peer.name}.npz")
                        fid = distance(evaluator, Path(folder) / f"{peer.name}.npz", reals)
                        best[peer.name] = min(best[peer.name], fid)
                        print(
                            f"seed {seed}, {turn * rounds * config.batch:,} images, {peer.name}: "
                            f"{clocks[peer.name]:.1f} s, FID {fid:.2f}", flush=True,
                        )  # fmt: skip
                        if fid <= given.target:
                            seconds[peer.name].append(clocks[peer.name])
                            left.remove(peer)
                    if not left:
                        break
                for peer in left:
                    seconds[peer.name].append(float("inf"))
                    print(f"seed {seed}: {peer.name} has not reached {given.target}; best {best[peer.name]:.2f}")
    numbers = {}
    for name, times in seconds.items():
        print(f"{name:12} {statistics.median(times):.1f} s to FID {given.target:g}; seeds {given.seeds}: {times}")
        median = statistics.median(times)
        numbers[f"{name} seconds"] = median if median < float("inf") else "not reached"
    record(f"time to FID {given.target:g}, {' '.join(o for o in overrides if 'root' not in o)}", **numbers)


if __name__ == "__main__":
    main()
