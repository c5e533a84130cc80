"""How a game stands, in numbers that mean the same under every objective: rank statistics, ratios, shares.

Logits of a critic have no scale and those of a relativistic D no zero, so nothing here reads a probability off them:

    ahead(a, b)         P(a > b) + P(a = b) / 2, the rank statistic of Mann & Whitney 1947, the area under the ROC
    correct(a, b)       share of either side that falls on its own side of the midpoint of the two means
    passed(loss)        sum |dL / d logit|: of a mean loss, how much of a unit signal its logits let through.  Minimax
                        lets G through sigmoid(logit), non-saturating 1 - sigmoid(logit), Wasserstein and hinge 1
    diversity(x, y)     (distinct(x) - 1) / (distinct(y) - 1),  distinct(x) = 1 / mean_ij exp(-|x_i - x_j|^2 / s^2), s
                        half the median distance in y: the effective number of different samples (the Vendi score of
                        order 2: Friedman & Dieng 2022, arXiv:2210.02410; Pasarkar & Dieng 2023, arXiv:2310.12952).
                        It is 1 for one sample over and over and k for k far points, so it falls where modes are lost;
                        a mean distance does not, where two far modes remain
    freedom(x, y)       mean(1 - x^2) / mean(1 - y^2): how far from the ends of tanh, where no gradient passes
"""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import linear_regression

import torch
from torch import Tensor

LOG10_MAX = 38.53  # log10 of the largest float32; bfloat16 ends there too


def probability_greater(one: Tensor, other: Tensor) -> float:
    """P(one > other), ties half, of all pairs; logits of any shape [N, ...], a sample's own averaged.  In [0, 1]."""
    a, b = logit_per_sample(one)[:, None], logit_per_sample(other)[None]
    return ((a > b).double().mean() + (a == b).double().mean() / 2).item()


def share_on_real_side(own: Tensor, real: Tensor, fake: Tensor) -> float:
    """The share of `own` on the real side of the midpoint between the mean logits of `real` and `fake`.  In [0, 1]."""
    midpoint = (logit_per_sample(real).mean() + logit_per_sample(fake).mean()) / 2
    return (logit_per_sample(own) > midpoint).double().mean().item()


def logit_spread(*logits: Tensor) -> float:
    """The standard deviation of all logits over the larger of 1 and their mean's size; 0: D says one thing."""
    joined = torch.cat([logit_per_sample(own) for own in logits]).double()
    return (joined.std() / joined.mean().abs().clamp_min(1.0)).item()


def loss_signal(objective: Callable[..., Tensor], logits: Mapping[str, Tensor], side: str) -> float:
    """sum |dL / d logits[side]| of an objective that names the sides in `logits`; at least 0, and 1 for a critic's."""
    with torch.enable_grad():
        leaves = {name: value.detach().clone().requires_grad_() for name, value in logits.items()}
        (slope,) = torch.autograd.grad(objective(**leaves), [leaves[side]], allow_unused=True)
    return 0.0 if slope is None else slope.double().abs().sum().item()


def diversity(x: Tensor, reference: Tensor) -> float | None:
    """0 for one thing over and over, 1 for as many as in `reference`; samples [N, ...], compared value by value.

    None where the reference does not vary.
    """
    x, reference = x.flatten(1).float(), reference.flatten(1).float()
    width = torch.pdist(reference).median().item() / 2 if len(reference) > 1 else 0.0
    return (effective_count(x, width) - 1) / (effective_count(reference, width) - 1) if width > 0 else None


def effective_count(x: Tensor, width: float) -> float:
    """The effective number of different points among x, [N, D]: between 1 and N."""
    x = x.double()  # one thing over and over is 1 to the last digit: what is above 1 is small, and counts
    return 1 / (torch.cdist(x, x) / width).square().neg().exp().mean().item()


def pixel_freedom(x: Tensor, reference: Tensor) -> float | None:
    """mean(1 - x^2) over that of the reference, samples in [-1, 1]; None where reals are at -1 and 1 alone."""
    own, theirs = ((1 - images.double().square()).clamp_min(0).mean().item() for images in (x, reference))
    return own / theirs if theirs > 1e-3 else None


def magnitude(values: list[float]) -> float:
    """log10 of the largest absolute value; LIMIT where one is no number."""
    if not all(map(math.isfinite, values)):
        return LOG10_MAX
    return math.log10(max(map(abs, values), default=0.0) + 1e-30)


def images_to_overflow(course: Sequence[tuple[int, float]]) -> float | None:
    """Images until float32 overflows, if magnitudes go on along the line through `course`, (images, log10) each.

    None where they do not grow, or where there are fewer than three.
    """
    if len(course) < 3:
        return None
    images, sizes = zip(*course, strict=True)
    slope = linear_regression(images, sizes).slope
    return (LOG10_MAX - sizes[-1]) / slope if slope > 0 else None


def logit_per_sample(logits: Tensor) -> Tensor:
    """One number per sample, [N]: patches averaged."""
    return logits.flatten(1).mean(1) if logits.ndim > 1 else logits
