"""VAE of binary images, VAE-GAN and BiGAN: losses against formulas, play against a loop by hand, refusals."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
import torch
from play import fit
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn.functional import softplus

from saddlepoint.architecture import conv_autoencoder, vae_mlp
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build
from saddlepoint.layer.binarise import Binarise
from saddlepoint.regularizer.bernoulli_likelihood import bernoulli_log_likelihood

CONV = ["architecture=conv_autoencoder", "architecture.generator.width=4", "architecture.encoder.width=4",
        "architecture.discriminator.width=4", "prior.z.dim=3", "metric=[]", "batch=8", "optimizer=sgd",
        "optimizer.generator.lr=0.01", "optimizer.discriminator.lr=0.02", "cache=null"]  # fmt: skip
GAMES = {
    "vae_gan": [*CONV, "game=vae_gan", "regularizer=[kl,feature_reconstruction]",
                "regularizer.generator.feature_reconstruction.weight=0.1"],
    "bigan": [*CONV, "game=bigan", "architecture.encoder.posterior=false", "architecture.discriminator.joint=8",
              "architecture.discriminator.condition={code: 3}"],
    "binary_vae": ["game=binary_vae", "architecture=vae_mlp", "architecture.encoder.widths=[8]", "prior.z.dim=3",
                   "architecture.generator.widths=[8]", "regularizer=[kl,bernoulli_likelihood]", "metric=[]",
                   "game.draws.thresholds.z.dim=64", "optimizer=sgd", "optimizer.generator.lr=0.01", "batch=8"],
}  # fmt: skip


@cache
def experiment(name: str, *overrides: str) -> Any:
    return build(compose([*GAMES[name], *overrides]))


def first_batch(name: str) -> Any:
    return next(experiment(name).data.training_batches())


def test_bernoulli_likelihood_and_kl_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(5, 1, 4, 4, generator=generator) < 0.5).float() * 2 - 1
    logits = torch.randn(5, 1, 4, 4, generator=generator) * 20
    expected = Bernoulli(logits=logits.double()).log_prob((x.double() + 1) / 2).flatten(1).sum(1)
    torch.testing.assert_close(bernoulli_log_likelihood(x, logits).double(), expected, rtol=1e-5, atol=1e-4)


def test_binary_images_have_the_pixels_as_means_and_the_same_numbers_give_the_same_image() -> None:
    x = torch.tensor([-1.0, 0.5, 1.0]).expand(20_000, 1, 1, 3)
    u = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0))
    made = Binarise()(x, {"numbers": u})
    assert set(made.unique().tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(made.mean((0, 1, 2)), x[0, 0, 0], atol=0.02, rtol=0)
    assert (made[..., 0] == -1).all()
    assert (made[..., 2] == 1).all()
    with pytest.raises(
        Mistake, match=r"binarise needs a number per value, 3 per sample, but its draw has 2.*thresholds\.z\.dim=3"
    ):
        Binarise()(x, {"numbers": u[:, :2]})


def test_the_generators_images_are_the_means_of_its_bernoulli_variables() -> None:
    x, logits = vae_mlp.Generator(3, (1, 4, 4), [8])({"z": torch.randn(5, 3)})
    torch.testing.assert_close(x, 2 * logits.sigmoid() - 1)


def test_the_vae_of_burda_et_al_has_tanh_layers() -> None:
    """Section 5: x - 200 - 200 - z and back; here 6 - 4 - 2."""
    torch.manual_seed(0)
    encoder, generator = vae_mlp.Encoder((1, 2, 3), 2, [6, 4]), vae_mlp.Generator(2, (1, 2, 3), [4, 6])
    for network in (encoder, generator):
        for p in network.parameters():
            p.data.normal_()
    (a, b), (c, d, e) = ([layer for layer in n.layers if hasattr(layer, "weight")] for n in (encoder, generator))
    x, noise = torch.randn(5, 1, 2, 3), torch.randn(5, 2)
    hidden = torch.tanh(torch.tanh(x.flatten(1) @ a.weight.T + a.bias) @ b.weight.T + b.bias)
    _, (mean, log_variance) = encoder(x, {"noise": noise})
    for value, last in ((mean, encoder.posterior.mean), (log_variance, encoder.posterior.log_variance)):
        torch.testing.assert_close(value, hidden @ last.weight.T + last.bias)
    hidden = torch.tanh(torch.tanh(noise @ c.weight.T + c.bias) @ d.weight.T + d.bias)
    torch.testing.assert_close(generator({"z": noise})[1].flatten(1), hidden @ e.weight.T + e.bias)


def run_turn(name: str, group: list[str]) -> tuple[Any, Any, Any]:
    """The losses of the first turn of `group`, copies of the networks before it, and the turn."""
    game = copy.deepcopy(experiment(name).game)
    ((turn, _),) = game.build_turns(first_batch(name), group)
    return game, turn, {n: game.player(n).losses(copy.copy(turn), 0) for n in group}


def test_a_binary_vae_minimises_the_negative_evidence_lower_bound() -> None:
    game, turn, losses = run_turn("binary_vae", ["encoder", "generator"])
    binary = turn.side_sample("binary").x
    z, (mean, log_variance) = game.player("encoder").network(binary, {"noise": turn.draws["noise"]["z"]})
    _, logits = game.player("generator").network(z, {})
    kl = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1).mean()
    nll = -Bernoulli(logits=logits).log_prob((binary + 1) / 2).flatten(1).sum(1).mean()
    torch.testing.assert_close(losses["encoder"]["kl"], kl)
    for player in ("encoder", "generator"):
        torch.testing.assert_close(losses[player]["bernoulli_likelihood"], nll)


def test_vae_gan_has_the_losses_of_the_paper() -> None:
    """Encoder: KL + distance of D's features; generator: non-saturating loss on both fakes, and the distance."""
    game, turn, losses = run_turn("vae_gan", ["encoder", "generator", "discriminator"])
    n = {name: game.player(name).network for name in game.players}
    x = first_batch("vae_gan").x
    z, (mean, log_variance) = n["encoder"](x, {"noise": turn.draws["noise"]["z"]})
    real, made, fake = (n["discriminator"](t) for t in (x, n["generator"](z), n["generator"](turn.latent)))
    distance = (real.features["flat"] - made.features["flat"]).square().sum(1).mean() / 2
    assert list(real.features)[-1] == "flat"
    kl = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1).mean()
    assert game.order == [["encoder", "generator", "discriminator"]]  # all at the same weights, as in algorithm 1
    assert {*losses["encoder"]} == {"kl", "feature_reconstruction"}  # D's logits do not train the encoder
    torch.testing.assert_close(losses["encoder"]["kl"], kl)
    torch.testing.assert_close(losses["encoder"]["feature_reconstruction"], distance)
    torch.testing.assert_close(losses["generator"]["feature_reconstruction"], 0.1 * distance)
    torch.testing.assert_close(losses["generator"]["adversarial/fake"], softplus(-fake.logits).mean() / 2)
    torch.testing.assert_close(losses["generator"]["adversarial/reconstruction"], softplus(-made.logits).mean() / 2)
    judged = softplus(-real.logits).mean() + (softplus(fake.logits).mean() + softplus(made.logits).mean()) / 2
    torch.testing.assert_close(sum(losses["discriminator"].values()), judged)


def test_bigan_is_played_as_by_hand() -> None:
    game, x = copy.deepcopy(experiment("bigan").game), first_batch("bigan").x
    n = {name: copy.deepcopy(game.player(name).network) for name in game.players}
    draws = []
    prior = game.prior.sample
    game.prior.__dict__["sample"] = lambda *args: draws.append(prior(*args)) or draws[-1]
    fit(game, [first_batch("bigan")])
    for movers, z in zip((["discriminator"], ["encoder", "generator"]), draws, strict=True):
        code = n["encoder"](x)["z"]
        real = n["discriminator"](x, {"code": code}).logits
        fake = n["discriminator"](n["generator"](z), {"code": z["z"]}).logits
        values = {"discriminator": softplus(-real).mean() + softplus(fake).mean(),
                  "encoder": softplus(real).mean(), "generator": softplus(-fake).mean()}  # fmt: skip
        rate = 0.02 if movers == ["discriminator"] else 0.01
        gradients = [torch.autograd.grad(values[m], list(n[m].parameters()), retain_graph=True) for m in movers]
        with torch.no_grad():
            for m, gradient in zip(movers, gradients, strict=True):
                for p, g in zip(n[m].parameters(), gradient, strict=True):
                    p -= rate * g
    for name, network in n.items():
        for p, expected in zip(game.player(name).network.parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(p, expected, rtol=1e-4, atol=1e-6, msg=name)


def test_a_code_that_does_not_fit_the_prior_is_refused() -> None:
    with pytest.raises(Mistake, match=r"code of code has the parts z of 5 numbers, and the prior has z of 3 numbers"):
        experiment("vae_gan", "architecture.encoder.dim=5", "game.draws.noise.z.dim=5")


@pytest.mark.parametrize("wrong", [["architecture.encoder.dim=5"], ["prior=[normal,categorical]", "prior.z.dim=3"]])
def test_a_code_of_another_size_than_the_noise_of_its_posterior_is_refused(wrong: list[str]) -> None:
    vae = ["game=vae", "architecture=conv_vae", "regularizer=[kl,gaussian_likelihood]", "metric=[]", "cache=null"]
    size = 5 if len(wrong) == 1 else 13
    with pytest.raises(Mistake, match=rf"codes of {size} numbers.*has 3: set architecture\.encoder\.dim.*\[normal\]"):
        build(compose([*vae, "prior.z.dim=3", *wrong]))


BIGAN = [*CONV, "game=bigan"]
INCOMPLETE = {
    "D without the code": (
        ["architecture.encoder.posterior=false"],
        r"discriminator does not read code: set 'architecture\.discriminator\.condition=\{code: 3\}'",
    ),
    "an encoder with a posterior": (
        ["architecture.discriminator.condition={code: 3}"], r"set architecture\.encoder\.posterior=false"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", INCOMPLETE)
def test_a_bigan_that_lacks_a_key_is_refused_with_this_key(what: str) -> None:
    words, line = INCOMPLETE[what]
    with pytest.raises(Mistake, match=line):
        build(compose([*BIGAN, *words]))


def test_a_vae_averages_both_players_or_none() -> None:
    words = ["game=vae", "architecture=linear_gaussian", "data=gaussians", "prior.z.dim=1", "metric=[]",
             "regularizer=[kl,gaussian_likelihood]"]  # fmt: skip
    for more, averaged in (([], True), (["game.players.generator.average=null"], False)):
        players = build(compose([*words, *more])).game.players
        assert [player.average is not None for player in players.values()] == [averaged, averaged]


def test_sizes_that_are_not_multiples_of_4_are_refused() -> None:
    for network in (conv_autoencoder.Encoder, conv_autoencoder.Generator):
        with pytest.raises(ValueError, match="multiples of 4, not 6 x 8"):
            network(*(((1, 6, 8), 3) if network is conv_autoencoder.Encoder else (3, (1, 6, 8))))


def test_a_term_that_needs_logits_refuses_other_networks() -> None:
    with pytest.raises(Mistake, match=r"must return x and the logits of its pixels.*\[kl,gaussian_likelihood\]"):
        build(compose(["game=binary_vae", "architecture=conv_vae", "regularizer=[kl,bernoulli_likelihood]", "metric=[]",
                       "prior.z.dim=3", "game.draws.thresholds.z.dim=64", "cache=null"]))  # fmt: skip
