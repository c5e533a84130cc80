"""Laws of virtual batch norm, for the layer and in a game."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from play import BY_CLASS, RULES, Critic, Maker, Watch, batches, fit, game
from torch import nn

from saddlepoint.architecture import conv28, dcgan, mlp
from saddlepoint.layer.virtual_batch_norm import VirtualBatchNorm
from saddlepoint.objective import nonsaturating
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.stream import Stream

SHAPES = {"points": (3,), "sequences": (3, 7), "images": (3, 4, 5)}


def mixed(x, size, eps, gain, bias):
    """Compute the formula of the paper in numpy, sample by sample: weighted mean and mean square."""
    reference, out = x[:size], []
    axes = (0, *range(2, x.ndim))
    mean, square = reference.mean(axes), (reference**2).mean(axes)
    for i, sample in enumerate(x):
        flat = sample.reshape(len(sample), -1)
        w = 0.0 if i < size else 1 / (size + 1)
        m = w * flat.mean(1) + (1 - w) * mean
        q = w * (flat**2).mean(1) + (1 - w) * square
        normed = (flat - m[:, None]) / np.sqrt(q - m**2 + eps)[:, None] * gain[:, None] + bias[:, None]
        out.append(normed.reshape(sample.shape))
    return np.stack(out)


def layer(features=3, reference=8, **settings):
    """Return a layer that uses the first rows of its input as the reference."""
    norm = VirtualBatchNorm(features, reference, **settings)
    norm.has_reference = True
    return norm


@pytest.mark.parametrize("shape", SHAPES)
def test_the_output_equals_the_mixed_statistics_computed_by_hand(shape):
    torch.manual_seed(0)
    norm = layer(reference=8, eps=1e-5, std=0.5).double()
    nn.init.normal_(norm.bias)
    x = 2 + 3 * torch.randn(13, *SHAPES[shape], dtype=torch.float64)
    expected = mixed(x.numpy(), 8, 1e-5, norm.gain.detach().numpy(), norm.bias.detach().numpy())
    assert np.abs(norm(x).detach().numpy() - expected).max() < 1e-12


def test_gains_start_around_one_with_the_deviation_of_the_paper_and_biases_at_0():
    torch.manual_seed(0)
    norm = VirtualBatchNorm(20_000)
    assert norm.gain.mean().item() == pytest.approx(1, abs=1e-3)
    assert norm.gain.std().item() == pytest.approx(0.02, rel=0.05)
    assert not norm.bias.any()


def test_a_large_mean_does_not_give_a_negative_variance():
    norm = layer(reference=4)
    x = 1000 + 1e-2 * torch.randn(9, 3, 4, 4)  # here mean square minus squared mean is only rounding error
    assert torch.isfinite(norm(x)).all()
    assert norm(x)[:4].std() > 0.5


def test_the_gradient_flows_through_the_reference():
    norm = layer(reference=5)
    x = torch.randn(7, 3, 4, 4, requires_grad=True)
    norm(x)[6].square().sum().backward()
    slope = x.grad.abs().flatten(1).sum(1)
    assert (slope[:5] > 0).all()
    assert slope[5] == 0  # other samples have no influence
    assert slope[6] > 0


# ------------------------------------------------------------------------------------------------------- in a game

Z = 4
GENERATORS = {
    "mlp": (lambda norm: mlp.Generator(Z, [2], [6, 6], norm), (2,)),
    "conv28": (lambda norm: conv28.Generator(Z, [1, 28, 28], norm), (1, 28, 28)),
    "dcgan": (lambda norm: dcgan.Generator(Z, [1, 32, 32], 4, norm), (1, 32, 32)),
}


def play(generator="mlp", reference=8, rule="alternating", seed=0, **settings):
    """Return a game whose generator has virtual batch norm, and the shape of its data."""
    torch.manual_seed(0)
    make, shape = GENERATORS[generator]
    critic = Critic(nn.Flatten(), nn.Linear(int(np.prod(shape)), 1))
    nets = make(partial(VirtualBatchNorm, reference=reference)), critic
    return game(nonsaturating, rule=rule, nets=nets, z=Z, seed=seed, **settings), shape


def latents(n, seed=5):
    return {"z": torch.randn(n, Z, generator=torch.Generator().manual_seed(seed))}


@pytest.mark.parametrize("mode", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("generator", GENERATORS)
def test_a_sample_does_not_depend_on_the_others_of_its_batch(generator, mode):
    plays, shape = play(generator)
    network = plays.generator.network.train(mode)
    z = latents(6)["z"]
    output = network({"z": z})
    assert output.shape == (6, *shape)
    other = z.clone()
    other[1:] *= -30
    assert torch.allclose(network({"z": other})[0], output[0], atol=1e-6)
    assert torch.allclose(network({"z": z[:1]})[0], output[0], atol=1e-6)
    assert not torch.allclose(network({"z": other})[1], output[1], atol=1e-2)


def test_with_batch_norm_a_sample_depends_on_the_others():
    network = mlp.Generator(Z, [2], [6, 6], nn.BatchNorm1d)
    z = latents(6)["z"]
    other = z.clone()
    other[1:] *= -30
    assert not torch.allclose(network({"z": other})[0], network({"z": z})[0], atol=1e-2)


def test_training_and_evaluation_mode_give_the_same_output():
    network = play()[0].generator.network
    assert torch.equal(network.train()(latents(5)), network.eval()(latents(5)))


def test_a_step_on_an_earlier_layer_moves_the_reference_statistics():
    """The output for a constant input changes, since only the reference statistics changed."""
    network = mlp.Generator(2, [1], [3], partial(VirtualBatchNorm, reference=4))
    plays = game(nonsaturating, nets=(network, Critic(nn.Flatten(), nn.Linear(1, 1))), z=2)
    nothing = {"z": torch.zeros(3, 2)}  # the first map has no bias here, so its output is 0 for any weights
    before = network(nothing)
    with torch.no_grad():
        network.layers[0][0].weight.mul_(torch.tensor([[1.0], [2.0], [-3.0]]))
    after = network(nothing)
    assert plays.generator.network is network
    assert not torch.allclose(before, after, atol=1e-3)


def test_the_reference_is_drawn_once_from_its_own_stream():
    plays, _ = play(reference=9)
    expected = Prior(z=Normal(Z)).sample(9, Stream(0, "reference"))["z"]
    assert torch.equal(plays.generator.network.reference_batch.latent_z, expected)
    assert torch.equal(play(reference=9)[0].generator.network.reference_batch.latent_z, expected)
    assert not torch.equal(play(reference=9, seed=1)[0].generator.network.reference_batch.latent_z, expected)
    fit(plays, batches(3))
    assert torch.equal(plays.generator.network.reference_batch.latent_z, expected)


def test_the_layer_does_not_change_the_latents_and_data_of_a_game():
    states = {}
    for norm in (None, partial(VirtualBatchNorm, reference=8)):
        network = mlp.Generator(Z, [2], [6], norm)
        plays = game(nonsaturating, nets=(network, Critic(nn.Flatten(), nn.Linear(2, 1))), z=Z)
        fit(plays, batches(2))
        states[norm] = plays.streams["latent"].state
    assert torch.equal(*states.values())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("generator", GENERATORS)
def test_rounds_are_finite_and_the_average_has_the_same_reference_latents(generator, rule):
    from saddlepoint.game.average import Average

    follow = partial(Average, half_life=50, warm_up=None)
    plays, shape = play(generator, rule=rule, g={"average": follow})
    before = copy.deepcopy(dict(plays.generator.network.named_parameters()))
    fit(plays, batches(2, n=4, shape=shape))
    live, average = plays.generator.network, plays.generator.average.network
    assert torch.equal(live.reference_batch.latent_z, average.reference_batch.latent_z)
    assert all(torch.isfinite(p).all() for p in plays.parameters())
    moved = [name for name, p in live.named_parameters() if not torch.equal(p, before[name])]
    assert any("gain" in name for name in moved)
    assert plays.sample(5).shape == (5, *shape)
    assert torch.equal(plays.sample(5), average(plays.prior.sample(5, Stream(0, "evaluation"))))


def test_the_reference_is_saved_with_the_weights_and_training_resumes_bit_for_bit():
    def trained(rounds):
        plays = play(optimizer=partial(torch.optim.SGD, lr=0.1))[0]
        fit(plays, batches(4)[:rounds])
        return plays

    uninterrupted, half = trained(4), trained(2)
    resumed = play(seed=0, optimizer=partial(torch.optim.SGD, lr=0.1))[0]
    resumed.generator.network.reference_batch.latent_z.zero_()  # must be restored from a checkpoint
    resumed.load_state_dict(half.state_dict())
    resumed.streams["latent"].state = half.streams["latent"].state
    resumed.rounds, resumed.images = half.rounds, half.images
    fit(resumed, batches(4)[2:])
    for name, value in uninterrupted.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_accumulating_in_parts_leaves_the_game_as_it_was():
    ends = []
    for parts in (1, 4):
        plays = play(optimizer=partial(torch.optim.SGD, lr=0.1), g={"accumulate": parts}, d={"accumulate": parts})[0]
        fit(plays, batches(3))
        ends.append(plays.generator.network.state_dict())
    for name, value in ends[0].items():
        assert torch.allclose(value, ends[1][name], atol=1e-5), name


def test_the_reference_of_a_conditional_generator_includes_the_classes():
    class Conditional(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.norm = nn.Embedding(3, 2), VirtualBatchNorm(2, reference=6)

        def forward(self, latent, condition):
            return self.norm(latent["z"] + self.embed(condition["label"]))

    by_class = {"sides": BY_CLASS, "conditions": "labels", "classes": {"y": 3}}
    plays = game(nonsaturating, nets=(Conditional(), Critic(nn.Flatten(), nn.Linear(2, 1))), z=2, **by_class)
    network = plays.generator.network
    assert network.reference_batch.condition["label"].shape == (6,)
    z, condition = torch.randn(4, 2), {"label": torch.tensor([0, 1, 2, 0])}
    assert network({"z": z}, condition).shape == (4, 2)
    assert torch.equal(network(latent={"z": z}, condition=condition), network({"z": z}, condition))
    assert plays.sample(5).shape == (5, 2)


# -------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("size", [0, 1, 2.5])
def test_too_small_a_reference_is_refused(size):
    with pytest.raises(ValueError, match=rf"reference={size}, the size of the reference batch, must be"):
        VirtualBatchNorm(3, reference=size)


def test_no_reference_is_refused():
    with pytest.raises(ValueError, match="has no reference batch"):
        VirtualBatchNorm(3)(torch.randn(80, 3))


def test_a_discriminator_with_it_is_refused():
    critic = Critic(VirtualBatchNorm(2), nn.Linear(2, 1))
    with pytest.raises(ValueError, match="use it only in the generator"):
        game(nonsaturating, nets=(Maker(nn.Linear(Z, 2)), critic), z=Z)


def test_two_reference_sizes_in_one_network_are_refused():
    maker = Maker(nn.Sequential(VirtualBatchNorm(Z, 4), nn.Linear(Z, 2), VirtualBatchNorm(2, 5)))
    with pytest.raises(ValueError, match="one layer has reference=4, another 5"):
        game(nonsaturating, nets=(maker, Critic(nn.Flatten(), nn.Linear(2, 1))), z=Z)


def test_evaluating_changes_nothing_in_training():
    ends = []
    for looks in (False, True):
        plays = play()[0]
        fit(plays, batches(3), [Watch(after=lambda g, i: g.sample(3))] if looks else [])
        ends.append(plays.state_dict())
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
