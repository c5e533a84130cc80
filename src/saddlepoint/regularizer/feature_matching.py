"""Feature matching: || E f(x) - E f(G(z)) ||^2, f a hidden layer of D.  Salimans et al. 2016 (arXiv:1606.03498), 3.1.

The paper sums the squared gap over the units of f, its MNIST code averages it over them, and its CIFAR-10 and SVHN code
takes the mean absolute gap: three recipes, since Adam's epsilon sees gradients of another size in each.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from saddlepoint import ranks
from saddlepoint.error import Mistake
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import DiscriminatorOutput, Turn

GAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean_square": lambda gap: gap.square().mean(),
    "sum_square": lambda gap: gap.square().sum(),
    "mean_absolute": lambda gap: gap.abs().mean(),
}


class FeatureMatching(Regularizer):
    """The gap between the batch means of D's features at reals and at fakes; over several layers, the sum of gaps.

    features   names among those that D exposes, one or several; None: the last
    gap        mean_square (the MNIST code), sum_square (the paper), mean_absolute (the CIFAR-10 and SVHN code)
    A map [N, C, H, W] counts as its C means over space, as in the CIFAR-10 code; a flattened one as it is.
    The reals are a constant here. In place of the adversarial term it stands with objective.generator=null.
    """

    coupled = over_ranks = True

    def __init__(
        self,
        features: str | Sequence[str] | None = None,
        gap: str = "mean_square",
        weight: float | Callable[[int], float] = 1.0,
        every: int = 1,
    ) -> None:
        super().__init__(weight, every)
        if gap not in GAPS:
            raise ValueError(f"feature matching: gap={gap} must be {', '.join(GAPS)}")
        names = [features] if isinstance(features, str) else features
        if names is not None and (not isinstance(names, Sequence) or not names):
            raise ValueError(f"feature matching: features={features} must be a name or several; null takes the last")
        self.features = names and list(names)
        self.gap = gap

    def forward(self, turn: Turn) -> Tensor:
        """The gap, a scalar.  Raises Mistake where D does not expose the features."""
        real, fake = self._means(turn["real"].output), self._means(turn["fake"].output)
        return torch.stack([GAPS[self.gap](r.detach() - f) for r, f in zip(real, fake, strict=True)]).sum()

    def check_output(self, output: DiscriminatorOutput) -> None:
        self._means(output)

    def _means(self, output: DiscriminatorOutput) -> list[Tensor]:
        """The mean of each chosen feature.  Raises Mistake, naming those that D exposes, where one is not there."""
        there = list(output.features)
        names = self.features or there[-1:]
        strange = [name for name in names if name not in there]
        if strange or not names:
            wanted = f"no feature {', '.join(strange)}" if strange else "no features to match"
            raise Mistake(f"the discriminator exposes {wanted}; it exposes {', '.join(there) or 'none'}")
        return [_mean(output.features[name]) for name in names]


def _mean(features: Tensor) -> Tensor:
    """E f, [units], in float32 at least: over the global batch and, for a map [N, C, H, W], over space, [C]."""
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    return ranks.mean(wide.flatten(2).mean((0, 2)) if wide.ndim > 2 else wide.mean(0))
