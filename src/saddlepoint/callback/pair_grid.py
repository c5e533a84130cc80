"""Pictures of pairs along the run, for games from image to image: input, sample and truth side by side."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from saddlepoint.callback.grid import save_png
from saddlepoint.callback.periodic import Periodic, RunState
from saddlepoint.error import Mistake
from saddlepoint.game.game import Game
from saddlepoint.game.pairs import draw_pair, has_pairs, sampled_side, translated_sides
from saddlepoint.game.sampling import prepare_sampling_networks
from saddlepoint.modality import modality_of
from saddlepoint.run.folder import Run
from saddlepoint.stream import Stream, preserve_random_state


class PairGrid(Periodic):
    """Writes samples/pairs/<images>.png at 0 images, every `images_between` and at the end, of the same rows each time.

    The other direction of a cycle is drawn to samples/pairs/<side>/<images>.png.
    rows, columns  of triples input, sample, truth; the first rows of the split of game.conditions. Without a truth,
                   pairs of input and sample
    scale          by how much each pixel is enlarged, as in `callback.grid`
    Raises Mistake if samples of the game have no truth.
    """

    def __init__(
        self,
        images_between: int,
        run: Run,
        rows: int = 8,
        columns: int = 4,
        scale: int | None = None,
        state: RunState | None = None,
    ) -> None:
        super().__init__(images_between, state)
        if min(rows, columns) < 1:
            raise ValueError(f"callback.pair_grid: {rows} rows and {columns} columns are empty")
        self.run, self.rows, self.columns, self.scale = run, rows, columns, scale

    def before_run(self, game: Game, data: Any) -> None:
        """Raise Mistake if samples of the game have no truth. Called before the run folder is created."""
        if not has_pairs(game):
            raise Mistake(
                "callback.pair_grid shows samples beside their truth, which only games from image to image have"
            )

    def on_due(self, trainer: pl.Trainer, game: Game) -> None:
        """Draw on one rank; every rank prepares its sampling networks, so that all stay equal."""
        for side in translated_sides(game):
            with sampled_side(game, side), preserve_random_state(game.device):
                prepare_sampling_networks(game)
            if trainer.is_global_zero:
                self._draw(trainer, game, side)

    def _draw(self, trainer: pl.Trainer, game: Game, side: str) -> None:
        with sampled_side(game, side), preserve_random_state(game.device):
            stream, n = Stream(game.seed, "pair grid", device=game.device), self.rows * self.columns
            condition, pair = draw_pair(game, n, stream)
            x = game.sample(n, condition, stream).cpu()
        modality = modality_of(trainer.datamodule)  # pyright: ignore[reportAttributeAccessIssue]
        tiles = pair_tiles(pair.source, x, pair.target)
        names = ("pairs",) if side == game.samples else ("pairs", side)
        path = self.run.samples.joinpath(*names, f"{game.images:09d}.png")
        save_png(modality.picture(tiles, len(tiles) // n * self.columns, self.scale), path)
        for logger in trainer.loggers:
            if (log_image := getattr(logger, "log_image", None)) is not None:
                log_image("/".join(names), path, game.images)


def pair_tiles(source: Tensor | None, x: Tensor, target: Tensor | None) -> Tensor:
    """Return input, sample and truth of each pair in turn, images [2 N or 3 N, C, H, W] as floats.

    Smaller inputs are enlarged by repetition; grey inputs are shown in grey, others by their first C channels. Inputs
    of another kind, such as the spectrograms of a vocoder, are left out.
    """
    tiles = [x, *([] if target is None else [target])]
    if source is not None and source.ndim == x.ndim:
        source = interpolate(source, x.shape[2:], mode="nearest")
        tiles.insert(0, source[:, : x.shape[1]].expand_as(x))
    return torch.stack(tiles, 1).flatten(0, 1)
