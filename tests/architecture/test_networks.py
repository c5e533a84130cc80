"""Shapes, names and initialisation of the networks."""

import pytest
import torch
from torch import nn

from saddlepoint.architecture import conv28, dcgan, dirac, mlp

NETWORKS = {
    "mlp, points": (mlp, [2], {}),
    "mlp, images": (mlp, [1, 8, 8], {}),
    "conv28": (conv28, [1, 28, 28], {}),
    "conv28, colour": (conv28, [3, 28, 28], {}),
    "dcgan 32": (dcgan, [3, 32, 32], {"width": 8}),
    "dcgan 64": (dcgan, [1, 64, 64], {"width": 8}),
}


@pytest.mark.parametrize("norm", [None, True])
@pytest.mark.parametrize("case", NETWORKS)
def test_the_generator_makes_samples_of_the_data_shape_and_the_discriminator_takes_them(case, norm):
    module, shape, settings = NETWORKS[case]
    kind = None if norm is None else nn.BatchNorm1d if module is mlp else nn.BatchNorm2d
    generator = module.Generator(latent=7, shape=shape, norm=kind, **settings)
    discriminator = module.Discriminator(shape=shape, norm=kind, **settings)
    x = generator({"z": torch.randn(5, 4), "code": torch.randn(5, 3)})
    assert x.shape == (5, *shape)
    if len(shape) == 3:
        assert x.abs().max() <= 1
    output = discriminator(x)
    assert output.logits.shape == (5,)
    name, last = list(output.features.items())[-1]
    assert last.ndim == 2, name


def test_heads_neck_and_readout_come_after_the_trunk():
    class Double(nn.Module):
        def __init__(self, features):
            super().__init__()
            self.features = 2 * features

        def forward(self, f):
            return torch.cat([f, f], 1)

    class Sum(nn.Module):
        def __init__(self, features):
            super().__init__()
            self.size = features

        def forward(self, features, y, heads):
            return features.sum(1) + heads["label"].sum(1) + self.size

    discriminator = mlp.Discriminator([2], widths=[4], neck=Double, readout=Sum, heads={"label": 3})
    output = discriminator(torch.randn(6, 2))
    assert output.heads["label"].shape == (6, 3)
    assert output.features["hidden1"].shape == (6, 4)  # features do not include the neck
    expected = 2 * output.features["hidden1"].sum(1) + output.heads["label"].sum(1) + 8
    assert torch.allclose(output.logits, expected)


def test_dcgan_weights_start_with_the_deviation_of_the_paper_and_sizes_halve_to_4_x_4():
    torch.manual_seed(0)  # with 2,400 weights the mean exceeds the bound for one seed in a hundred
    generator = dcgan.Generator(latent=100, shape=[3, 64, 64], width=32, norm=nn.BatchNorm2d)
    for layer in generator.modules():
        if isinstance(layer, nn.ConvTranspose2d | nn.Linear):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
            assert layer.weight.mean().abs().item() < 1e-3
    discriminator = dcgan.Discriminator([3, 64, 64], width=32, norm=nn.BatchNorm2d)
    features = discriminator(torch.zeros(2, 3, 64, 64)).features
    assert [tuple(f.shape[1:]) for f in features.values()] == [
        (32, 32, 32),
        (64, 16, 16),
        (128, 8, 8),
        (256, 4, 4),
        (4096,),
    ]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in discriminator.trunk["conv1"].modules())
    assert sum(isinstance(m, nn.BatchNorm2d) for m in discriminator.modules()) == 3


@pytest.mark.parametrize(
    ("module", "shape"), [(conv28, [1, 32, 32]), (dcgan, [3, 48, 48]), (dcgan, [3, 28, 28]), (conv28, [2])]
)
def test_an_unsupported_shape_is_refused_with_the_supported_ones(module, shape):
    with pytest.raises(ValueError, match="try"):
        module.Discriminator(shape=shape)


def test_dirac_is_a_point_and_a_slope():
    generator, discriminator = dirac.Generator([1], start=2.0), dirac.Discriminator([1], start=-3.0)
    x = generator({"z": torch.randn(4, 9)})
    assert torch.equal(x, torch.full((4, 1), 2.0))
    assert torch.equal(discriminator(x).logits, torch.full((4,), -6.0))
    assert sum(p.numel() for p in [*generator.parameters(), *discriminator.parameters()]) == 2
