"""Seconds per evaluation with a shipped classifier: 10,000 fakes against all training reals, with cold and warm cache.

    python benchmarks/evaluation.py --root data [--fakes 10000] [--fresh] [--metric fid,inception_score,coverage]

MNIST: 50,000 reals, the classifier `mnist`, the default metrics. Fakes are reals of the held-out splits, so that only
the evaluation is timed; with --fresh they come from an untrained conv28 generator. Cold: an empty cache folder, so the
reals are processed and their statistics written. Warm: a second Evaluator finds them on disk, like a second process.
Without anchors. One untimed pass over 1,000 images comes first.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from record import record

from saddlepoint.config.compose import compose
from saddlepoint.data.mnist import MNIST
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.experiment.build import build_game
from saddlepoint.extractor.classifier import Shipped
from saddlepoint.metric.coverage import Coverage
from saddlepoint.metric.frechet_distance import FrechetDistance
from saddlepoint.metric.inception_score import InceptionScore
from saddlepoint.pixel import to_float

METRICS = {"fid": FrechetDistance, "inception_score": InceptionScore, "coverage": Coverage}


def held_out_sampler(data, n):
    """Return a sampler of n held-out images, then training images if these are too few."""
    splits = [data.split(name) for name in ("test", "validation", "train")]
    x = torch.cat([split[torch.arange(min(len(split), n))][0] for split in splits])[:n]
    at = 0

    def sample(size):
        nonlocal at
        at = 0 if at + size > len(x) else at
        at += size
        return to_float(x[at - size : at])

    return sample


def generator_sampler(root):
    """Return a sampler of an untrained generator."""
    game = build_game(compose(["data=mnist", f"data.root={root}", "architecture=conv28", "logger=none"]))
    return lambda size: game.sample(size)


def time_evaluation(folder, sample, data, arguments):
    """Return the seconds of one evaluation by a new Evaluator with the cache `folder`, and its scores."""
    metrics = {name: METRICS[name]() for name in arguments.metric.split(",")}
    evaluator = Evaluator(Shipped("mnist"), metrics, arguments.fakes, "train", 500, folder)
    start = time.perf_counter()
    scores = evaluator(sample, data.split("train"))
    return time.perf_counter() - start, scores


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default=os.environ.get("SADDLEPOINT_DATA", "data"), help="folder of MNIST")
    parser.add_argument("--fakes", type=int, default=10_000)
    parser.add_argument("--fresh", action="store_true", help="take fakes from a generator instead of stored images")
    parser.add_argument("--metric", default=",".join(METRICS))
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    data = MNIST(root=arguments.root)
    data.prepare_data()
    data.setup("fit")
    sample, n_real = (
        generator_sampler(arguments.root) if arguments.fresh else held_out_sampler(data, arguments.fakes),
        len(data.split("train")),
    )
    Shipped("mnist")(data.split("test")[torch.arange(1000)][0])  # warm-up
    print(f"{n_real} reals, {arguments.fakes} fakes, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")
    seconds = {"cold": [], "warm": []}
    for _ in range(arguments.repeat):
        with tempfile.TemporaryDirectory() as folder:
            for state in seconds:
                elapsed, scores = time_evaluation(Path(folder), sample, data, arguments)
                seconds[state].append(elapsed)
    numbers = {}
    for state, images in {"cold": n_real + arguments.fakes, "warm": arguments.fakes}.items():
        best, median = min(seconds[state]), statistics.median(seconds[state])
        print(f"{state}: {median:.2f} s (best {best:.2f}), {images / median:,.0f} images/s through the classifier")
        numbers[f"{state}, seconds"] = median
    print(", ".join(f"{key} {score.value:.4g}" for key, score in scores.items()))
    record(f"evaluation of {arguments.fakes:,} samples of MNIST", **numbers)


if __name__ == "__main__":
    main()
