"""Laws of the concatenation of a condition to x, and of the architectures that use it."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from saddlepoint.architecture import conv28, dcgan, mlp
from saddlepoint.error import Mistake
from saddlepoint.layer.concatenation import Concatenation

LABEL = torch.tensor([2, 0, 1, 2])


def test_labels_are_concatenated_one_hot_and_numbers_unchanged_in_the_order_of_the_layer():
    x, colour = torch.randn(4, 5), torch.randn(4, 2)
    joined = Concatenation({"colour": 2, "label": 3})(x, {"label": LABEL, "colour": colour, "other": x})
    assert torch.equal(joined, torch.cat([x, colour, one_hot(LABEL, 3).float()], 1))


def test_with_an_image_labels_and_vectors_become_constant_maps_and_images_stay():
    x, source, size = torch.randn(4, 1, 6, 8), torch.randn(4, 3, 6, 8), torch.randn(4)
    layer = Concatenation({"label": 3, "source": 3, "size": 1})
    joined = layer(x, {"label": LABEL, "source": source, "size": size})
    assert joined.shape == (4, 1 + layer.width, 6, 8)
    assert torch.equal(joined[:, :1], x)
    assert torch.equal(joined[:, 1:4], one_hot(LABEL, 3).float()[:, :, None, None].expand(4, 3, 6, 8))
    assert torch.equal(joined[:, 4:7], source)
    assert torch.equal(joined[:, 7], size[:, None, None].expand(4, 6, 8))


def test_boolean_attributes_become_0_and_1():
    x, smiling, all_of_them = torch.randn(4, 5), LABEL > 0, torch.stack([LABEL > 0, LABEL > 1], 1)
    joined = Concatenation({"smiling": 1, "attributes": 2})(x, {"smiling": smiling, "attributes": all_of_them})
    assert torch.equal(joined, torch.cat([x, smiling[:, None].float(), all_of_them.float()], 1))


def test_with_a_latent_an_image_is_flattened():
    z, source = torch.randn(4, 5), torch.randn(4, 3, 2, 2)
    assert torch.equal(Concatenation({"source": 12})(z, {"source": source}), torch.cat([z, source.flatten(1)], 1))


def test_with_dim_minus_1_a_sequence_gets_the_label_at_each_position():
    x = torch.randn(4, 7, 5)
    joined = Concatenation({"label": 3}, dim=-1)(x, {"label": LABEL})
    assert torch.equal(joined, torch.cat([x, one_hot(LABEL, 3).float()[:, None].expand(4, 7, 3)], 2))
    assert Concatenation({"label": 3})(x, {"label": LABEL}).shape == (4, 10, 5), "waveforms have channels in dim 1"


def test_an_image_of_another_size_or_width_is_refused():
    layer = Concatenation({"source": 3})
    with pytest.raises(Mistake, match=r"condition source has width 48 .* config has source: 3"):
        layer(torch.randn(4, 1, 8, 8), {"source": torch.randn(4, 3, 4, 4)})
    with pytest.raises(Mistake, match=r"condition source has width 1 .*\[4, 1, 8, 8\].* config has source: 3"):
        layer(torch.randn(4, 1, 8, 8), {"source": torch.randn(4, 1, 8, 8)})


def test_a_missing_entry_is_refused_with_close_matches():
    with pytest.raises(Mistake, match=r"reads the condition lable, .* has label, z\. Did you mean label\?"):
        Concatenation({"lable": 3})(torch.randn(4, 2), {"label": LABEL, "z": LABEL})
    with pytest.raises(Mistake, match=r"reads the condition label, .* has no entries"):
        Concatenation({"label": 3})(torch.randn(4, 2), {})


@pytest.mark.parametrize("wrong", [torch.tensor([0, 3, 1, 1]), torch.tensor([0, -1, 1, 1])])
def test_a_label_outside_the_classes_is_refused(wrong):
    with pytest.raises(Mistake, match=r"has 3 classes, numbered from 0, but the condition label ranges from"):
        Concatenation({"label": 3})(torch.randn(4, 2), {"label": wrong})


def test_a_width_must_be_a_positive_integer_and_without_entries_x_is_unchanged():
    for width in (0, 1.5, True):
        with pytest.raises(ValueError, match=r"condition label: width="):
            Concatenation({"label": width})
    x = torch.randn(4, 2)
    assert Concatenation()(x, {"label": LABEL}) is x


def test_gradients_reach_the_concatenated_entries():
    x, code = torch.randn(4, 1, 3, 3), torch.randn(4, 2, requires_grad=True)
    Concatenation({"code": 2})(x, {"code": code}).sum().backward()
    assert torch.equal(code.grad, torch.full((4, 2), 9.0))


NETWORKS = {"mlp": (mlp, (1, 8, 8)), "conv28": (conv28, (1, 28, 28)), "dcgan": (dcgan, (1, 32, 32))}


@pytest.mark.parametrize("name", NETWORKS)
def test_each_architecture_concatenates_its_condition_in_both_networks(name):
    module, shape = NETWORKS[name]
    torch.manual_seed(0)
    width = {"width": 8} if name == "dcgan" else {}
    generator = module.Generator(3, shape, **width, condition={"label": 3}).eval()
    discriminator = module.Discriminator(shape, **width, condition={"label": 3}).eval()
    z, label = {"z": torch.randn(1, 3).expand(4, 3)}, {"label": LABEL}
    x = generator(z, label)
    assert x.shape == (4, *shape)
    assert torch.equal(x[0], x[3])
    assert not torch.allclose(x[0], x[1]), "only the class differs"
    logits = discriminator(x[:1].expand(4, *shape), label).logits
    assert torch.allclose(logits[0], logits[3])
    assert not torch.allclose(logits[0], logits[1])
    assert not torch.allclose(logits[1], logits[2])


@pytest.mark.parametrize("name", NETWORKS)
def test_without_a_condition_names_and_initial_weights_are_unchanged(name):
    module, shape = NETWORKS[name]
    width = {"width": 8} if name == "dcgan" else {}
    for make in (
        lambda **c: module.Generator(3, shape, **width, **c),
        lambda **c: module.Discriminator(shape, **width, **c),
    ):
        states = []
        for condition in ({}, {"condition": {}}):
            torch.manual_seed(1)
            states.append(make(**condition).state_dict())
        assert list(states[0]) == list(states[1])
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
        assert not any("join" in key for key in states[0])
