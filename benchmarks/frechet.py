"""Seconds from means and covariances to the Frechet distance: this package against three other implementations.

    python benchmarks/frechet.py [features=2048] [samples=10000] [repeats=5]

The others are torchmetrics (eigenvalues of the product, torch), torch-fidelity (the same, numpy) and the textbook
formula, scipy.linalg.sqrtm of the product.  Features have variances 1 / i, mixed by a random rotation; those of fakes
are larger by a tenth in deviation.  Implementations alternate, so that load affects all of them.  Prints each round,
the medians and the ratios within a round; differences are relative to the sum of the traces.  The first round is a
warm-up.
"""

import statistics
import sys
import time

import numpy as np
import scipy.linalg
import torch
from record import record
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torchmetrics.image.fid import _compute_fid

from saddlepoint.metric.frechet_distance import frechet_distance


def gaussians(d, n):
    """Return the means and covariances of n reals and n fakes."""
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q
    widths = torch.arange(1, d + 1, dtype=torch.float64).rsqrt()
    moments = []
    for scale in (1.0, 1.1):
        x = scale * torch.randn(n, d, generator=generator, dtype=torch.float64) * widths @ rotation + scale
        moments += [x.mean(0), torch.cov(x.T)]
    return moments


def fidelity(mu1, sigma1, mu2, sigma2):
    one, two = ({"mu": mu.numpy(), "sigma": sigma.numpy()} for mu, sigma in ((mu1, sigma1), (mu2, sigma2)))
    return fid_statistics_to_metric(one, two, False)["frechet_inception_distance"]


def textbook(mu1, sigma1, mu2, sigma2):
    root = np.trace(scipy.linalg.sqrtm(sigma1.numpy() @ sigma2.numpy())).real
    return float((mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace()) - 2 * root


IMPLEMENTATIONS = {
    "ours": frechet_distance,
    "torchmetrics": _compute_fid,
    "torch-fidelity": fidelity,
    "sqrtm": textbook,
}


def main():
    d, n, repeats = [*map(int, sys.argv[1:]), *(2048, 10_000, 5)[len(sys.argv) - 1 :]]
    inputs = gaussians(d, n)
    traces = (inputs[1].trace() + inputs[3].trace()).item()
    seconds = {name: [] for name in IMPLEMENTATIONS}
    for number in range(repeats + 1):
        values = {}
        for name, distance in IMPLEMENTATIONS.items():
            start = time.perf_counter()
            values[name] = float(distance(*inputs))
            if number:
                seconds[name].append(time.perf_counter() - start)
        if number:
            print("  ".join(f"{name} {seconds[name][-1]:.2f} s" for name in IMPLEMENTATIONS), flush=True)
    print(f"\nd = {d}, n = {n}, {torch.get_num_threads()} threads; median of {repeats} rounds")
    numbers = {}
    for name, times in seconds.items():
        ratio = statistics.median(theirs / ours for theirs, ours in zip(times, seconds["ours"], strict=True))
        difference = abs(values[name] - values["ours"]) / traces
        print(f"{name:15} {statistics.median(times):6.2f} s   {ratio:5.1f} times ours   {difference:.1e} of traces")
        numbers |= {f"{name}, seconds": statistics.median(times), f"{name} ratio": ratio}
    record(f"Frechet distance, d = {d}, n = {n}", **numbers)


if __name__ == "__main__":
    main()
