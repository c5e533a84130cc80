"""Health readings of a game between two rounds: D's logits of reals, held-out reals and fakes, and the last turns.

Readings do not change the game: they use new streams, evaluation mode, and preserve torch's global generators.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import can_judge_samples, generator_player, judge_player, sampling_players
from saddlepoint.game.pairs import draw_pair, sampled_side, translated_sides, truth_column
from saddlepoint.game.player import ROLES
from saddlepoint.game.sampling import full_batch_indices, reals_for_judge, samples_for_judge
from saddlepoint.health import reading
from saddlepoint.modality import modality_of
from saddlepoint.mode import in_mode
from saddlepoint.stream import Stream, preserve_random_state
from saddlepoint.turn import Batch, Sample


class HealthProbe:
    """Computes readings of a game from n training reals, n held-out reals and n fakes.

    The reals and latents are always the same, so that a change in the readings is a change of the game. D is evaluated
    in batches of its training size, in evaluation mode. Fakes come from the live weights, not from their average.
    log    called once with a message if a reading is not available
    """

    def __init__(self, data: Any, n: int, held_out: str, log: Callable[[str], None], seed: int = 0) -> None:
        self.n = min(n, len(data.split("train")))
        self.batch_size, self.modality = int(data.batch), modality_of(data)
        self.train = _draw_rows(data, "train", self.n, seed)
        self.held_out = self._draw_held_out(data, held_out, seed, log)

    def _draw_held_out(self, data: Any, name: str, seed: int, log: Callable[[str], None]) -> Batch | None:
        """Draw n held-out reals; None if the data have no such split. Raises Mistake if D is trained on this split."""
        if name in ("train", "all"):
            raise Mistake(f"callback.health.held_out={name}: D is trained on these; use validation or test")
        try:
            return _draw_rows(data, name, self.n, seed)
        except Mistake as error:
            if name not in ("validation", "test"):
                raise Mistake(f"callback.health.held_out={name}: {error}") from None
            log(f"health: no data are held out, so overfitting of D cannot be detected ({str(error).splitlines()[0]})")
            return None

    def readings(self, game: Game) -> dict[str, float]:
        """Return all available readings by name (see `health.reading`).

        Those of the other direction of a cycle have the name of its side in front: reverse_fake/diversity.
        """
        game.run_at_images_hooks()
        with torch.no_grad(), in_mode(game), preserve_random_state(game.device):
            sides = translated_sides(game)
            readings = self._side_readings(game, self.train.x, is_cycle=len(sides) > 1)
            for side in sides[1:]:
                with sampled_side(game, side):
                    column = self.train.columns().get(truth_column(game))
                    values = self._side_readings(game, self.train.x if column is None else column, is_cycle=True)
                readings |= {f"{side}/{name}": value for name, value in values.items()}
        readings |= last_turn_readings(game)
        return {name: float(value) for name, value in readings.items() if value is not None}

    def _side_readings(self, game: Game, reals: Tensor, is_cycle: bool) -> dict[str, Any]:
        """Return the readings of the samples of `game.samples`, which should look like `reals`."""
        has_logits = can_judge_samples(game)  # otherwise D needs more than samples
        real = self._real_logits(game, self.train) if has_logits else None
        held_out = None if self.held_out is None or not has_logits else self._real_logits(game, self.held_out)
        stream = Stream(game.seed, "health", device=game.device)
        sample = samples_for_judge(game, self.n, stream) if has_logits else None
        fakes = game.sample(self.n, stream=stream, average=False) if sample is None else sample.x
        readings: dict[str, Any] = {
            "diversity": reading.diversity(*map(self.modality.comparison_features, (fakes.cpu(), reals))),
            "pixel_freedom": reading.pixel_freedom(fakes.cpu(), reals) if self.modality.bounded else None,
        }
        if is_cycle:
            condition, pair = draw_pair(game, self.n, stream)
            x = game.sample(self.n, condition, stream, average=False).cpu()
            if pair.source is not None:
                readings["input_correlation"] = reading.input_correlation(x, pair.source)
        if real is not None and sample is not None:
            fake = self._discriminator_logits(game, sample)
            # if all reals are equal, D may give all samples the same logit
            spread = reading.logit_spread(real, fake) if reals.std(0).max() > 0 else None
            readings |= {"logit_spread": spread, **_loss_signals(game, {"real": real, "fake": fake})}
            readings |= {
                "accuracy_train": reading.share_on_real_side(real, real, fake),
                "accuracy_fake": 1 - reading.share_on_real_side(fake, real, fake),
                "real_over_fake": reading.probability_greater(real, fake),
            }
            if held_out is not None:
                readings["accuracy_held_out"] = reading.share_on_real_side(held_out, real, fake)
                readings["train_over_held_out"] = reading.probability_greater(real, held_out)
        return readings

    def _real_logits(self, game: Game, batch: Batch) -> Tensor:
        """Return D's logits of reals, on the CPU."""
        stream = Stream(game.seed, "health", device=game.device)
        return self._discriminator_logits(game, reals_for_judge(game, batch.to(game.device), stream))

    def _discriminator_logits(self, game: Game, sample: Sample) -> Tensor:
        """Return D's logits on the CPU, computed in batches of its training size."""
        network, n = judge_player(game).network, len(sample.x)
        logits = (
            network(sample.x[rows], {name: entry[rows] for name, entry in sample.condition.items()}).logits
            for rows in full_batch_indices(n, self.batch_size)
        )
        return torch.cat(list(logits))[:n].cpu()


def last_turn_readings(game: Game) -> dict[str, float | None]:
    """Return the readings of the last turns: the largest magnitude, and the ratio of G's gradient norm to D's."""
    norms = {name: game.gradient_norm(name).item() for name in game.last_losses}
    losses = [loss.item() for terms, _ in game.last_losses.values() for loss in terms.values()]
    weights = [p.detach() for p in game.players.parameters() if p.requires_grad]
    largest = [torch.stack([weight.abs().max() for weight in weights]).max().item()] if weights else []
    generator, judge = norms.get(sampling_players(game)[0]), norms.get(str(game.sides[game.samples].judge))
    ratio = generator / judge if generator and judge else None
    return {"magnitude": reading.magnitude([*losses, *norms.values(), *largest]), "gradient_ratio": ratio}


def _loss_signals(game: Game, logits: Mapping[str, Tensor]) -> dict[str, float | None]:
    """Return each player's `loss_signal`, averaged over its sides; None without an adversarial term."""
    signals: dict[str, float | None] = {}
    for name, player, sides in (
        ("discriminator_signal", judge_player(game), ROLES),
        ("generator_signal", generator_player(game), ("fake",)),
    ):
        if player.objective is not None:
            own_logits = {role: logits[role] for role in player.adversarial_terms[0].sides}
            values = [reading.loss_signal(player.objective, own_logits, side) for side in sides if side in own_logits]
            signals[name] = sum(values) / len(values) if values else None
    return signals


def _draw_rows(data: Any, name: str, n: int, seed: int) -> Batch:
    """Draw n rows of a split, or all if it has fewer. Raises Mistake if it is empty."""
    split = data.split(name)
    if not len(split):
        raise Mistake(f"{data.name}: {name} is empty")
    generator = torch.Generator().manual_seed(Stream(seed, f"health/{name}").generator.initial_seed())
    return data.batch_at(name, torch.randperm(len(split), generator=generator)[:n])
