"""Pictures of what the generator makes, from the same latents each time, beside the reals."""

import io
from pathlib import Path

import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor

from saddlepoint.callback.periodic import Periodic, RunState, is_final_round
from saddlepoint.game.game import Game
from saddlepoint.game.sampling import class_grid, prepare_sampling_networks
from saddlepoint.modality import Modality, modality_of
from saddlepoint.modality.modality import png_bytes
from saddlepoint.run.folder import Run, write_file
from saddlepoint.run.layout import files_by_images
from saddlepoint.stream import Stream, preserve_random_state

FRAMES = 100  # of an animation


class Grid(Periodic):
    """samples/<images>.png at 0 images, every `images_between` and at the end; samples/real.png once.

    At the end all of them become samples/animation.gif.

    The data's modality draws them: images rows x columns, each pixel `scale` times enlarged (None: until a tile has
    56), points as a scatter over the reals, waveforms beside their spectrograms, tokens as lines of text.
    """

    def __init__(
        self,
        images_between: int,
        run: Run,
        rows: int = 8,
        columns: int = 8,
        scale: int | None = None,
        state: RunState | None = None,
    ) -> None:
        super().__init__(images_between, state)
        if min(rows, columns) < 1:
            raise ValueError(f"a grid of {rows} rows and {columns} columns holds nothing")
        self.run, self.rows, self.columns, self.scale = run, rows, columns, scale

    def on_due(self, trainer: pl.Trainer, game: Game) -> None:
        """Draw now; one rank is enough for it, but what it draws from has to stay the same on all."""
        with preserve_random_state(game.device):
            prepare_sampling_networks(game)
        if not trainer.is_global_zero:
            return
        modality, real = _modality(trainer), self.run.samples / "real.png"
        if game.images == 0:
            save_png(modality.picture(self._reals(trainer), self.columns, self.scale), real)
        n, asked = class_grid(game, modality, self.rows, self.columns)
        with preserve_random_state(game.device):
            stream = Stream(game.seed, "grid", device=game.device)
            x = game.sample(n, asked, stream).cpu()
        path = self.run.samples / f"{game.images:09d}.png"
        reals = self._reals(trainer) if modality.draws_over_reals else None
        save_png(modality.picture(x, self.columns, self.scale, reals), path)
        beside = {"reals": real} if game.images == 0 else {}
        for logger in trainer.loggers:
            if (show := getattr(logger, "log_image", None)) is not None:
                show("samples", path, game.images, beside)

    def on_train_end(self, trainer: pl.Trainer, game: Game) -> None:
        if not trainer.is_global_zero or not is_final_round(trainer, self.state):
            return
        path = write_animation(self.run.samples)
        for logger in trainer.loggers if path is not None else ():
            if (show := getattr(logger, "log_animation", None)) is not None:
                show("animation", path)

    def _reals(self, trainer: pl.Trainer) -> Tensor:
        split = trainer.datamodule.split("train")  # pyright: ignore[reportAttributeAccessIssue]
        n = min(_modality(trainer).samples_per_picture(self.rows, self.columns), len(split))
        return split[torch.arange(n)][0].cpu()


def _modality(trainer: pl.Trainer) -> Modality:
    return modality_of(trainer.datamodule)  # pyright: ignore[reportAttributeAccessIssue]


def write_animation(folder: Path) -> Path | None:
    """animation.gif of the pictures <images>.png in a folder, at most 100 of them; None where they are fewer than two.

    Evenly spaced, the last one always among them; a tenth of a second each, the last a second and a half.
    """
    paths = list(files_by_images(folder, ".png").values())
    if len(paths) < 2:
        return None
    count = min(len(paths), FRAMES)
    frames = []
    for i in range(count):
        with Image.open(paths[round(i * (len(paths) - 1) / (count - 1))]) as frame:
            frames.append(frame.convert("RGB"))
    frames = [frame.resize(frames[-1].size) for frame in frames]
    content = io.BytesIO()
    durations = [100] * (count - 1) + [1500]  # ms
    frames[0].save(content, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    write_file(folder / "animation.gif", content.getvalue())
    return folder / "animation.gif"


def save_png(image: Image.Image, path: Path) -> None:
    """Write a PNG, making its folder, whole or not at all.  Raises Mistake where it cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, png_bytes(image))
