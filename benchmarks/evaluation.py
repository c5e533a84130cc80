"""Seconds of one evaluation by a shipped classifier: 10,000 fakes against all training reals, cache cold and warm.

    python benchmarks/evaluation.py --root data [--fakes 10000] [--fresh] [--metric fid,inception_score,coverage]

MNIST: 50,000 reals, the classifier `mnist`, the default metrics. The fakes are stored reals of the held-out splits, so
that what is timed is the measuring; --fresh takes them from an untrained conv28 generator, as an evaluation does. Cold:
an empty cache folder, so the reals are read and their statistics written; warm: a second process would find them on
disk, so here a second Evaluator. Anchors are not asked for. One untimed pass over 1,000 images comes first.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch

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


def stored(data, n):
    """A sampler of n held-out images, and of training images where these do not suffice."""
    parts = [data.split(name) for name in ("test", "validation", "train")]
    x = torch.cat([part[torch.arange(min(len(part), n))][0] for part in parts])[:n]
    at = 0

    def sample(size):
        nonlocal at
        at = 0 if at + size > len(x) else at
        at += size
        return to_float(x[at - size : at])

    return sample


def fresh(root):
    """A sampler that plays an untrained generator."""
    game = build_game(compose(["data=mnist", f"data.root={root}", "architecture=conv28", "logger=none"]))
    return lambda size: game.sample(size)


def timed(folder, sample, data, arguments):
    """Seconds of one evaluation by a new Evaluator, whose cache is `folder`, and its scores."""
    metrics = {name: METRICS[name]() for name in arguments.metric.split(",")}
    evaluator = Evaluator(Shipped("mnist"), metrics, arguments.fakes, "train", 500, folder)
    start = time.perf_counter()
    scores = evaluator(sample, data.split("train"))
    return time.perf_counter() - start, scores


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default=os.environ.get("SADDLEPOINT_DATA", "data"), help="where MNIST lies")
    parser.add_argument("--fakes", type=int, default=10_000)
    parser.add_argument("--fresh", action="store_true", help="fakes of a generator instead of stored images")
    parser.add_argument("--metric", default=",".join(METRICS))
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    data = MNIST(root=arguments.root)
    data.prepare_data()
    data.setup("fit")
    sample, n_real = (
        fresh(arguments.root) if arguments.fresh else stored(data, arguments.fakes),
        len(data.split("train")),
    )
    Shipped("mnist")(data.split("test")[torch.arange(1000)][0])  # what a first pass sets up
    print(f"{n_real} reals, {arguments.fakes} fakes, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")
    seconds = {"cold": [], "warm": []}
    for _ in range(arguments.repeat):
        with tempfile.TemporaryDirectory() as folder:
            for state in seconds:
                took, scores = timed(Path(folder), sample, data, arguments)
                seconds[state].append(took)
    for state, images in {"cold": n_real + arguments.fakes, "warm": arguments.fakes}.items():
        best, middle = min(seconds[state]), statistics.median(seconds[state])
        print(f"{state}: {middle:.2f} s (best {best:.2f}), {images / middle:,.0f} images/s through the classifier")
    print(", ".join(f"{key} {score.value:.4g}" for key, score in scores.items()))


if __name__ == "__main__":
    main()
