"""PatchGAN: the receptive field against gradients, parameter counts of the authors' code, and the mean over patches."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, leaky_relu

from saddlepoint.architecture.patch import Discriminator, receptive_field
from saddlepoint.error import Mistake
from saddlepoint.objective import hinge, least_squares, nonsaturating
from saddlepoint.turn import DiscriminatorOutput


@pytest.mark.parametrize(("layers", "published"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_depends_on_exactly_the_receptive_field(layers: int, published: int) -> None:
    """The support of its gradient, in the middle of an image, is a square of r x r pixels."""
    torch.manual_seed(0)
    network = Discriminator([2, 128, 128], 2, layers)
    x = torch.randn(1, 2, 128, 128, requires_grad=True)
    logits = network(x).logits
    logits[0, logits.shape[1] // 2, logits.shape[2] // 2].backward()
    assert x.grad is not None
    support = x.grad[0].abs().sum(0).nonzero()
    sides = support.max(0).values - support.min(0).values + 1
    assert sides.tolist() == [published, published]
    assert network.receptive_field == published


def test_the_logits_equal_their_equations() -> None:
    torch.manual_seed(0)
    network, x = Discriminator([2, 16, 16], 3), torch.randn(4, 2, 16, 16)  # as large as the receptive field
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    for parameter in network.parameters():
        parameter.data.normal_(std=0.2)
    y = x
    for layer, stride in zip(layers[:-1], (2, 1), strict=True):
        y = leaky_relu(conv2d(y, layer.weight, layer.bias, stride, 1), 0.2)
    assert torch.allclose(network(x).logits, layers[-1](y)[:, 0], atol=1e-5)


def test_the_receptive_field_of_composed_layers_adds() -> None:
    """Two 3 x 3 act as a 5 x 5; a stride doubles what the next layer adds; 1 x 1 adds nothing."""
    assert receptive_field([]) == 1
    assert receptive_field([(3, 1), (3, 1)]) == 5
    assert receptive_field([(1, 2), (3, 1)]) == 5
    assert receptive_field([(4, 2), (1, 1)]) == 4


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 33)])
def test_a_receptive_field_larger_than_the_image_is_refused(shape: tuple[int, int, int]) -> None:
    Discriminator(shape, 4, 1)
    with pytest.raises(ValueError, match="depends on 34 x 34 pixels, but the images have"):
        Discriminator(shape, 4, 2)


def test_parameters_of_pix2pix() -> None:
    """The authors' PyTorch code prints 2.769 M for three layers and six channels."""
    network = Discriminator([3, 256, 256], 64, 3, nn.BatchNorm2d, {"source": 3})
    assert sum(p.numel() for p in network.parameters()) == 2_768_705


def test_the_condition_is_judged_too_and_must_be_there() -> None:
    torch.manual_seed(0)
    network = Discriminator([3, 32, 32], 4, 1, None, {"source": 1})
    x, source = torch.randn(2, 3, 32, 32), torch.randn(2, 1, 32, 32)
    output = network(x, {"source": source})
    assert isinstance(output, DiscriminatorOutput)
    assert output.logits.shape == (2, 14, 14)
    assert not torch.equal(output.logits, network(x, {"source": -source}).logits)
    with pytest.raises(Mistake, match="reads the condition source"):
        network(x, {})


@pytest.mark.parametrize("objective", [nonsaturating, hinge, least_squares])
def test_the_loss_of_patches_is_the_mean_over_patches(objective: object) -> None:
    """Each logit counts as much as any other, so the flattened logits have the same loss."""
    torch.manual_seed(0)
    real, fake = torch.randn(3, 5, 4), torch.randn(3, 5, 4)
    for player in ("discriminator", "generator"):
        function = getattr(objective, player)
        sides = {"real": real, "fake": fake} if player == "discriminator" else {"fake": fake}
        flat = {name: logits.flatten() for name, logits in sides.items()}
        assert torch.allclose(function(**sides), function(**flat))
