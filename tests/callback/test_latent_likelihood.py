"""Likelihoods of VAEs: exact for the linear-Gaussian one, quadrature for Bernoulli pixels; anchors; refusals."""

import copy
import io
import math
from functools import cache

import pytest
import torch
from rich.console import Console
from torch.distributions import Bernoulli, MultivariateNormal, Normal

from saddlepoint.callback.latent_likelihood import LatentLikelihood
from saddlepoint.callback.reconstruction_error import ReconstructionError
from saddlepoint.config.compose import compose
from saddlepoint.data.data import Data, Split
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build
from saddlepoint.experiment.evaluate import build_evaluators

VAE = ["game=vae", "architecture=linear_gaussian", "regularizer=[kl,gaussian_likelihood]", "data=gaussians",
       "metric=[]", "prior.z.dim=1"]  # fmt: skip
BINARY = ["game=binary_vae", "architecture=vae_mlp", "architecture.encoder.widths=[8]", "prior.z.dim=1", "metric=[]",
          "architecture.generator.widths=[8]", "regularizer=[kl,bernoulli_likelihood]", "cache=null",
          "game.draws.thresholds.z.dim=64", "game.players.generator.average=null"]  # fmt: skip
VARIANCE = 0.25


@cache
def experiment(*overrides):
    return build(compose(list(overrides)))


def values(callback, game, data):
    callback.before_run(game, data)
    return {score.contract.metric: score for score in callback.final_scores(game, data).values()}


def linear(posterior_scale=1.0):
    """A linear-Gaussian model with random weights; the encoder is its exact posterior, with a scaled deviation."""
    built = experiment(*VAE, "game.players.generator.average=null")
    generator, encoder = (built.game.player(name).network for name in ("generator", "encoder"))
    with torch.no_grad():
        w = generator.linear.weight.copy_(torch.tensor([[0.8], [-0.5]]))
        m = generator.linear.bias.copy_(torch.tensor([0.3, 0.1]))
        scale = 1 / ((w.T @ w).item() + VARIANCE)
        encoder.mean.weight.copy_(scale * w.T)
        encoder.mean.bias.copy_(-scale * w.T @ m)
        encoder.log_variance.fill_(math.log(VARIANCE * scale) + 2 * math.log(posterior_scale))
    exact = MultivariateNormal(m.double(), (w @ w.T).double() + VARIANCE * torch.eye(2).double())
    x = built.data.split("test").x[:200].double()
    return built, exact.log_prob(x).mean().item()


def test_with_the_exact_posterior_both_scores_are_the_likelihood_in_closed_form():
    built, exact = linear()
    scores = values(LatentLikelihood(1, samples=3, n=200, variance=VARIANCE), built.game, built.data)
    assert scores["elbo"].value == pytest.approx(exact, abs=1e-4)
    assert scores["log_likelihood_k3"].value == pytest.approx(exact, abs=1e-4)


def test_with_another_posterior_the_elbo_is_lower_and_importance_samples_close_the_gap():
    built, exact = linear(posterior_scale=2.0)
    scores = values(LatentLikelihood(1, samples=500, n=200, variance=VARIANCE), built.game, built.data)
    gap = 2.0 - 0.5 - math.log(2)  # KL(N(0, 4) || N(0, 1)) = (4 - 1) / 2 - log 2
    assert scores["elbo"].value == pytest.approx(exact - gap, abs=0.02)
    assert scores["log_likelihood_k500"].value == pytest.approx(exact, abs=0.01)


def test_bernoulli_likelihoods_agree_with_quadrature_and_the_anchors_with_torch():
    built = experiment(*BINARY)
    game, data = built.game, built.data
    callback, passes = LatentLikelihood(1, samples=2_000, n=20), []
    callback.meter = lambda *seen: passes.append(seen)
    scores = values(callback, game, data)
    assert passes == [("likelihood by 2,000 samples", 20, 20)]
    networks = dict(game.networks()) | dict(game.makers)
    x = torch.cat([rows for rows, _ in callback._observed_rows(game, data, 20, networks)])
    assert set(x.unique().tolist()) == {-1.0, 1.0}
    z = torch.linspace(-6, 6, 2_001).double()
    with torch.no_grad():
        logits = game.player("generator").network({"z": z.float()[:, None]}, {})[1].double()
    bits = (x.double() + 1) / 2
    log_p = Bernoulli(logits=logits[:, None]).log_prob(bits).flatten(2).sum(2) + Normal(0.0, 1.0).log_prob(z)[:, None]
    exact = (log_p.logsumexp(0) + math.log(12 / 2_000)).mean().item()
    assert scores["log_likelihood_k2000"].value == pytest.approx(exact, abs=0.02)
    assert scores["elbo"].value < scores["log_likelihood_k2000"].value
    train = data.split("train")
    means = (train.x.double() / 255).clamp(1e-4, 1 - 1e-4)
    pixels = Bernoulli(means.mean(0)).log_prob(bits).flatten(1).sum(1).mean().item()
    assert scores["elbo"].detail["anchors"]["independent pixels"] == pytest.approx(pixels, abs=0.01)
    parts = []
    for label in range(10):
        mean = (train.x[train.y == label].double() / 255).mean(0).clamp(1e-4, 1 - 1e-4)
        share = (train.y == label).double().mean()
        parts.append(Bernoulli(mean).log_prob(bits).flatten(1).sum(1) + share.log())
    mixture = torch.stack(parts).logsumexp(0).mean().item()
    assert scores["elbo"].detail["anchors"]["class means"] == pytest.approx(mixture, abs=0.01)


def test_weights_of_posteriors_that_differ_over_images_are_those_of_torchs_densities():
    torch.manual_seed(0)
    x, mean, log_variance, w = torch.randn(3, 2), torch.randn(3, 2), 2 * torch.randn(3, 2), torch.randn(2, 2)
    noise = torch.randn(4, 3, 2)  # 4 latents of each of 3 images
    callback = LatentLikelihood(1, variance=VARIANCE)
    log_w = callback._log_weights(lambda z, _: z["z"] @ w, "z", x, mean, log_variance, noise.view(12, 2))
    deviation = (log_variance / 2).exp()
    for k in range(4):
        z = mean + deviation * noise[k]
        terms = (Normal(z @ w, VARIANCE**0.5).log_prob(x) + Normal(0.0, 1.0).log_prob(z)
                 - Normal(mean, deviation).log_prob(z))  # fmt: skip
        torch.testing.assert_close(log_w[k], terms.sum(1), rtol=1e-4, atol=1e-4)


class Unbalanced(Data):
    """Two classes of random binary images of 64 pixels, 9 to 1."""

    name = "unbalanced"

    def splits(self):
        y = (torch.arange(200) % 10 == 0).long()
        bright = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        u = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(2))
        x = (u < bright[y]).to(torch.uint8) * 255
        return {name: Split(name, x, y, 2) for name in ("train", "validation", "test")}


def test_classes_count_by_their_share_in_the_mixture_of_class_means():
    game, data = experiment(*BINARY).game, Unbalanced((1, 8, 8), 2)
    split = data.split("train")
    bits = split.x.double() / 255
    parts = []
    for label, share in ((0, 0.9), (1, 0.1)):
        mean = bits[split.y == label].mean(0).clamp(1e-4, 1 - 1e-4)
        parts.append(Bernoulli(mean).log_prob(bits).flatten(1).sum(1) + math.log(share))
    mixture = torch.stack(parts).logsumexp(0).mean().item()
    anchors = LatentLikelihood(1)._anchors(game, data)
    assert anchors["class means"] == pytest.approx(mixture, abs=1e-3)  # uniform shares: 0.5 nats less


def test_the_contract_has_the_samples_and_the_model_and_the_images_are_the_same_each_time():
    built = experiment(*BINARY)
    callback = LatentLikelihood(1, samples=5, n=20)
    one, two = (callback.measure(built.game, built.data, 5) for _ in range(2))
    assert {name: score.value for name, score in one.items()} == {name: score.value for name, score in two.items()}
    assert list(one) == ["elbo_encoder+generator_20_test", "log_likelihood_k5_encoder+generator_20_test"]
    contract = next(iter(one.values())).contract
    assert (contract.n_fake, contract.split) == (20, "test")
    assert {"samples": 5, "model": "bernoulli", "unit": "nats per image"}.items() <= contract.settings.items()


CONV = ["architecture.encoder.width=4", "architecture.generator.width=4", "prior.z.dim=3", "metric=[]", "cache=null"]
WITHOUT = {
    "a GAN": (["metric=[]", "cache=null"], "no side code: a likelihood needs an encoder"),
    "a BiGAN": (
        ["game=bigan", "architecture=conv_autoencoder", "architecture.encoder.posterior=false", *CONV,
         "architecture.discriminator.condition={code: 3}"],
        "without a posterior",
    ),
    "a VAE of unknown p(x|z)": (
        ["game=vae", "architecture=conv_vae", "regularizer=[kl,gaussian_likelihood]", *CONV],
        r"without logits, so p\(x\|z\) is unknown.*latent_likelihood\.variance",
    ),
    "a Bernoulli likelihood of grey images": (
        ["game=vae", "regularizer=[kl,bernoulli_likelihood]", "regularizer.encoder.bernoulli_likelihood.target=x",
         "regularizer.generator.bernoulli_likelihood.target=x", *BINARY[1:4], "metric=[]", "cache=null",
         BINARY[5]],
        "x has values other than -1 and 1.*game=binary_vae",
    ),
    "another prior": ([*BINARY[:-1], "prior=uniform", "prior.z.dim=1"], "one standard normal part"),
}  # fmt: skip


@pytest.mark.parametrize("what", WITHOUT)
def test_a_model_without_a_likelihood_is_refused(what):
    overrides, line = WITHOUT[what]
    built = experiment(*overrides)
    with pytest.raises(Mistake, match=line):
        LatentLikelihood(1).before_run(built.game, built.data)


@pytest.mark.parametrize(("weight", "line"), [(4.0, ""), (1.0, "variance 1; for 0.25 it is 4")])
def test_a_variance_other_than_that_of_the_trained_weight_is_reported(weight, line):
    built = experiment(*VAE, f"regularizer.encoder.gaussian_likelihood.weight={weight}")  # 2 numbers: 2 / (2 s^2)
    console = Console(file=io.StringIO(), width=200)
    LatentLikelihood(1, variance=VARIANCE, console=console).before_run(built.game, built.data)
    assert line in console.file.getvalue()
    assert bool(console.file.getvalue()) == bool(line)


def test_evaluate_names_the_scores_that_only_training_measures():
    built = experiment(*BINARY, "callback=[latent_likelihood]")
    with pytest.raises(Mistake, match="scores of latent_likelihood are measured in training only"):
        build_evaluators(built.config, built.data, print, None)


def test_scores_are_of_the_averaged_encoder_and_generator_whatever_the_discriminator_has():
    words = ["game=vae_gan", "architecture=conv_autoencoder", "regularizer=[kl,feature_reconstruction]", *CONV,
             "architecture.discriminator.width=4"]  # fmt: skip
    built = experiment(*words)
    game, data = copy.deepcopy(built.game), built.data
    encoder, generator = (game.player(name) for name in ("encoder", "generator"))
    for player in (encoder, generator):
        for p in player.network.parameters():
            p.data.normal_(0, 0.3)  # unlike the averages
    x = data.split("test").batch_at(torch.arange(30)).x
    with torch.no_grad():
        _, (mean, _) = encoder.average.network.eval()(x, {"noise": torch.zeros(30, 3)})
        gap = generator.average.network.eval()({"z": mean}) - x
    scores = ReconstructionError(1, n=30).measure(game, data)
    score = scores["reconstruction_mse_encoder+generator_30_test"]
    assert score.value == pytest.approx(gap.square().mean().item(), rel=1e-5)
    assert score.contract.weights == "averaged"  # D has no average, and makes nothing
    likelihood = LatentLikelihood(1, samples=2, n=30, variance=VARIANCE).measure(game, data, 2)
    assert {one.contract.weights for one in likelihood.values()} == {"averaged"}
    mixed = build(compose([*words, "game.players.encoder.average=null"])).game
    weights = {one.contract.weights for one in ReconstructionError(1, n=30).measure(mixed, data).values()}
    assert weights == {"partly averaged"}


def test_reconstruction_errors_are_those_of_the_mean_codes():
    built, _ = linear(posterior_scale=3.0)
    game, data = built.game, built.data
    callback = ReconstructionError(1, n=100)
    callback.before_run(game, data)
    scores = {score.contract.metric: score.value for score in callback.measure(game, data).values()}
    x = data.split("test").x[:100]
    with torch.no_grad():
        gap = game.player("generator").network({"z": game.player("encoder").network.mean(x)}) - x
    assert scores == pytest.approx(
        {"reconstruction_mae": gap.abs().mean().item(), "reconstruction_mse": gap.square().mean().item()}, rel=1e-5
    )
    with pytest.raises(Mistake, match=r"no side recon, so nothing is reconstructed.*reconstruction"):
        ReconstructionError(1, {"recon": "x"}).before_run(game, data)
