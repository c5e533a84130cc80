"""Anchors: sets that everybody understands, measured as a generator is, for its scores to be read against.

real                  images outside the reference split: what a perfect generator would get
10, 100 memorised     so many images of the reference split, over and over: what the metric gives a parrot
class means + noise   each class's mean image plus N(0, 0.2^2) in units of [-1, 1] (of other samples: in standard
                      deviations of the split), in the classes' frequencies: what it gives the coarsest of models
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from saddlepoint.extractor.data_like import Rows, SplitLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.modality import modality_of
from saddlepoint.stream import Stream

NOISE = 0.2
Extract = Callable[[Iterable[Rows], int, str], Iterator[Features]]  # batches, how many in all, what they are


def anchor_sets(
    split: SplitLike,
    held_out: Sequence[SplitLike],
    classes: int | None,
    n: int,
    batch: int,
    seed: int,
    extract: Extract,
) -> Iterator[tuple[str, int, Iterable[Features]]]:
    """Name, size and features of each: n samples, or all of the real ones that are held out where those are fewer.

    Without two real ones held out there is no anchor of that name.
    """
    total = sum(len(part) for part in held_out)
    if total >= 2:
        chosen = _permutation(total, seed, "real")[:n]
        yield "real", len(chosen), extract(_rows(held_out, chosen, batch), len(chosen), "real images")
    few = _permutation(len(split), seed, "memorised")[:100]
    known = Features.concatenate(extract((split[part] for part in few.split(batch)), len(few), "memorised images"))
    for number in (10, 100):
        # a copy's features are the image's own: 100 are extracted, not n
        again = (torch.arange(n) % min(number, len(few))).split(batch)
        yield f"{number} memorised", n, map(known.select, again)
    means = _noisy_means(split, classes or 1, n, batch, seed)
    labelled = means if classes is not None else ((x, None) for x, _ in means)
    yield "class means + noise", n, extract(labelled, n, "class means")


def _noisy_means(split: SplitLike, classes: int, n: int, batch: int, seed: int) -> Iterator[Rows]:
    """float [<= batch, ...] and their classes, n in all."""
    means, labels, unit = _moments(split, classes, batch)
    stream = Stream(seed, "anchor/class means")
    for part in labels[stream.integers(len(labels), n)].split(batch):
        yield means[part] + NOISE * unit * stream.normal(len(part), *means.shape[1:]), part


def _moments(split: SplitLike, classes: int, batch: int) -> tuple[Tensor, Tensor, Tensor | float]:
    """The classes' means [K, ...], every label [N], and the unit of the noise; without labels all are of one class."""
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
    count = every.bincount(minlength=classes).clamp(min=1)  # a class without images is never drawn
    means = total / count.view(-1, *[1] * len(shape))
    variance = (squares - total.sum(0).square() / len(every)) / len(every)
    return means.to(torch.float32), every, 1.0 if modality.planar else variance.clamp(min=0).sqrt().to(torch.float32)


def _rows(parts: Sequence[SplitLike], index: Tensor, batch: int) -> Iterator[Rows]:
    """The samples at `index` of the parts laid end to end, in the index's order."""
    ends = torch.tensor([len(part) for part in parts]).cumsum(0)
    for some in index.split(batch):
        owner = torch.bucketize(some, ends, right=True)
        back = owner.argsort(stable=True).argsort()  # from the order of the parts to that of `some`
        there = [i for i in range(len(parts)) if bool((owner == i).any())]
        found = [parts[i][some[owner == i] - (ends[i] - len(parts[i]))] for i in there]
        labels = [y for _, y in found if y is not None]
        # put together and then in order: torch has no index_put of uint16
        x = torch.cat([x for x, _ in found])[back]
        yield x, torch.cat(labels)[back] if len(labels) == len(found) else None


def _permutation(n: int, seed: int, name: str) -> Tensor:
    return torch.randperm(n, generator=Stream(seed, f"anchor/{name}").generator)
