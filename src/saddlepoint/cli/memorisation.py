"""saddlepoint memorisation: are samples copies of training images?  Each statistic beside that of fresh images.

What is held out must be a random part of the pool that the training set is of (`Data.pool`): an official test set is
told from it by a small network, and so would be "memorised" by any generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from saddlepoint.cli import unread
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.console.output import Output, result
from saddlepoint.console.terminal import Meter, speaker
from saddlepoint.data.data import Joined, Split
from saddlepoint.data.samples import read_for
from saddlepoint.error import Mistake
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.evaluation.memorisation import (
    KAGGLE,
    Membership,
    authenticity,
    cells,
    copying,
    distance_ratio,
    mann_whitney,
    membership,
    mifid,
    neighbours,
)
from saddlepoint.evaluation.memorisation_alarm import Alarm, Space, alarm, least, score, space
from saddlepoint.experiment.build import config_of, data_of, data_of_run, device_of, game_of, put, ruler_of, set_threads
from saddlepoint.experiment.sample import sample
from saddlepoint.extractor.extractor import Extractor, Features
from saddlepoint.game.full_batch import batch_dependent, full_batches
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import judge, judged_alone
from saddlepoint.game.sampling import judged_reals, sampling_modules
from saddlepoint.modality import Modality, of
from saddlepoint.redaction import discreet
from saddlepoint.run import destination
from saddlepoint.run.folder import Run, unwritable
from saddlepoint.run.provenance import now
from saddlepoint.stream import Stream

PICTURE = "memorisation.png"
FEWEST = 50  # samples, and held-out images, below which nothing here means anything
FAR = 3.0  # standard deviations, one in 700 by chance: what is called a sign
SHOWN = 10  # samples in the picture
MOST = 10_000  # training images whose logits D is asked for
Say = Callable[[str], None]


@dataclass(frozen=True)
class Reading:
    """One statistic of the samples, the same of held-out images, and what it says; None where it has no value."""

    statistic: str
    samples: float | None
    held_out: float | None
    space: str
    reading: str
    sign: bool  # of copying


@dataclass(frozen=True)
class Sets:
    """Samples, training and held-out images, the latter two in random order; features where there is an extractor."""

    samples: Features
    train: Features
    held: Features
    features: str | None  # the extractor's name; None: pixels, or other values, alone
    blind: bool  # whether the extractor learned nothing from these images
    modality: Modality

    @property
    def planar(self) -> bool:
        """Whether samples are images: they may be moved by pixels, and mirrored."""
        return self.modality.planar

    @property
    def values(self) -> str:
        """What the space of the samples themselves is called."""
        return "pixels" if self.planar else self.modality.name

    def inside(self, part: Features) -> Tensor:
        """Samples as networks see them, on the CPU."""
        assert part.x is not None
        return self.modality.inside(part.x.cpu())


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """The console's door; `rest` overrides the run's own config."""
    unread.refuse("memorisation", rest, samples=config.samples is not None)
    console = Console(stderr=True)
    if (config.run is None) == (config.samples is None):
        raise Mistake(
            "whose samples? run=<a run folder>, or samples=<a folder, zip, npz or npy> data=<what it was made of>"
        )
    if config.samples is not None and (config.at != "last" or not config.average):
        raise Mistake("samples=... are as they are: at and average are for a run")
    memorisation(config, rest, config_dir, console)
    return 0


def memorisation(
    words: DictConfig,
    overrides: Sequence[str],
    config_dir: str | Path | None,
    console: Console,
    output: Output | None = None,
) -> dict[str, Any]:
    """What is measured, as it is added to the run's memorisation.jsonl; printed, and drawn.  Raises Mistake."""
    output = output or result()
    say = speaker(console)
    if words.run is None and not any(word.startswith("data=") for word in overrides):
        raise Mistake("samples are held against data: add data=digits, or data=image_folder data.folder=...")
    run = None if words.run is None else Run(words.run)
    _look_at_place(words.to, run)
    config = compose(overrides, config_dir) if run is None else config_of(run, overrides, say, config_dir)
    check(config)
    data = data_of(config, say) if run is None else data_of_run(run, config, overrides, say)
    held = held_out(data)
    game = None if run is None else _game(run, config, words.at, say)
    split = _drawn(game, words, of(data)) if game else _chosen(read_for(data, words.samples, say), words)
    if len(split) < FEWEST:
        raise Mistake(f"{len(split)} samples say nothing of memorisation: bring {FEWEST} at least, better 1,000.")
    wanted = data.extractor if config.evaluation.extractor == "auto" else config.evaluation.extractor
    ruler = ruler_of(config, data, wanted, say, Meter(console))
    sets = _sets(split, data.split("train"), held, ruler, config, words.sample_seed, console)
    found = spaces(sets)
    say(
        f"{len(split):,} samples, {len(sets.train.features):,} training and {len(sets.held.features):,} held-out images"
    )
    rung = alarm(found, len(sets.train.features), len(sets.held.features), words.level, words.sample_seed)
    rows = readings(sets, words.sample_seed)
    if game is not None and judged_alone(game) and not str(words.at).isdigit():  # a snapshot holds the generator alone
        rows.append(_told_by(game, data.split("train"), held, int(data.batch), words.sample_seed))
    last = _alarm_reading(rung, sets, words.level)
    title = words.samples if run is None else f"{run.folder}, {words.at}, {game.images if game else 0:,} images"
    picture = None if words.to == "-" else _picture(sets, found, run, game, words.to, say)
    row = _asked(words, overrides, game, sets) | {
        "alarm": {**rung._asdict(), "rings": bool(rung.rings)},
        "statistics": [asdict(one) for one in rows],
        "picture": None if picture is None else str(picture),
    }
    if run is not None:
        run.append("memorisation.jsonl", row)
    output([table(f"{title}: memorisation", [*rows, last])], row)
    return row


def _asked(words: DictConfig, overrides: Sequence[str], game: Game | None, sets: Sets) -> dict[str, Any]:
    """What was measured, and by which protocol."""
    return {
        "measured": now(),
        "at": words.at,
        "images": game.images if game else None,
        "weights": sampling_modules(game, words.average)[1] if game else None,
        "overrides": discreet(list(overrides)),
        "n": len(sets.samples.features),
        "n_train": len(sets.train.features),
        "n_held_out": len(sets.held.features),
        "extractor": sets.features,
        "level": words.level,
        "seed": words.sample_seed,
    }


def _look_at_place(to: str | None, run: Run | None) -> None:
    """Raises Mistake where the picture, or the run's memorisation.jsonl, could not be written."""
    if run is not None:
        destination.record(run, "memorisation.jsonl")
    if to != "-" and (to is not None or run is None):
        Image.init()
        known = {ending for ending, form in Image.registered_extensions().items() if form in Image.SAVE}
        destination.file(to or PICTURE, known, "the picture of the closest samples is a file that ends in .png or .jpg")


def held_out(data: Any) -> list[Split]:
    """The splits that nobody trained on and that are, with train, a random cut of one pool.  Raises Mistake."""
    held = [data.split(name) for name in getattr(data, "pool", ()) if name != "train"]
    if sum(map(len, held)) >= FEWEST:
        return held
    if held:
        raise Mistake(
            f"{data.name} holds out {sum(map(len, held))} {of(data).plural}, and {FEWEST} are needed: hold out more."
        )
    remedy = "Train with data.reserved=5000, which sets training images aside." if hasattr(data, "reserved") else ""
    raise Mistake(
        f"{data.name}: no held-out images are a random part of the pool that its training images are of, so nothing "
        f"says how near fresh ones would come.\n{remedy or 'Bring them as data=image_folder, which is cut at random.'}"
    )


def spaces(sets: Sets) -> dict[str, Space]:
    """The spaces in which the alarm looks."""
    samples, train, held = sets.samples, sets.train, sets.held
    found = {sets.values: space(sets.inside(samples), sets.inside(train), sets.inside(held), moves=sets.planar)}
    if sets.features is not None:
        found["features"] = space(samples.features, train.features, held.features, alike=sets.blind)
    return found


def readings(sets: Sets, seed: int = 0) -> list[Reading]:
    """The statistics that ask nobody but the samples and the data."""
    x = [sets.inside(part) for part in (sets.samples, sets.train, sets.held)]
    rows = _distances(sets.values, x[0], x[1], x[2], seed)
    if sets.features is None:
        return rows
    samples, train, held = sets.samples.features, sets.train.features, sets.held.features
    rows += _distances("features", samples, train, held, seed)
    return [*rows, _mifid(samples, train, held[: len(samples)])]


def _distances(name: str, samples: Tensor, train: Tensor, held: Tensor, seed: int) -> list[Reading]:
    """Distance ratio, authenticity and C_T in one space."""
    asked, alike = held[: len(samples)], min(len(train), len(held))
    ours, nearer = _ratios(samples, train[:alike], held[:alike])
    theirs, fresh_nearer = _ratios(asked[:alike], train[:alike], held[:alike], skip=torch.arange(len(asked[:alike])))
    apart = mann_whitney(nearer.numpy(), fresh_nearer.numpy())
    to_train, radius = _reach(samples, train)
    fresh, fresh_radius = _reach(asked, train)
    authentic, usual = float(authenticity(to_train, radius)), float(authenticity(fresh, fresh_radius))
    cell_number = max(1, min(20, len(asked) // 100))
    first, second = cells(train, samples, asked, number=cell_number, seed=seed)
    half = len(asked) // 2
    copied = copying(to_train, fresh, first, second)
    usually = copying(fresh[half:], fresh[:half], second[half:], second[:half])
    return [
        Reading(
            "distance ratio", ours, theirs, name,
            *_said(apart < -FAR, "samples lie nearer to training than to held-out images",
                   "samples lie as near to held-out images as to training images"),
        ),
        Reading(
            "authenticity", authentic, usual, name,
            *_said(_difference(authentic, len(to_train), usual, len(fresh)) < -FAR,
                   "more samples than fresh images lie within reach of one training image",
                   "no more samples than fresh images lie within reach of one training image"),
        ),
        Reading(
            "C_T", _plain(copied.value), _plain(usually.value), name,
            *((f"no cell holds enough images: raise n, now {len(samples):,}", False) if not copied.cells
              else _said(copied.z < -FAR, f"samples lie nearer to training images than fresh ones (z {copied.z:.1f})",
                         f"samples lie no nearer to training images than fresh ones (z {copied.z:+.1f})"
                         + (", but farther: off the data" if copied.z > FAR else ""))),
        ),
    ]  # fmt: skip


def _said(sign: bool, copies: str, none: str) -> tuple[str, bool]:
    return (f"a sign of copying: {copies}", True) if sign else (f"no sign of copying: {none}", False)


def _ratios(x: Tensor, train: Tensor, held: Tensor, skip: Tensor | None = None) -> tuple[float, Tensor]:
    """The distance ratio, and the ratio of one sample for each image that is nearest to any.

    Samples that crowd about one image all lie on one side of it, by chance, and are no independent witnesses.
    """
    one, other = neighbours(x, train), neighbours(x, held, skip=skip)
    to_train, to_held = one.distance[:, 0], other.distance[:, 0]
    nearest = torch.where(to_train <= to_held, one.index[:, 0], len(train) + other.index[:, 0])
    _, first = np.unique(nearest.numpy(), return_index=True)
    each = torch.where(to_train == to_held, 1.0, to_train / to_held)
    return float(distance_ratio(to_train, to_held)), each[torch.from_numpy(first)]


def _reach(x: Tensor, train: Tensor) -> tuple[Tensor, Tensor]:
    """The distance to the nearest training image, and that one's to its own nearest other."""
    found = neighbours(x, train)
    hit, back = found.index[:, 0].unique(return_inverse=True)
    return found.distance[:, 0], neighbours(train[hit], train, skip=hit).distance[back, 0]


def _difference(a: float, n: int, b: float, m: int) -> float:
    """z of the difference of two proportions."""
    both = (a * n + b * m) / (n + m)
    error = math.sqrt(both * (1 - both) * (1 / n + 1 / m))
    return (a - b) / error if error else 0.0


def _mifid(samples: Tensor, train: Tensor, held: Tensor) -> Reading:
    ours, theirs = mifid(samples, train), mifid(held, train)
    if theirs.distance < KAGGLE:
        said = (
            f"says nothing: by these features fresh images are penalised too ({theirs.distance:.3f} < {KAGGLE})",
            False,
        )
    else:
        said = _said(
            ours.distance < KAGGLE,
            f"samples point where training images do (mean distance {ours.distance:.3f} < {KAGGLE})",
            f"nothing is penalised (mean distance {ours.distance:.3f}), so this is the FID",
        )
    return Reading("MiFID", _plain(ours.value), _plain(theirs.value), "features", *said)


def _told_by(game: Game, train: Split, held: Sequence[Split], batch: int, seed: int) -> Reading:
    """Membership, by D's logits; `batch` is that of its training."""
    fresh = Joined("held out", held)
    chosen, rows = (
        torch.randperm(len(split), generator=Stream(seed, f"memorisation/{name}").generator)
        for name, split in (("members", train), ("others", fresh))
    )
    members, others = _logits(game, train, chosen[:MOST], batch), _logits(game, fresh, rows, batch)
    found: Membership = membership(members, others)
    interval = f"95% interval {found.low:.3f} to {found.high:.3f}"
    told = _said(found.low > 0.5, f"D tells training from held-out images ({interval})",
                 f"D cannot tell training from held-out images ({interval})")  # fmt: skip
    return Reading("membership AUC", found.auc, 0.5, "D's logits", *told)


@torch.no_grad()
def _logits(game: Game, split: Split, rows: Tensor, batch: int) -> Tensor:
    """The mean logit of each of `rows`, [n], in evaluation mode, D asked as in training where that counts."""
    network, found = judge(game.eval()).network, []
    stream = Stream(game.seed, f"memorisation/{split.name}", device=game.device)
    for part in full_batches(len(rows), batch if batch_dependent(network) else 500):
        sample = judged_reals(game, split.batch(rows[part]).to(game.device), stream)
        found.append(network(sample.x, sample.condition).logits.reshape(len(part), -1).mean(1).cpu())
    return torch.cat(found)[: len(rows)]


def _alarm_reading(rung: Alarm, sets: Sets, level: float) -> Reading:
    n, m = len(sets.samples.features), min(len(sets.samples.features), len(sets.held.features))
    few = least(len(sets.train.features), len(sets.held.features), n, m, level)
    tests = f"membership {rung.membership:.2g}, closeness {rung.closeness:.2g}"
    if rung.rings:
        near = rung.closeness <= level / 2
        what = "are copied" if near else "are followed more than chance would, if not copied"
        text = f"the alarm rings: training images {what} ({tests})"
    else:
        text = f"no alarm ({tests}); alone, fewer than {few} copies among {n:,} samples would hardly ring it"
    return Reading("alarm, p", rung.p, level, "all", text, rung.rings)


def table(title: str, rows: Sequence[Reading]) -> Table:
    """What a person reads."""
    made = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for name, side in (("", "left"), ("samples", "right"), ("held-out", "right"), ("in", "left"), ("reading", "left")):
        made.add_column(name, justify=side, no_wrap=name in ("", "samples", "held-out"))  # pyright: ignore[reportArgumentType]
    for row in rows:
        values = ["-" if value is None else f"{value:.3g}" for value in (row.samples, row.held_out)]
        made.add_row(row.statistic, *values, row.space, row.reading, style="bold" if row.sign else None)
    made.caption = (
        "held-out: the same of fresh images; of the AUC, chance; of the alarm, its level\n"
        f"a sign: {FAR:.0f} standard deviations, of independent samples; the alarm does not take that for granted"
    )
    made.caption_justify = "left"
    return made


def _picture(
    sets: Sets, found: dict[str, Space], run: Run | None, game: Game | None, to: str | None, say: Say
) -> Path | None:
    """Where the closest samples are drawn beside their neighbours; None for what is no image."""
    if not sets.planar:
        say(f"{sets.modality.name} are not drawn")
        return None
    path = Path(to or PICTURE)
    if not to and run is not None and game is not None:
        path = run.folder / "memorisation" / f"{game.images:09d}.png"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        closest(sets, found).save(path)
    except (OSError, ValueError) as error:
        raise unwritable(path, error) if isinstance(error, OSError) else Mistake(f"to={path}: {error}") from None
    say(f"the closest samples beside their neighbours: {path}")
    return path


def closest(sets: Sets, found: dict[str, Space]) -> Image.Image:
    """Rows of a sample, its nearest training images in each space, and its nearest held-out image; closest first."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pixels = found["pixels"]
    scores = score(pixels.sample_train)
    rows = scores.argsort(stable=True)[:SHOWN]
    columns: list[tuple[str, Tensor, Tensor, Tensor | None]] = [
        ("sample", sets.inside(sets.samples), rows, scores[rows]),
        ("nearest training,\npixels", sets.inside(sets.train), *_first(pixels.sample_train, rows)),
    ]
    if "features" in found:
        near = found["features"].sample_train
        columns.append(("nearest training,\nfeatures", sets.inside(sets.train), near.index[rows, 0], None))
    columns.append(("nearest held-out,\npixels", sets.inside(sets.held), *_first(pixels.sample_held, rows)))
    figure = Figure(figsize=(1.5 * len(columns), 1.55 * len(rows) + 0.8), dpi=100, layout="constrained")
    figure.suptitle("closest samples first; pixels: d over moves and mirror images,\n"
                    "s = d to the nearest / d to the tenth nearest", fontsize=8)  # fmt: skip
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for j, (title, x, index, values) in enumerate(columns):
        axes[0, j].set_title(title, fontsize=9)
        for i, which in enumerate(index.tolist()):
            image = x[which].add(1).div(2).permute(1, 2, 0).clamp(0, 1).numpy()
            axes[i, j].imshow(image if image.shape[2] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=1)
            axes[i, j].set(xticks=[], yticks=[])
            if values is not None:
                axes[i, j].set_xlabel(f"{'d' if j else 's'} {float(values[i]):.3f}", fontsize=8)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _first(near: Any, rows: Tensor) -> tuple[Tensor, Tensor]:
    return near.index[rows, 0], near.distance[rows, 0]


def _game(run: Run, config: DictConfig, at: str | int, say: Say) -> Game:
    game = game_of(config)
    set_threads(config, game)
    put(game, run, at, say)
    return game.to(device_of(config))


def _drawn(game: Game, words: DictConfig, modality: Modality) -> Split:
    x = sample(game, words.n, words.sample_seed, words.average, modality=modality)
    return Split("samples", x, modality=modality)


def _chosen(split: Split, words: DictConfig) -> Split:
    """n of the samples, at random where there are more."""
    order = torch.randperm(len(split), generator=Stream(words.sample_seed, "memorisation/samples").generator)
    return Split("samples", *split[order[: words.n]], modality=split.modality)


def _sets(
    split: Split, train: Split, held: Sequence[Split], ruler: Extractor | None, config: DictConfig, seed: int,
    console: Console,
) -> Sets:  # fmt: skip
    """Everything looked at once."""
    say = speaker(console)
    if ruler is None:
        say("no features: these data have no extractor (evaluation.extractor=...)")
    parts = []
    for name, whole in (("samples", [split]), ("train", [train]), ("held out", held)):
        total = sum(map(len, whole))
        if ruler is None:
            x = torch.cat([x for part in whole for x, _ in part.batches(1000)])
            features = Features(of(train).inside(x).flatten(1).to(torch.float32), None, x)
        else:
            batches = (rows for part in whole for rows in part.batches(config.evaluation.batch))
            evaluator = Evaluator(ruler, {}, 2, device=device_of(config), say=say, progress=Meter(console))
            features = evaluator.features(batches, total, f"the {name} images")._replace(logits=None, y=None)
        stream = Stream(seed, f"memorisation/{name}")
        parts.append(features if name == "samples" else features.at(torch.randperm(total, generator=stream.generator)))
    told = None if ruler is None or ruler.name == "identity" else ruler.name
    return Sets(*parts, features=told, blind=told == "inception", modality=of(train))


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
