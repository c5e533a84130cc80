"""Networks from image to image: published parameter counts, skip connections, any size, and the noise of dropout."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from saddlepoint.architecture import context_encoder, resnet_translator, srresnet, unet
from saddlepoint.error import Mistake
from saddlepoint.prior.box_mask import BoxMask
from saddlepoint.stream import Stream


def size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def zero_weights(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


def test_published_parameter_counts() -> None:
    """pix2pix and CycleGAN's code print 54.414, 7.838 and 11.378 M; BasicSR's MSRResNet has 1,517,571.

    Their convolutions before an instance norm have biases, which it subtracts again; here they have none.
    """
    three: Any = {"condition": {"source": 3}}
    assert size(unet.Generator([3, 256, 256], norm=nn.BatchNorm2d, **three)) == 54_413_955
    assert size(resnet_translator.Generator([3, 128, 128], blocks=6, **three)) == 7_837_699
    assert size(resnet_translator.Generator([3, 256, 256], **three)) == 11_378_179
    normed = resnet_translator.Generator([3, 256, 256], norm=nn.InstanceNorm2d, **three)
    assert size(normed) == 11_378_179 - (64 + 128 + 256 + 2 * 9 * 256 + 128 + 64)
    assert size(srresnet.Generator([3, 128, 128], **three)) == 1_517_571


def test_the_context_encoder_has_the_layers_of_the_paper() -> None:
    """Channels of figure 9 (a) for 128 x 128: 64, 64, 128, 256, 512, a bottleneck of 4000, 512, 256, 128, 64, 3."""
    network = context_encoder.Generator([3, 128, 128], norm=nn.BatchNorm2d, condition={"known": 3})
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert [m.out_channels for m in convolutions] == [64, 64, 128, 256, 512, 4000, 512, 256, 128, 64, 3]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 45, 37), (3, 16, 64)])
@pytest.mark.parametrize("build", [unet.Generator, resnet_translator.Generator])
def test_the_output_has_the_size_of_the_input(build: Callable[..., nn.Module], shape: tuple[int, int, int]) -> None:
    network = build(shape, width=2, norm=nn.InstanceNorm2d, condition={"source": 2, "mask": 1})
    condition = {"source": torch.randn(2, 2, *shape[1:]), "mask": torch.ones(2, 1, *shape[1:])}
    x = network({"z": torch.randn(2, 3)}, condition)
    assert x.shape == (2, *shape)
    assert float(x.detach().abs().max()) <= 1


def test_the_skip_connections_of_a_unet_carry_every_pixel() -> None:
    """With all weights of the inner levels 0, each pixel of the output still depends on its pixel of the source."""
    torch.manual_seed(0)
    network = unet.Generator([1, 16, 16], 4, condition={"source": 1}).eval()
    for layer in (*network.down[1:], *network.up[:-1]):
        zero_weights(layer)
    source = torch.randn(1, 1, 16, 16, requires_grad=True)
    x = network({}, {"source": source})
    for i, j in ((0, 0), (7, 9), (15, 15)):
        (gradient,) = torch.autograd.grad(x[0, 0, i, j], source, retain_graph=True)
        support = gradient[0, 0].nonzero()
        assert float(gradient[0, 0, i, j]) != 0
        assert int((support - torch.tensor([i, j])).abs().max()) <= 3
    without = unet.Generator([1, 16, 16], 4, levels=1, condition={"source": 1})
    assert len(without.down) == len(without.up) == 1


def test_the_bottleneck_of_a_unet_sees_the_whole_image() -> None:
    torch.manual_seed(0)
    network = unet.Generator([1, 28, 28], 4, condition={"source": 1}).eval()
    source = torch.randn(1, 1, 28, 28, requires_grad=True)
    (gradient,) = torch.autograd.grad(network({}, {"source": source})[0, 0, 14, 14], source)
    assert float((gradient != 0).float().mean()) > 0.95


def test_dropout_is_the_noise_of_a_unet() -> None:
    torch.manual_seed(0)
    network, source = unet.Generator([1, 32, 32], 4, condition={"source": 1}), {"source": torch.randn(2, 1, 32, 32)}
    assert [type(m) for m in network.modules()].count(nn.Dropout) == 3
    assert not torch.equal(network({}, source), network({}, source))
    network.eval()
    assert torch.equal(network({}, source), network({}, source))


@pytest.mark.parametrize("skip", ["bicubic", "bilinear", "nearest"])
def test_srresnet_without_weights_is_interpolation(skip: str) -> None:
    network = srresnet.Generator([3, 32, 24], width=4, blocks=1, skip=skip, condition={"source": 3})
    zero_weights(network)
    small = torch.randn(2, 3, 8, 6)
    corners = None if skip == "nearest" else False
    assert torch.equal(network({}, {"source": small}), interpolate(small, (32, 24), mode=skip, align_corners=corners))


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_srresnet_enlarges_by_its_scale(scale: int) -> None:
    network = srresnet.Generator([1, 24, 24], scale, 2, 1, condition={"source": 1})
    assert network({}, {"source": torch.randn(2, 1, 24 // scale, 24 // scale)}).shape == (2, 1, 24, 24)


def test_wrong_scales_and_sizes_are_refused() -> None:
    for setting in ({"scale": 6}, {"scale": 0}, {"skip": "cubic"}):
        with pytest.raises(ValueError, match="srresnet: scale="):
            srresnet.Generator([3, 32, 32], condition={"source": 3}, **setting)  # pyright: ignore[reportArgumentType]
    network = srresnet.Generator([3, 32, 32], 4, 2, 1, condition={"source": 3})
    with pytest.raises(Mistake, match="enlarges 8 x 8 images by 4, but source has 16 x 16"):
        network({}, {"source": torch.randn(1, 3, 16, 16)})
    with pytest.raises(ValueError, match="levels=6 must be 1 to 5"):
        unet.Generator([3, 32, 32], levels=6, condition={"source": 3})
    with pytest.raises(ValueError, match="name its input"):
        unet.Generator([3, 32, 32])


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 48)])
def test_a_context_encoder_fills_the_hole_of_a_centred_box_mask(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    network = context_encoder.Generator(shape, 4, 8, nn.BatchNorm2d, {"known": shape[0]})
    x: Tensor = network({}, {"known": torch.randn(3, *shape)})
    hole = BoxMask(shape).sample(3, Stream(0, "mask")).expand_as(x) > 0
    assert x.shape == (3, *shape)
    assert bool((x[~hole] == 0).all())
    assert bool((x[hole] != 0).all())
    with pytest.raises(ValueError, match="at least 16 x 16"):
        context_encoder.Generator([1, 8, 8], condition={"known": 1})


def test_the_input_is_the_condition_or_what_the_side_starts_from() -> None:
    torch.manual_seed(0)
    network = unet.Generator([1, 16, 16], 2, condition={"source": 1}).eval()
    source = torch.randn(2, 1, 16, 16)
    assert torch.equal(network(source, {}), network({"z": torch.randn(2, 3)}, {"source": source}))
    with pytest.raises(Mistake, match="unet reads the condition source"):
        network({"z": torch.randn(2, 3)}, {})
