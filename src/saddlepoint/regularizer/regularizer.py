"""A term that a player adds to its objective."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from saddlepoint.stream import Stream
from saddlepoint.turn import DiscriminatorOutput, Turn


class Regularizer(nn.Module):
    """forward(turn) is the bare term; its player adds  weight * every * term  on its own turns 0, every, 2 every, ...

    A lazy term (every > 1) is scaled by its interval, so that its mean over turns stays weight * term.  Parameters that
    no other term reaches (a head of its own) still move on its turns alone, and Adam divides the factor away: they take
    one step where the others take `every`.
    Raises ValueError unless every is a whole number of at least 1.
    """

    slope_at: frozenset[str] = frozenset()  # sides at whose x this term takes a slope; "latent": at the latents
    needs_sample_slope: bool = (
        False  # whether it takes D's slope at single samples elsewhere; refused behind batch norm
    )
    coupled: bool = False  # whether the value is something else than a mean over samples
    over_ranks: bool = False  # of a coupled term: whether it takes its statistics over all ranks

    def __init__(self, weight: float | Callable[[int], float] = 1.0, every: int = 1) -> None:
        super().__init__()
        if every < 1 or every != int(every):
            raise ValueError(f"{type(self).__name__}: every={every} must be a whole number of at least 1")
        self.weight, self.every = weight, every

    def forward(self, turn: Turn) -> Tensor:
        """The unweighted term, a scalar."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(turn)")

    needs_draw: bool = False  # whether it draws: `draw` is called before the turn, and forward finds it in turn.drawn

    def draw(self, n: int, stream: Stream) -> Any:
        """Its random numbers for a turn of n reals, from the stream `augment`: the loss is a function of them."""
        return None

    def check_output(self, output: DiscriminatorOutput) -> None:
        """Look at what D says, before anything is played.  Raises Mistake where this term cannot use it."""
