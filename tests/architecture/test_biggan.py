"""BigGAN for 32 x 32: parameter counts and the generator by hand, orthogonal start, the average of the experiment."""

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, linear

from saddlepoint.architecture import biggan
from saddlepoint.config.compose import compose
from saddlepoint.config.instantiate import instantiate
from saddlepoint.layer.projected_batch_norm import ProjectedBatchNorm
from saddlepoint.layer.projection import Projection
from saddlepoint.layer.self_attention import SelfAttention
from saddlepoint.layer.spectral_norm import SpectralNorm
from saddlepoint.regularizer.orthogonal import Orthogonal

LABEL = {"label": torch.tensor([0, 2, 1])}


def size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def convolution(a: int, b: int, side: int = 3) -> int:
    return a * b * side**2 + b


def attention(c: int) -> int:  # queries, keys, values, output, gamma
    return 2 * c * (c // 8) + 2 * c * (c // 2) + 1


def test_parameter_counts_by_hand() -> None:
    """4 x 20 latents, 10 classes; a norm of a block has two linear maps of 128 + 20 numbers."""
    with torch.device("meta"):
        g = biggan.Generator(80, [3, 32, 32])
        d = biggan.Discriminator([3, 32, 32], readout=partial(Projection, classes=10))
    up = 2 * convolution(384, 384) + convolution(384, 384, 1) + 2 * 2 * 148 * 384
    ends = 10 * 128 + (20 + 1) * 16 * 384 + 2 * 384 + convolution(384, 3)
    assert size(g) == 3 * up + ends + attention(384) == 9_416_196
    first = convolution(3, 192) + convolution(192, 192) + convolution(3, 192, 1)
    rest = 3 * 2 * convolution(192, 192) + convolution(192, 192, 1)
    assert size(d) == first + rest + attention(192) + 193 + 10 * 192 == 2_415_170


def test_the_generator_equals_its_equations() -> None:
    """In evaluation mode: z in four parts, one for the first layer and one, beside the class, for each block."""
    torch.manual_seed(0)
    g = biggan.Generator(8, [3, 32, 32], classes=3, width=8, shared=4, attention=None)
    latent = {"z": torch.randn(3, 6), "code": torch.randn(3, 2)}
    for _ in range(3):
        g(latent, LABEL)  # running statistics other than 0 and 1
    w = {name: value.detach() for name, value in g.eval().state_dict().items()}

    def norm(x: Tensor, key: str, gain: Tensor, bias: Tensor) -> Tensor:
        mean, variance = (w[f"{key}.running_{moment}"].view(-1, 1, 1) for moment in ("mean", "var"))
        return gain[:, :, None, None] * (x - mean) / (variance + 1e-4).sqrt() + bias[:, :, None, None]

    def norm_relu(x: Tensor, key: str, c: Tensor) -> Tensor:
        return norm(x, f"{key}.norm", 1 + linear(c, w[f"{key}.gain.weight"]), linear(c, w[f"{key}.bias.weight"])).relu()

    z = torch.cat([latent["z"], latent["code"]], 1)
    x = linear(z[:, :2], w["first.0.weight"], w["first.0.bias"]).view(3, 8, 4, 4)
    for k in (1, 2, 3):
        c = torch.cat([w["embedding.weight"][LABEL["label"]], z[:, 2 * k : 2 * k + 2]], 1)
        at = f"blocks.{k - 1}.0"
        h = interpolate(norm_relu(x, f"{at}.residual.0.1", c), scale_factor=2)
        h = conv2d(h, w[f"{at}.residual.2.weight"], w[f"{at}.residual.2.bias"], padding=1)
        h = norm_relu(h, f"{at}.residual.3.1", c)
        h = conv2d(h, w[f"{at}.residual.4.weight"], w[f"{at}.residual.4.bias"], padding=1)
        x = h + conv2d(interpolate(x, scale_factor=2), w[f"{at}.shortcut.0.weight"], w[f"{at}.shortcut.0.bias"])
    x = norm(x, "last.0", w["last.0.weight"][None], w["last.0.bias"][None]).relu()
    x = conv2d(x, w["last.2.weight"], w["last.2.bias"], padding=1).tanh()
    assert torch.allclose(g(latent, LABEL), x, atol=1e-5)
    named = biggan.Generator(8, [3, 32, 32], classes=3, width=8, shared=4, attention=None, entry="animal").eval()
    named.load_state_dict(g.state_dict())
    assert torch.equal(named(latent, {"animal": LABEL["label"]}), g(latent, LABEL))


def test_all_weights_start_orthogonal_so_that_spectral_norm_changes_nothing_and_the_regularizer_is_0() -> None:
    torch.manual_seed(0)
    g = biggan.Generator(8, [3, 32, 32], classes=3, width=8, shared=4)
    d = biggan.Discriminator([3, 32, 32], width=8, readout=partial(Projection, classes=3), heads={"label": 3})
    for layer in (*g.modules(), *d.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            assert torch.allclose(torch.linalg.svdvals(layer.weight.detach().flatten(1)), torch.ones(()), atol=1e-5)
            assert getattr(layer, "bias", None) is None or not layer.bias.any()
    rows = [p.flatten(1) for p in d.parameters() if p.ndim > 1]
    wide = [matrix for matrix in rows if matrix.shape[0] <= matrix.shape[1]]
    assert len(rows) - len(wide) == 2  # of the first shortcut, 3 -> 8, and of attention's output, 4 -> 8
    assert all(Orthogonal()._distance(matrix @ matrix.T) < 1e-8 for matrix in wide)
    latent, normal_g, normal_d = (
        {"z": torch.randn(3, 8)},
        SpectralNorm(copy.deepcopy(g)),
        SpectralNorm(copy.deepcopy(d)),
    )
    x = g(latent, LABEL)
    assert torch.allclose(normal_g(latent, LABEL), x, atol=1e-4)
    assert torch.allclose(normal_d(x, LABEL).logits, d(x, LABEL).logits, atol=1e-3)


def test_gains_start_around_1_with_the_variance_of_class_and_latent_over_the_width() -> None:
    """W_gain has orthonormal columns, so |gain - 1|^2 = |c|^2, where a row of the embedding has norm 1."""
    torch.manual_seed(0)
    g = biggan.Generator(8, [3, 32, 32], classes=3, width=16, shared=4)
    gains = []
    for layer in g.modules():
        if isinstance(layer, ProjectedBatchNorm):
            layer.gain.register_forward_hook(lambda _, inputs, output: gains.append((inputs[0], output)))
    z = torch.randn(3, 8)
    g({"z": z}, LABEL)
    assert len(gains) == 6
    for i, (c, gain) in enumerate(gains):
        part = z[:, 2 * (i // 2 + 1) :][:, :2]
        assert torch.equal(c[:, 4:], part)
        assert torch.allclose(gain.square().sum(1), 1 + part.square().sum(1), rtol=1e-4)


@pytest.mark.parametrize("side", [8, 16, 32])
def test_attention_is_applied_to_the_maps_of_its_side(side: int) -> None:
    g = biggan.Generator(8, [3, 32, 32], classes=3, width=8, shared=4, attention=side)
    (layer,) = (module for module in g.modules() if isinstance(module, SelfAttention))
    seen = []
    layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[2:]))
    g({"z": torch.randn(3, 8)}, LABEL)
    assert seen == [(side, side)]


def test_each_part_of_the_latent_enters_at_its_own_block() -> None:
    torch.manual_seed(0)
    g = biggan.Generator(8, [3, 32, 32], classes=3, width=8, shared=4).eval()
    outputs: list[Tensor] = []
    for block in (g.first, *g.blocks):
        block.register_forward_hook(lambda _, __, output: outputs.append(output))
    z = torch.randn(3, 8)
    for k in range(4):
        other = z.clone()
        other[:, 2 * k : 2 * k + 2] += 1
        outputs.clear()
        g({"z": z}, LABEL)
        g({"z": other}, LABEL)
        assert [torch.equal(a, b) for a, b in zip(outputs[:4], outputs[4:], strict=True)] == [j < k for j in range(4)]


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="into 4 parts, but its size is 10"):
        biggan.Generator(10, [3, 32, 32])
    with pytest.raises(ValueError, match="biggan makes 32 x 32"):
        biggan.Generator(8, [3, 28, 28])
    with pytest.raises(ValueError, match="attention=12"):
        biggan.Generator(8, [3, 32, 32], attention=12)


def test_the_average_of_the_experiment_is_g_until_1000_steps_and_then_has_weight_0_9999_per_step() -> None:
    key = "game.players.generator"
    player = compose(["experiment=cifar10_biggan", "data.root=."]).game.players.generator
    live = nn.Linear(1, 1, bias=False)
    average = instantiate(player.average, f"{key}.average")(live)
    images = 64 * player.every
    for step, expected in ((1, 1.0), (999, 1.0), (1000, 1.0), (1001, 1e-4), (1002, 1e-4)):
        live.weight.data.fill_(0.0)
        average.network.weight.data.fill_(1.0)
        average.update(live, step * images)
        assert 1 - average.network.weight.item() == pytest.approx(expected, rel=2e-3), step
