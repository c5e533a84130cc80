"""Likelihoods of a generator of tokens that returns log-probabilities, in nats per token.

    nll         -E_data log G(x)                 on held-out data (NLL_gen)
    forward_kl   E_data [log O(x) - log G(x)]    O: the known distribution of the data (data=oracle)
    reverse_kl   E_G [log G(x) - log O(x)]

Both divergences are means of exact log-likelihoods, so their only error is that of sampling, which is their deviation;
both are 0 if and only if G = O.  Text without an end symbol has T tokens, others those up to the first end, included.

At the end of a run they are also measured at other temperatures: quality against diversity.  Caccia et al. 2018
(arXiv:1811.02549): a lower temperature lowers the reverse divergence and raises the forward one, as any adversarial
fine-tuning must be compared with.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from saddlepoint.callback.evaluation import scores_to_metrics
from saddlepoint.callback.grid import save_png
from saddlepoint.callback.periodic import Periodic, RunState, log_metrics
from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Contract, Score
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import generator_player
from saddlepoint.modality import modality_of
from saddlepoint.modality.modality import figure_to_image
from saddlepoint.mode import in_mode
from saddlepoint.run.folder import Run
from saddlepoint.stream import Stream

BATCH = 500
UNIT = {"unit": "nats per token"}


class Likelihood(Periodic):
    """Logs the scores at 0 images, every `images_between` and at the end.

    split         held-out data
    n             number of samples for the reverse divergence
    temperatures  of the curve at the end, which is drawn to samples/temperature.png; (): none
    The generator is in evaluation mode, with its averaged weights if its player has an average.
    Raises Mistake if it returns no log-probabilities, or if its `end` is a symbol that does not end the data.
    """

    def __init__(
        self,
        images_between: int,
        split: str = "test",
        n: int = 10_000,
        temperatures: Sequence[float] = (),
        run: Run | None = None,
        state: RunState | None = None,
    ) -> None:
        super().__init__(images_between, state)
        if n < 2 or any(temperature <= 0 for temperature in temperatures):
            raise Mistake(f"callback.likelihood: n={n} must be at least 2, and temperatures above 0")
        self.split, self.n, self.temperatures, self.run = split, n, tuple(temperatures), run
        self.latest: dict[str, Score] = {}
        self.measured_at = -1  # images

    def before_run(self, game: Game, data: Any) -> None:
        """Raise Mistake if the split does not exist, or the generator returns no log-probabilities of given tokens."""
        network, _ = _network(game)
        x = data.split(self.split).batch_at(torch.arange(1)).x
        with torch.no_grad(), in_mode(network):
            try:
                output = network(x, {})
            except (TypeError, ValueError, AttributeError, RuntimeError):  # it expects a mapping of latents
                output = None
        if not isinstance(output, tuple) or len(output) != 2 or output[1].shape != x.shape[:2]:
            raise Mistake(
                "callback.likelihood: the generator must return x and log-probabilities [N, T] if it is given x, as "
                "that of architecture=recurrent does. Use that generator, or remove this callback"
            )
        rows, end = (
            torch.cat([rows for rows, _ in data.split(self.split).batches(BATCH)]),
            getattr(network, "end", None),
        )
        if end is not None and bool(((rows[:, :-1] == end) & (rows[:, 1:] != end)).any()):
            raise Mistake(
                f"architecture.generator.end={end}: samples of the data go on after this symbol, so their likelihood "
                "would be 0. Set the symbol that is only padding, or null"
            )
        if self.temperatures and not hasattr(network, "temperature"):
            raise Mistake("callback.likelihood.temperatures: the generator has no temperature; set []")

    def on_due(self, trainer: pl.Trainer, game: Game) -> None:
        """Measure and log the scores."""
        log_metrics(trainer, game, scores_to_metrics(self.measure(game, trainer.datamodule)))  # pyright: ignore[reportAttributeAccessIssue]

    def final_scores(self, game: Game, data: Any) -> dict[str, Score]:
        """Return the scores, measured only if the last measurement is older, with the curve as detail."""
        scores = self.latest if self.measured_at == game.images else self.measure(game, data)
        if not self.temperatures:
            return scores
        network = copy.deepcopy(_network(game)[0])
        curve = {}
        for temperature in self.temperatures:
            network.temperature = temperature  # pyright: ignore[reportArgumentType]
            values = self._values(network, game, data)
            curve[str(temperature)] = {name: value.mean().item() for name, value in values.items()}
        if self.run is not None and self.run.writes and "reverse_kl" in next(iter(curve.values())):
            save_png(draw_curve(curve), self.run.samples / "temperature.png")
        first = next(iter(scores))
        return scores | {first: replace(scores[first], detail={"curve": curve})}

    @torch.no_grad()
    def measure(self, game: Game, data: Any) -> dict[str, Score]:
        """Measure the scores and return them by name."""
        network, weights = _network(game)
        split = data.split(self.split)
        self.latest, self.measured_at = {}, game.images
        for metric, values in self._values(network, game, data).items():
            contract = Contract.for_players(metric, "generator", split, len(values), weights, UNIT)
            error = values.std(correction=0).item() / len(values) ** 0.5
            self.latest[contract.score_name] = Score(values.mean().item(), contract, error)
        return self.latest

    @torch.no_grad()
    def _values(self, network: nn.Module, game: Game, data: Any) -> dict[str, Tensor]:
        """Return the value of each sample whose mean is a score, float64, by name."""
        to_float = modality_of(data).to_float
        reals = data.split(self.split)
        x = torch.cat([rows for rows, _ in reals.batches(BATCH)])
        stream = Stream(game.seed, "likelihood", device=game.device)
        with in_mode(network):
            given = torch.cat(
                [network(to_float(rows.to(game.device)), {})[1].cpu() for rows in x.split(BATCH)]
            ).double()
            tokens = _count_tokens(network, x).double()
            nll = -given.sum() / tokens.sum()  # the error of a ratio is that of its residuals: the delta method
            values = {"nll": nll + (-given.sum(1) - nll * tokens) / tokens.mean()}
            exact: Any = getattr(data, "log_likelihood", None)
            if exact is None:
                return values
            pairs = []
            for done in range(0, self.n, BATCH):
                sample, log_p = network(game.prior.sample(min(BATCH, self.n - done), stream), {})
                pairs.append((sample.argmax(-1).cpu(), log_p.sum(1).double().cpu()))
        samples, log_g = (torch.cat(column) for column in zip(*pairs, strict=True))
        values["forward_kl"] = (exact(x) - given.sum(1)) / x.shape[1]
        values["reverse_kl"] = (log_g - exact(samples)) / x.shape[1]
        return values


def draw_curve(curve: Mapping[str, Mapping[str, float]]) -> Any:
    """Draw reverse against forward KL for a curve, temperature -> scores, as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    points = [(scores["forward_kl"], scores["reverse_kl"]) for scores in curve.values()]
    axes.plot(*zip(*points, strict=True), marker="o")
    for temperature, point in zip(curve, points, strict=True):
        axes.annotate(temperature, point, xytext=(4, 4), textcoords="offset points", fontsize=7)
    axes.set(xlabel="forward KL, nats per token (diversity)", ylabel="reverse KL, nats per token (quality)")
    return figure_to_image(figure)


def _network(game: Game) -> tuple[nn.Module, str]:
    """Return the network that makes samples, and the kind of its weights."""
    player = generator_player(game)
    return (player.network, "raw") if player.average is None else (player.average.network, "averaged")


def _count_tokens(network: nn.Module, x: Tensor) -> Tensor:
    """Return the number of tokens of each sample x, int64 [n, T], up to the first `end` of the generator, included."""
    end = getattr(network, "end", None)
    if end is None:
        return torch.full((len(x),), x.shape[1])
    return ((x == end).cumsum(1) == 0).sum(1).add(1).clamp(max=x.shape[1])
