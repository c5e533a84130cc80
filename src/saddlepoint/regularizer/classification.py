"""Classification: -E[log p(y|x)] = E[LSE(l) - l_y], the cross-entropy of K logits l = head(x) over K classes.

On labelled data it is the supervised half of Salimans et al. 2016 (arXiv:1606.03498), section 5: with the readout
log_sum_exp and half an adversarial weight (game.players.discriminator.weight=0.5) D descends

    E[LSE(l) - l_y]  +  1/2 E[softplus(LSE(l)) - LSE(l)]  +  1/2 E[softplus(LSE(l))]      labelled, real, fake

as the authors' code does. On real and fake samples it is AC-GAN's L_C: Odena et al. 2017 (arXiv:1610.09585), section 4.
"""

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.nn.functional import cross_entropy

from saddlepoint.error import Mistake
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import DiscriminatorOutput, Sample, Turn

SIDES = ("labelled", "real", "fake")
LABEL = "label"  # the condition that holds a sample's class


class Classification(Regularizer):
    """The sum, over `sides`, of the mean cross-entropy of head `head`.

    labelled   the labelled batch, which stands apart from the reals (data.labels); a round without one adds 0
    real       the reals and their own classes, where these are a condition of theirs (game=conditional)
    fake       the fakes and the classes that the generator was asked for
    Raises ValueError for another side.
    """

    def __init__(
        self,
        weight: float | Callable[[int], float] = 1.0,
        every: int = 1,
        head: str = "label",
        sides: Sequence[str] = ("labelled",),
    ) -> None:
        super().__init__(weight, every)
        if not sides or set(sides) - set(SIDES):
            raise ValueError(f"classification: sides={list(sides)} must be some of {', '.join(SIDES)}")
        self.head, self.sides = head, tuple(sides)

    def forward(self, turn: Turn) -> Tensor:
        """The cross-entropies added up, a scalar.  Raises Mistake without the head, or without a side's classes."""
        found = [self.cross_entropy(turn[side] if turn.has(side) else None, side) for side in self.sides]
        losses = [loss for loss in found if loss is not None]
        # nothing labelled this time: 0, but of D's, so that a player with no other term still has a gradient
        return sum(losses[1:], losses[0]) if losses else 0 * turn["real"].logits.sum()

    def cross_entropy(self, sample: Sample | None, side: str) -> Tensor | None:
        """The mean over a side's samples, a scalar; None where it holds none (a mean over nothing is no number)."""
        if side == "labelled" and (sample is None or len(sample.x) == 0):
            return None
        if sample is None or LABEL not in sample.condition:
            raise Mistake(
                f"classification: the {side} samples are under no condition {LABEL}. Take {side} off its sides, or let "
                "the game ask for classes: game=conditional"
            )
        self.check_output(sample.output)
        return cross_entropy(sample.output.heads[self.head], sample.condition[LABEL])

    def check_output(self, output: DiscriminatorOutput) -> None:
        """Raises Mistake where D has no such head."""
        if self.head not in output.heads:
            raise Mistake(
                f"the discriminator's heads are {', '.join(output.heads) or 'none'}, not {self.head}. "
                f"Say 'architecture.discriminator.heads={{{self.head}: 10}}', as many as there are classes"
            )
