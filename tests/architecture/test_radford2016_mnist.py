"""The conditional DCGAN for MNIST: sizes of the authors' code, and the class at the input of every layer."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from saddlepoint.architecture.radford2016_mnist import Discriminator, Generator
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build_game

SHAPE = [1, 28, 28]
LABEL = {"label": 10}
WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def weighted(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, WEIGHTED)]


def with_class(x: Tensor, y: Tensor) -> Tensor:
    code = one_hot(y, 10).float()
    return torch.cat([x, code if x.ndim == 2 else code[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)


def test_the_sizes_and_the_start_are_those_of_the_authors_code() -> None:
    game = build_game(compose(["experiment=radford2016_mnist"]))
    generator, discriminator = game.generator.network, game.discriminator.network
    assert [tuple(m.weight.shape) for m in weighted(generator)] == [
        (1024, 110), (128 * 7 * 7, 1034), (138, 64, 5, 5), (74, 1, 5, 5),
    ]  # fmt: skip
    assert [tuple(m.weight.shape) for m in weighted(discriminator)] == [
        (64, 11, 5, 5), (128, 74, 5, 5), (1024, 128 * 7 * 7 + 10), (1, 1034),
    ]  # fmt: skip
    for network, norms in ((generator, 3), (discriminator, 2)):
        assert sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules()) == norms
        others = [p for p in network.parameters() if not any(p is q for m in weighted(network) for q in m.parameters())]
        assert not others  # batch norm has neither gain nor bias
        for m in weighted(network):
            assert m.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_without_norm_both_equal_a_network_that_joins_the_class_by_hand() -> None:
    torch.manual_seed(0)
    y, z, x = torch.tensor([3, 0, 9]), torch.randn(3, 5), torch.rand(3, *SHAPE) * 2 - 1
    generator, discriminator = Generator(5, SHAPE, 2, 8, None, LABEL), Discriminator(SHAPE, 2, 8, None, LABEL)
    for m in (*weighted(generator), *weighted(discriminator)):
        nn.init.normal_(m.weight, 0, 0.2)
        nn.init.normal_(m.bias)
    first, second, third, last = weighted(generator)
    h = second(with_class(first(with_class(z, y)).relu(), y)).relu().unflatten(1, (4, 7, 7))
    image = 2 * last(with_class(third(with_class(h, y)).relu(), y)).sigmoid() - 1
    assert image.shape == (3, *SHAPE)
    assert torch.allclose(generator({"z": z}, {"label": y}), image, atol=1e-6)
    first, second, third, last = weighted(discriminator)
    leaky = nn.LeakyReLU(0.2)
    h = leaky(second(with_class(leaky(first(with_class((x + 1) / 2, y))), y))).flatten(1)
    logits = last(with_class(leaky(third(with_class(h, y))), y))[:, 0]
    assert torch.allclose(discriminator(x, {"label": y}).logits, logits, atol=1e-6)


def test_without_a_condition_nothing_is_joined_and_other_sizes_are_refused() -> None:
    assert weighted(Discriminator(SHAPE))[-1].in_features == 1024
    assert Generator(5, SHAPE)({"z": torch.randn(2, 5)}).shape == (2, *SHAPE)
    for network in (lambda shape: Generator(5, shape), Discriminator):
        with pytest.raises(Mistake, match=r"28 x 28 images, but data.shape is \[1, 32, 32\]"):
            network([1, 32, 32])
