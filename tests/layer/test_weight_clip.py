"""Weight clipping: after every turn no weight of D is above the limit, and no other weight has changed."""

import pytest
import torch
from play import Watch, batches, fit, game, networks
from torch import nn

from saddlepoint.game.average import Average
from saddlepoint.layer.weight_clip import WeightClip
from saddlepoint.objective import wasserstein


def clipped_game(limit: float | None, **settings):
    torch.manual_seed(0)
    generator, discriminator = networks()
    clipped = discriminator if limit is None else WeightClip(discriminator, limit)
    return game(wasserstein, nets=(generator, clipped), **settings)


@pytest.mark.parametrize("rule", ["alternating", "simultaneous"])
def test_after_every_round_no_weight_of_the_discriminator_exceeds_the_limit(rule: str) -> None:
    played = clipped_game(0.0625, rule=rule)
    largest, largest_of_g = [], []

    def record(game, _):
        largest.append(max(p.abs().max().item() for p in game.discriminator.network.parameters()))
        largest_of_g.append(max(p.abs().max().item() for p in game.generator.network.parameters()))

    fit(played, batches(4), [Watch(after=record)])
    assert largest == pytest.approx([0.0625] * 4)  # reached, because the initial weights are larger
    assert min(largest_of_g) > 0.0625


def test_a_step_is_that_without_clipping_followed_by_the_nearest_number_in_the_interval() -> None:
    free, clipped = clipped_game(None), clipped_game(0.0625)
    fit(free, batches(1))
    fit(clipped, batches(1))
    pairs = zip(free.discriminator.network.parameters(), clipped.discriminator.network.parameters(), strict=True)
    inside = 0
    for before, after in pairs:
        assert torch.equal(after, before.clamp(-0.0625, 0.0625))
        inside += int((before.abs() < 0.0625).sum())
    assert inside > 0


def test_the_average_of_a_clipped_network_is_clipped_too() -> None:
    played = clipped_game(0.0625, d={"average": Average})
    fit(played, batches(2))
    assert max(p.abs().max().item() for p in played.discriminator.average.network.parameters()) <= 0.0625


@pytest.mark.parametrize("limit", [0, -0.01])
def test_a_limit_that_is_not_positive_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="limit="):
        WeightClip(nn.Linear(1, 1), limit)
