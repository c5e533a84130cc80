"""Laws of weight normalisation and of its data-dependent initialisation."""

from functools import partial

import pytest
import torch
from play import Critic, Maker, batches, fit, game
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d, linear

from saddlepoint.architecture import conv28, dcgan, mlp
from saddlepoint.game.average import Average
from saddlepoint.layer.gaussian_noise import GaussianNoise
from saddlepoint.layer.weight_norm import WeightNorm, initialise_from_data, weight_norm
from saddlepoint.objective import nonsaturating
from saddlepoint.regularizer.r1 import R1

MAPS = {  # a map, its input, the axes of its weight per output unit, the map as a function
    "linear": (lambda: nn.Linear(5, 3), (7, 5), (1,), linear),
    "conv": (lambda: nn.Conv2d(5, 3, 3, 2, 1), (7, 5, 6, 6), (1, 2, 3), partial(conv2d, stride=2, padding=1)),
    "transposed": (lambda: nn.ConvTranspose2d(5, 3, 4, 2, 1), (7, 5, 6, 6), (0, 2, 3),
                   partial(conv_transpose2d, stride=2, padding=1)),
}  # fmt: skip


@pytest.mark.parametrize("name", MAPS)
def test_the_weight_of_each_output_unit_has_norm_scale(name):
    make, shape, axes, function = MAPS[name]
    layer = weight_norm(make().double())
    with torch.no_grad():
        layer.scale.copy_(torch.tensor([0.5, 2.0, -3.0]))
        layer.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    layer = layer.double()
    theta, x = layer.linear.weight, torch.randn(shape, dtype=torch.float64)
    lengths = theta.square().sum(axes, keepdim=True).sqrt()
    weight = theta / lengths * layer.scale.reshape(lengths.shape)
    assert torch.allclose(weight.square().sum(axes).sqrt(), layer.scale.abs())
    assert torch.allclose(layer(x), function(x, weight, layer.bias), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", MAPS)
def test_the_output_does_not_depend_on_the_norm_of_theta_and_gradients_are_orthogonal_to_it(name):
    make, shape, axes, _ = MAPS[name]
    layer, x = weight_norm(make()), torch.randn(shape)
    layer(x).square().sum().backward()
    theta = layer.linear.weight
    inner, size = (theta * theta.grad).sum(axes), (theta.square().sum(axes) * theta.grad.square().sum(axes)).sqrt()
    assert (inner.abs() < 1e-4 * size).all()
    before = layer(x)
    with torch.no_grad():
        theta.mul_(17)
    assert torch.allclose(layer(x), before, atol=1e-4)


def test_theta_starts_with_standard_deviation_std_and_a_frozen_scale_is_no_parameter():
    torch.manual_seed(0)
    fixed, learned = weight_norm(nn.Linear(300, 200), std=0.3), weight_norm(nn.Linear(4, 2), trainable=True)
    assert fixed.linear.weight.std().item() == pytest.approx(0.3, rel=0.02)
    assert set(dict(fixed.named_parameters())) == {"bias", "linear.weight"}
    assert set(dict(learned.named_parameters())) == {"bias", "linear.weight", "scale"}
    assert "scale" in fixed.state_dict()


def hidden(network, x):
    """Return the output of each weight-normalised layer of a network for x, in training mode."""
    outputs = []
    layers = [m for m in network.modules() if isinstance(m, WeightNorm)]
    hooks = [layer.register_forward_hook(lambda m, a, out: outputs.append(out.detach())) for layer in layers]
    network.train()(x)
    for hook in hooks:
        hook.remove()
    return outputs


@pytest.mark.parametrize("start", [1.0, 0.1])
def test_after_initialisation_every_layer_has_mean_0_and_the_given_deviation(start):
    torch.manual_seed(0)
    network = nn.Sequential(
        weight_norm(nn.Conv2d(2, 4, 3, 1, 1), start=start), nn.LeakyReLU(0.2),
        weight_norm(nn.ConvTranspose2d(4, 6, 4, 2, 1), start=start), nn.ReLU(),
        nn.Flatten(), weight_norm(nn.Linear(6 * 64, 5), start=start, trainable=True),
    )  # fmt: skip
    x = 3 + 2 * torch.randn(500, 2, 4, 4)
    assert max(h.mean().abs().item() for h in hidden(network, x)) > 0.1
    initialise_from_data(network, x)
    for h in hidden(network, x):
        axes = [0, *range(2, h.ndim)]
        assert h.mean(axes).abs().max() < 1e-5
        assert torch.allclose(h.std(axes, correction=0), torch.full((h.shape[1],), start), atol=1e-4)


def test_initialisation_equals_the_computation_by_hand_layer_by_layer():
    network = nn.Sequential(weight_norm(nn.Linear(3, 4)), nn.ReLU(), weight_norm(nn.Linear(4, 2)))
    x = torch.randn(50, 3)
    initialise_from_data(network, x)
    h = x
    for layer in (network[0], network[2]):
        theta = layer.linear.weight.detach()
        h = h @ (theta / theta.norm(dim=1, keepdim=True)).T
        assert torch.allclose(layer.scale, 1 / h.std(0, correction=0), rtol=1e-5)
        assert torch.allclose(layer.bias, -h.mean(0) / h.std(0, correction=0), atol=1e-5)
        h = ((h - h.mean(0)) / h.std(0, correction=0)).relu()


def test_initialisation_uses_training_noise_and_keeps_modes_and_batch_statistics():
    network = nn.Sequential(GaussianNoise(1, 3.0), weight_norm(nn.Linear(1, 1)), nn.BatchNorm1d(1)).eval()
    x = torch.randn(4000, 1)
    initialise_from_data(network, x)
    assert network[1].scale.item() == pytest.approx(10**-0.5, rel=0.05)  # the variance is 1 + 3^2
    assert not any(module.training for module in network.modules())
    assert network[2].running_mean.item() == 0
    assert network[2].num_batches_tracked.item() == 0


def test_a_layer_with_start_none_keeps_scale_1_and_bias_0():
    network = nn.Sequential(weight_norm(nn.Linear(3, 4), start=None), weight_norm(nn.Linear(4, 2)))
    initialise_from_data(network, 5 + torch.randn(50, 3))
    assert torch.equal(network[0].scale, torch.ones(4))
    assert not network[0].bias.any()
    assert network[1].bias.any()


def test_a_constant_unit_stays_finite():
    network = nn.Sequential(weight_norm(nn.Linear(3, 4)))
    initialise_from_data(network, torch.ones(10, 3))
    assert torch.equal(network[0].scale, torch.ones(4))
    assert torch.allclose(network(torch.ones(10, 3)), torch.zeros(10, 4), atol=1e-6)


# ------------------------------------------------------------------------------------------------------- in a game

NETWORKS = {
    "mlp": (mlp, [2], {"widths": [6, 6]}),
    "conv28": (conv28, [1, 28, 28], {}),
    "dcgan": (dcgan, [1, 32, 32], {"width": 4}),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_as_a_norm_it_wraps_the_linear_map_before_it_in_any_architecture(case):
    module, shape, settings = NETWORKS[case]
    generator = module.Generator(4, shape, norm=WeightNorm, **settings)
    discriminator = module.Discriminator(shape, norm=WeightNorm, **settings)
    plays = game(nonsaturating, {"r1": R1()}, nets=(generator, discriminator), z=4)
    fit(plays, batches(2, n=8, shape=shape))
    assert all(torch.isfinite(p).all() for p in plays.parameters())
    for network in (generator, discriminator):
        layers = [m for m in network.modules() if isinstance(m, WeightNorm)]
        assert layers
        for layer in layers:
            assert layer.linear.bias is None
            assert not torch.equal(layer.scale, torch.ones_like(layer.scale))  # it is initialised


def test_a_game_initialises_once_from_its_first_500_reals():
    data = batches(40)

    def fresh():
        torch.manual_seed(0)
        return mlp.Discriminator([2], [6, 6], WeightNorm)

    reals = torch.cat([batch.x for batch in data])[:500]
    expected = fresh()
    initialise_from_data(expected, reals)
    still = {"optimizer": partial(torch.optim.SGD, lr=0.0), "d": {"average": partial(Average, warm_up=None)}}
    plays = game(nonsaturating, nets=(Maker(nn.Linear(3, 2)), fresh()), **still)
    fit(plays, data[:1])  # fewer than 500 images
    assert not torch.equal(plays.discriminator.network.state_dict()["trunk.hidden2.0.scale"],
                           expected.state_dict()["trunk.hidden2.0.scale"])  # fmt: skip
    plays = game(nonsaturating, nets=(Maker(nn.Linear(3, 2)), fresh()), **still)
    fit(plays, data)
    average = plays.discriminator.average.network.state_dict()
    for name, value in expected.state_dict().items():
        assert torch.equal(plays.discriminator.network.state_dict()[name], value), name
        assert torch.equal(average[name], value), name  # the average starts equal to the network
    resumed = game(nonsaturating, nets=(Maker(nn.Linear(3, 2)), fresh()), **still)
    resumed.load_state_dict(plays.state_dict())
    resumed.images = plays.images
    fit(resumed, batches(40, seed=9))
    scale = resumed.discriminator.network.state_dict()["trunk.hidden1.1.0.scale"]
    assert torch.equal(scale, expected.state_dict()["trunk.hidden1.1.0.scale"])  # not initialised again


def test_a_generator_is_initialised_from_latents_that_do_not_change_those_of_training():
    states = []
    for norm in (None, WeightNorm):
        torch.manual_seed(0)
        generator = mlp.Generator(3, [2], [6], norm)
        plays = game(nonsaturating, nets=(generator, Critic(nn.Flatten(), nn.Linear(2, 1))))
        fit(plays, batches(2))
        states.append(plays.streams["latent"].state)
    assert torch.equal(*states)
    layer = generator.layers[0][0]
    z = torch.randn(20_000, 3)
    assert torch.allclose(layer(z).std(0), torch.ones(6), atol=0.2)


@pytest.mark.parametrize("linear", [nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), nn.Sequential(nn.Flatten())])
def test_anything_but_a_linear_map_is_refused(linear):
    with pytest.raises(ValueError, match="weight norm is for Linear, Conv2d and ConvTranspose2d"):
        weight_norm(linear)


@pytest.mark.parametrize("wrong", [{"std": 0.0}, {"start": -1.0}])
def test_invalid_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="must be above 0"):
        WeightNorm(3, **wrong)


def test_without_a_linear_map_or_with_one_sample_the_error_names_what_is_missing():
    with pytest.raises(ValueError, match="no linear map"):
        WeightNorm(3)(torch.randn(2, 3))
    with pytest.raises(ValueError, match="a batch of at least 2"):
        initialise_from_data(weight_norm(nn.Linear(3, 2)), torch.randn(1, 3))


def test_the_untrained_network_is_the_one_that_starts_training(tmp_path):
    """The first snapshot, score and grid are made after the initialisation from data."""
    from runs import run
    from safetensors.torch import load_file

    from saddlepoint.experiment.build import build_game, load_data
    from saddlepoint.experiment.run_config import load_run_config
    from saddlepoint.game.initialisation import run_data_dependent_init

    norm = [f"+layer@architecture.{player}.norm=weight_norm" for player in ("generator", "discriminator")]
    record = run(tmp_path, *norm, "metric=[]", "images=128")
    config = load_run_config(record)
    game, data = build_game(config), load_data(config)
    before = {key: value.clone() for key, value in game.generator.average.network.state_dict().items()}
    run_data_dependent_init(game, data.training_batches(0))
    initial = game.generator.average.network.state_dict()
    snapshot = load_file(record.folder / "snapshots" / "000000000.safetensors")
    assert all(torch.equal(initial[key], snapshot[key]) for key in initial)
    assert any(not torch.equal(initial[key], before[key]) for key in initial)
