"""Anchors: well-understood sets that are measured in the same way as a generator, to compare its scores with.

real                  images outside the reference split: the scores of a perfect generator
10, 100 memorised     10 or 100 images of the reference split, repeated: the scores of a generator that only copies
class means + noise   the mean image of each class plus N(0, 0.2^2) in units of [-1, 1] (for other modalities: in
                      standard deviations of the split), with the class frequencies: the scores of a very crude model

private class means + noise   of a private run: the same with class means of the same epsilon (`private_class_means`):
                      the scores of the simplest private model

and those of the modality (`Modality.anchors`), made from the images of "real": of audio, silence, and of spectrograms
also Griffin-Lim, the waveforms made from the spectrograms of real ones: the best scores that a generator of
spectrograms can have.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from saddlepoint.extractor.data_like import Rows, SplitLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.modality import modality_of
from saddlepoint.privacy.accountant import required_noise
from saddlepoint.stream import Stream

NOISE = 0.2
PRIVATE_MEANS = "private class means + noise"
Extract = Callable[[Iterable[Rows], int, str], Iterator[Features]]  # batches, total number, description of the samples


def anchor_sets(
    split: SplitLike,
    held_out: Sequence[SplitLike],
    classes: int | None,
    n: int,
    batch: int,
    seed: int,
    extract: Extract,
) -> Iterator[tuple[str, int, Iterable[Features]]]:
    """Yield the name, size and features of each anchor.

    Each has n samples, but "real" has at most as many as `held_out`, and is left out if that holds fewer than two.
    """
    total = sum(len(part) for part in held_out)
    chosen = _seeded_permutation(total, seed, "real")[:n]
    if total >= 2:
        yield "real", len(chosen), extract(_iterate_rows(held_out, chosen, batch), len(chosen), "real images")
    few = _seeded_permutation(len(split), seed, "memorised")[:100]
    known = Features.concatenate(extract((split[rows] for rows in few.split(batch)), len(few), "memorised images"))
    for number in (10, 100):
        # copies share the features of their image: features of 100 images are extracted, not of n
        repeated = (torch.arange(n) % min(number, len(few))).split(batch)
        yield f"{number} memorised", n, map(known.select, repeated)
    means = _noisy_means(split, classes or 1, n, batch, seed)
    samples = means if classes is not None else ((x, None) for x, _ in means)
    yield "class means + noise", n, extract(samples, n, "class means")
    if total >= 2:
        for name, anchor in modality_of(split).anchors().items():
            rows = _iterate_rows(held_out, chosen, batch)
            yield name, len(chosen), extract(((anchor(x), y) for x, y in rows), len(chosen), name)


def _noisy_means(split: SplitLike, classes: int, n: int, batch: int, seed: int) -> Iterator[Rows]:
    """Yield batches of noisy class means, float [<= batch, ...], and their classes; n samples in total."""
    means, labels, unit = _class_moments(split, classes, batch)
    stream = Stream(seed, "anchor/class means")
    for label in labels[stream.integers(len(labels), n)].split(batch):
        yield means[label] + NOISE * unit * stream.normal(len(label), *means.shape[1:]), label


def private_class_means(
    split: SplitLike, classes: int | None, n: int, batch: int, seed: int, epsilon: float, delta: float
) -> Iterator[Rows]:
    """Yield batches of noisy class means, and their classes, that are (epsilon, delta)-differentially private.

    With d numbers per image in [-1, 1], one image more or less changes one class's (sum of images / sqrt(d), number of
    images) by a vector of norm at most sqrt(2). The Gaussian mechanism adds N(0, 2 sigma^2) to these numbers of every
    class; means and class frequencies are computed from the results. sigma is that of `required_noise` for one step on
    all images. Only for bounded samples.
    """
    means, labels, _ = _class_moments(split, classes or 1, batch)
    count, size = labels.bincount(minlength=classes or 1).double(), means[0].numel()
    stream, noise = Stream(seed, "anchor/private class means"), required_noise(1.0, 1, epsilon, delta) * math.sqrt(2)
    total = means.double().flatten(1) * count[:, None] + noise * math.sqrt(size) * stream.normal(len(means), size)
    count = (count + noise * stream.child("count").normal(len(means), 1).flatten()).clamp(min=1)
    private = (total / count[:, None]).clamp(-1, 1).to(means.dtype).view_as(means)
    drawn = torch.bucketize(stream.child("class").uniform(n, 1).flatten().double(), (count / count.sum()).cumsum(0))
    for label in drawn.clamp(max=len(means) - 1).split(batch):
        x = private[label] + NOISE * stream.child("pixels").normal(len(label), *means.shape[1:])
        yield x, None if classes is None else label


def _class_moments(split: SplitLike, classes: int, batch: int) -> tuple[Tensor, Tensor, Tensor | float]:
    """Class means [K, ...], all labels [N], and the unit of the noise.  Unlabelled samples count as one class."""
    modality = modality_of(split)
    shape = modality.to_float(split[torch.tensor([0])][0]).shape[1:]
    total, squares = torch.zeros(classes, *shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    labels: list[Tensor] = []
    for x, y in split.batches(batch):
        x = modality.to_float(x).to(torch.float64)
        labels.append(torch.zeros(len(x), dtype=torch.int64) if y is None else y)
        total.index_add_(0, labels[-1], x)
        squares += x.square().sum(0)
    every = torch.cat(labels)
    count = every.bincount(minlength=classes).clamp(min=1)  # avoids 0 / 0 for a class without images
    means = total / count.view(-1, *[1] * len(shape))
    variance = (squares - total.sum(0).square() / len(every)) / len(every)
    return means.to(torch.float32), every, 1.0 if modality.planar else variance.clamp(min=0).sqrt().to(torch.float32)


def _iterate_rows(parts: Sequence[SplitLike], index: Tensor, batch: int) -> Iterator[Rows]:
    """Yield the samples at `index` of the concatenated splits, in the order of the index."""
    ends = torch.tensor([len(part) for part in parts]).cumsum(0)
    for rows in index.split(batch):
        owner = torch.bucketize(rows, ends, right=True)
        back = owner.argsort(stable=True).argsort()  # from the order of the splits to that of `rows`
        owners = [i for i in range(len(parts)) if bool((owner == i).any())]
        batches = [parts[i][rows[owner == i] - (ends[i] - len(parts[i]))] for i in owners]
        labels = [y for _, y in batches if y is not None]
        # concatenated and then reordered: torch has no index_put of uint16
        x = torch.cat([x for x, _ in batches])[back]
        yield x, torch.cat(labels)[back] if len(labels) == len(batches) else None


def _seeded_permutation(n: int, seed: int, name: str) -> Tensor:
    return torch.randperm(n, generator=Stream(seed, f"anchor/{name}").generator)
