"""The game: in each round, the groups of players in `order` move one after the other on one batch.

Goodfellow et al. 2014 (arXiv:1406.2661), algorithm 1, with the inner loop replaced by periods: a player moves in every
`every`-th round, so that every step uses fresh data.
"""

from collections.abc import Mapping, Sequence
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
    """A game of players that move in turns, on the sides of its wiring (docs/architecture.md).

    players   in the order in which they move, unless `order` is given
    prior     of the latents, which are drawn for each turn
    sides     the samples that losses use, by name (`game.side`); None: real, fake and labelled of the two-player game
    makers    modules without an optimizer that make sides: a pool of past fakes, pasting of known pixels
    order     groups of players; the groups move one after the other, the players of a group at once, on one shared turn
    samples   the side that samples are drawn from
    draws     priors of further named draws, by name; each has its own stream
    conditions, classes   the source of the columns that samples are conditioned on (`game.condition_source`)
    dropout   whether dropout stays active in samples
    Progress is counted in `images` (real images shown) and `rounds` (batches), never in optimizer steps.
    Raises ValueError or Mistake if the components do not fit together (`game.wiring`).
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
        self.__dict__["prior"] = prior  # skips the slow attribute look-up of nn.Module, as for players
        self.conditions = ConditionSource(conditions, classes)
        if LATENT in (draws or ()):
            raise Mistake(f"game.draws.{LATENT}: this is the name of the latents of `prior`; rename the draw")
        self.priors = {LATENT: prior, **(draws or {})}
        self.sides = parse_sides(TWO_PLAYER if sides is None else sides)
        self.order = (
            [group if isinstance(group, str) else list(group) for group in order]
            if order is not None
            else [[name] for name in players]
        )
        wiring.check_wiring(self)
        self.dependencies = dependencies(self.sides)
        self.per_row_draws = find_per_row_draws(self.sides, self.priors)
        self.reported_sides = telemetry.find_reported_sides(self)
        streams = (LATENT, "augment", *(f"{LATENT}/{name}" for name in draws or ()))
        self.streams = {name: Stream(seed, name, joint=True) for name in streams}
        set_reference_latents(self)

    def round(self, batch: Batch) -> None:
        """Play one round: for each group, compute the gradients of the due players and step them."""
        self.run_at_images_hooks()
        for group in self.order:
            if movers := [name for name in group if self.is_due(name)]:
                turns = self.compute_gradients(movers, batch)
                self.step(movers, batch)
                if turns:
                    self.run_after_turn_hooks(movers, turns)
        self.count_round(batch)

    def is_due(self, name: str) -> bool:
        """Whether a player moves in this round; with every=5, it first moves in the fifth."""
        return (self.rounds + 1) % self.players[name].every == 0

    def compute_gradients(self, names: Sequence[str], batch: Batch) -> list[Turn]:
        """Set the .grad of the named players to the gradients of their losses, all on one turn; no other .grad changes.

        Returns the turns, one per chunk, if a module has an `after_turn` hook, otherwise an empty list.
        """
        for observer in self.observers:
            observer.before_turn(self, names, batch)
        players = [self.players[name] for name in names]
        chunks = players[0].accumulate
        for name in names:
            self.clear_gradients(name)
        turns = self.build_turns(batch, names, chunks)
        for turn, draws in turns:
            for name, player, player_draws in zip(names, players, draws, strict=True):
                losses = player.losses(turn.replace(player=player), self.rounds // player.every, player_draws)
                if losses:
                    first, *others = losses.values()
                    loss = cast(Tensor, sum(others, first))  # not from 0, which would be a node of the graph
                    loss = loss if chunks == 1 else loss / chunks
                    retain_graph = player is not players[-1]
                    self.accumulate_gradient(loss, self._trainable_parameters[name], retain_graph)
                telemetry.record_turn(self, name, losses, turn)
        if self.world_size > 1:
            all_reduce_gradients(self, names)
        return [turn for turn, _ in turns] if self.hooked_modules["after_turn"] else []

    def build_turns(self, batch: Batch, names: Sequence[str], chunks: int = 1) -> list[tuple[Turn, list[Any]]]:
        """Return the turn in equal chunks, with the draws of each player's terms. All random draws are made here."""
        players = [self.players[name] for name in names]
        n = batch.x.shape[0]
        sizes = {name: n if name in self.per_row_draws else n * players[0].multiple for name in self.priors}
        latents = {name: prior.sample(sizes[name], self.streams[name if name == LATENT else f"{LATENT}/{name}"])
                   for name, prior in self.priors.items()}  # fmt: skip
        draws = [player.draw_for_terms(self.rounds // player.every, self.images, len(batch), self.streams["augment"])
                 if player.regularizers else {} for player in players]  # fmt: skip
        if chunks == 1:
            return [(self.build_turn(batch, latents, names), draws)]
        split = zip(*(wiring.split_rows(value, chunks) for value in (batch, latents, draws)), strict=True)
        return [(self.build_turn(rows, z, names), chunk_draws) for rows, z, chunk_draws in split]

    def build_turn(self, batch: Batch, draws: Mapping[str, Mapping[str, Tensor]], names: Sequence[str]) -> Turn:
        """Return the turn of the named players; sides keep a graph to the weights of these players only."""
        slope_at = wiring.sides_with_due_slope(self, names)
        if LATENT in slope_at:
            draws = {**draws, LATENT: {name: z.requires_grad_() for name, z in draws[LATENT].items()}}
        return Turn(
            self.sides, self.networks(), batch, draws, names, self.dependencies, slope_at,
            prior=self.prior, images=self.images,
        )  # fmt: skip

    def step(self, names: Sequence[str], batch: Batch) -> None:
        """Clip the gradients of the named players, step their optimizers, and update their averages."""
        if (scaler := self.scaler) is not None:
            for name in names:
                scaler.unscale_(self._optimizers[name])
        for observer in self.observers:
            observer.before_step(self, names)
        for name in names:
            player = self.players[name]
            if player.clip is not None:
                player.gradient_norm = nn.utils.clip_grad_norm_(self._trainable_parameters[name], player.clip)
        for name in names:
            player = self.players[name]
            player.apply_schedules(self._optimizers[name], self.images)
            self.step_optimizer(name)
            if player.average is not None:
                player.average.update(player.network, self.images + self.global_batch_size(batch))
