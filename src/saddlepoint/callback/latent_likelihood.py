"""Likelihood of held-out images under a model of latents, p(x) = E_p(z) p(x|z), in nats per image.

    elbo             E_q log w,                  w = p(x|z) p(z) / q(z|x)       a lower bound of log p(x)
    log_likelihood   log (1/K) sum_k w_k         z_k from q(z|x)                also one in the mean, exact for K -> inf

Kingma & Welling 2013 (arXiv:1312.6114), eq. 3; Burda et al. 2016 (arXiv:1509.00519), eq. 8, K = 5,000.
The elbo is the mean of log w over the same K samples.  p(z) is standard normal, q(z|x) the Gaussian posterior of the
encoder, p(x|z) Bernoulli, if the generator returns logits with x, or Gaussian with the given variance, a density of
pixels on [-1, 1].

Binary images are sampled once per image from a stream that depends on the run's seed.  Two anchors stand in the detail
of the elbo: independent pixels with their means over the training images, and the mixture of the class means.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console
from torch import Tensor
from torch.nn.functional import softplus

from saddlepoint.callback.evaluation import scores_to_metrics
from saddlepoint.callback.periodic import Periodic, RunState, log_metrics
from saddlepoint.console.terminal import ProgressMeter, line_printer
from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Contract, Score
from saddlepoint.game.game import Game
from saddlepoint.game.pairs import evaluated_networks, players_of_side, turn_of_rows
from saddlepoint.modality import modality_of
from saddlepoint.mode import in_mode
from saddlepoint.prior.normal import Normal
from saddlepoint.stream import Stream

ROWS, SAMPLES = 50, 200  # images, and latents of each, at once: 31 MB per 784 pixels
UNIT = "nats per image"


class LatentLikelihood(Periodic):
    """Logs elbo and log_likelihood with `samples_between` latents per image at 0 images and every `images_between`.

    samples    latents per image of the final scores
    n          number of images, the first of the split; None: all
    code       the side of the encoder;  reconstruction: the side that the generator makes from it
    variance   of p(x|z) = N(x; G(z), variance I); None: Bernoulli
    Raises Mistake if the encoder has no posterior, the generator no likelihood, or binary images other values.
    """

    at_end = False  # `final_scores`

    def __init__(
        self,
        images_between: int,
        samples: int = 5_000,
        samples_between: int = 50,
        split: str = "test",
        n: int | None = None,
        variance: float | None = None,
        code: str = "code",
        reconstruction: str = "reconstruction",
        state: RunState | None = None,
        console: Console | None = None,
    ) -> None:
        super().__init__(images_between, state)
        if min(samples, samples_between) < 1 or (variance is not None and variance <= 0):
            raise Mistake("callback.latent_likelihood: samples must be at least 1, and variance above 0")
        self.samples, self.samples_between, self.split, self.n = samples, samples_between, split, n
        self.variance, self.code, self.reconstruction = variance, code, reconstruction
        console = console or Console(stderr=True)
        self.print_message, self.meter = line_printer(console), ProgressMeter(console)

    def before_run(self, game: Game, data: Any) -> None:
        """Raise Mistake unless the model has a likelihood.  Called before the run folder is created."""
        key = "callback.latent_likelihood"
        for side in (self.code, self.reconstruction):
            if side not in game.sides:
                raise Mistake(
                    f"{key}: this game has no side {side}: a likelihood needs an encoder (game=vae, binary_vae)"
                )
        if any(type(part) is not Normal for part in game.prior.values()) or len(game.prior) != 1:
            raise Mistake(f"{key}: p(z) must be one standard normal part, prior=[normal]")
        networks = evaluated_networks(game)
        rows = torch.arange(min(ROWS, len(data.split(self.split))))
        with in_mode(*networks.values()), torch.no_grad():
            turn = turn_of_rows(game, data.batch_at(self.split, rows), Stream(0, "check"), networks)
            posterior = turn.side_sample(self.code).extra_output
            sample = turn.side_sample(self.reconstruction)
        if not isinstance(posterior, tuple) or len(posterior) != 2:
            raise Mistake(
                f"{key}: the encoder returns a code without a posterior (mean, log_variance), so this model has no "
                "likelihood, as a GAN or BiGAN"
            )
        logits = sample.extra_output
        if self.variance is None and (not isinstance(logits, Tensor) or logits.shape != sample.x.shape):
            raise Mistake(
                f"{key}: the generator returns images without logits, so p(x|z) is unknown: use architecture=vae_mlp "
                f"(Bernoulli), or for a Gaussian p(x|z) set {key}.variance"
            )
        if line := self._weight_warning(game, sample.x[0].numel()):
            self.print_message(line)
        observed = game.sides[self.code].of
        if self.variance is None and not turn.tensor(observed).abs().eq(1).all():
            raise Mistake(
                f"{key}: {observed} has values other than -1 and 1, of which a Bernoulli p(x|z) is no likelihood: use "
                f"game=binary_vae, which binarises images, or for a Gaussian p(x|z) set {key}.variance"
            )

    def _weight_warning(self, game: Game, values: int) -> str | None:
        """Return a line if the encoder is trained for another Gaussian p(x|z) than the measured one."""
        terms: dict[str, Any] = dict(game.player(game.sides[self.code].by[-1]).terms.items())
        kl: Any = terms["kl"].weight if "kl" in terms else None
        squared = (term.weight for term in terms.values() if getattr(term, "absolute", None) is False)
        error: Any = next(squared, None)
        if self.variance is None or not all(isinstance(w, int | float) and w > 0 for w in (kl, error)):
            return None
        trained = values * kl / (2 * error)
        if math.isclose(trained, self.variance, rel_tol=0.01):
            return None
        return (
            f"callback.latent_likelihood.variance={self.variance:g}: the encoder's squared error has the weight "
            f"{error:g}, that of the variance {trained:g}; for {self.variance:g} it is "
            f"{values * kl / (2 * self.variance):g}"
        )

    def on_due(self, trainer: pl.Trainer, game: Game) -> None:
        """Measure and log the scores."""
        scores = self.measure(game, trainer.datamodule, self.samples_between)  # pyright: ignore[reportAttributeAccessIssue]
        log_metrics(trainer, game, scores_to_metrics(scores))

    def final_scores(self, game: Game, data: Any) -> dict[str, Score]:
        """Return the scores with `samples` latents per image; the elbo has the anchors as detail."""
        scores = self.measure(game, data, self.samples)
        first = next(iter(scores))
        if self.variance is None:
            scores[first] = replace(scores[first], detail={"anchors": self._anchors(game, data)})
        return scores

    @torch.no_grad()
    def measure(self, game: Game, data: Any, samples: int) -> dict[str, Score]:
        """Measure both scores with this number of latents per image; return them by name."""
        split = data.split(self.split)
        n = len(split) if self.n is None else min(self.n, len(split))
        networks = evaluated_networks(game)
        latents = Stream(game.seed, "likelihood/latents", device=game.device)
        decode = networks[game.sides[self.reconstruction].by[-1]]
        elbo, likelihood = [], []
        with in_mode(*networks.values()):
            for rows in self._observed_rows(game, data, n, networks):
                x, (mean, log_variance) = rows
                log_w = torch.cat(
                    [
                        self._log_weights(decode, next(iter(game.prior)), x, mean, log_variance,
                                          latents.normal(min(SAMPLES, samples - done) * len(x), mean.shape[1]))
                        for done in range(0, samples, SAMPLES)
                    ]
                ).double()  # fmt: skip
                elbo.append(log_w.mean(0).cpu())
                self.meter(f"likelihood by {samples:,} samples", sum(map(len, elbo)), n)
                likelihood.append((log_w.logsumexp(0) - math.log(samples)).cpu())
        model = "bernoulli" if self.variance is None else f"gaussian, variance {self.variance}"
        makers, weights = players_of_side(game, self.reconstruction)
        settings = {"samples": samples, "model": model, "unit": UNIT, "std": "standard error over images"}
        scores = {}
        for metric, chunks in (("elbo", elbo), (f"log_likelihood_k{samples}", likelihood)):
            values = torch.cat(chunks)
            contract = Contract.for_players(metric, makers, split, n, weights, settings)
            scores[contract.score_name] = Score(
                values.mean().item(), contract, values.std(correction=0).item() / n**0.5
            )
        return scores

    def _observed_rows(self, game: Game, data: Any, n: int, networks: Any) -> Any:
        """Yield the images that the encoder gets, in batches, and the posterior of each."""
        stream = Stream(game.seed, "likelihood", device=game.device)
        for index in torch.arange(n).split(ROWS):
            turn = turn_of_rows(game, data.batch_at(self.split, index), stream, networks)
            yield turn.tensor(game.sides[self.code].of), turn.side_sample(self.code).extra_output

    def _log_weights(
        self, decode: Callable[..., Any], part: str, x: Tensor, mean: Tensor, log_variance: Tensor, noise: Tensor
    ) -> Tensor:
        """Return log w of K latents per image, [K, N], for noise [K N, dim]."""
        k = len(noise) // len(x)
        z = mean.repeat(k, 1) + (log_variance / 2).exp().repeat(k, 1) * noise
        output = decode({part: z}, {})
        # log p(z) - log q(z|x); the terms with log 2 pi cancel
        log_ratio = (noise.square() - z.square()).sum(1) / 2 + log_variance.sum(1).repeat(k) / 2
        if self.variance is None:
            logits = output[1].flatten(1).view(k, len(x), -1)
            # log p(x|z) = x_+ . a - sum softplus(a), x_+ = 1 where x is 1: a product in place of K copies of x
            positive = ((x + 1) / 2).flatten(1)
            log_p = torch.einsum("knd,nd->kn", logits, positive) - softplus(logits).sum(2)
        else:
            means = (output[0] if isinstance(output, tuple) else output).flatten(1).view(k, len(x), -1)
            squares = (means - x.flatten(1)).square().sum(2)
            log_p = -squares / (2 * self.variance) - means.shape[2] / 2 * math.log(2 * math.pi * self.variance)
        return log_p + log_ratio.view(k, len(x))

    def _anchors(self, game: Game, data: Any) -> dict[str, float]:
        """Return the mean log-likelihood of independent pixels, and with classes of the mixture of their means."""
        train, to_float = data.split("train"), modality_of(data).to_float
        sums: dict[int, Tensor] = {}
        counts: dict[int, int] = {}
        for stored, y in train.batches(1000):
            x = (to_float(stored).double().flatten(1) + 1) / 2
            for label in [0] if y is None else y.unique().tolist():
                rows = x if y is None else x[y == label]
                sums[label], counts[label] = sums.get(label, 0) + rows.sum(0), counts.get(label, 0) + len(rows)
        total = sum(counts.values())
        means = torch.stack(
            [*(sums[label] / counts[label] for label in sums), torch.stack([*sums.values()]).sum(0) / total]
        )
        log_p, log_q = ((p.clamp(1e-4, 1 - 1e-4)).log() for p in (means, 1 - means))
        shares = torch.tensor([counts[label] / total for label in sums], dtype=torch.float64).log()
        values: dict[str, list[Tensor]] = {"independent pixels": [], "class means": []}
        networks = evaluated_networks(game)
        n = len(data.split(self.split)) if self.n is None else min(self.n, len(data.split(self.split)))
        with in_mode(*networks.values()), torch.no_grad():
            for x, _ in self._observed_rows(game, data, n, networks):
                positive = ((x.double().cpu() + 1) / 2).flatten(1)
                log_likelihood = positive @ log_p.T + (1 - positive) @ log_q.T
                values["independent pixels"].append(log_likelihood[:, -1])
                values["class means"].append((log_likelihood[:, :-1] + shares).logsumexp(1))
        if len(sums) == 1:
            del values["class means"]
        return {name: torch.cat(chunks).mean().item() for name, chunks in values.items()}
