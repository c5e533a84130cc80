"""Readings of a game: rank statistics and ratios that mean the same under every objective.

Logits of a critic have no scale and those of a relativistic D no zero, so they are not converted to probabilities:

    probability_greater(a, b)   P(a > b) + P(a = b) / 2, the rank statistic of Mann & Whitney 1947, the area under the
                                ROC curve
    share_on_real_side(a)       fraction of logits above the midpoint of the mean real and the mean fake logit
    loss_signal(loss)           sum |dL / d logit|: for a mean loss, the fraction of a unit signal that passes through
                                its logits.  For G: minimax sigmoid(logit), non-saturating 1 - sigmoid(logit),
                                Wasserstein and hinge 1
    diversity(x, y)             (count(x) - 1) / (count(y) - 1),  count(x) = 1 / mean_ij exp(-|x_i - x_j|^2 / s^2), s
                                half the median distance in y: the effective number of different samples (the Vendi
                                score of order 2: Friedman & Dieng 2022, arXiv:2210.02410; Pasarkar & Dieng 2023,
                                arXiv:2310.12952).  It is 1 for equal samples and k for k distant points, so it falls if
                                modes are lost; a mean distance does not, if two distant modes remain
    input_correlation(x, y)     mean over images of the correlation of x and its input y over pixels; -1: a negative
    pixel_freedom(x, y)         mean(1 - x^2) / mean(1 - y^2): how far from the ends of tanh, where the gradient is 0
"""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import linear_regression

import torch
from torch import Tensor

LOG10_MAX = 38.53  # log10 of the largest float32, and of the largest bfloat16


def probability_greater(one: Tensor, other: Tensor) -> float:
    """P(one > other) over all pairs, ties half; in [0, 1].  Logits [N, ...] are averaged per sample."""
    a, b = logit_per_sample(one)[:, None], logit_per_sample(other)[None]
    return ((a > b).double().mean() + (a == b).double().mean() / 2).item()


def share_on_real_side(logits: Tensor, real: Tensor, fake: Tensor) -> float:
    """Fraction of `logits` above the midpoint between the mean logits of `real` and `fake`; in [0, 1]."""
    midpoint = (logit_per_sample(real).mean() + logit_per_sample(fake).mean()) / 2
    return (logit_per_sample(logits) > midpoint).double().mean().item()


def logit_spread(*logits: Tensor) -> float:
    """Standard deviation of all logits over max(1, |their mean|); 0 if all are equal."""
    joined = torch.cat([logit_per_sample(tensor) for tensor in logits]).double()
    return (joined.std() / joined.mean().abs().clamp_min(1.0)).item()


def loss_signal(objective: Callable[..., Tensor], logits: Mapping[str, Tensor], side: str) -> float:
    """sum |dL / d logits[side]| of an objective whose arguments are the keys of `logits`; >= 0, and 1 for a critic."""
    with torch.enable_grad():
        leaves = {name: value.detach().clone().requires_grad_() for name, value in logits.items()}
        (slope,) = torch.autograd.grad(objective(**leaves), [leaves[side]], allow_unused=True)
    return 0.0 if slope is None else slope.double().abs().sum().item()


def diversity(x: Tensor, reference: Tensor) -> float | None:
    """Diversity of samples [N, ...] relative to that of `reference`: 0 if all are equal, 1 if they are as diverse.

    None if the reference does not vary.
    """
    x, reference = x.flatten(1).float(), reference.flatten(1).float()
    width = torch.pdist(reference).median().item() / 2 if len(reference) > 1 else 0.0
    return (effective_count(x, width) - 1) / (effective_count(reference, width) - 1) if width > 0 else None


def effective_count(x: Tensor, width: float) -> float:
    """Effective number of different points among x, [N, D]: between 1 and N."""
    x = x.double()  # for equal points the result must be exactly 1, as small differences from 1 matter
    return 1 / (torch.cdist(x, x) / width).square().neg().exp().mean().item()


def pixel_freedom(x: Tensor, reference: Tensor) -> float | None:
    """mean(1 - x^2) divided by that of the reference, for samples in [-1, 1]; None if all reals are at -1 or 1."""
    of_x, of_reference = ((1 - one.double().square()).clamp_min(0).mean().item() for one in (x, reference))
    return of_x / of_reference if of_reference > 1e-3 else None


def input_correlation(x: Tensor, source: Tensor) -> float | None:
    """Mean correlation of images [N, C, H, W] with their inputs [N, c, H, W], of channel means; in [-1, 1].

    Images of one grey level have none; None if there are no others.
    """
    one, other = (images.double().mean(1).flatten(1) for images in (x, source))
    one, other = one - one.mean(1, keepdim=True), other - other.mean(1, keepdim=True)
    norms = one.norm(dim=1) * other.norm(dim=1)
    varied = norms > 1e-6
    return ((one * other).sum(1)[varied] / norms[varied]).mean().item() if varied.any() else None


def magnitude(values: list[float]) -> float:
    """log10 of the largest absolute value; LOG10_MAX if a value is nan or infinite."""
    if not all(map(math.isfinite, values)):
        return LOG10_MAX
    return math.log10(max(map(abs, values), default=0.0) + 1e-30)


def images_to_overflow(course: Sequence[tuple[int, float]]) -> float | None:
    """Number of images until float32 overflows, by a line fitted to `course`, pairs of images and magnitude.

    None if the magnitude does not grow, or if there are fewer than three pairs.
    """
    if len(course) < 3:
        return None
    images, sizes = zip(*course, strict=True)
    slope = linear_regression(images, sizes).slope
    return (LOG10_MAX - sizes[-1]) / slope if slope > 0 else None


def logit_per_sample(logits: Tensor) -> Tensor:
    """One logit per sample, [N]: the mean over patches."""
    return logits.flatten(1).mean(1) if logits.ndim > 1 else logits
