"""Classification: -E[log p(y|x)] = E[LSE(l) - l_y], the cross-entropy of K logits l = head(x); LSE: log-sum-exp.

On labelled data it is the supervised loss of Salimans et al. 2016 (arXiv:1606.03498), section 5: with the readout
log_sum_exp and adversarial weight 1/2 (game.players.discriminator.weight=0.5) D minimises

    E[LSE(l) - l_y]  +  1/2 E[softplus(LSE(l)) - LSE(l)]  +  1/2 E[softplus(LSE(l))]      labelled, real, fake

as in the authors' code. On real and fake samples it is L_C of AC-GAN: Odena et al. 2017 (arXiv:1610.09585), section 4.
"""

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.nn.functional import cross_entropy

from saddlepoint.error import Mistake
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import DiscriminatorOutput, Sample, Turn

SIDES = ("labelled", "real", "fake")
LABEL = "label"  # the condition with the class of a sample


class Classification(Regularizer):
    """The sum, over `sides`, of the mean cross-entropy of head `head`.

    labelled   the labelled batch (data.labels), separate from the reals; 0 if a round has none
    real       the reals with their classes, if these are a condition (game=conditional)
    fake       the fakes with the classes that they were generated for
    Raises ValueError for any other side.
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
            raise ValueError(f"classification: sides={list(sides)} must be one or more of {', '.join(SIDES)}")
        self.head, self.sides = head, tuple(sides)

    def forward(self, turn: Turn) -> Tensor:
        """Return the sum of the cross-entropies, a scalar.  Raises Mistake if the head or the classes are missing."""
        terms = [self.side_loss(turn[side] if turn.has_data_for(side) else None, side) for side in self.sides]
        losses = [loss for loss in terms if loss is not None]
        # without labelled samples the loss is 0 times D's logits, so that D has a gradient even without other terms
        return sum(losses[1:], losses[0]) if losses else 0 * turn["real"].logits.sum()

    def side_loss(self, sample: Sample | None, side: str) -> Tensor | None:
        """Return the mean loss of a side, a scalar; None without labelled samples: their mean would be NaN."""
        if side == "labelled" and (sample is None or len(sample.x) == 0):
            return None
        if sample is None or LABEL not in sample.condition:
            raise Mistake(
                f"classification: the {side} samples have no condition {LABEL}. Remove {side} from the sides of "
                "this regularizer, or use a conditional game: game=conditional"
            )
        self.check_output(sample.output)
        return self.loss(sample.output.heads[self.head], sample.condition[LABEL])

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the mean cross-entropy of logits [N, K] and classes [N], a scalar."""
        return cross_entropy(logits, label)

    def check_output(self, output: DiscriminatorOutput) -> None:
        """Raise Mistake if D does not have the head."""
        if self.head not in output.heads:
            raise Mistake(
                f"the discriminator's heads are {', '.join(output.heads) or 'none'}, not {self.head}. "
                f"Add 'architecture.discriminator.heads={{{self.head}: 10}}', with the number of classes"
            )
