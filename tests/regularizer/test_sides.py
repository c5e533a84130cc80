"""Terms of other sides than real and fake: closed forms."""

from __future__ import annotations

import pytest
import torch
from play import batches, fit, game, networks, turn
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence

from saddlepoint.error import Mistake
from saddlepoint.game.side import TWO_PLAYER
from saddlepoint.objective import hinge
from saddlepoint.regularizer.kl import KL
from saddlepoint.regularizer.path_length import PathLength
from saddlepoint.regularizer.reconstruction import Reconstruction
from saddlepoint.turn import Sample, Turn


def sample(x, posterior=None):
    return Sample(x, None, None, extra_output=posterior)


@pytest.mark.parametrize("shape", [(3,), (2, 4, 5)])
def test_reconstruction_is_the_mean_distance_over_all_numbers(shape):
    a, b = torch.randn(7, *shape), torch.randn(7, *shape)
    sides = turn(fake=sample(a), real=sample(b))
    assert Reconstruction()(sides).item() == pytest.approx(nn.functional.l1_loss(a, b).item(), rel=1e-6)
    squared = Reconstruction(absolute=False)(sides).item()
    assert squared == pytest.approx(nn.functional.mse_loss(a, b).item(), rel=1e-6)
    assert Reconstruction(target="x")(sides).item() == pytest.approx((a - sides.batch.x).abs().mean().item(), rel=1e-6)
    with pytest.raises(Mistake, match=r"no entry cycl.*There are: real, fake"):
        Reconstruction(side="cycl")(sides)


@pytest.mark.parametrize(
    ("sides", "names", "independent"),
    [
        ({}, ("fake", "real"), "fake"),
        ({"code": {"by": "generator", "of": "x"}}, ("code", "fake"), "fake"),
        ({"again": {"by": "generator"}}, ("fake", "again"), None),
        ({"code": {"by": "generator", "of": "x"}}, ("code", "x"), None),
        ({"fake": {"by": "generator", "condition": {"label": "y"}, "judge": "discriminator"}}, ("fake", "real"), None),
    ],
)
def test_reconstruction_warns_if_rows_have_nothing_in_common(sides, names, independent):
    term = Reconstruction(side=names[0], target=names[1])
    warning = term.check_game(game(hinge, sides={**TWO_PLAYER, **sides}))
    assert warning == (
        independent and f"{' is compared with '.join(names)} at random: fake does not depend on the batch"
    )


def test_kl_is_torchs_own_divergence_of_the_posterior_from_a_standard_normal():
    mean, log_variance = torch.randn(9, 4), torch.randn(9, 4)
    posterior = Independent(Normal(mean, (log_variance / 2).exp()), 1)
    expected = kl_divergence(posterior, Independent(Normal(torch.zeros(4), torch.ones(4)), 1)).mean().item()
    sides = turn(fake=sample(torch.zeros(9, 1)), code=sample({"z": mean}, (mean, log_variance)))
    assert KL()(sides).item() == pytest.approx(expected, rel=1e-5)
    assert KL()(turn(code=sample(mean, (torch.zeros(2, 3),) * 2))).item() == 0
    with pytest.raises(Mistake, match=r"the network of side code must return x, \(mean, log_variance\)"):
        KL()(turn(code=sample(mean)))


def path_length_turn(x, w):
    """A turn of len(x) fakes x made from w, with the seeds 0, 1, ..."""
    return Turn({}, {}, None, {}, term_draw=torch.arange(len(x)), samples={"fake": sample(x, w)})


@pytest.mark.parametrize("size", [1, 4])
def test_the_path_length_of_a_linear_synthesis_network_is_that_of_its_matrix(size):
    """For x = A w, J = A: ||A^T y|| per direction y, divided by the square root of the pixels per channel."""
    a = torch.randn(3 * size, 5)
    w = torch.randn(6, 5).requires_grad_()
    x = (w @ a.T).view(6, 3, size)
    term = PathLength(decay=0.5)
    y = torch.stack([torch.randn(3, size, generator=torch.Generator().manual_seed(i)) for i in range(6)]).flatten(1)
    lengths = (y @ a).norm(dim=1) / size**0.5
    turn = path_length_turn(x, w)
    first = lengths.mean()
    assert term(turn).item() == pytest.approx((lengths - first).square().mean().item(), rel=1e-4)
    assert term.mean.item() == pytest.approx(first.item(), rel=1e-5)
    term.mean.fill_(0.0)
    updated = 0.5 * first
    assert term(turn).item() == pytest.approx((lengths - updated).square().mean().item(), rel=1e-4)


def test_with_a_w_per_layer_the_squared_length_is_the_mean_over_layers():
    a, w = torch.randn(4, 3, 5), torch.randn(6, 4, 5).requires_grad_()  # 4 layers
    y = torch.stack([torch.randn(3, generator=torch.Generator().manual_seed(i)) for i in range(6)])
    term = PathLength()
    term(path_length_turn(torch.einsum("lij,nlj->ni", a, w), w))
    squares = torch.einsum("ni,lij->nlj", y, a).square().sum(2).mean(1)
    assert term.mean.item() == pytest.approx(squares.sqrt().mean().item(), rel=1e-5)


def test_a_sample_that_does_not_depend_on_its_w_has_a_finite_gradient():
    """A generator whose hidden units are all 0 at one w: the length is 0, where a root has no derivative."""
    weight = torch.ones(3, 2, requires_grad=True)
    w = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], requires_grad=True)
    sides = path_length_turn((w @ weight.T).relu(), w)
    assert torch.autograd.grad(PathLength()(sides), weight)[0].isfinite().all()


def with_mapping():
    """A generator that returns (x, w), and a critic."""
    mapping = nn.Sequential(nn.Linear(3, 8), nn.Tanh())
    return Styled(mapping, nn.Linear(8, 2)), networks()[1]


class Styled(nn.Module):
    def __init__(self, mapping, synthesis):
        super().__init__()
        self.mapping, self.synthesis = mapping, synthesis

    def forward(self, latent, condition=None):
        w = self.mapping(latent["z"])
        return self.synthesis(w), w


def test_path_length_moves_only_the_generator_on_the_turns_on_which_it_is_due():
    torch.manual_seed(0)
    plays = game(hinge, nets=with_mapping())
    plays.generator.regularizers["path"] = PathLength(every=2)
    fit(plays, batches(4))
    assert plays.generator.regularizers["path"].turns == 2
    assert plays.last_losses["generator"][0]["path"] > 0
    mapping, synthesis = plays.generator.network.mapping[0], plays.generator.network.synthesis
    assert mapping.weight.grad.any()
    assert synthesis.weight.grad.any()


def test_a_slope_at_the_latent_has_a_graph_on_the_turn_of_any_player():
    torch.manual_seed(0)
    plays = game(hinge, nets=with_mapping())
    plays.discriminator.regularizers["path"] = PathLength(every=1)
    fit(plays, batches(1))
    assert plays.last_losses["discriminator"][0]["path"] > 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in plays.parameters())
