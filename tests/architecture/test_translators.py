"""Networks from image to image: published parameter counts, their equations, any size, and the noise of dropout."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, interpolate, leaky_relu, pad, pixel_shuffle

from saddlepoint.architecture import context_encoder, patch, resnet_translator, srresnet, unet
from saddlepoint.error import Mistake
from saddlepoint.prior.box_mask import BoxMask
from saddlepoint.stream import Stream


def size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def zero_weights(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


def convolutions(network: nn.Module, deviation: float = 0.2) -> list[Any]:
    """Return the convolutions in their order, with normal weights and biases."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.data.normal_(std=deviation)
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]


def test_a_unet_equals_its_equations() -> None:
    network = unet.Generator([2, 8, 8], 3, condition={"source": 2}).eval()
    layers, source = convolutions(network), torch.randn(4, 2, 8, 8)
    x, skips = source, []
    for i, layer in enumerate(layers[:3]):
        x = conv2d(leaky_relu(x, 0.2) if i else x, layer.weight, layer.bias, 2, 1)
        skips.append(x)
    skips.pop()
    for layer in layers[3:]:
        x = conv_transpose2d(x.relu(), layer.weight, layer.bias, 2, 1)
        x = torch.cat([skips.pop(), x], 1) if skips else x
    assert torch.allclose(network({}, {"source": source}), x.tanh(), atol=1e-5)


def test_a_resnet_translator_equals_its_equations() -> None:
    network = resnet_translator.Generator([2, 8, 8], 3, blocks=1, condition={"source": 2})
    first, *down, one, two, up, last_up, last = convolutions(network)
    source = torch.randn(4, 2, 8, 8)

    def reflected(x: Tensor, layer: Any) -> Tensor:
        return conv2d(pad(x, [layer.kernel_size[0] // 2] * 4, mode="reflect"), layer.weight, layer.bias)

    x = reflected(source, first).relu()
    for layer in down:
        x = conv2d(x, layer.weight, layer.bias, 2, 1).relu()
    x = x + reflected(reflected(x, one).relu(), two)
    for layer in (up, last_up):
        x = conv_transpose2d(x, layer.weight, layer.bias, 2, 1, 1).relu()
    assert torch.allclose(network({}, {"source": source}), reflected(x, last).tanh(), atol=1e-4)


def test_srresnet_equals_its_equations() -> None:
    network = srresnet.Generator([2, 16, 12], 2, 4, blocks=1, condition={"source": 3})
    first, one, two, up, before, last = convolutions(network)
    small = torch.randn(4, 3, 8, 6)
    x = leaky_relu(first(small), 0.1)
    x = x + two(one(x).relu())
    x = leaky_relu(pixel_shuffle(up(x), 2), 0.1)
    x = last(leaky_relu(before(x), 0.1)) + interpolate(small[:, :2], scale_factor=2, mode="bilinear")
    assert torch.allclose(network({}, {"source": small}), x, atol=1e-5)


def test_a_context_encoder_equals_its_equations() -> None:
    network = context_encoder.Generator([2, 16, 16], 4, 8, condition={"known": 2})
    *down, expand, up = convolutions(network)
    x = known = torch.randn(4, 2, 16, 16)
    for layer in down:  # the last of them to a single position
        x = leaky_relu(layer(x), 0.2)
    assert x.shape == (4, 8, 1, 1)
    hole = up(expand(x).relu()).tanh()
    assert torch.allclose(network({}, {"known": known})[..., 4:12, 4:12], hole, atol=1e-5)


def test_weights_start_with_deviation_0_02_and_those_of_srresnets_blocks_at_a_tenth_of_kaimings() -> None:
    torch.manual_seed(0)
    networks = [
        build([3, 32, 32], 16, condition={"source": 3}) for build in (unet.Generator, resnet_translator.Generator)
    ]
    networks += [
        context_encoder.Generator([3, 32, 32], 16, 64, condition={"source": 3}),
        patch.Discriminator([3, 32, 32]),
    ]
    for layer in (module for network in networks for module in network.modules()):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=5 / math.sqrt(2 * layer.weight.numel()))
    for block in srresnet.Generator([3, 32, 32], blocks=2, condition={"source": 3}).layers:
        if isinstance(block, srresnet.PlainBlock):
            for layer in (block.residual[0], block.residual[2]):
                assert layer.weight.std().item() == pytest.approx(0.1 * math.sqrt(2 / (9 * 64)), rel=0.02)
                assert not layer.bias.any()


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
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert [m.out_channels for m in layers] == [64, 64, 128, 256, 512, 4000, 512, 256, 128, 64, 3]
    norms = [m.num_features for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms == [64, 128, 256, 512, 4000, 512, 256, 128, 64], "all but the first and the last"
    assert [m.bias is not None for m in layers] == [True, *[False] * 9, True]


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
    network = unet.Generator([1, 32, 32], 4, dropout=0.3, condition={"source": 1})
    source = {"source": torch.randn(2, 1, 32, 32)}
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.3] * 3
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


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 48), (1, 30, 18)])
def test_a_context_encoder_fills_the_hole_of_a_centred_box_mask(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    network = context_encoder.Generator(shape, 4, 8, nn.BatchNorm2d, {"known": shape[0]})
    x: Tensor = network({}, {"known": torch.randn(3, *shape)})
    hole = BoxMask(shape).sample(3, Stream(0, "mask")).expand_as(x) > 0
    assert x.shape == (3, *shape)
    assert bool((x[~hole] == 0).all())
    assert bool((x[hole] != 0).all())
    mask = hole[:, :1].float()
    assert network({}, {"known": torch.randn(3, *shape), "mask": mask}).shape == x.shape
    with pytest.raises(Mistake, match="the mask goes beyond it"):
        network({}, {"known": torch.randn(3, *shape), "mask": mask.roll(1, 3)})
    with pytest.raises(ValueError, match="at least 16 x 16"):
        context_encoder.Generator([1, 8, 8], condition={"known": 1})


def test_the_input_is_the_condition_or_what_the_side_starts_from() -> None:
    torch.manual_seed(0)
    network = unet.Generator([1, 16, 16], 2, condition={"source": 1}).eval()
    source = torch.randn(2, 1, 16, 16)
    assert torch.equal(network(source, {}), network({"z": torch.randn(2, 3)}, {"source": source}))
    for x, condition in [({"z": torch.randn(2, 3)}, {}), (source, {"sorce": source})]:
        with pytest.raises(Mistake, match="unet reads the condition source"):
            network(x, condition)
