"""HiFi-GAN: sizes, the folding of periods, and what its networks depend on."""

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool1d

from saddlepoint.architecture.hifigan import Discriminator, Generator, Period, Residual
from saddlepoint.error import Mistake

SMALL = {"width": 8, "kernels": [3, 5], "dilations": [[1, 2], [2, 6]]}


def test_a_frame_becomes_a_hop_of_samples() -> None:
    for upsampling in ([8, 4, 4], [16, 8], [2, 3]):
        hop = torch.tensor(upsampling).prod().item()
        x = Generator((2, 10 * hop), upsampling=upsampling, **SMALL)(torch.randn(3, 2, 64, 10), {})
        assert x.shape == (3, 2, 10 * hop)
        assert x.abs().max() <= 1


def test_the_receptive_field_of_a_sample_is_local() -> None:
    generator = Generator((1, 128 * 64), upsampling=[8, 4, 4], **SMALL)
    mel = torch.randn(1, 1, 64, 64)
    changed = mel.clone()
    changed[..., 40:] += 1
    gap = (generator(changed, {}) - generator(mel, {})).abs()[0, 0]
    assert (gap[: 128 * 20] == 0).all()
    assert (gap[128 * 45 :] > 0).any()


def test_residual_blocks_keep_x_where_their_convolutions_are_zero() -> None:
    block = Residual(4, 5, (2, 6))
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(2, 4, 30)
    assert torch.equal(block(x), x)


def test_a_period_network_is_equal_on_each_phase() -> None:
    """Samples at distance `period` are one column, and each column is judged by itself with the same weights."""
    network = Period(1, 5, 4)
    x = torch.randn(1, 1, 200)
    _, logits = network(x)
    assert logits.shape[3] == 5
    other = x.clone()
    other[..., 3::5] += 1
    _, moved = network(other)
    same = (moved == logits).flatten(0, 2).all(0)
    assert same.tolist() == [True, True, True, False, True]
    one_phase = torch.zeros(1, 1, 200)
    one_phase[0, 0, 2::5] = x[0, 0, 3::5]
    torch.testing.assert_close(network(one_phase)[1][..., 2], logits[..., 3])


def test_logits_and_layers_of_all_networks_are_returned() -> None:
    network = Discriminator((1, 1000), periods=[2, 3], scales=2, width=4)
    x = torch.randn(2, 1, 1000)
    output = network(x, {})
    parts = [network.networks[name](x)[1].flatten(1) for name in ("period2", "period3", "scale1", "scale2")]
    torch.testing.assert_close(output.logits, torch.cat(parts, 1))
    assert len(output.features) == 4 * 5
    pooled = network.networks["scale2"](x)[1]
    network.networks["scale2"].pooling = 1
    torch.testing.assert_close(network.networks["scale2"](avg_pool1d(x, 2))[1], pooled)


def test_inputs_and_settings_that_do_not_fit_are_refused() -> None:
    generator = Generator((1, 1280), **SMALL)
    with pytest.raises(Mistake, match=r"not of a latent: use game=vocoder"):
        generator({"z": torch.zeros(1, 8)}, {})
    with pytest.raises(Mistake, match=r"not of \[1, 1, 40, 10\]"):
        generator(torch.zeros(1, 1, 40, 10), {})
    with pytest.raises(ValueError, match="makes 128 samples of each frame"):
        Generator((1, 1000))
    with pytest.raises(ValueError, match="an entry of dilations each"):
        Generator((1, 1280), kernels=[3])
    with pytest.raises(ValueError, match="a multiple of 4"):
        Discriminator((1, 1280), width=6)
    with pytest.raises(ValueError, match="one network or more"):
        Discriminator((1, 1280), periods=[], scales=0)
