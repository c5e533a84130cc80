"""Pictures of samples from the same latents along the run, and of reals for comparison."""

import io
from pathlib import Path

import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor

from saddlepoint.callback.periodic import Periodic, RunState, is_final_round
from saddlepoint.game.game import Game
from saddlepoint.game.sampling import class_grid_labels, prepare_sampling_networks
from saddlepoint.modality import Modality, modality_of
from saddlepoint.modality.modality import png_bytes
from saddlepoint.run.folder import Run, write_file
from saddlepoint.run.layout import files_by_images
from saddlepoint.stream import Stream, preserve_random_state

MAX_FRAMES = 100  # of an animation


class Grid(Periodic):
    """Writes samples/<images>.png at 0 images, every `images_between` and at the end, and samples/real.png once.

    At the end, all of them are combined into samples/animation.gif. Of audio, the samples of a picture are also
    written as samples/<images>.wav, and the reals as samples/real.wav.

    The modality of the data draws them: images as rows x columns with each pixel enlarged `scale` times (None: until a
    tile has 56 pixels), points as a scatter plot over reals, audio with spectrograms, tokens as lines of text.
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
            raise ValueError(f"a grid of {rows} rows and {columns} columns is empty")
        self.run, self.rows, self.columns, self.scale = run, rows, columns, scale

    def on_due(self, trainer: pl.Trainer, game: Game) -> None:
        """Draw on one rank; every rank prepares its sampling networks, so that all stay equal."""
        with preserve_random_state(game.device):
            prepare_sampling_networks(game)
        if not trainer.is_global_zero:
            return
        modality, real = _data_modality(trainer), self.run.samples / "real.png"
        if game.images == 0:
            x = self._first_reals(trainer)
            save_png(modality.picture(x, self.columns, self.scale), real)
            if modality.audible:
                self._save_sound(modality, x, real, trainer, "sounds of reals", game.images)
        n, condition = class_grid_labels(game, modality, self.rows, self.columns)
        with preserve_random_state(game.device):
            stream = Stream(game.seed, "grid", device=game.device)
            x = game.sample(n, condition, stream).cpu()
        x = x if modality.exact else modality.to_stored(x)  # once, for the picture and the sound
        path = self.run.samples / f"{game.images:09d}.png"
        reals = self._first_reals(trainer) if modality.draws_over_reals else None
        save_png(modality.picture(x, self.columns, self.scale, reals), path)
        others = {"reals": real} if game.images == 0 else {}
        for logger in trainer.loggers:
            if (log_image := getattr(logger, "log_image", None)) is not None:
                log_image("samples", path, game.images, others)
        if modality.audible:
            self._save_sound(modality, x, path, trainer, "sounds", game.images)

    def on_train_end(self, trainer: pl.Trainer, game: Game) -> None:
        if not trainer.is_global_zero or not is_final_round(trainer, self.state):
            return
        path = write_animation(self.run.samples)
        for logger in trainer.loggers if path is not None else ():
            if (log_animation := getattr(logger, "log_animation", None)) is not None:
                log_animation("animation", path)

    def _save_sound(
        self, modality: Modality, x: Tensor, picture: Path, trainer: pl.Trainer, key: str, images: int
    ) -> None:
        """Write and log the samples of a picture as a wav file beside it, if they can be heard."""
        x = x if modality.has_stored_form(x) else modality.to_stored(x)
        if (content := modality.sound_file(x)) is None:
            return
        path = picture.with_suffix(".wav")
        write_file(path, content)
        for logger in trainer.loggers:
            if (log_sound := getattr(logger, "log_sound", None)) is not None:
                log_sound(key, path, images)

    def _first_reals(self, trainer: pl.Trainer) -> Tensor:
        split = trainer.datamodule.split("train")  # pyright: ignore[reportAttributeAccessIssue]
        n = min(_data_modality(trainer).samples_per_picture(self.rows, self.columns), len(split))
        return split[torch.arange(n)][0].cpu()


def _data_modality(trainer: pl.Trainer) -> Modality:
    return modality_of(trainer.datamodule)  # pyright: ignore[reportAttributeAccessIssue]


def write_animation(folder: Path) -> Path | None:
    """Write animation.gif from the pictures <images>.png in `folder`; return None if there are fewer than two.

    Takes at most 100 frames, evenly spaced and including the last: 0.1 s each, and 1.5 s for the last.
    """
    paths = list(files_by_images(folder, ".png").values())
    if len(paths) < 2:
        return None
    count = min(len(paths), MAX_FRAMES)
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
    """Write a PNG atomically, creating its folder. Raises Mistake if it cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, png_bytes(image))
