"""The generator of tokens: relaxed and one-hot samples, gradients; the discriminator of several representations."""

import pytest
import torch

from saddlepoint.architecture.recurrent import Discriminator, Generator
from saddlepoint.error import Mistake
from saddlepoint.schedule.exponential import Exponential
from saddlepoint.stream import Stream

SHAPE = (6, 5)
NOISE = {"noise": Stream(0, "noise").gumbel(32, 30)}


def generator(**settings):
    torch.manual_seed(0)
    return Generator(SHAPE, 4, 8, **settings)


def test_relaxed_samples_have_the_tokens_of_one_hot_samples_and_approach_them():
    (hard, log_p), (soft, soft_log_p) = generator()(NOISE), generator(relaxation=1.0)(NOISE)
    cold, _ = generator(relaxation=1e-3)(NOISE)
    assert (soft.argmax(-1) == hard.argmax(-1)).all()
    assert torch.equal(log_p, soft_log_p)
    torch.testing.assert_close(soft.sum(-1), torch.ones(32, 6))
    assert (soft - hard).abs().max() > 0.1 > 1e-2 > (cold - hard).abs().mean()
    assert torch.equal(hard.sum(-1), torch.ones(32, 6))
    assert hard.max() == 1


def test_gradients_reach_relaxed_samples_but_one_hot_samples_only_by_their_log_probabilities():
    soft, hard = generator(relaxation=0.5), generator()
    (soft(NOISE)[0] * torch.arange(5.0)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in soft.parameters())
    x, log_p = hard(NOISE)
    assert not x.requires_grad
    log_p.sum().backward()
    assert all(p.grad is not None for p in hard.parameters())


def test_given_tokens_it_returns_their_log_probabilities():
    network = generator(temperature=0.7, end=0)
    x, log_p = network(NOISE)
    same, given = network(x)
    assert same is x
    torch.testing.assert_close(given, log_p)


def test_another_prior_is_refused_with_the_right_one():
    with pytest.raises(Mistake, match=r"6 x 5 numbers .* prior has 64: set prior=\[gumbel\]"):
        generator()({"z": torch.randn(2, 64)})


def test_the_relaxation_follows_its_schedule():
    schedule = Exponential(1.0, 0.01, images=200, begin=100)
    network = generator(relaxation=schedule)
    assert network.current_relaxation == 1.0
    network.at_images(150)
    assert network.current_relaxation == pytest.approx(0.1)


def test_each_representation_is_judged_as_if_it_were_the_only_one():
    torch.manual_seed(1)
    many, one = Discriminator(SHAPE, 3, 2, 4, (2, 3)), Discriminator(SHAPE, 1, 2, 4, (2, 3))
    x = torch.rand(7, *SHAPE)
    logits = many(x).logits
    assert logits.shape == (7, 3)
    assert many(x).features["hidden1"].shape == (7, 3 * 8)
    for r in range(3):
        state = many.state_dict()
        weight = "trunk.hidden1.0.linear.weight"
        one.load_state_dict({**state, weight: state[weight].unflatten(0, (3, 2))[r]})
        torch.testing.assert_close(one(x).logits, logits[:, r])


def test_a_convolution_of_one_representation_is_written_out():
    torch.manual_seed(1)
    network, x = Discriminator(SHAPE, 1, 2, 4, (2,)), torch.rand(1, *SHAPE)
    embedding, conv = network.trunk["hidden1"][0].linear.weight, network.trunk["hidden1"][1].layers[0]
    e = x[0] @ embedding.T  # [T, width]
    values = [(conv.weight * e[t : t + 2].T).sum((1, 2)) + conv.bias for t in range(5)]
    torch.testing.assert_close(network(x).features["hidden1"][0], torch.stack(values).relu().amax(0))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Generator((3, 8, 8)), "use architecture=mlp"),
        (lambda: Generator(SHAPE, temperature=0.0), "above 0"),
        (lambda: Generator(SHAPE, end=5), "symbols 0 to 4"),
        (lambda: Discriminator((3, 5)), "3 tokens"),
    ],
)
def test_settings_that_cannot_work_are_refused(build, message):
    with pytest.raises(Mistake, match=message):
        build()
