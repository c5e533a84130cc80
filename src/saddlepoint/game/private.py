"""DP-SGD on the discriminator's real term, so that a generator is trained with differential privacy.

In a step of D, with expected batch B, clip C and noise sigma, and l_i the real term of the objective for image i,

    gradient = [ sum over sampled images i of g_i min(1, C / ||g_i||) + N(0, sigma^2 C^2) ] / B  +  grad(fake terms),
    g_i = grad l_i,   every image sampled with probability B / N, independently (Poisson sampling).

Abadi et al. 2016 (arXiv:1607.00133) for the step; Xie et al. 2018 (arXiv:1802.06739) and Bie, Kamath & Zhang 2023
(arXiv:2302.02936) for GANs. All other gradients are computed on a batch without data: x is NaN, labels are uniformly
random, and it has always B rows, since the number of sampled images would reveal whether one is among them. So G, and
all later steps, depend on the images only through the sums above (post-processing).
"""

import math
import secrets
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor

from saddlepoint import ranks
from saddlepoint.error import Mistake, first_line
from saddlepoint.game.average import BatchNorm
from saddlepoint.game.dry_run import temporary_copy
from saddlepoint.game.game import Game
from saddlepoint.game.hooks import modules_with_hook
from saddlepoint.game.player import Player
from saddlepoint.game.telemetry import report
from saddlepoint.prior.prior import Prior
from saddlepoint.privacy.clipped_gradient import clipped_gradient_sum
from saddlepoint.privacy.guarantee import FEW, Guarantee, plan_guarantee
from saddlepoint.privacy.poisson_sampling import poisson_sample
from saddlepoint.schedule.schedule import value_at
from saddlepoint.stream import Stream
from saddlepoint.turn import UNCONDITIONAL, Batch, DiscriminatorOutput, Sample, Turn, batch_from_columns

TRIAL_ROWS = 4


class Private(Game):
    """A game in which one player's objective gets images, with clipped and noisy gradients, and no other loss does.

    batch           expected number of images per round; progress is counted in it, not in the sampled images
    clip            C, the largest norm of the gradient of one image's real term; inf: no clipping, only without noise
    noise           sigma, in units of C; 0: no privacy (a control). None: computed from epsilon
    epsilon         the budget of the planned steps, in place of noise
    delta           below 1 / N
    private_player  the player whose objective gets images
    rows            images whose gradients are in memory at once
    secret          noise and sampling do not follow from the run's seed, but from one that only checkpoints hold
    Raises Mistake if any other loss uses images, or if no gradient belongs to one image (batch norm, relativistic
    losses).
    """

    def __init__(
        self,
        players: Mapping[str, Player],
        prior: Prior,
        batch: int = 64,
        clip: float = 1.0,
        noise: float | None = None,
        epsilon: float | None = None,
        delta: float | None = None,
        private_player: str = "discriminator",
        rows: int = 64,
        secret: bool = False,
        **game: Any,
    ) -> None:
        super().__init__(players, prior, **game)
        if private_player not in players:
            raise Mistake(f"game.private_player={private_player} is not a player: {', '.join(players)}")
        if rows < 1 or batch < 1:
            raise Mistake(f"game.rows={rows}, game.batch={batch}: must be at least 1")
        self.batch, self.clip, self.noise, self.epsilon, self.delta = batch, clip, noise, epsilon, delta
        self.private_player, self.rows, self.secret = private_player, rows, secret
        self.guarantee: Guarantee | None = None  # None until `prepare`, without which there is no training
        self.private_seed = secrets.randbits(62) if secret else self.seed
        self.streams["noise"] = Stream(self.private_seed, "noise", joint=True)
        self.streams["labels"] = Stream(self.seed, "labels", joint=True)
        self.real_side = self._find_real_side()

    def prepare(self, data: Any, images: int) -> list[str]:
        """Set the guarantee for the training split of `data` and `images` images; return what the user should know.

        Raises Mistake if the settings guarantee nothing, or if a loss or a network rules out DP-SGD.
        """
        n, player = len(data.split("train")), self.player(self.private_player)
        steps = max(1, math.ceil(images / self.batch) // player.every)
        self.guarantee = plan_guarantee(
            n, self.batch, steps, self.clip, self.noise, self.epsilon, self.delta, self.secret
        )
        for key in ("flip", "jitter", "labels"):
            if getattr(data, key, None):
                raise Mistake(f"data.{key}={getattr(data, key)}: a private game samples images without it; unset it")
        self._check_network()
        self._check_objective()
        with temporary_copy(self) as trial, torch.enable_grad():
            trial.train()
            trial._check_no_other_loss_uses_images(rows := data.first_batch(TRIAL_ROWS))
            trial._check_per_sample_gradients(rows)
        epsilon = self.guarantee.epsilon(steps)
        if self.guarantee.delta is not None:
            self.planned_privacy = math.ceil(epsilon * 1e6) / 1e6, self.guarantee.delta
        lines = [
            f"privacy: noise {self.guarantee.noise:g}, clip {self.clip:g}, {steps:,} steps of the "
            f"{self.private_player}, each image in a step with probability {self.batch / n:.3g}: "
            + (f"epsilon {epsilon:.3g} at delta {self.delta:g}" if math.isfinite(epsilon) else "no guarantee")
        ]
        if n < FEW and math.isfinite(epsilon):
            lines.append(
                f"privacy: {data.name} has only {n:,} training images, and these settings give epsilon {epsilon:.3g} "
                f"with noise {self.guarantee.noise:g}; of {FEW:,} or more images, each needs far less noise"
            )
        return lines

    # ------------------------------------------------------------------------------------------------ a round

    def training_batches(self, data: Any, rank: int, world_size: int) -> Iterator[Batch]:
        """Yield Poisson samples of the training split, without end, from this round on; their sizes vary."""
        guarantee = self._prepared()
        rate = guarantee.batch / guarantee.images
        samples = (poisson_sample(guarantee.images, rate, self.private_seed, number) for number in count(self.rounds))
        return (data.batch_at("train", index) for index in samples)

    def global_batch_size(self, batch: Batch) -> int:
        """Return the expected number of real images of a round."""
        return self.batch

    def compute_gradients(self, names: Sequence[str], batch: Batch) -> list[Turn]:
        """Set the .grad of the named players: of all losses without images, and of the real term, made private."""
        self._prepared()
        turns = super().compute_gradients(names, self._batch_without_data(batch.x))
        if self.private_player in names:
            self._add_private_gradient(batch)
        return turns

    def build_turn(self, batch: Batch, draws: Mapping[str, Mapping[str, Tensor]], names: Sequence[str]) -> Turn:
        """Return the turn of the named players; if the private player moves, the logits of reals are NaN.

        The objective is the sum of a function of reals and one of fakes, so the gradient of the latter is not NaN.
        """
        turn = super().build_turn(batch, draws, names)
        if self.private_player in names:
            for term in self.player(self.private_player).adversarial_terms:

                def judge(*_: Any, fake: str = term.sides["fake"]) -> DiscriminatorOutput:
                    return DiscriminatorOutput(torch.full_like(turn.side_sample(fake).logits, math.nan))

                turn.samples[self.real_side] = Sample(batch.x, UNCONDITIONAL, judge)
        return turn

    def _batch_without_data(self, x: Tensor) -> Batch:
        """Return B rows of NaN with uniformly random labels; of x only shape, type and device are used."""
        classes = {column: size for column, size in self.conditions.classes.items() if size is not None}
        labels = {column: self.streams["labels"].integers(size, self.batch) for column, size in classes.items()}
        return batch_from_columns({"x": x.new_full((), math.nan).expand(self.batch, *x.shape[1:]), **labels})

    def _add_private_gradient(self, batch: Batch) -> None:
        """Add the gradient of the real term of the private player, clipped per image and with noise, to its .grad."""
        player, guarantee = self.player(self.private_player), self._prepared()
        reals = self._judged_reals(batch)
        total, norms, logits = clipped_gradient_sum(
            player.network, self._real_loss, reals.x, reals.condition, self.clip, self.rows
        )
        for name, parameter in player.network.named_parameters():
            if name in total:
                gradient = total[name]
                if guarantee.noise:
                    noise = self.streams["noise"].normal(1, parameter.numel()).view_as(parameter)
                    gradient = gradient + guarantee.noise * self.clip * noise
                gradient = gradient / self.batch
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        self._record_reals(norms, logits)

    def _judged_reals(self, batch: Batch) -> Sample:
        """Return the reals of a batch, as the private player judges them."""
        turn = Turn(self.sides, self.networks(), batch, {}, (), self.dependencies, images=self.images)
        return turn.side_sample(self.real_side)

    def _real_loss(self, logits: Tensor) -> Tensor:
        """Return the weighted objective of logits of reals, up to a constant."""
        return self._objective(logits, dict.fromkeys(self._fake_sides(), torch.zeros_like(logits)))[0]

    def _objective(self, real: Tensor, fakes: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted objective of the private player for logits, as a sum and by term."""
        player = self.player(self.private_player)
        assert player.objective is not None
        weight = value_at(player.weight, self.images)
        losses = {
            key: weight * term.weight * player.objective(real=real, fake=fakes[term.sides["fake"]])
            for key, term in zip(player.adversarial_keys, player.adversarial_terms, strict=True)
        }
        return torch.stack(list(losses.values())).sum(), losses

    def _fake_sides(self) -> list[str]:
        return [term.sides["fake"] for term in self.player(self.private_player).adversarial_terms]

    @torch.no_grad()
    def _record_reals(self, norms: Tensor, logits: Tensor) -> None:
        """Put the sampled reals into the values that are logged, which the guarantee does not cover."""
        losses, by_side = self.last_losses[self.private_player]
        keys = self.player(self.private_player).adversarial_keys
        losses = {key: value for key, value in losses.items() if key not in keys}
        by_side = {side: value for side, value in by_side.items() if side != self.real_side}
        if len(norms):
            losses |= self._objective(logits, by_side)[1] | {"clipped": (norms > self.clip).double().mean()}
            by_side |= {self.real_side: logits}
        self.last_losses[self.private_player] = losses, by_side

    def report(self) -> dict[str, float]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Return the logged values, with the epsilon spent so far."""
        values = report(self)
        facts = self.summary_facts().get("privacy", {})
        return values if facts.get("epsilon") is None else {**values, "privacy/epsilon": facts["epsilon"]}

    # ------------------------------------------------------------------------------------------------ the record

    @property
    def steps(self) -> int:
        """Steps of the private player so far."""
        return self.rounds // self.player(self.private_player).every

    def summary_facts(self) -> dict[str, Any]:
        """Return the guarantee for the steps so far, under `privacy`."""
        return {} if self.guarantee is None else {"privacy": self.guarantee.facts(self.steps)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        seed = {"seed": self.private_seed} if self.secret else {}
        checkpoint["saddlepoint"]["privacy"] = {**self._prepared().settings, **self._who_steps(), **seed}

    def _who_steps(self) -> dict[str, Any]:
        """Return what the number of steps follows from."""
        return {"private_player": self.private_player, "every": self.player(self.private_player).every}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if self.secret:
            self.private_seed = checkpoint["saddlepoint"]["privacy"]["seed"]

    def check_resume(self, state: Mapping[str, Any]) -> None:
        """Raise Mistake if the steps of a checkpoint had another batch, clip, noise or number of images."""
        if self.guarantee is None:  # for samples
            return
        if (before := state.get("privacy")) is None:
            raise Mistake(
                "the checkpoint is of a run without privacy, whose images have no guarantee: start a new run, name=..."
            )
        for key, value in self.guarantee.settings.items():
            if before[key] != value:
                setting = "the number of training images" if key == "images" else f"game.{key}"
                raise Mistake(
                    f"{setting} was {before[key]:g} in the steps so far, and would be {value:g}: the guarantee would "
                    "be false, so resume.allow does not permit it. Start a new run, name=..."
                    + (", or set game.noise instead of game.epsilon" if key == "noise" and self.epsilon else "")
                )
        for name, value in self._who_steps().items():
            if before.get(name, value) != value:
                key = name.replace("every", f"players.{self.private_player}.every")
                raise Mistake(
                    f"game.{key}={value}: it was {before[name]} in the steps so far, which are counted by it, so "
                    "resume.allow does not permit it. Start a new run, name=..."
                )
        if self.secret != ("seed" in before):
            raise Mistake(f"game.secret={str(self.secret).lower()}: the steps so far had the other value; keep it")

    def on_fit_start(self) -> None:
        """Raise Mistake if the noise would not be that of the guarantee: on several ranks, or with scaled gradients."""
        if ranks.world_size() > 1:
            raise Mistake("a private game runs on one device: set devices=1")
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            raise Mistake("trainer.precision=16-mixed scales gradients, but not the noise; use bf16-mixed or 32-true")
        super().on_fit_start()

    # ------------------------------------------------------------------------------------------------ checks

    def _prepared(self) -> Guarantee:
        if self.guarantee is None:
            raise Mistake("a private game is trained by `saddlepoint train` only: a turn cannot be replayed")
        return self.guarantee

    def _find_real_side(self) -> str:
        """Return the side that the private player's objective uses as real. Raises Mistake if it is no column."""
        player, path = self.player(self.private_player), f"game.players.{self.private_player}"
        sides = [term.sides for term in player.adversarial_terms]
        if player.objective is None or any({"real", "fake"} != set(by_role) for by_role in sides):
            raise Mistake(f"{path}: privacy needs an objective with the arguments real and fake")
        if len(reals := {by_role["real"] for by_role in sides}) > 1:
            raise Mistake(f"{path}.sees has several real sides, {', '.join(sorted(reals))}: use one")
        side = self.sides[name := reals.pop()]
        entries = [*side.required_entries, *side.judge_condition.values()]
        if side.by or any(entry.partition(".")[0] in (*self.sides, *self.priors) for entry in entries):
            raise Mistake(f"game.sides.{name}: privacy needs reals that are columns of the data, without {side.by}")
        return name

    def _check_network(self) -> None:
        for name, module in self.player(self.private_player).network.named_modules():
            if isinstance(module, BatchNorm) or getattr(module, "coupled", False):
                raise Mistake(
                    f"{self.private_player}: {type(module).__name__} at {name} mixes the images of a batch, so no "
                    f"gradient belongs to one image: architecture.{self.private_player}.norm=null, or remove the layer"
                )
        for module in (*self.players.values(), *self.makers.values()):
            if layers := modules_with_hook(module, "data_dependent_init"):
                raise Mistake(f"{type(layers[0]).__name__} starts from images, without noise: remove it")

    def _check_objective(self) -> None:
        """Raise Mistake unless the objective is a mean over reals plus a function of fakes."""
        path = f"objective.{self.private_player}"
        stream = Stream(0, "objective")
        real, fake = (stream.normal(TRIAL_ROWS, 1).double().flatten().requires_grad_() for _ in range(2))
        fakes, nan = dict.fromkeys(self._fake_sides(), fake), torch.full_like(fake, math.nan)
        with torch.enable_grad():
            alone = torch.stack([_gradient(self._real_loss(row), row) for row in real.split(1)]).flatten()
            together = _gradient(self._real_loss(real), real)
            of_real = _gradient(self._objective(real, dict.fromkeys(fakes, nan))[0], real)
            of_fake = _gradient(self._objective(nan, fakes)[0], fake)
            expected = _gradient(self._objective(torch.zeros_like(real), fakes)[0], fake)
        if not (torch.allclose(of_real, together) and torch.allclose(of_fake, expected)):
            raise Mistake(f"{path} compares reals with fakes, so no gradient belongs to one image: choose another one")
        if not torch.allclose(together, alone / TRIAL_ROWS):
            raise Mistake(f"{path} is not a mean over reals, so no gradient belongs to one image: choose another one")

    def _check_no_other_loss_uses_images(self, rows: Batch) -> None:
        """Raise Mistake if a term, or the objective of another player, computes a side from images, or NaN from NaN."""
        if not rows.x.is_floating_point():
            raise Mistake(f"privacy needs samples that are floating-point numbers, and these are {rows.x.dtype}")
        known = {*self.players, *self.makers, *self.priors, *self.conditions.classes}
        of_images = {side for side, entries in self.dependencies.items() if entries - known}
        batch = self._batch_without_data(rows.x).map(lambda column: column[:TRIAL_ROWS])
        stream = self.streams["augment"]
        for name, player in self.players.items():
            losses = {f"regularizer.{name}.{key}": term for key, term in player.terms.items() if term.weight != 0}
            if name != self.private_player and player.objective is not None:
                losses[f"objective.{name}"] = partial(_adversarial_loss, player)
            draws = {key: prior.sample(TRIAL_ROWS, stream) for key, prior in self.priors.items()}
            term_draws = player.draw_for_terms(0, self.images, TRIAL_ROWS, stream)
            for path, loss in losses.items():
                turn = super().build_turn(batch, draws, [name]).replace(player=player)
                try:
                    value = loss(turn.replace(term_draw=term_draws.get(path.rpartition(".")[2])))
                except Mistake as mistake:
                    raise Mistake(f"{path}, on a batch without data: {mistake}") from None
                if of_images & turn.samples.keys() or not value.isfinite():
                    raise Mistake(
                        f"{path} uses images. Of a private game, only the objective of {self.private_player} may: "
                        "remove it, or set game=two_player"
                    )

    def _check_per_sample_gradients(self, rows: Batch) -> None:
        """Raise Mistake if the network cannot be differentiated per image."""
        reals = self._judged_reals(rows)
        network = self.player(self.private_player).network
        try:
            clipped_gradient_sum(network, self._real_loss, reals.x, reals.condition, self.clip, self.rows)
        except (RuntimeError, ValueError) as error:
            raise Mistake(f"{self.private_player}: no gradient per image (torch.func): {first_line(error)}") from None


def _adversarial_loss(player: Player, turn: Turn) -> Tensor:
    return torch.stack(list(player.adversarial_losses(turn, 1.0).values())).sum()


def _gradient(loss: Tensor, x: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(loss, x, allow_unused=True, materialize_grads=True)
    return gradient
