"""Packing: each sample is in one pack and its gradient comes from that pack alone; losses in closed form."""

import play
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from saddlepoint import ranks
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.game import dry_run
from saddlepoint.layer.packing import TRIAL_ROWS, Packing
from saddlepoint.objective import nonsaturating, wasserstein
from saddlepoint.regularizer.approximated_r1 import ApproximatedR1
from saddlepoint.regularizer.dragan import Dragan
from saddlepoint.regularizer.gradient_penalty import GradientPenalty
from saddlepoint.regularizer.mode_seeking import ModeSeeking
from saddlepoint.stream import Stream
from saddlepoint.turn import Sample

SIDES = {  # those of game=packing
    "real": {"of": "x"},
    "fake": {"by": "generator"},
    "packed_real": {"of": "x", "by": "pack", "judge": "discriminator"},
    "packed_fake": {"of": "fake", "by": "pack", "judge": "discriminator"},
}
SEES = {"sees": {"real": "packed_real", "fake": "packed_fake"}}


class Recorded(nn.Module):
    """A generator that returns its latents plus a trainable shift, and keeps its output."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(2))

    def forward(self, latent, condition=None):
        self.output = latent["z"] + self.shift
        return self.output


def packed_game(objective, size: int, g=SEES):
    torch.manual_seed(0)
    nets = Recorded(), play.Critic(nn.Identity(), nn.Linear(2 * size, 1, bias=False))
    pack = {"pack": Packing(size)}
    return play.game(objective, nets=nets, z=2, sides=SIDES, makers=pack, d=SEES, g=g)


@pytest.mark.parametrize("shape", [(2,), (3, 4, 4)])
def test_each_sample_is_in_one_pack_with_its_neighbours_in_the_batch(shape: tuple[int, ...]) -> None:
    x = torch.randn(12, *shape)
    for size in (1, 2, 3):
        packs = Packing(size)(x)
        assert packs.shape == (12 // size, size * shape[0], *shape[1:])
        assert torch.equal(packs, torch.cat([x[i::size] for i in range(size)], 1))


def test_the_logit_of_a_pack_depends_on_its_own_samples_alone() -> None:
    x = torch.randn(6, 2, requires_grad=True)
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
    logits = network(Packing(3)(x))[:, 0]
    for pack in range(2):
        (slope,) = torch.autograd.grad(logits[pack], x, retain_graph=True)
        rows = slope.abs().sum(1) > 0
        assert rows.tolist() == [i // 3 == pack for i in range(6)]


@pytest.mark.parametrize("size", [2, 3])
def test_a_linear_discriminator_moves_by_the_difference_of_means_at_each_place_in_the_pack(size: int) -> None:
    game = packed_game(wasserstein, size, g={**SEES, "every": 2})
    before = game.discriminator.network.last.weight.detach().clone()
    (batch,) = play.batches(1, n=12)
    play.fit(game, [batch])
    fake = game.generator.network.output.detach()
    step = torch.cat([fake[i::size].mean(0) - batch.x[i::size].mean(0) for i in range(size)])
    assert torch.allclose(game.discriminator.network.last.weight[0], before[0] - 0.1 * step, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_with_a_discriminator_that_adds_up_its_pack_the_losses_are_those_of_sums(size: int) -> None:
    game = packed_game(nonsaturating, size)
    weight = torch.tensor([0.7, -0.4])
    game.discriminator.network.last.weight.data = weight.repeat(size)[None]
    (batch,) = play.batches(1, n=12)
    ((turn, _),) = game.build_turns(batch, ["discriminator"])
    (loss,) = game.discriminator.losses(turn, 0).values()
    real, fake = ((x @ weight).view(-1, size).sum(1) for x in (batch.x, game.generator.network.output))
    assert loss.item() == pytest.approx((softplus(-real).mean() + softplus(fake).mean()).item(), rel=1e-5)


def test_penalties_take_one_slope_per_pack() -> None:
    weight = torch.tensor([1.0, 2.0, 4.0, 2.0], dtype=torch.float64)  # of norm 5
    judge = play.judge(lambda x: x @ weight)
    pack = Packing(2)
    real, fake = (Sample(pack(torch.randn(8, 2, dtype=torch.float64)), {}, judge) for _ in range(2))
    for term, value in ((GradientPenalty(), 16), (Dragan(), 16)):
        drawn = term.draw(8, Stream(0, "augment"))  # one per real
        assert term(play.turn(drawn=drawn, real=real, fake=fake)).item() == pytest.approx(value)
    term = ApproximatedR1(scale=0.1)
    values = [term(play.turn(drawn=term.draw(8, Stream(i, "augment")), real=real, fake=fake)) for i in range(400)]
    assert torch.stack(values).mean().item() == pytest.approx(
        0.25, rel=0.2
    )  # s^2 |w|^2; 5 standard errors of 1,600 packs
    with pytest.raises(Mistake, match="4 rows for 8 latents"):
        ModeSeeking()(play.turn(latent={"z": torch.randn(8, 2)}, real=real, fake=fake))


def test_the_config_gives_the_discriminator_the_shape_of_a_pack() -> None:
    config = compose(["game=packing", "game.makers.pack.size=3", "batch=63"])
    assert config.architecture.discriminator.shape == [3, 8, 8]
    assert config.architecture.generator.shape == [1, 8, 8]


def test_a_batch_that_does_not_divide_into_packs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="batch=65 does not divide into packs of 2: set batch to a multiple of 2"):
        Packing(2, batch=65)
    with pytest.raises(Mistake, match="7 samples do not divide into packs of 2"):
        Packing(2)(torch.zeros(7, 2))
    with pytest.raises(ValueError, match=r"Packing uses the whole batch: .*accumulate=2"):
        play.game(wasserstein, sides=SIDES, makers={"pack": Packing(2)}, d={**SEES, "accumulate": 2}, g=SEES)
    with pytest.raises(ValueError, match="size=0"):
        Packing(0)
    monkeypatch.setattr(ranks, "world_size", lambda: 4)
    with pytest.raises(ValueError, match="packs of 2 on each of 4 ranks: set batch to a multiple of 8"):
        Packing(2, batch=66)


def test_the_trial_round_may_end_with_an_incomplete_pack() -> None:
    assert TRIAL_ROWS == dry_run.ROWS
    assert torch.equal(Packing(3)(torch.arange(16.0).view(8, 2))[:, 0], torch.tensor([0.0, 6.0]))
