"""Pictures of traversals along the run: a row per latent, a column per value of one code, everything else fixed.

Chen et al. 2016 (arXiv:1606.03657), figure 2, has categories as columns, and continuous codes from -2 to 2.
"""

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl

from saddlepoint.callback.grid import save_png
from saddlepoint.callback.periodic import Periodic, RunState
from saddlepoint.game.game import Game
from saddlepoint.game.sampling import draw_condition, prepare_sampling_networks
from saddlepoint.modality import modality_of
from saddlepoint.prior.categorical import Categorical
from saddlepoint.prior.prior import Prior
from saddlepoint.prior.traversal import Traversal, traversal_of
from saddlepoint.run.folder import Run
from saddlepoint.stream import Stream, preserve_random_state


class TraversalGrid(Periodic):
    """Writes samples/<key>/<images>.png for each key at 0 images, every `images_between` and at the end.

    keys   a categorical part of the latent (category), or an entry of a continuous one (style.0)
    rows   number of latents, the same in all pictures
    steps  number of values of a continuous entry
    span   first and last of these values; None: those of the part
    scale  by how much each pixel is enlarged, as in `callback.grid`
    Raises Mistake for a key that is not in the latent.
    """

    def __init__(
        self,
        images_between: int,
        run: Run,
        keys: Sequence[str] = ("category",),
        rows: int = 10,
        steps: int = 10,
        span: Sequence[float] | None = None,
        scale: int | None = None,
        state: RunState | None = None,
    ) -> None:
        super().__init__(images_between, state)
        if rows < 1 or not keys:
            raise ValueError(f"callback.traversal_grid: rows={rows} and keys={list(keys)} must not be empty")
        self.run, self.keys, self.rows = run, tuple(keys), rows
        self.steps, self.span, self.scale = steps, span, scale

    def before_run(self, game: Game, data: Any) -> None:
        """Raise Mistake for a key that is not in the latent. Called before the run folder is created."""
        for key in self.keys:
            self._traversal(game.prior, key)

    def on_due(self, trainer: pl.Trainer, game: Game) -> None:
        """Draw on one rank; every rank prepares its sampling networks, so that all stay equal."""
        with preserve_random_state(game.device):
            prepare_sampling_networks(game)
        if not trainer.is_global_zero:
            return
        modality = modality_of(trainer.datamodule)  # pyright: ignore[reportAttributeAccessIssue]
        for key in self.keys:
            walk, stream = self._traversal(game.prior, key), Stream(game.seed, "traversal", device=game.device)
            steps, condition = len(walk.rows), draw_condition(game, self.rows, stream)
            latent = walk.latents(game.prior.sample(self.rows, stream))
            with preserve_random_state(game.device):
                x = game(latent, {name: entry.repeat_interleave(steps, 0) for name, entry in condition.items()}).cpu()
            path = self.run.samples / key / f"{game.images:09d}.png"
            save_png(modality.picture(x, steps, self.scale), path)
            for logger in trainer.loggers:
                if (log_image := getattr(logger, "log_image", None)) is not None:
                    log_image(f"traversal/{key}", path, game.images)

    def _traversal(self, prior: Prior, key: str) -> Traversal:
        categorical = key in prior and isinstance(prior[key], Categorical)  # takes no span
        return traversal_of(prior, key, self.steps, None if categorical else self.span)
