"""The base class of terms that are added to a player's loss."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from saddlepoint.stream import Stream
from saddlepoint.turn import DiscriminatorOutput, Turn


class Regularizer(nn.Module):
    """`forward(turn)` returns the unweighted term; weight * every * term is added on turns 0, every, 2 every, ...

    A lazy term (every > 1) is scaled by its period, so that its mean over turns remains weight * term.  Parameters that
    no other term reaches (such as a separate head) move only on the turns of the term. Adam cancels the scale, so they
    take one step while other parameters take `every`.
    Raises ValueError unless every is an integer of at least 1.
    """

    slope_at: frozenset[str] = frozenset()  # sides at whose x the term takes a slope; "latent": at the latents
    needs_sample_slope: bool = False  # whether it takes D's slope per sample elsewhere, or approximates it
    coupled: bool = False  # whether the value is not a mean over samples
    over_ranks: bool = False  # of a coupled term: whether its statistics are over all ranks

    def __init__(self, weight: float | Callable[[int], float] = 1.0, every: int = 1) -> None:
        super().__init__()
        if every < 1 or every != int(every):
            raise ValueError(f"{type(self).__name__}: every={every} must be an integer of at least 1")
        self.weight, self.every = weight, every

    def forward(self, turn: Turn) -> Tensor:
        """Return the unweighted term, a scalar."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(turn)")

    needs_draw: bool = False  # whether to call `draw` before the turn; forward reads the result from turn.term_draw

    def draw(self, n: int, stream: Stream) -> Any:
        """Draw the random numbers for a turn of n reals from the stream `augment`: the loss is a function of them."""
        return None

    def check_output(self, output: DiscriminatorOutput) -> None:
        """Check an output of D before training.  Raises Mistake if this term cannot use it."""

    def check_columns(self, columns: Mapping[str, Tensor | None]) -> None:
        """Check the columns of a batch before networks are called.  Raises Mistake if this term cannot use them."""

    def check_game(self, game: Any) -> str | None:
        """Check the game (`game.game.Game`) before training; return a warning in one line, or None.

        Raises Mistake if the term is wrong in this game.
        """


def batch_columns(game: Any, name: str) -> frozenset[str]:
    """Return the columns of the batch that a side depends on, or that a column or draw of this name is."""
    head = name.partition(".")[0]
    return game.dependencies.get(head, frozenset({head})) - {*game.players, *game.makers, *game.priors}
