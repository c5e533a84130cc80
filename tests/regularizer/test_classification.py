"""Semi-supervised training: the loss of the discriminator, and which samples enter which term."""

from functools import partial

import numpy as np
import play
import pytest
import torch
from play import fit

from saddlepoint.architecture import mlp
from saddlepoint.error import Mistake
from saddlepoint.game.game import Game
from saddlepoint.game.player import Player
from saddlepoint.layer.gaussian_noise import GaussianNoise
from saddlepoint.layer.log_sum_exp import LogSumExp
from saddlepoint.objective import nonsaturating
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.regularizer.classification import Classification
from saddlepoint.turn import Batch, Sample

K = 3


def network(seed=0, **settings):
    torch.manual_seed(seed)
    return mlp.Discriminator([2], widths=[8], readout=LogSumExp, heads={"label": K}, **settings)


def labelled(n, seed):
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, generator=stream), torch.randint(K, (n,), generator=stream)


def sampled(n, seed, judge):
    """Return labelled samples with their class as the condition."""
    x, y = labelled(n, seed)
    return Sample(x, {"label": y}, judge)


def turn(discriminator, **sides):
    x, y = labelled(16, 1)
    parts = {
        "real": Sample(x, {"label": y}, discriminator),
        "fake": Sample(labelled(16, 2)[0], {"label": y}, discriminator),
        "labelled": sampled(6, 3, discriminator),
    }
    return play.turn(**{**parts, **sides})


def d(objective=nonsaturating.discriminator, weight=0.5, net=None, **term):
    return Player(
        net or network(),
        partial(torch.optim.SGD, lr=0.1),
        objective,
        {"classification": Classification(**term)},
        weight,
    )


def log_softmax(logits):
    """An independent implementation in numpy and float64."""
    wide = logits.detach().numpy().astype(np.float64)
    return wide - np.log(np.exp(wide).sum(1, keepdims=True))


def test_the_loss_is_cross_entropy_on_labelled_samples_plus_half_of_each_adversarial_expectation():
    net = network()
    seen = turn(net)
    losses = d(net=net).losses(seen, 0)
    y = seen["labelled"].condition["label"].numpy()
    supervised = -log_softmax(net(seen["labelled"].x).heads["label"])[np.arange(len(y)), y].mean()

    def made_up(x):
        logits = net(x).heads["label"]
        return np.exp(log_softmax(torch.cat([logits, torch.zeros(len(logits), 1)], 1))[:, -1])

    real, fake = -np.log(1 - made_up(seen["real"].x)).mean(), -np.log(made_up(seen["fake"].x)).mean()
    assert losses["classification"].item() == pytest.approx(supervised, rel=1e-5)
    assert losses["adversarial"].item() == pytest.approx(real / 2 + fake / 2, rel=1e-5)
    assert set(losses) == {"adversarial", "classification"}


def test_labelled_samples_do_not_enter_the_adversarial_term_nor_reals_the_supervised_one():
    net = network()
    before = d(net=net).losses(turn(net), 0)
    other = d(net=net).losses(turn(net, labelled=sampled(6, 9, net)), 0)
    assert other["adversarial"].equal(before["adversarial"])
    assert not other["classification"].equal(before["classification"])
    other = d(net=net).losses(turn(net, real=Sample(labelled(16, 9)[0], {}, net)), 0)
    assert other["classification"].equal(before["classification"])
    assert not other["adversarial"].equal(before["adversarial"])


@pytest.mark.parametrize("few", [None, 0])
def test_a_batch_without_labels_is_finite_and_adds_nothing(few):
    net = network()
    sample = None if few is None else sampled(0, 3, net)
    losses = d(net=net).losses(turn(net, labelled=sample), 0)
    assert losses["classification"].item() == 0
    (alone,) = d(None, net=net).losses(turn(net, labelled=sample), 0).values()
    gradients = torch.autograd.grad(alone, list(net.parameters()), allow_unused=True)
    assert all(g is None or not g.any() for g in gradients)


def test_the_loss_is_the_sum_over_sides():
    net = network()
    each = [Classification(sides=[side])(turn(net)).item() for side in ("labelled", "real", "fake")]
    assert len(set(each)) == 3
    assert Classification(sides=["real", "fake", "labelled"])(turn(net)).item() == pytest.approx(sum(each))


def test_a_generator_that_descends_it_on_fakes_moves_towards_the_requested_classes():
    net = network()
    x = labelled(16, 2)[0].requires_grad_()
    seen = turn(net)
    loss = Classification(sides=["fake"])(turn(net, fake=Sample(x, seen["real"].condition, net)))
    (slope,) = torch.autograd.grad(loss, x)
    moved = turn(net, fake=Sample(x.detach() - 0.1 * slope, seen["real"].condition, net))
    assert Classification(sides=["fake"])(moved) < loss


def trained_discriminator(rounds=12, **settings):
    """Return the parameters of a D with noise after some rounds against a generator."""
    net = network(neck=GaussianNoise)
    torch.manual_seed(5)
    maker = mlp.Generator(3, [2], widths=[8])
    sgd = partial(torch.optim.SGD, lr=0.05)
    players = {"discriminator": d(net=net, **settings), "generator": Player(maker, sgd, nonsaturating.generator)}
    torch.manual_seed(6)
    batches = [Batch(labelled(16, 100 + i)[0], None, labelled(6, 200 + i)) for i in range(rounds)]
    game = Game(players, Prior(z=Normal(3)))
    fit(game, batches)
    return [p.detach().clone() for p in net.parameters()]


def test_an_adversarial_weight_of_0_is_supervised_training_only_bit_for_bit_with_noise_in_d():
    supervised, zero = trained_discriminator(objective=None), trained_discriminator(weight=0.0)
    half = trained_discriminator(weight=0.5)
    assert all(a.equal(b) for a, b in zip(supervised, zero, strict=True))
    assert not any(a.equal(b) for a, b in zip(supervised, half, strict=True) if a.numel() > 1)


def test_a_term_of_weight_0_is_not_evaluated():
    class Unreachable(Classification):
        def forward(self, turn):
            raise AssertionError

    net = network()
    player = Player(
        net, partial(torch.optim.SGD, lr=0.1), nonsaturating.discriminator, {"unreachable": Unreachable(weight=0)}, 0.0
    )
    seen = turn(net)
    losses = player.losses(seen, 0)
    assert {name: loss.item() for name, loss in losses.items()} == {"adversarial": 0, "unreachable": 0}
    assert "output" not in vars(seen["real"])
    sum(losses.values()).backward(inputs=list(net.parameters()))  # a round without a loss still works
    assert all(p.grad is None or not p.grad.any() for p in net.parameters())


def test_missing_heads_and_classes_are_refused_with_a_message():
    net = network()
    with pytest.raises(ValueError, match=r"sides=\['labels'\] must be one or more of labelled, real, fake"):
        Classification(sides=["labels"])
    with pytest.raises(ValueError, match=r"sides=\[\]"):
        Classification(sides=[])
    with pytest.raises(Mistake, match=r"heads are label, not digit"):
        Classification(head="digit")(turn(net))
    with pytest.raises(Mistake, match=r"the real samples have no condition label.*game=conditional"):
        Classification(sides=["real"])(turn(net, real=Sample(torch.zeros(4, 2), {}, net)))
    with pytest.raises(Mistake, match=r"heads are none, not label"):
        Classification().check_output(mlp.Discriminator([2])(torch.zeros(2, 2)))
