"""Top-k training: G's loss uses only the k fakes of the batch that D finds most real, the k largest logits.

Sinha et al. 2020 (arXiv:2002.06224), section 3: k starts at the batch size and is multiplied by a constant, such as
0.99, in every epoch until it reaches a fraction of the batch size.  Here the fraction is any schedule.
"""

import inspect
from collections.abc import Callable

from torch import Tensor, nn

from saddlepoint import ranks
from saddlepoint.error import Mistake


class TopK(nn.Module):
    """An objective of G on the k largest of N logits of fakes; no gradient reaches the others.

    k = round(fraction N), at least 1.

    objective  a function of logits, fake or real and fake; for [N, ...] the mean over patches is compared
    fraction   of the batch, in (0, 1]; a number or a schedule, evaluated before each round
    The same rows of the reals are used, if the objective has any.  With `accumulate`, k fakes of each chunk are used.
    Raises ValueError for a fraction out of range, and if the objective does not use fakes.
    """

    def __init__(self, objective: Callable[..., Tensor], fraction: float | Callable[[int], float] = 0.5) -> None:
        super().__init__()
        self.__signature__ = inspect.signature(objective)  # the player asks for the arguments real and fake
        if "fake" not in self.__signature__.parameters:
            raise ValueError("top_k: the objective must have an argument fake, whose largest logits are chosen")
        self.objective, self.fraction = objective, fraction
        self.at_images(0)

    def at_images(self, images: int) -> None:
        """Set the fraction after `images` images."""
        self.current = self.fraction(images) if isinstance(self.fraction, Callable) else self.fraction
        if not 0 < self.current <= 1:
            raise ValueError(f"top_k: fraction={self.current:g} at {images:,} images must be above 0 and at most 1")

    def forward(self, **logits: Tensor) -> Tensor:
        """Return the objective on the chosen rows, a scalar.  Raises Mistake on several ranks."""
        if ranks.world_size() > 1:
            raise Mistake(
                "top_k compares the logits of the whole batch, and each rank has a slice: train on one device"
            )
        fake = logits["fake"].detach()
        if any(len(value) != len(fake) for value in logits.values()):
            raise Mistake("top_k: the objective needs as many reals as fakes: set multiple to 1")
        score = fake.flatten(1).mean(1) if fake.ndim > 1 else fake
        rows = score.topk(max(1, round(self.current * len(score)))).indices
        return self.objective(**{role: value[rows] for role, value in logits.items()})

    def extra_repr(self) -> str:
        return f"fraction={self.current:g}"
