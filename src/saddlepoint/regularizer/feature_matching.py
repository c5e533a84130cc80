"""Feature matching: || E f(x) - E f(G(z)) ||^2, f a hidden layer of D.  Salimans et al. 2016 (arXiv:1606.03498), 3.1.

The paper sums the squared gap over the units of f, its MNIST code averages it, and its CIFAR-10 and SVHN code takes the
mean absolute gap. The three differ in training too, since the scale of the gradients matters for Adam's epsilon.
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
    """The gap between the batch means of D's features on reals and fakes, summed over layers.

    features   name or names of hidden layers that D returns; all: all of them; None: the last
    gap        mean_square (MNIST code), sum_square (paper), mean_absolute (CIFAR-10 and SVHN code)
    A map [N, C, H, W] is averaged over space to C numbers, as in the CIFAR-10 code; a flattened map is not.
    No gradient flows through the reals. With objective.generator=null the term replaces the adversarial loss.
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
            raise ValueError(f"feature matching: gap={gap} must be one of {', '.join(GAPS)}")
        names = [features] if isinstance(features, str) else features
        if names is not None and (not isinstance(names, Sequence) or not names):
            raise ValueError(
                f"feature matching: features={features} must be a name or a list of names; null takes the last"
            )
        self.features = names and list(names)
        self.gap = gap

    def forward(self, turn: Turn) -> Tensor:
        """Return the gap, a scalar.  Raises Mistake if D does not return the features."""
        real, fake = (map(_global_mean, self.select(turn[side].output)) for side in ("real", "fake"))
        return torch.stack([GAPS[self.gap](r.detach() - f) for r, f in zip(real, fake, strict=True)]).sum()

    def check_output(self, output: DiscriminatorOutput) -> None:
        self.select(output)

    def select(self, output: DiscriminatorOutput) -> list[Tensor]:
        """Return each chosen feature, in float32 at least.  Raises Mistake with all names if one is missing."""
        available = list(output.features)
        names = available if self.features == ["all"] else self.features or available[-1:]
        missing = [name for name in names if name not in available]
        if missing or not names:
            problem = f"no feature {', '.join(missing)}" if missing else "no features to match"
            raise Mistake(f"the discriminator has {problem}; it has {', '.join(available) or 'none'}")
        features = (output.features[name] for name in names)
        return [feature.to(torch.promote_types(feature.dtype, torch.float32)) for feature in features]


def _global_mean(features: Tensor) -> Tensor:
    """Return E f, [units], over the batch of all ranks; for a map [N, C, H, W] also over space."""
    return ranks.mean(features.flatten(2).mean((0, 2)) if features.ndim > 2 else features.mean(0))
