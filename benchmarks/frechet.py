"""Seconds of the Frechet step, from means and covariances to the distance: ours against three others, in one run.

    python benchmarks/frechet.py [features=2048] [samples=10000] [repeats=5]

The others are torchmetrics (eigenvalues of the product, torch), torch-fidelity (the same, numpy) and the textbook's
scipy.linalg.sqrtm of the product.  Features have a decaying spectrum, variances as 1 / i, mixed by a random rotation,
and the fakes' are wider by a tenth.  Rounds alternate, so that a busy machine is busy for all; prints each, the
medians, and the ratios to ours of the same round; agreement is relative to the sum of the traces.  The first round
warms up and is not counted.
"""

import statistics
import sys
import time

import numpy as np
import scipy.linalg
import torch
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torchmetrics.image.fid import _compute_fid

from saddlepoint.metric.frechet_distance import frechet_distance


def gaussians(d, n):
    """Means and covariances of n samples of each side."""
    draws = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(d, d, generator=draws, dtype=torch.float64)).Q
    widths = torch.arange(1, d + 1, dtype=torch.float64).rsqrt()
    found = []
    for scale in (1.0, 1.1):
        x = scale * torch.randn(n, d, generator=draws, dtype=torch.float64) * widths @ rotation + scale
        found += [x.mean(0), torch.cov(x.T)]
    return found


def fidelity(mu1, sigma1, mu2, sigma2):
    one, two = ({"mu": mu.numpy(), "sigma": sigma.numpy()} for mu, sigma in ((mu1, sigma1), (mu2, sigma2)))
    return fid_statistics_to_metric(one, two, False)["frechet_inception_distance"]


def textbook(mu1, sigma1, mu2, sigma2):
    root = np.trace(scipy.linalg.sqrtm(sigma1.numpy() @ sigma2.numpy())).real
    return float((mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace()) - 2 * root


WAYS = {"ours": frechet_distance, "torchmetrics": _compute_fid, "torch-fidelity": fidelity, "sqrtm": textbook}


def main():
    d, n, repeats = [*map(int, sys.argv[1:]), *(2048, 10_000, 5)[len(sys.argv) - 1 :]]
    given = gaussians(d, n)
    traces = (given[1].trace() + given[3].trace()).item()
    seconds = {name: [] for name in WAYS}
    for number in range(repeats + 1):
        values = {}
        for name, way in WAYS.items():
            start = time.perf_counter()
            values[name] = float(way(*given))
            if number:
                seconds[name].append(time.perf_counter() - start)
        if number:
            print("  ".join(f"{name} {seconds[name][-1]:.2f} s" for name in WAYS), flush=True)
    print(f"\nd = {d}, n = {n}, {torch.get_num_threads()} threads; median of {repeats} rounds")
    for name, taken in seconds.items():
        ratio = statistics.median(theirs / ours for theirs, ours in zip(taken, seconds["ours"], strict=True))
        apart = abs(values[name] - values["ours"]) / traces
        print(f"{name:15} {statistics.median(taken):6.2f} s   {ratio:5.1f} times ours   {apart:.1e} of the traces away")


if __name__ == "__main__":
    main()
