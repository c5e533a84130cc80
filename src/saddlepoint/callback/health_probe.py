"""A look at a game between two rounds: what D says of reals, held-out reals and fakes, and what the last turns left.

Nothing of the game is changed by it: fresh streams, evaluation mode and back, torch's own generators forked.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import can_judge_samples, generator_of, judge_of, sampling_players
from saddlepoint.game.player import ROLES
from saddlepoint.game.sampling import full_batches, reals_for_judge, samples_for_judge
from saddlepoint.health import reading
from saddlepoint.modality import modality_of
from saddlepoint.mode import in_mode
from saddlepoint.stream import Stream, preserve_random_state
from saddlepoint.turn import Batch, Sample


class HealthProbe:
    """Looks at a game with n reals of the train split, n held-out ones, and n fakes; always the same of each.

    The same, so that what moves along a run is the game.  D is shown batches of the size that it trains on, in
    evaluation mode; fakes come from the weights that play, not from their average.
    say     hears, once, which readings there cannot be
    """

    def __init__(self, data: Any, n: int, held_out: str, log: Callable[[str], None], seed: int = 0) -> None:
        self.n = min(n, len(data.split("train")))
        self.size, self.modality = int(data.batch), modality_of(data)
        self.train = _rows(data, "train", self.n, seed)
        self.held_out = self._held_out(data, held_out, seed, log)

    def _held_out(self, data: Any, name: str, seed: int, say: Callable[[str], None]) -> Batch | None:
        """n held-out reals; None where the data hold out none.  Raises Mistake for a split that can be no such."""
        if name in ("train", "all"):
            raise Mistake(f"callback.health.held_out={name}: D is trained on these; say validation or test")
        try:
            return _rows(data, name, self.n, seed)
        except Mistake as mistake:
            if name not in ("validation", "test"):
                raise Mistake(f"callback.health.held_out={name}: {mistake}") from None
            say(f"health: nothing is held out, so nobody sees whether D overfits ({str(mistake).splitlines()[0]})")
            return None

    def readings(self, game: Game) -> dict[str, float]:
        """Every reading that there is now, by name; see `health.reading` for what they mean."""
        game.run_at_images_hooks()
        alone = can_judge_samples(game)  # else D sees more than samples: there are no logits to read
        with torch.no_grad(), in_mode(game), preserve_random_state(game.device):
            real = self._logits(game, self.train) if alone else None
            held = None if self.held_out is None or not alone else self._logits(game, self.held_out)
            latents = Stream(game.seed, "health", device=game.device)
            fake = samples_for_judge(game, self.n, latents) if alone else None
            made = game.sample(self.n, stream=latents, average=False) if fake is None else fake.x
            x = self.train.x
            found: dict[str, Any] = {
                "diversity": reading.diversity(*map(self.modality.comparison_features, (made.cpu(), x))),
                "pixel_freedom": reading.pixel_freedom(made.cpu(), x) if self.modality.bounded else None,
            }
            if real is not None and fake is not None:
                said = self._answers(game, fake)
                spread = reading.logit_spread(real, said) if x.std(0).max() > 0 else None  # else D may well agree
                found |= {"logit_spread": spread, **_signals(game, {"real": real, "fake": said})}
                found |= {
                    "accuracy_train": reading.share_on_real_side(real, real, said),
                    "accuracy_fake": 1 - reading.share_on_real_side(said, real, said),
                    "real_over_fake": reading.probability_greater(real, said),
                }
                if held is not None:
                    found["accuracy_held_out"] = reading.share_on_real_side(held, real, said)
                    found["train_over_held_out"] = reading.probability_greater(real, held)
        return {name: float(value) for name, value in (found | last_turn_readings(game)).items() if value is not None}

    def _logits(self, game: Game, batch: Batch) -> Tensor:
        """D's logits of reals, on the CPU."""
        draws = Stream(game.seed, "health", device=game.device)
        return self._answers(game, reals_for_judge(game, batch.to(game.device), draws))

    def _answers(self, game: Game, sample: Sample) -> Tensor:
        """D's logits, on the CPU, asked by batches of the size that it trains on."""
        network, n = judge_of(game).network, len(sample.x)
        asked = (
            network(sample.x[rows], {name: entry[rows] for name, entry in sample.condition.items()}).logits
            for rows in full_batches(n, self.size)
        )
        return torch.cat(list(asked))[:n].cpu()


def last_turn_readings(game: Game) -> dict[str, float | None]:
    """What the turns just played left: how large their numbers are, and G's gradient over D's."""
    norms = {name: game.gradient_norm(name).item() for name in game.last_losses}
    losses = [loss.item() for terms, _ in game.last_losses.values() for loss in terms.values()]
    weights = [p.detach() for p in game.players.parameters() if p.requires_grad]
    largest = [torch.stack([weight.abs().max() for weight in weights]).max().item()] if weights else []
    made, judged = norms.get(sampling_players(game)[0]), norms.get(str(game.sides[game.samples].judge))
    ratio = made / judged if made and judged else None
    return {"magnitude": reading.magnitude([*losses, *norms.values(), *largest]), "gradient_ratio": ratio}


def _signals(game: Game, logits: Mapping[str, Tensor]) -> dict[str, float | None]:
    """How much of each player's own loss passes through the logits; None where it has no adversarial term."""
    found: dict[str, float | None] = {}
    for name, player, sides in (
        ("discriminator_signal", judge_of(game), ROLES),
        ("generator_signal", generator_of(game), ("fake",)),
    ):
        if player.objective is not None:
            seen = {role: logits[role] for role in player.adversarial_terms[0].sides}
            passing = [reading.loss_signal(player.objective, seen, side) for side in sides if side in seen]
            found[name] = sum(passing) / len(passing) if passing else None
    return found


def _rows(data: Any, name: str, n: int, seed: int) -> Batch:
    """n rows of a split as networks see them, drawn once; all where it has fewer.  Raises Mistake where it has none."""
    split = data.split(name)
    if not len(split):
        raise Mistake(f"{data.name}: {name} is empty")
    draw = torch.Generator().manual_seed(Stream(seed, f"health/{name}").generator.initial_seed())
    return data.batch_at(name, torch.randperm(len(split), generator=draw)[:n])
