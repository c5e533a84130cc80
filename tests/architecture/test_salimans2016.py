"""The networks of Salimans et al. 2016: their layers and initialisation are those of the authors' code."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from saddlepoint.architecture import salimans2016_cifar, salimans2016_mnist
from saddlepoint.layer.gaussian_noise import GaussianNoise
from saddlepoint.layer.minibatch_discrimination import MinibatchDiscrimination
from saddlepoint.layer.readout import LinearReadout
from saddlepoint.layer.weight_norm import WeightNorm, initialise_from_data

MNIST, COLOUR = [1, 28, 28], [3, 32, 32]
BATCH_NORM = partial(nn.BatchNorm1d, eps=1e-6, affine=False)
BATCH_NORM_2D = partial(nn.BatchNorm2d, eps=1e-6, affine=False)


def weights(network):
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def images(n, shape, seed=0):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_mnist_discriminator_has_the_layers_and_parameters_of_the_authors_code():
    network = salimans2016_mnist.Discriminator(MNIST, heads={"label": 10})
    widths = [784, 1000, 500, 250, 250, 250]
    learned = sum((a + 1) * b for a, b in pairwise(widths))  # theta and bias; scale is fixed
    assert weights(network) == learned + 250 * 10 + 10 + 10  # the scale of the last layer is learned
    output = network.eval()(images(4, MNIST))
    assert {name: f.shape[1] for name, f in output.features.items()} == {
        f"hidden{i}": width for i, width in enumerate(widths[1:], 1)
    }
    assert output.logits.equal(output.heads["label"].logsumexp(1))
    noises = [m.sigma for m in network.modules() if isinstance(m, GaussianNoise)]
    assert noises == [0.3, 0.5, 0.5, 0.5, 0.5, 0.5]


def test_features_are_taken_before_their_own_noise():
    """With all noise off but the last, hidden5 is deterministic and the logits are not."""
    network = salimans2016_mnist.Discriminator(MNIST, heads={"label": 10})
    *early, last = (m for m in network.modules() if isinstance(m, GaussianNoise))
    for noise in early:
        noise.sigma = 0
    x = images(3, MNIST)
    one, other = network(x), network(x)
    assert one.features["hidden5"].equal(other.features["hidden5"])
    assert (one.features["hidden5"] >= 0).all()
    assert not one.heads["label"].equal(other.heads["label"])
    last.sigma = 0
    assert network(x).heads["label"].equal(network(x).heads["label"])


@pytest.mark.parametrize(("module", "shape"), [(salimans2016_mnist, MNIST), (salimans2016_cifar, COLOUR)])
def test_after_initialisation_from_data_every_pre_activation_has_mean_0_and_the_given_deviation(module, shape):
    torch.manual_seed(0)
    network = module.Discriminator(shape, heads={"label": 10})
    for noise in network.modules():
        if isinstance(noise, GaussianNoise):
            noise.sigma = 0
        if isinstance(noise, nn.Dropout):
            noise.p = 0
    x = images(64, shape)
    initialise_from_data(network, x)
    seen = []
    for layer in network.modules():
        if isinstance(layer, WeightNorm):
            layer.register_forward_hook(lambda layer, args, h: seen.append(h.transpose(0, 1).flatten(1)))
    network.eval()(x)
    for start, h in zip([1.0] * 6 if module is salimans2016_mnist else [1.0] * 9 + [0.1], seen, strict=True):
        torch.testing.assert_close(h.mean(1), torch.zeros(len(h)), atol=2e-4, rtol=0)
        torch.testing.assert_close(h.std(1, correction=0), torch.full((len(h),), start), atol=2e-3 * start, rtol=0)


def test_the_mnist_discriminator_rescales_images_to_0_1_so_that_dark_pixels_are_0():
    """On [-1, 1] it computes the function of the code on [0, 1]: input of the first map, and gradient of its theta."""
    network = salimans2016_mnist.Discriminator(MNIST, widths=[50], input_noise=0, noise=0, heads={"label": 10})
    first = next(m for m in network.modules() if isinstance(m, WeightNorm))
    unit = torch.rand(20, *MNIST)
    unit[:, :, :10] = 0  # dark
    seen = []
    first.linear.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    initialise_from_data(network, 2 * unit - 1)
    network(2 * unit - 1).logits.sum().backward()
    torch.testing.assert_close(seen[-1], unit.flatten(1), atol=1e-6, rtol=0)
    theta = first.linear.weight
    along = (theta.grad * theta).sum(1)  # the output does not depend on the length of theta
    torch.testing.assert_close(along, torch.zeros_like(along), atol=1e-3, rtol=0)
    dark = theta.grad[:, : 10 * 28]  # only the term along theta remains
    ratio = dark / theta[:, : 10 * 28]
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), atol=1e-3, rtol=1e-3)


def test_the_mnist_generator_computes_the_function_of_the_authors_code():
    torch.manual_seed(0)
    network = salimans2016_mnist.Generator(100, MNIST, norm=BATCH_NORM)
    assert weights(network) == 100 * 500 + 500 + 500 * 500 + 500 + 500 * 784 + 784 + 784  # shifts; scale and bias
    z = torch.rand(32, 100)
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    h = z
    for layer in linear[:2]:
        h = h @ layer.weight.T
        h = softplus((h - h.mean(0)) / (h.var(0, correction=0) + 1e-6).sqrt())
    direction = linear[2].weight / linear[2].weight.norm(dim=1, keepdim=True)
    expected = 2 * torch.sigmoid(h @ direction.T) - 1
    torch.testing.assert_close(network({"z": z}).flatten(1), expected, atol=1e-5, rtol=1e-4)
    for layer in linear:
        bound = (6 / sum(layer.weight.shape)) ** 0.5
        assert bound * 0.99 < layer.weight.abs().max() <= bound  # Glorot-uniform


@pytest.mark.parametrize(("narrow", "wide"), [(96, 192), (64, 128)])
def test_the_cifar_discriminator_has_the_shapes_of_the_authors_code(narrow, wide):
    network = salimans2016_cifar.Discriminator(COLOUR, narrow, wide, heads={"label": 10}).eval()
    output = network(images(2, COLOUR))
    sizes = {name: tuple(f.shape[1:]) for name, f in output.features.items()}
    spaces = [
        (narrow, 32),
        (narrow, 32),
        (narrow, 16),
        (wide, 16),
        (wide, 16),
        (wide, 8),
        (wide, 6),
        (wide, 6),
        (wide, 6),
    ]
    assert sizes == {**{f"conv{i}": (c, s, s) for i, (c, s) in enumerate(spaces, 1)}, "mean": (wide,)}
    torch.testing.assert_close(output.features["mean"], output.features["conv9"].mean((2, 3)))
    drops = [m.p for m in network.modules() if isinstance(m, nn.Dropout)]
    assert drops == [0.2, 0.5, 0.5]
    channels = [3, narrow, narrow, narrow, wide, wide, wide, wide]
    thetas = sum(9 * a * b for a, b in pairwise(channels)) + 2 * wide**2 + 10 * wide
    assert weights(network) == thetas + 3 * narrow + 6 * wide + 10 + 10  # biases, and the last scale


def test_the_cifar_generator_starts_with_deviation_0_1_before_tanh():
    torch.manual_seed(0)
    network = salimans2016_cifar.Generator(100, COLOUR, width=16, norm=BATCH_NORM_2D)
    (last,) = (m for m in network.modules() if isinstance(m, WeightNorm))
    assert isinstance(last.scale, nn.Parameter)
    initialise_from_data(network, {"z": torch.rand(50, 100)})
    torch.manual_seed(1)
    x = network({"z": torch.rand(50, 100)})
    assert x.shape == (50, 3, 32, 32)
    assert torch.atanh(x).std().item() == pytest.approx(0.1, rel=0.1)
    shifts = [p for name, p in network.named_parameters() if name.endswith("bias")]
    assert [p.numel() for p in shifts] == [64 * 16, 32, 16, 3]  # per unit of 4 x 4 x 64, then per channel


@pytest.mark.parametrize(
    ("module", "shape", "norm"),
    [(salimans2016_mnist, MNIST, nn.BatchNorm1d), (salimans2016_cifar, COLOUR, nn.BatchNorm2d)],
)
def test_a_norm_with_a_bias_gets_no_shift_and_without_a_norm_linear_maps_keep_their_bias(module, shape, norm):
    small = {"widths": [8]} if module is salimans2016_mnist else {"width": 4}
    for given in (norm, None):
        network = module.Generator(3, shape, norm=given, **small)
        assert network({"z": torch.randn(4, 3)}).shape == (4, *shape)
        assert not any(type(m).__name__ == "Shift" for m in network.modules() if module is salimans2016_mnist)
        linear = next(m for m in network.modules() if isinstance(m, nn.Linear))
        assert (linear.bias is None) == (given is not None)


@pytest.mark.parametrize(("module", "shape"), [(salimans2016_mnist, MNIST), (salimans2016_cifar, COLOUR)])
def test_without_classes_it_is_a_plain_discriminator_and_takes_a_neck(module, shape):
    small = {"widths": [8]} if module is salimans2016_mnist else {"narrow": 4, "wide": 8}
    for heads in (None, {"label": None}):
        network = module.Discriminator(shape, neck=partial(MinibatchDiscrimination, kernels=5), heads=heads, **small)
        assert isinstance(network.readout, LinearReadout)
        assert network(images(6, shape)).logits.shape == (6,)
    both = module.Discriminator(shape, neck=partial(MinibatchDiscrimination, kernels=5), heads={"label": 3}, **small)
    assert both(images(6, shape)).heads["label"].shape == (6, 3)


def test_noise_can_replace_the_first_dropout_of_the_cifar_network_in_training_only():
    network = salimans2016_cifar.Discriminator(COLOUR, narrow=4, wide=8, input_dropout=0.0, input_noise=0.2)
    first, x = network.trunk["conv1"][0], torch.zeros(4000, 3, 2, 2)
    assert not any(isinstance(m, nn.Dropout) for m in network.trunk["conv1"].modules())
    assert first(x).std().item() == pytest.approx(0.2, rel=0.05)
    assert torch.equal(network.eval().trunk["conv1"][0](x), x)


def test_another_image_size_is_refused_with_advice():
    for network in (salimans2016_cifar.Discriminator, partial(salimans2016_cifar.Generator, 100)):
        with pytest.raises(
            ValueError, match=r"makes 32 x 32 images, but the data have shape \[3, 64, 64\]; try data\.size=32"
        ):
            network([3, 64, 64])
