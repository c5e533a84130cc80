"""Pictures of what the generator makes, from the same latents each time, beside the reals."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from saddlepoint.callback.period import crossed, last, period
from saddlepoint.callback.run_state import RunState
from saddlepoint.game.game import Game
from saddlepoint.game.sampling import sampling_networks
from saddlepoint.pixel import to_uint8
from saddlepoint.record.run import Run, write
from saddlepoint.stream import Stream

FRAMES = 100  # of an animation
TILE = 56  # pixels that a person needs at least to read one image


class Grid(pl.Callback):
    """samples/<images>.png at 0 images, every `images_between` and at the end; samples/real.png once.

    At the end all of them become samples/animation.gif.

    Images are drawn rows x columns, each pixel `scale` times enlarged (None: until a tile has 56); points as a scatter
    over the reals.
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
        self.state = state or RunState()
        self.images_between, self.run = period(images_between), run
        if min(rows, columns) < 1:
            raise ValueError(f"a grid of {rows} rows and {columns} columns holds nothing")
        self.rows, self.columns, self.scale = rows, columns, scale

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        if game.images == 0:
            if trainer.is_global_zero:
                x = self._reals(trainer)
                save(picture(x, self.columns, self.scale), self.run.samples / "real.png")
            self.draw(trainer, game)

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, outputs: Any, batch: Any, batch_idx: int) -> None:
        if crossed(game, batch, self.images_between) or last(trainer, self.state):
            self.draw(trainer, game)

    def draw(self, trainer: pl.Trainer, game: Game) -> None:
        """Draw now; one rank is enough for it, but what it draws from has to stay the same on all."""
        with torch.random.fork_rng(devices=[game.device] if game.device.type == "cuda" else []):
            sampling_networks(game)
        if not trainer.is_global_zero:
            return
        points = not isinstance(self._reals(trainer), Tensor) or self._reals(trainer).ndim == 2
        n = 2_000 if points else self.rows * self.columns
        with torch.random.fork_rng(devices=[game.device] if game.device.type == "cuda" else []):
            x = game.sample(n, stream=Stream(game.seed, "grid", device=game.device)).cpu()
        path = self.run.samples / f"{game.images:09d}.png"
        save(picture(x, self.columns, self.scale, self._reals(trainer) if points else None), path)
        real = self.run.samples / "real.png"
        beside = {"reals": real} if game.images == 0 and real.exists() else {}
        for logger in trainer.loggers:
            if (show := getattr(logger, "log_image", None)) is not None:
                show("samples", path, game.images, beside)

    def on_train_end(self, trainer: pl.Trainer, game: Game) -> None:
        if not trainer.is_global_zero or not last(trainer, self.state):
            return
        path = animation(self.run.samples)
        for logger in trainer.loggers if path is not None else ():
            if (show := getattr(logger, "log_animation", None)) is not None:
                show("animation", path)

    def _reals(self, trainer: pl.Trainer) -> Tensor:
        split = trainer.datamodule.split("train")  # pyright: ignore[reportAttributeAccessIssue]
        n = min(2_000 if len(split[torch.arange(1)][0].shape) == 2 else self.rows * self.columns, len(split))
        return split[torch.arange(n)][0].cpu()


def animation(folder: Path) -> Path | None:
    """animation.gif of the pictures <images>.png in a folder, at most 100 of them; None where they are fewer than two.

    Evenly spaced, the last one always among them; a tenth of a second each, the last a second and a half.
    """
    paths = sorted(path for path in folder.glob("*.png") if path.stem.isdigit())
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
    write(folder / "animation.gif", content.getvalue())
    return folder / "animation.gif"


def picture(x: Tensor, columns: int = 8, scale: int | None = None, reals: Tensor | None = None) -> Image.Image:
    """x as one picture: images [N, C, H, W] (float in [-1, 1] or uint8) as a grid, points [N, 2] as a scatter."""
    if x.ndim == 2:
        return scatter(x, reals)
    pixels = x if x.dtype == torch.uint8 else to_uint8(x)
    scale = scale or max(1, -(-TILE // pixels.shape[-1]))
    pixels = pixels.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    if pixels.shape[1] in (2, 4):  # alpha: laid over white
        colour, alpha = pixels[:, :-1].float(), pixels[:, -1:].float() / 255
        pixels = (255 - alpha * (255 - colour)).round().to(torch.uint8)
    elif pixels.shape[1] not in (1, 3):
        pixels = pixels[:, :1]
    grid = make_grid(pixels, nrow=columns, padding=2, pad_value=128)
    return Image.fromarray(grid.permute(1, 2, 0).numpy())


def scatter(x: Tensor, reals: Tensor | None = None) -> Image.Image:
    """Points over the reals, in a square whose limits the reals set; one-dimensional ones lie on a line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    def plane(points: Tensor) -> tuple[Any, Any]:
        flat = points.flatten(1).float()
        return flat[:, 0].numpy(), (flat[:, 1] if flat.shape[1] > 1 else torch.zeros(len(flat))).numpy()

    figure = Figure(figsize=(5, 5), dpi=100, layout="tight")
    axes = figure.add_subplot()
    if reals is not None:
        axes.scatter(*plane(reals), s=3, c="#bbbbbb", label="real", rasterized=True)
        reach = 1.3 * max(1.0, float(reals.abs().max()))
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    axes.scatter(*plane(x), s=3, c="#d1495b", label="generated", rasterized=True)
    axes.set_aspect("equal")
    axes.legend(loc="upper right", markerscale=4)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(torch.frombuffer(bytearray(canvas.buffer_rgba()), dtype=torch.uint8)
                           .view(*canvas.get_width_height()[::-1], 4)[..., :3].contiguous().numpy())  # fmt: skip


def save(image: Image.Image, path: Path) -> None:
    """Write a PNG, making its folder, whole or not at all.  Raises Mistake where it cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    image.save(content, format="PNG")
    write(path, content.getvalue())
