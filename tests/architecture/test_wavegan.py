"""WaveGAN: layer sizes of the paper's tables, and its conditions."""

import pytest
import torch
from torch import nn

from saddlepoint.architecture.wavegan import Discriminator, Generator


def test_the_sizes_of_16384_samples_are_those_of_tables_3_and_4() -> None:
    generator, network = Generator(100, (1, 16_384)), Discriminator((1, 16_384))
    up = [m for m in generator.modules() if isinstance(m, nn.ConvTranspose1d)]
    assert [(m.in_channels, m.out_channels, m.kernel_size, m.stride) for m in up] == [
        (1024, 512, (25,), (4,)), (512, 256, (25,), (4,)), (256, 128, (25,), (4,)), (128, 64, (25,), (4,)),
        (64, 1, (25,), (4,)),
    ]  # fmt: skip
    assert generator.layers[0][0][0].weight.shape == (256 * 64, 100)
    down = [m for m in network.modules() if isinstance(m, nn.Conv1d)]
    assert [m.out_channels for m in down] == [64, 128, 256, 512, 1024]
    assert network.readout.linear.weight.shape == (1, 16 * 1024)


def test_each_stage_multiplies_the_length_by_four() -> None:
    generator, network = Generator(8, (2, 2048), width=2), Discriminator((2, 2048), width=2)
    lengths = []
    for module in generator.modules():
        if isinstance(module, nn.ConvTranspose1d):
            module.register_forward_hook(lambda m, i, o: lengths.append(o.shape[2]))
    x = generator({"z": torch.randn(3, 8)})
    assert lengths == [8, 32, 128, 512, 2048]
    assert x.shape == (3, 2, 2048)
    assert x.abs().max() <= 1
    output = network(x, {"numbers": torch.rand(3, 4)})
    assert [output.features[f"conv{i}"].shape[2] for i in range(1, 6)] == [512, 128, 32, 8, 2]
    assert output.logits.shape == (3,)


def test_both_depend_on_every_entry_of_their_condition_and_d_on_the_shuffle() -> None:
    condition = {"label": 10, "speaker": 6}
    generator = Generator(8, (1, 1024), width=2, condition=condition)
    network = Discriminator((1, 1024), width=2, condition=condition)
    z, entries = {"z": torch.randn(2, 8)}, {"label": torch.tensor([1, 2]), "speaker": torch.tensor([3, 4])}
    numbers = {"numbers": torch.full((2, 4), 0.5)}
    x = generator(z, entries)
    logits = network(x, entries | numbers).logits
    for name in condition:
        other = entries | {name: torch.tensor([0, 0])}
        assert not torch.equal(generator(z, other), x)
        assert not torch.equal(network(x, other | numbers).logits, logits)
    assert not torch.equal(network(x, entries | {"numbers": torch.zeros(2, 4)}).logits, logits)
    assert torch.equal(network.eval()(x, entries).logits, logits), "a shift of 0 is none"


def test_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiple of 1,024 samples.*data.length=8_192"):
        Generator(8, (1, 1000))
    with pytest.raises(ValueError, match="multiple of 1,024"):
        Discriminator((1, 32, 32))
