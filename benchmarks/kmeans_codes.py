"""The anchor of code_accuracy, k-means on pixels: python benchmarks/kmeans_codes.py [number of seeds] [overrides]

The clusters, as many as classes, are fitted on the training and validation images without their classes, the maps from
clusters to classes on the same images with them, and the accuracies are those of the test images.
"""

import sys

import torch
from sklearn.cluster import KMeans
from torch import Tensor

import saddlepoint
from saddlepoint.data.data import Data
from saddlepoint.evaluation.code_map import confusion, majority, one_to_one


def rows(data: Data, names: list[str]) -> tuple[Tensor, Tensor]:
    """Return the pixels in [0, 1], [N, D], and the classes of splits."""
    splits = [data.split(name)[torch.arange(len(data.split(name)))] for name in names]
    return torch.cat([x.flatten(1) for x, _ in splits]) / 255, torch.cat([y for _, y in splits if y is not None])


def main() -> None:
    """Print the accuracies for each seed."""
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    data = saddlepoint.build(saddlepoint.compose(["data=mnist", "metric=[]", *sys.argv[2:]])).data
    (x, y), (test_x, test_y) = rows(data, ["train", "validation"]), rows(data, ["test"])
    k = int(data.classes or 0)
    for seed in seeds:
        means = KMeans(k, n_init=10, random_state=seed).fit(x.numpy())  # pyright: ignore[reportArgumentType]
        fitted = confusion(torch.as_tensor(means.labels_).long(), y, k, k)
        measured = confusion(torch.as_tensor(means.predict(test_x.numpy())).long(), test_y, k, k)
        print(
            f"seed {seed}: one-to-one {one_to_one(fitted).accuracy(measured):.4f}, "
            f"majority {majority(fitted).accuracy(measured):.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
