"""StyleGAN2's networks: parameter counts of the authors' code, scales at the start, mixing, truncation, export."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import assert_equal, state
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu

from saddlepoint.architecture import style
from saddlepoint.cli import main
from saddlepoint.config.compose import compose
from saddlepoint.experiment.restore import load
from saddlepoint.experiment.train import train
from saddlepoint.layer.style_mixing import mix_styles
from saddlepoint.run.folder import Run


def size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def small(**settings: object) -> style.Generator:
    torch.manual_seed(0)
    return style.Generator(6, [3, 16, 16], width=8, depth=2, **settings)


def mixing(n: int) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {"mixing_latent": torch.randn(n, 6), "mixing_numbers": torch.rand(n, 2)}


def test_parameter_counts_of_cifar_by_hand_and_of_1024_pixels_as_the_authors_code_prints_them() -> None:
    """Counts of single layers, and of D at 1024 pixels: issues 181 and 182 of NVlabs/stylegan2-ada-pytorch."""
    with torch.device("meta"):
        g32, d32 = style.Generator(512, [3, 32, 32], depth=2), style.Discriminator([3, 32, 32], residual=False)
        d1024 = style.Discriminator([3, 1024, 1024])
    assert [size(layer) for layer in g32.mapping.layers if size(layer)] == [262_656] * 2
    assert [size(layer) for layer in g32.layers] == [2_622_465] * 7
    rgb = [size(layer) + 3 for layer in g32.to_rgb]  # 3 biases
    assert rgb == [264_195] * 4
    assert size(g32) == 2 * 262_656 + 7 * 2_622_465 + 4 * 264_195 + 512 * 16 == 19_947_539
    assert size(d32) == 4 * 512 + 6 * 2_359_808 + (513 * 9 + 1) * 512 + (16 * 512 + 1) * 512 + 513 == 20_720_641
    block3 = [size(layer) for layer in d1024.trunk["block3"].layers if size(layer)]
    assert [size(d1024.trunk["pixels"]), *block3] == [128, 147_584, 295_168]
    assert size(d1024) == 29_012_513


@pytest.mark.parametrize(("side", "width", "count"), [(8, 4, 4), (32, 8, 8), (128, 4, 12)])
def test_shapes_at_any_size_and_width(side: int, width: int, count: int) -> None:
    generator = style.Generator(7, [1, side, side], width)
    discriminator = style.Discriminator([1, side, side], width, heads={"label": 3})
    x, w = generator({"z": torch.randn(2, 4), "code": torch.randn(2, 3)})
    assert (x.shape, w.shape) == ((2, 1, side, side), (2, count, width))
    output = discriminator(x)
    assert output.logits.shape == (2,)
    assert output.heads["label"].shape == (2, 3)
    assert discriminator.trunk["pixels"](x).shape[1] == (2 if side == 128 else width)
    for shape in ([3, 4, 4], [3, 24, 24], [3, 32, 16], [2]):
        with pytest.raises(ValueError, match="style makes square images of 8, 16, 32"):
            style.Discriminator(shape)


def test_samples_are_the_sum_of_rgb_outputs_and_each_layer_has_the_w_that_is_returned() -> None:
    generator = small().eval()
    latent = {"z": torch.randn(3, 6)}
    x, w = generator(latent)
    assert w.shape == (3, 6, 8)
    for i in range(6):
        assert torch.autograd.grad(x.sum(), w, retain_graph=True)[0][:, i].any(), i
    for rgb in generator.to_rgb:
        rgb.weight.data *= 2
    assert torch.allclose(generator(latent)[0], 2 * x, atol=1e-5), "weights of RGB outputs are not normalised"
    for rgb in generator.to_rgb:
        rgb.weight.data.zero_()
    for bias, value in zip(generator.biases, (1.0, 2.0, 4.0), strict=True):
        bias.data.fill_(value)
    assert torch.allclose(generator(latent)[0][..., 4:-4, 4:-4], torch.tensor(7.0), atol=1e-5)  # inside the zeros


def test_logits_start_near_0_and_samples_in_the_range_of_images() -> None:
    torch.manual_seed(0)
    generator, discriminator = style.Generator(64, [3, 32, 32], 64), style.Discriminator([3, 32, 32], 64)
    x, _ = generator({"z": torch.randn(16, 64)})
    assert 0.3 < x.std() < 3
    output = discriminator(torch.randn(16, 3, 32, 32))
    assert output.logits.abs().max() < 3
    assert all(0.1 < h.square().mean() < 2 for h in output.features.values())


def test_all_weights_start_with_deviation_1_and_those_of_the_mapping_network_with_1_over_the_multiplier() -> None:
    torch.manual_seed(0)
    generator, discriminator = style.Generator(64, [3, 32, 32], 64, depth=2), style.Discriminator([3, 32, 32], 64)
    for name, p in (*generator.named_parameters(), *discriminator.named_parameters()):
        if p.ndim > 1 and "biases" not in name:
            deviation = 100 if name.startswith("mapping") else 1
            assert p.std().item() == pytest.approx(deviation, rel=5 / (2 * p.numel()) ** 0.5), name


def test_the_logits_of_a_group_depend_on_this_group_alone() -> None:
    torch.manual_seed(0)
    discriminator, x = style.Discriminator([3, 8, 8], 4, group=2), torch.randn(4, 3, 8, 8)
    logits = discriminator(x).logits
    assert torch.allclose(logits, torch.cat([discriminator(x[:2]).logits, discriminator(x[2:]).logits]), atol=1e-5)
    assert not torch.allclose(logits[:1], discriminator(x[:1]).logits, atol=1e-3)


@pytest.mark.parametrize("residual", [True, False])
def test_a_down_block_equals_its_equations(residual: bool) -> None:
    torch.manual_seed(0)
    block, x = style.DownBlock(3, 5, residual), torch.randn(2, 3, 8, 8)
    first, second = (layer for layer in block.layers if isinstance(layer, nn.Conv2d))
    for layer in (first, second):
        layer.bias.data.normal_()
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    kernel = torch.outer(taps, taps).expand(3, 1, 4, 4)

    def activated(y: Tensor) -> Tensor:
        return 2**0.5 * leaky_relu(y, 0.2)

    y = activated(conv2d(x, first.weight / 27**0.5, first.bias, padding=1))
    y = conv2d(y, kernel, padding=2, groups=3)  # one pixel more than x, for a convolution without zeros around it
    y = activated(conv2d(y, second.weight / 27**0.5, second.bias, stride=2))
    if residual:
        shortcut = conv2d(conv2d(x, kernel, padding=1, stride=2, groups=3), block.shortcut[1].weight / 3**0.5)
        y = (y + shortcut) / 2**0.5
    assert torch.allclose(block(x), y, atol=1e-5)


def test_mixing_with_probability_0_is_the_plain_network_and_1_mixes_every_sample() -> None:
    latent, generator = {"z": torch.randn(8, 6)}, small(mixing=0.0).eval()
    x, w = generator(latent)
    for mixed, expected in zip(generator(latent, mixing(8)), (x, w), strict=True):
        assert torch.allclose(mixed, expected, atol=1e-5)
    generator.mixing = 1.0
    other = generator.mapping(mixing(8)["mixing_latent"])
    x, mixed = generator(latent, mixing(8))
    expected = mix_styles(w[:, 0], other, mixing(8)["mixing_numbers"], 1.0, 6)
    assert torch.allclose(mixed, expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"mixing=1\.5 is a probability"):
        small(mixing=1.5)


def test_a_label_changes_w_and_is_part_of_both_latents_of_a_mixture() -> None:
    generator = small(condition={"label": 3}, mixing=1.0).eval()
    latent = {"z": torch.randn(4, 6)}
    one, two = ({"label": torch.full((4,), y), **mixing(4)} for y in (0, 1))
    _, w = generator(latent, one)
    _, changed = generator(latent, two)
    assert ((w != changed).any(2)).all()


def test_the_mean_of_w_moves_by_1_minus_the_decay_of_the_generator() -> None:
    generator = small(decay=0.5)
    _, w = generator({"z": torch.randn(4, 6)})
    assert torch.allclose(generator.mapping.mean, 0.5 * w[:, 0].mean(0), atol=1e-6)


def test_noise_is_drawn_in_training_only() -> None:
    generator = small()
    for layer in generator.layers:
        layer.noise.strength.data.fill_(0.5)
    latent = {"z": torch.randn(2, 6)}
    assert not torch.equal(generator(latent)[0], generator(latent)[0])
    generator.eval()
    assert torch.equal(generator(latent)[0], generator(latent)[0])


def test_the_steps_of_adam_of_the_experiment_move_and_forget_as_much_per_turn_as_those_of_the_authors_code() -> None:
    """Theirs: k + 1 steps in k turns, with lr k / (k + 1) and betas to this power."""
    config = compose(["experiment=style_small", "data.root=."])
    for player, term in (("discriminator", "r1"), ("generator", "path_length")):
        adam, k = config.optimizer[player], config.regularizer[player][term].every
        factor = k / (k + 1)
        assert k * adam.lr == pytest.approx((k + 1) * 2.5e-3 * factor)
        assert adam.betas[0] == 0
        assert adam.betas[1] ** k == pytest.approx((0.99**factor) ** (k + 1))


# ------------------------------------------------------------------------------------------------------------- a run


def trained(outputs: Path, images: int) -> Run:
    widths = [f"architecture.{player}.width=4" for player in ("generator", "discriminator")]
    settings = ["architecture=style", *widths, "game=style_mixing", "regularizer=[r1,path_length]", "prior.z.dim=6"]
    settings += ["metric=[]", "evaluation.extractor=null", "callback=[checkpoint,journal]", "logger=none"]
    return train(compose([*settings, f"images={images}", "batch=32", "name=style", f"outputs={outputs}"]))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("runs"), 128)


def test_a_run_of_two_n_images_equals_one_resumed_at_n_bit_for_bit(record: Run, tmp_path: Path) -> None:
    trained(tmp_path, 64)
    resumed = trained(tmp_path, 128)
    straight = state(record)
    assert any(key.endswith("mapping.mean") for key in straight)
    assert_equal(straight, state(resumed))


def test_samples_of_a_run_are_truncated_toward_the_saved_mean_of_w(record: Run, tmp_path: Path) -> None:
    def sample(*overrides: str) -> np.ndarray:
        assert main(["sample", f"run={record.folder}", f"to={tmp_path}/x.npz", "n=6", *overrides]) == 0
        file = np.load(tmp_path / "x.npz")
        assert json.loads(str(file["contract"])).get("truncation") == (float(overrides[0][11:]) if overrides else None)
        return file["arr_0"]

    plain, none, all_of_it = sample(), sample("truncation=1"), sample("truncation=0")
    assert np.array_equal(plain, none)
    assert (plain != plain[:1]).any()
    assert (all_of_it == all_of_it[:1]).all()
    game = load(record)
    for network in (game.player("generator").network, game.player("generator").average.network):
        assert network.mapping.mean.any()


def test_an_exported_generator_has_latents_alone_as_input(record: Run) -> None:
    assert main(["export", f"run={record.folder}", "licence=mit", "formats=[safetensors]"]) == 0
    card = json.loads((record.folder / "export" / "000000128" / "card.json").read_text(encoding="utf-8"))
    assert "mixing_latent" not in json.dumps(card)
