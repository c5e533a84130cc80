"""Multi-class hinge: E[max(0, 1 - l_y + max over k != y of l_k)], the margin loss of K or K + 1 logits l = head(x).

With K + 1 logits, the last class is "fake": in place of an objective, D minimises the loss of reals with their class
and of fakes with the class "fake", and G that of its samples with the class that they were made for.  With one real
class D's is the hinge loss of D(x) = l_0 - l_1.  With K logits it is an auxiliary loss, D's on reals and G's on fakes,
beside a hinge objective.  Both are from Kavalerov et al. 2019 (arXiv:1912.04216, first and last version); the authors'
code of the first (ilyakava/BigGAN-PyTorch) gives G's loss the weight 0.05 and adds feature matching, the mean absolute
gap, with weight 1.  The margin loss is that of Crammer & Singer 2001.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import relu

from saddlepoint.error import Mistake
from saddlepoint.regularizer.classification import Classification
from saddlepoint.turn import DiscriminatorOutput, Sample


class MultiHinge(Classification):
    """The sum, over `sides` (see Classification), of the mean margin loss of head `head`.

    fake_class  the class of the fakes, K for the last of K + 1; None: the class that each was made for
    """

    def __init__(
        self,
        weight: float | Callable[[int], float] = 1.0,
        every: int = 1,
        head: str = "label",
        sides: Sequence[str] = ("real", "fake"),
        fake_class: int | None = None,
    ) -> None:
        super().__init__(weight, every, head, sides)
        self.fake_class = fake_class

    def side_loss(self, sample: Sample | None, side: str) -> Tensor | None:
        """Return the mean loss of a side, a scalar; None without labelled samples."""
        if side != "fake" or self.fake_class is None or sample is None:
            return super().side_loss(sample, side)
        self.check_output(sample.output)
        logits = sample.output.heads[self.head]
        return self.loss(logits, torch.full(logits.shape[:1], self.fake_class, device=logits.device))

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the mean of max(0, 1 - l_y + max over k != y of l_k) for logits [N, K] and classes [N], a scalar."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        labelled = logits.gather(1, label[:, None])[:, 0]
        other = logits.scatter(1, label[:, None], -torch.inf).amax(1)
        return relu(1 - labelled + other).mean()

    def check_output(self, output: DiscriminatorOutput) -> None:
        """Raise Mistake if D does not have the head, or if it is too small for the class of the fakes."""
        super().check_output(output)
        size, needed = output.heads[self.head].shape[1], 2 if self.fake_class is None else self.fake_class + 1
        if size < needed:
            raise Mistake(
                f"multi_hinge: head {self.head} has {size} logits, and {needed} are needed"
                f"{'' if self.fake_class is None else f' for fake_class={self.fake_class}'}. Set "
                f"'architecture.discriminator.heads={{{self.head}: {needed}}}'"
            )
