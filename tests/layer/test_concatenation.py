"""Laws of joining a condition to x, and of the architectures that do so."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from saddlepoint.architecture import conv28, dcgan, mlp
from saddlepoint.error import Mistake
from saddlepoint.layer.concatenation import Concatenation

LABEL = torch.tensor([2, 0, 1, 2])


def test_labels_are_joined_one_hot_and_numbers_as_they_are_in_the_order_of_the_layer():
    x, colour = torch.randn(4, 5), torch.randn(4, 2)
    joined = Concatenation({"colour": 2, "label": 3})(x, {"label": LABEL, "colour": colour, "other": x})
    assert torch.equal(joined, torch.cat([x, colour, one_hot(LABEL, 3).float()], 1))


def test_beside_an_image_labels_and_vectors_are_constant_maps_and_an_image_stands_in_its_place():
    x, source, size = torch.randn(4, 1, 6, 8), torch.randn(4, 3, 6, 8), torch.randn(4)
    layer = Concatenation({"label": 3, "source": 3, "size": 1})
    joined = layer(x, {"label": LABEL, "source": source, "size": size})
    assert joined.shape == (4, 1 + layer.width, 6, 8)
    assert torch.equal(joined[:, :1], x)
    assert torch.equal(joined[:, 1:4], one_hot(LABEL, 3).float()[:, :, None, None].expand(4, 3, 6, 8))
    assert torch.equal(joined[:, 4:7], source)
    assert torch.equal(joined[:, 7], size[:, None, None].expand(4, 6, 8))


def test_attributes_that_are_true_or_false_are_0_and_1_one_of_them_or_several():
    x, smiling, all_of_them = torch.randn(4, 5), LABEL > 0, torch.stack([LABEL > 0, LABEL > 1], 1)
    joined = Concatenation({"smiling": 1, "attributes": 2})(x, {"smiling": smiling, "attributes": all_of_them})
    assert torch.equal(joined, torch.cat([x, smiling[:, None].float(), all_of_them.float()], 1))


def test_beside_a_latent_an_image_is_flattened():
    z, source = torch.randn(4, 5), torch.randn(4, 3, 2, 2)
    assert torch.equal(Concatenation({"source": 12})(z, {"source": source}), torch.cat([z, source.flatten(1)], 1))


def test_along_the_last_dimension_a_sequence_gets_the_label_at_each_of_its_places():
    x = torch.randn(4, 7, 5)
    joined = Concatenation({"label": 3}, dim=-1)(x, {"label": LABEL})
    assert torch.equal(joined, torch.cat([x, one_hot(LABEL, 3).float()[:, None].expand(4, 7, 3)], 2))
    assert Concatenation({"label": 3})(x, {"label": LABEL}).shape == (4, 10, 5), "a waveform's channels are its first"


def test_an_image_of_another_size_beside_an_image_is_refused_and_so_is_another_width():
    layer = Concatenation({"source": 3})
    with pytest.raises(Mistake, match=r"condition source has width 48 .* says source: 3"):
        layer(torch.randn(4, 1, 8, 8), {"source": torch.randn(4, 3, 4, 4)})
    with pytest.raises(Mistake, match=r"condition source has width 1 .*\[4, 1, 8, 8\].* says source: 3"):
        layer(torch.randn(4, 1, 8, 8), {"source": torch.randn(4, 1, 8, 8)})


def test_an_entry_that_is_not_there_is_refused_with_the_close_ones():
    with pytest.raises(Mistake, match=r"reads the condition lable, .* has label, z\. Did you mean label\?"):
        Concatenation({"lable": 3})(torch.randn(4, 2), {"label": LABEL, "z": LABEL})
    with pytest.raises(Mistake, match=r"reads the condition label, .* has no entries"):
        Concatenation({"label": 3})(torch.randn(4, 2), {})


@pytest.mark.parametrize("wrong", [torch.tensor([0, 3, 1, 1]), torch.tensor([0, -1, 1, 1])])
def test_a_label_beyond_the_classes_is_refused(wrong):
    with pytest.raises(Mistake, match=r"has 3 classes, counted from 0 on, and the condition label goes from"):
        Concatenation({"label": 3})(torch.randn(4, 2), {"label": wrong})


def test_a_width_that_is_no_whole_number_is_refused_and_without_entries_x_stays_what_it_is():
    for width in (0, 1.5, True):
        with pytest.raises(ValueError, match=r"condition label: width="):
            Concatenation({"label": width})
    x = torch.randn(4, 2)
    assert Concatenation()(x, {"label": LABEL}) is x


def test_a_gradient_reaches_what_is_joined():
    x, code = torch.randn(4, 1, 3, 3), torch.randn(4, 2, requires_grad=True)
    Concatenation({"code": 2})(x, {"code": code}).sum().backward()
    assert torch.equal(code.grad, torch.full((4, 2), 9.0))


NETWORKS = {"mlp": (mlp, (1, 8, 8)), "conv28": (conv28, (1, 28, 28)), "dcgan": (dcgan, (1, 32, 32))}


@pytest.mark.parametrize("name", NETWORKS)
def test_each_architecture_joins_its_condition_in_both_networks(name):
    module, shape = NETWORKS[name]
    torch.manual_seed(0)
    width = {"width": 8} if name == "dcgan" else {}
    generator = module.Generator(3, shape, **width, condition={"label": 3}).eval()
    discriminator = module.Discriminator(shape, **width, condition={"label": 3}).eval()
    z, label = {"z": torch.randn(1, 3).expand(4, 3)}, {"label": LABEL}
    x = generator(z, label)
    assert x.shape == (4, *shape)
    assert torch.equal(x[0], x[3])
    assert not torch.allclose(x[0], x[1]), "the class is what these differ in"
    logits = discriminator(x[:1].expand(4, *shape), label).logits
    assert torch.allclose(logits[0], logits[3])
    assert not torch.allclose(logits[0], logits[1])
    assert not torch.allclose(logits[1], logits[2])


@pytest.mark.parametrize("name", NETWORKS)
def test_without_one_the_weights_have_the_names_and_the_start_that_they_had(name):
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
