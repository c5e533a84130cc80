"""Several moving averages of one player's weights, such as two half-lives, of which one makes the samples.

The best half-life is not known in advance: Karras et al. 2023 (arXiv:2312.02696), section 3, keep two for that reason.
All are in the checkpoint; snapshots and exports hold the one that the run's config selects.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

from saddlepoint.error import did_you_mean

NO_AVERAGES: Mapping[str, Callable[[nn.Module], Any]] = MappingProxyType({})


class Averages(nn.Module):
    """The `average` of a player (game.average.Average), made of several.

    averages   by name; each is called with the network and returns its average
    selected   name of the one that samples are drawn from; another one for an existing run:
               saddlepoint evaluate run=... game.players.generator.average.selected=fast
    All start from the weights that the network has before the first round.
    Raises ValueError if there is no average of the name `selected`.
    """

    def __init__(
        self,
        network: nn.Module,
        averages: Mapping[str, Callable[[nn.Module], Any]] = NO_AVERAGES,
        selected: str = "slow",
    ) -> None:
        super().__init__()
        if selected not in averages:
            raise ValueError(
                f"averages: selected={selected} is not among {', '.join(averages)}.{did_you_mean(selected, averages)}"
            )
        self.averages = nn.ModuleDict({name: average(network) for name, average in averages.items()})
        self.selected = selected

    @property
    def chosen(self) -> Any:
        """The selected average."""
        return self.averages[self.selected]

    @property
    def network(self) -> nn.Module:
        """The network with the selected averaged weights."""
        return self.chosen.network

    @property
    def statistics(self) -> str:
        """The kind of batch-norm statistics of the selected average."""
        return self.chosen.statistics

    @statistics.setter
    def statistics(self, value: str) -> None:
        self.chosen.statistics = value

    @property
    def has_stale_statistics(self) -> bool:
        """Whether the weights have changed since the selected average re-estimated its statistics."""
        return self.chosen.has_stale_statistics

    @has_stale_statistics.setter
    def has_stale_statistics(self, value: bool) -> None:
        self.chosen.has_stale_statistics = value

    def update(self, network: nn.Module, images: int) -> None:
        """Update all averages with the weights of `network` after `images` images."""
        average: Any
        for average in self.averages.values():
            if average.images == 0 and average is not self.chosen:  # data-dependent initialisation
                average.network.load_state_dict(self.network.state_dict(), strict=False)
        for average in self.averages.values():
            average.update(network, images)

    def reestimate_statistics(self, arguments: Iterable[tuple[Any, ...]]) -> None:
        """Set the batch-norm statistics of the selected average to those of forward passes on `arguments`."""
        self.chosen.reestimate_statistics(arguments)
