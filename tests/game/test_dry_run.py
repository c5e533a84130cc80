"""What a round on copies refuses before anything is trained, and that it leaves the game as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from play import Critic, Maker, batches, fit, game, networks
from torch import nn

from saddlepoint.error import Mistake
from saddlepoint.game.dry_run import dry_run
from saddlepoint.layer.minibatch_discrimination import MinibatchDiscrimination
from saddlepoint.objective import hinge, nonsaturating, relativistic
from saddlepoint.regularizer.approximated_r1 import ApproximatedR1
from saddlepoint.regularizer.approximated_r2 import ApproximatedR2
from saddlepoint.regularizer.dragan import Dragan
from saddlepoint.regularizer.gradient_penalty import GradientPenalty
from saddlepoint.regularizer.historical_averaging import HistoricalAveraging
from saddlepoint.regularizer.r1 import R1
from saddlepoint.regularizer.r2 import R2
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.regularizer.zero_centered_gradient_penalty import ZeroCenteredGradientPenalty
from saddlepoint.schedule.linear import Linear
from saddlepoint.turn import DiscriminatorOutput

PENALTIES = {
    "r1": R1, "r2": R2, "gradient_penalty": GradientPenalty, "dragan": Dragan, "approximated_r1": ApproximatedR1,
    "approximated_r2": ApproximatedR2, "zero_centered_gradient_penalty": ZeroCenteredGradientPenalty,
}  # fmt: skip
BATCH = batches(1)[0]


class Detached(nn.Module):
    """A generator whose samples do not lead back to its weights."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, latent, y=None):
        return self.layer(latent["z"]).detach()


class Spare(Maker):
    """A generator with a layer that it does not use."""

    def __init__(self):
        super().__init__(nn.Linear(3, 2))
        self.spare = nn.Linear(2, 2)


def test_a_player_whose_loss_does_not_reach_its_weights_is_refused_with_their_names():
    with pytest.raises(
        Mistake, match=r"no loss of generator reaches any of its 2 parameters.*layer\.weight, layer\.bias"
    ):
        dry_run(game(hinge, nets=(Detached(), networks()[1])), BATCH)


def test_parameters_without_a_gradient_are_listed_unless_they_are_frozen():
    maker = Spare()
    with pytest.raises(Mistake, match=r"reaches 2 of its 4 parameters.*spare\.weight, spare\.bias"):
        dry_run(game(hinge, nets=(maker, networks()[1])), BATCH)
    maker.spare.requires_grad_(False)
    dry_run(game(hinge, nets=(maker, networks()[1])), BATCH)


class Head(Regularizer):
    """The only term that reaches a layer of the generator."""

    def forward(self, turn):
        return turn.player.network.spare(turn["fake"].x).square().mean()


@pytest.mark.parametrize("weight", [0, Linear(0.0, 1.0, images=100)])
def test_parameters_that_only_a_term_of_weight_0_reaches_are_accepted(weight):
    plays = game(hinge, nets=(Spare(), networks()[1]))
    plays.generator.regularizers["head"] = Head(weight)
    dry_run(plays, BATCH)


def batch_norm(width=8):
    return Critic(nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.LeakyReLU(0.2)), nn.Linear(width, 1))


class Centred(nn.Module):
    """A layer that compares samples and does not declare it."""

    def forward(self, x):
        return x - x.mean(0)


@pytest.mark.parametrize("rule", ["alternating", "simultaneous"])
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(
    ("layer", "named"),
    [(nn.BatchNorm1d(8), "BatchNorm1d at trunk.1.*norm=null"), (Centred(), "of the batch, so"),
     (MinibatchDiscrimination(8, 2, 2), "MinibatchDiscrimination at trunk.1")],
)  # fmt: skip
def test_a_slope_per_sample_is_refused_if_ds_logit_depends_on_other_samples(layer, named, penalty, rule):
    width = getattr(layer, "features", 8)
    critic = Critic(nn.Sequential(nn.Linear(2, 8), copy.deepcopy(layer), nn.LeakyReLU(0.2)), nn.Linear(width, 1))
    with pytest.raises(Mistake, match=rf"regularizer\.discriminator\.{penalty} takes the slope.*{named}"):
        dry_run(game(hinge, {penalty: PENALTIES[penalty]()}, rule, nets=(networks()[0], critic)), BATCH)


def test_batch_norm_in_d_is_accepted_without_a_slope_or_in_evaluation_mode():
    dry_run(game(hinge, nets=(networks()[0], batch_norm())), BATCH)
    dry_run(game(hinge, {"r1": R1(weight=0)}, nets=(networks()[0], batch_norm())), BATCH)


def test_logits_of_two_shapes_are_refused_and_not_broadcast():
    class Uneven(Critic):
        def forward(self, x, y=None):
            logits = super().forward(x, y).logits
            return DiscriminatorOutput(logits if x.requires_grad else logits[:, None])

    plays = game(relativistic, nets=(networks()[0], Uneven(nn.Linear(2, 4), nn.Linear(4, 1))))
    with pytest.raises(Mistake, match=r"\[8, 1\] for real and \[8\] for fake.*all pairs"):
        dry_run(plays, BATCH)
    with pytest.raises(ValueError, match=r"row by row, but reals have \[4\] and fakes \[4, 1\]"):
        relativistic.discriminator(torch.zeros(4), torch.zeros(4, 1))


def test_a_dry_run_does_not_change_the_game():
    torch.manual_seed(0)
    noisy = Critic(nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout()), nn.Linear(8, 1))
    terms = {"history": HistoricalAveraging()}
    plays = game(nonsaturating, terms, nets=(networks()[0], noisy))
    other = copy.deepcopy(plays)
    rng = torch.get_rng_state()
    dry_run(plays, BATCH)
    assert torch.equal(rng, torch.get_rng_state())
    assert all(p.grad is None for p in plays.parameters())
    ends = []
    for one in (plays, other):
        torch.manual_seed(1)
        fit(one, batches(3))
        ends.append(one.state_dict())
    for key, value in ends[0].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, ends[1][key]), key


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_batches_are_not_split_if_there_is_batch_norm(player):
    with pytest.raises(ValueError, match=rf"BatchNorm1d uses the whole batch: game.players.{player}.accumulate=2"):
        game(hinge, **{player[0]: {"accumulate": 2}})
