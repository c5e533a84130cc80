"""The game: on each batch the players whose turn it is move, group by group, in the order of play.

Goodfellow et al. 2014 (arXiv:1406.2661), algorithm 1, with its inner loop turned into periods: a player moves in each
`every`-th round, so that every step of every player sees fresh data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.game import telemetry, wiring
from saddlepoint.game.condition_source import ConditionSource
from saddlepoint.game.data_parallel import all_reduce_gradients
from saddlepoint.game.game_module import GameModule
from saddlepoint.game.initialisation import set_reference_latents
from saddlepoint.game.player import Player
from saddlepoint.game.side import LATENT, TWO_PLAYER, dependencies, find_per_row_draws, parse_sides
from saddlepoint.prior.prior import Prior
from saddlepoint.stream import Stream
from saddlepoint.turn import Batch, Turn


class Game(GameModule):
    """Players that move in turn, on sides that the wiring names (docs/architecture.md).

    players   in the order in which they move, unless `order` says otherwise
    prior     of the latents, drawn anew for each turn
    sides     what is looked at, by name (`game.side`); None: real, fake and labelled of the two-player game
    makers    modules without an optimizer that sides are made by: a pool of past fakes, the pasting of what is known
    order     groups of players that move one after the other; those of a group move at once, on one shared turn
    samples   the side that samples are drawn from
    draws     priors of further named draws, by name; each has a stream of its own
    conditions, classes   where the columns that samples are conditioned on come from where no batch is at hand
              (`game.conditions`)
    dropout   whether samples keep dropout on
    Progress is counted in `images` (real images shown) and `rounds` (batches), never in optimizer steps.
    Raises ValueError or Mistake where the parts do not fit each other (`game.wiring`).
    """

    def __init__(
        self,
        players: Mapping[str, Player],
        prior: Prior,
        seed: int = 0,
        sides: Mapping[str, Mapping[str, Any]] | None = None,
        makers: Mapping[str, nn.Module] | None = None,
        order: Sequence[Sequence[str]] | None = None,
        samples: str = "fake",
        draws: Mapping[str, Prior] | None = None,
        conditions: str = "none",
        classes: Mapping[str, int | None] | None = None,
        dropout: bool = False,
    ) -> None:
        super().__init__()
        self.register_players(
            wiring.build_module_dict("players", players), wiring.build_module_dict("makers", makers or {})
        )
        self.prior, self.seed, self.samples, self.dropout = prior, seed, samples, dropout
        self.conditions = ConditionSource(conditions, classes)
        if LATENT in (draws or ()):
            raise Mistake(f"game.draws.{LATENT}: the latents of `prior` are called so; give the draw another name")
        self.priors = {LATENT: prior, **(draws or {})}
        self.sides = parse_sides(TWO_PLAYER if sides is None else sides)
        self.order = (
            [group if isinstance(group, str) else list(group) for group in order]
            if order is not None
            else [[name] for name in players]
        )
        self.dependencies = dependencies(wiring.check_wiring(self))
        self.per_row_draws = find_per_row_draws(self.sides, self.priors)
        self.reported_sides = telemetry.find_reported_sides(self)
        streams = (LATENT, "augment", *(f"{LATENT}/{name}" for name in draws or ()))
        self.streams = {name: Stream(seed, name, joint=True) for name in streams}
        set_reference_latents(self)

    def round(self, batch: Batch) -> None:
        """One round: each group's due players descend their losses, then the next group answers."""
        self.run_at_images_hooks()
        for group in self.order:
            if movers := [name for name in group if self.is_due(name)]:
                turns = self.compute_gradients(movers, batch)
                self.step(movers, batch)
                if turns:
                    self.run_after_turn_hooks(movers, turns)
        self.images += self.global_batch_size(batch)
        self.rounds += 1

    def is_due(self, name: str) -> bool:
        """Whether `name` moves in this round; with every=5 it first moves in the fifth."""
        return (self.rounds + 1) % self.players[name].every == 0

    def compute_gradients(self, names: Sequence[str], batch: Batch) -> list[Turn]:
        """Leave in .grad what each named player is to descend; all look at one turn, and nobody else gets any.

        Returns what they saw, where something asks for it after the step.
        """
        for observer in self.observers:
            observer.before_turn(self, names, batch)
        players = [self.players[name] for name in names]
        parts = players[0].accumulate
        for name in names:
            self._optimizers[name].zero_grad()
        turns = self.build_turns(batch, names, parts)
        for turn, drawn in turns:
            for name, player, own in zip(names, players, drawn, strict=True):
                losses = player.losses(replace(turn, player=player), self.rounds // player.every, own)
                if losses:
                    loss = cast(Tensor, sum(losses.values())) / parts
                    self.accumulate_gradient(loss, self._moved[name], retain_graph=player is not players[-1])
                telemetry.record_turn(self, name, losses, turn)
        if self.world_size > 1:
            all_reduce_gradients(self, names)
        return [turn for turn, _ in turns] if self.hooked_modules["after_turn"] else []

    def build_turns(
        self, batch: Batch, names: Sequence[str], parts: int = 1
    ) -> list[tuple[Turn, list[dict[str, Any]]]]:
        """The turn of the named players in equal parts, each with what their terms drew: all draws come before it."""
        players = [self.players[name] for name in names]
        n = batch.x.shape[0]
        sizes = {name: n if name in self.per_row_draws else n * players[0].multiple for name in self.priors}
        latents = {name: prior.sample(sizes[name], self.streams[name if name == LATENT else f"{LATENT}/{name}"])
                   for name, prior in self.priors.items()}  # fmt: skip
        drawn = [player.draw_for_terms(self.rounds // player.every, self.images, len(batch), self.streams["augment"])
                 if player.regularizers else {} for player in players]  # fmt: skip
        if parts == 1:
            return [(self.build_turn(batch, latents, names), drawn)]
        pieces = zip(*(wiring.split_rows(whole, parts) for whole in (batch, latents, drawn)), strict=True)
        return [(self.build_turn(piece, own, names), draws) for piece, own, draws in pieces]

    def build_turn(self, batch: Batch, draws: Mapping[str, Mapping[str, Tensor]], names: Sequence[str]) -> Turn:
        """What the named players see; sides keep their path to the weights of those alone."""
        slope_at = wiring.sides_with_due_slope(self, names)
        if LATENT in slope_at:
            draws = {**draws, LATENT: {part: z.requires_grad_() for part, z in draws[LATENT].items()}}
        return Turn(
            self.sides, self.networks(), batch, draws, names, self.dependencies, slope_at,
            prior=self.prior, images=self.images,
        )  # fmt: skip

    def step(self, names: Sequence[str], batch: Batch) -> None:
        """Move the named players along their gradients; their averages follow."""
        if (scaler := self.scaler) is not None:
            for name in names:
                scaler.unscale_(self._optimizers[name])
        for observer in self.observers:
            observer.before_step(self, names)
        for name in names:
            player = self.players[name]
            if player.clip is not None:
                player.gradient_norm = nn.utils.clip_grad_norm_(self._moved[name], player.clip)
        for name in names:
            player = self.players[name]
            player.apply_schedules(self._optimizers[name], self.images)
            self.step_optimizer(name)
            if player.average is not None:
                player.average.update(player.network, self.images + self.global_batch_size(batch))
