"""Anchors of games from image to image: simple predictions of the truth from the input, measured as a generator is.

input              the input itself, if it has the size of the truth; in a hole, its constant
mean               the mean of the training truths, pixel by pixel
nearest pair       the truth of the training pair whose input is nearest (Euclidean, over known pixels)
darker of both     the minimum of input and nearest pair, pixel by pixel: a strong prediction of coloured drawings
linear regression  by least squares: the hole from known pixels (if they are more than 1,024 numbers, from those within
                   3 pixels of the hole; only if all masks are equal), each pixel from 11 x 11 of an input of the same
                   size, or the truth from the whole of a smaller input
bicubic, Lanczos   interpolation of a smaller input, by Pillow
Griffin-Lim        of vocoders: the waveform of a spectrogram (`Modality.paired_anchors`)
truth              the truth itself: the scores of a perfect generator

Without training pairs there is no nearest pair and no regression.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import max_pool2d, pad, unfold

from saddlepoint.extractor.data_like import PairedRows, SplitLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.modality import modality_of
from saddlepoint.pixel import to_float, to_uint8

MOST_CONTEXT, RING, PATCH = 1024, 3, 11  # numbers of known pixels; pixels around the hole; side of a patch
PATCH_PAIRS = 2_000  # training pairs from which patches are taken
RIDGE = 1e-3  # times the mean variance of the inputs
Prediction = Callable[[Tensor, Any], Tensor]  # row numbers [n] and their pairs -> images [n, C, H, W]
Extract = Callable[[Iterable[PairedRows], int, str], Iterator[Features]]


class Pairs(Protocol):
    """Pairs of the rows of a data set (`game.pairs.PairSource`): `target`, `source`, `mask` and `y`."""

    split: SplitLike
    region: str
    has_training_pairs: bool  # False: only anchors that need no training pair

    def __call__(self, split: str, index: Tensor) -> Any: ...

    def describe(self) -> dict[str, Any]: ...  # what anchors depend on


def paired_anchor_sets(
    pairs: Pairs, train: str, n_train: int, n: int, batch: int, extract: Extract
) -> Iterator[tuple[str, Iterator[Features]]]:
    """Yield the name and features of each anchor of the first n rows of the split, with their targets and masks."""
    rows = torch.arange(n).split(batch)
    for name, predict in predictions(pairs, train, n_train, rows).items():

        def made(predict: Prediction = predict) -> Iterator[PairedRows]:
            for index in rows:
                pair = pairs(pairs.split.name, index)
                yield _pasted(predict(index, pair), pair), pair.y, pair.target, pair.mask

        yield name, extract(made(), n, name)


def predictions(pairs: Pairs, train: str, n_train: int, rows: Iterable[Tensor]) -> dict[str, Prediction]:
    """Return the anchors by name.  The training pairs are read once, in batches."""
    rows = list(rows)
    first = pairs(pairs.split.name, rows[0])
    same_size = first.source is not None and first.source.shape[2:] == first.target.shape[2:]
    mean, nearest, linear = _fit_predictors(pairs, train, n_train, rows, first)
    predict: dict[str, Prediction] = {}
    if same_size:
        predict["input"] = lambda index, pair: pair.source.expand_as(pair.target)
    predict["mean"] = lambda index, pair: mean.expand_as(pair.target)
    if nearest is not None:
        of_nearest = predict["nearest pair"] = lambda index, pair: pairs(train, nearest.index[index]).target
        if same_size and first.mask is None:
            predict["darker of both"] = lambda index, pair: torch.minimum(
                pair.source.expand_as(pair.target), of_nearest(index, pair)
            )
    if linear is not None:
        linear.solve()
        predict["linear regression"] = lambda index, pair: linear.predict(pair)
    if first.source is not None:
        predict |= _interpolations(pairs, first, same_size)
    predict["truth"] = lambda index, pair: pair.target
    return predict


def _fit_predictors(
    pairs: Pairs, train: str, n_train: int, rows: list[Tensor], first: Any
) -> tuple[Tensor, "_Nearest | None", "_LinearModel | None"]:
    """Return the mean truth [C, H, W], the nearest pairs, and the sums of the linear model, in one pass."""
    mean = torch.zeros(first.target.shape[1:], dtype=torch.float64)
    nearest = linear = None
    if pairs.has_training_pairs:
        linear = _linear_model(pairs, first, [*rows[:1], torch.arange(min(64, n_train))], train)
        if first.source is not None:
            nearest = _Nearest([_context(pairs(pairs.split.name, index)) for index in rows])
    for index in torch.arange(n_train).split(500):
        pair = pairs(train, index)
        mean += pair.target.to(torch.float64).sum(0) / n_train
        if linear is not None and (not isinstance(linear, _PatchModel) or int(index[0]) < PATCH_PAIRS):
            linear.update(pair)
        if nearest is not None:
            nearest.update(index, pair)
    return mean.to(torch.float32), nearest, linear


def _interpolations(pairs: Pairs, first: Any, same_size: bool) -> dict[str, Prediction]:
    """Return predictions from the input alone: those of the modality, or an enlargement of a smaller image."""
    if by_modality := modality_of(pairs.split).paired_anchors(first.source):
        return {name: partial(_of_source, anchor) for name, anchor in by_modality.items()}
    if same_size or first.source.shape[1] != first.target.shape[1]:
        return {}
    size, kinds = first.target.shape[2:], {"bicubic": Image.Resampling.BICUBIC, "Lanczos": Image.Resampling.LANCZOS}
    return {name: partial(_of_source, partial(enlarge, size=size, kind=kind)) for name, kind in kinds.items()}


def _of_source(predict: Callable[[Tensor], Tensor], index: Tensor, pair: Any) -> Tensor:
    return predict(pair.source)


def enlarge(x: Tensor, size: Iterable[int], kind: Image.Resampling) -> Tensor:
    """Resize images [n, C, H, W] in [-1, 1], rounded to 8 bits, by Pillow."""
    height, width = size
    channels = [
        [np.asarray(Image.fromarray(channel.numpy()).resize((width, height), kind)) for channel in image]
        for image in to_uint8(x)
    ]
    return to_float(torch.from_numpy(np.array(channels)))


def _pasted(x: Tensor, pair: Any) -> Tensor:
    """Replace known pixels by those of the truth."""
    return x if pair.mask is None else torch.where(pair.mask > 0, x, pair.target)


def _context(pair: Any) -> tuple[Tensor, Tensor | None]:
    """Return the known values [n, D], 0 where unknown, and which are known [n, D]; None: all."""
    if pair.mask is None:
        return pair.source.flatten(1), None
    known = (pair.mask <= 0).expand_as(pair.target).flatten(1).to(pair.target.dtype)
    return pair.target.flatten(1) * known, known


class _Nearest:
    """The nearest training pair of each query, by a pass over the training pairs: argmin_j sum_known (q_i - t_j)^2."""

    def __init__(self, queries: list[tuple[Tensor, Tensor | None]]) -> None:
        self.queries = torch.cat([values for values, _ in queries])
        self.known = None if queries[0][1] is None else torch.cat([known for _, known in queries if known is not None])
        self.distance = torch.full((len(self.queries),), torch.inf)
        self.index = torch.zeros(len(self.queries), dtype=torch.int64)

    def update(self, index: Tensor, pair: Any) -> None:
        """Compare the queries with training pairs, whose masks do not matter: all their pixels are known."""
        values = (pair.source if pair.mask is None else pair.target).flatten(1)
        squares = values.square().sum(1) if self.known is None else self.known @ values.square().T
        distance, column = (squares - 2 * self.queries @ values.T).min(1)
        closer = distance < self.distance
        self.distance[closer], self.index[closer] = distance[closer], index[column[closer]]


class _LinearModel:
    """Least squares of outputs on inputs and a constant, from sums over batches, in float64."""

    def __init__(self, inputs: Callable[[Any], Tensor], outputs: Callable[[Any], Tensor]) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.n, self.sums = 0, [torch.zeros((), dtype=torch.float64)] * 4
        self.weight, self.bias = torch.empty(0), torch.empty(0)

    def update(self, pair: Any) -> None:
        x, y = self.inputs(pair).to(torch.float64), self.outputs(pair).to(torch.float64)
        self.n += len(x)
        self.sums = [a + b for a, b in zip(self.sums, (x.sum(0), y.sum(0), x.T @ x, x.T @ y), strict=True)]

    def solve(self) -> None:
        mean_x, mean_y, xx, xy = (total / self.n for total in self.sums)
        covariance = xx - torch.outer(mean_x, mean_x)
        covariance += RIDGE * covariance.diagonal().mean() * torch.eye(len(mean_x), dtype=torch.float64)
        self.weight = torch.linalg.solve(covariance, xy - torch.outer(mean_x, mean_y))
        self.bias = mean_y - mean_x @ self.weight

    def values(self, pair: Any) -> Tensor:
        """Return the predicted outputs, [n, K]."""
        return (self.inputs(pair).to(torch.float64) @ self.weight + self.bias).to(torch.float32)

    def predict(self, pair: Any) -> Tensor:
        """Return the predicted images."""
        return self.values(pair).view_as(pair.target)


class _HoleModel(_LinearModel):
    """The hole from known pixels; `context` and `hole` are bool [D], the same for all pairs."""

    def __init__(self, context: Tensor, hole: Tensor) -> None:
        super().__init__(lambda pair: pair.target.flatten(1)[:, context], lambda pair: pair.target.flatten(1)[:, hole])
        self.hole = hole

    def predict(self, pair: Any) -> Tensor:
        x = pair.target.flatten(1).clone()
        x[:, self.hole] = self.values(pair)
        return x.view_as(pair.target)


class _PatchModel(_LinearModel):
    """Each pixel from the 11 x 11 pixels around it in the input, by the same map everywhere."""

    def __init__(self) -> None:
        super().__init__(_patches, lambda pair: pair.target.flatten(2).transpose(1, 2).flatten(0, 1))

    def predict(self, pair: Any) -> Tensor:
        n, channels = pair.target.shape[:2]
        return self.values(pair).view(n, -1, channels).transpose(1, 2).reshape(pair.target.shape)


def _patches(pair: Any) -> Tensor:
    """Return the patch around each pixel of the inputs, [n H W, c 121]; edges are repeated."""
    padded = pad(pair.source, [PATCH // 2] * 4, mode="replicate")
    return unfold(padded, PATCH).transpose(1, 2).flatten(0, 1)


def _linear_model(pairs: Pairs, first: Any, samples: list[Tensor], train: str) -> _LinearModel | None:
    """Return the linear model that suits the pairs, or None: see the module."""
    if first.mask is not None:
        masks = torch.cat([pairs(pairs.split.name, samples[0]).mask, pairs(train, samples[1]).mask]) > 0
        if not bool((masks == masks[:1]).all()):
            return None
        mask = masks[:1].to(torch.float32)
        context = mask == 0
        if int(context.sum()) * first.target.shape[1] > MOST_CONTEXT:
            context &= max_pool2d(mask, 2 * RING + 1, 1, RING) > 0
        both = (one.expand(1, *first.target.shape[1:]).flatten() for one in (context, mask > 0))
        return _HoleModel(*both)
    if first.source is None:
        return None
    if first.source.shape[2:] == first.target.shape[2:]:
        return _PatchModel()
    small = first.source[0].numel() <= MOST_CONTEXT
    return _LinearModel(lambda pair: pair.source.flatten(1), lambda pair: pair.target.flatten(1)) if small else None
