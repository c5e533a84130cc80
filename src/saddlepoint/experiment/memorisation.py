"""Are samples copies of training images?  Of what a run's generator makes, or of stored samples.

What is held out must be a random part of the pool that the training set is of (`Data.pool`): an official test set is
told from it by a small network, and so would be "memorised" by any generator.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from saddlepoint.config.check import check
from saddlepoint.config.tree import Checked
from saddlepoint.console.terminal import Meter
from saddlepoint.data.data import Joined, Split
from saddlepoint.data.samples import read_for
from saddlepoint.error import Mistake
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.evaluation.memorisation_alarm import Space, alarm
from saddlepoint.evaluation.memorisation_reading import (
    Reading,
    Sets,
    alarm_reading,
    closest,
    membership_reading,
    readings,
    spaces,
)
from saddlepoint.experiment.build import data_of, game_of, set_threads
from saddlepoint.experiment.devices import device_of
from saddlepoint.experiment.evaluators import ruler_of
from saddlepoint.experiment.restore import data_of_run, put
from saddlepoint.experiment.sample import sample
from saddlepoint.extractor.extractor import Extractor, Features
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import judge, judged_alone
from saddlepoint.game.sampling import batch_dependent, full_batches, judged_reals, sampling_modules
from saddlepoint.modality import of
from saddlepoint.mode import in_mode
from saddlepoint.redaction import discreet
from saddlepoint.run import destination
from saddlepoint.run.folder import Run, unwritable
from saddlepoint.run.provenance import now
from saddlepoint.stream import Stream

PICTURE = "memorisation.png"
FEWEST = 50  # samples, and held-out images, below which nothing here means anything
MOST = 10_000  # training images whose logits D is asked for
Log = Callable[[str], None]


class Protocol(NamedTuple):
    """How memorisation is measured: the command's keys of these names."""

    at: str | int  # of a run
    n: int
    level: float
    sample_seed: int
    average: bool


class Found(NamedTuple):
    """What was measured: of what, the readings, and the row of memorisation.jsonl."""

    title: str
    readings: list[Reading]
    row: dict[str, Any]


def memorisation(
    source: Run | str, config: DictConfig, overrides: Sequence[str], protocol: Protocol, to: str | None, log: Log,
    progress: Meter,
) -> Found:  # fmt: skip
    """Measure what a run's generator makes, or the samples at a path; a run's memorisation.jsonl gets the row.

    to  where the picture of the closest samples goes; "-": nowhere; None: into the run, or the working directory
    Raises Mistake.
    """
    run = source if isinstance(source, Run) else None
    _check_destination(to, run)
    config = check(config)
    data = data_of(config, log) if run is None else data_of_run(run, config, overrides, log)
    held, train = held_out(data), data.split("train")
    seed, game = protocol.sample_seed, None
    if run is not None:
        game = game_of(config)
        set_threads(config, game)
        put(game, run, protocol.at, log)
        game.to(device_of(config))
    split = _samples(game, source, data, protocol, log)
    if len(split) < FEWEST:
        raise Mistake(f"{len(split)} samples say nothing of memorisation: bring {FEWEST} at least, better 1,000.")
    wanted = data.extractor if config.evaluation.extractor == "auto" else config.evaluation.extractor
    ruler = ruler_of(config, data, wanted, log, progress)
    sets = _sets(split, train, held, ruler, config, seed, log, progress)
    n_train, n_held = len(sets.train.features), len(sets.held.features)
    found = spaces(sets)
    log(f"{len(split):,} samples, {n_train:,} training and {n_held:,} held-out images")
    rung = alarm(found, n_train, n_held, protocol.level, seed)
    rows = readings(sets, seed)
    if game is not None and judged_alone(game) and not str(protocol.at).isdigit():  # a snapshot: the generator alone
        rows.append(_membership(game, train, held, int(data.batch), seed))
    picture = None if to == "-" else _picture(sets, found, to, run, game, log)
    row = {
        "measured": now(),
        "at": protocol.at,
        "images": game.images if game else None,
        "weights": sampling_modules(game, protocol.average)[1] if game else None,
        "overrides": discreet(list(overrides)),
        **_numbers(sets, protocol, rung, rows),
        "picture": None if picture is None else str(picture),
    }
    title = str(source)
    if run is not None and game is not None:
        run.append("memorisation.jsonl", row)
        title = f"{run.folder}, {protocol.at}, {game.images:,} images"
    return Found(title, [*rows, alarm_reading(rung, sets, protocol.level)], row)


def _numbers(sets: Sets, protocol: Protocol, rung: Any, rows: Sequence[Reading]) -> dict[str, Any]:
    """What was measured of how many, plain."""
    return {
        "n": len(sets.samples.features),
        "n_train": len(sets.train.features),
        "n_held_out": len(sets.held.features),
        "extractor": sets.features,
        "level": protocol.level,
        "seed": protocol.sample_seed,
        "alarm": {**rung._asdict(), "rings": bool(rung.rings)},
        "statistics": [asdict(one) for one in rows],
    }


def _check_destination(to: str | None, run: Run | None) -> None:
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


def _samples(game: Game | None, source: Run | str, data: Any, protocol: Protocol, log: Log) -> Split:
    """n samples: drawn from the game, or of those that are stored, at random where there are more."""
    if game is not None:
        x = sample(game, protocol.n, protocol.sample_seed, protocol.average, modality=of(data))
        return Split("samples", x, modality=of(data))
    split = read_for(data, str(source), log)
    order = torch.randperm(len(split), generator=Stream(protocol.sample_seed, "memorisation/samples").generator)
    return Split("samples", *split[order[: protocol.n]], modality=split.modality)


def _sets(
    split: Split, train: Split, held: Sequence[Split], ruler: Extractor | None, config: Checked, seed: int,
    log: Log, progress: Meter,
) -> Sets:  # fmt: skip
    if ruler is None:
        log("no features: these data have no extractor (evaluation.extractor=...)")
        evaluator = None
    else:
        evaluator = Evaluator(ruler, {}, 2, device=device_of(config), say=log, progress=progress)
    parts = []
    for name, whole in (("samples", [split]), ("train", [train]), ("held out", held)):
        if evaluator is None:
            x = torch.cat([x for part in whole for x, _ in part.batches(1000)])
            features = Features(of(train).inside(x).flatten(1).to(torch.float32), None, x)
        else:
            batches = (rows for part in whole for rows in part.batches(config.evaluation.batch))
            total = sum(map(len, whole))
            features = evaluator.features(batches, total, f"the {name} images")._replace(logits=None, y=None)
        if name != "samples":
            stream = Stream(seed, f"memorisation/{name}")
            features = features.at(torch.randperm(len(features.features), generator=stream.generator))
        parts.append(features)
    extractor = None if ruler is None or ruler.name == "identity" else ruler.name
    return Sets(*parts, features=extractor, blind=extractor == "inception", modality=of(train))


def _membership(game: Game, train: Split, held: Sequence[Split], batch: int, seed: int) -> Reading:
    """Whether D tells training images from held-out ones, MOST of each; `batch` is that of its training."""
    members, others = (
        _logits(game, split, torch.randperm(len(split), generator=Stream(seed, name).generator)[:MOST], batch)
        for name, split in (("memorisation/members", train), ("memorisation/others", Joined("held out", held)))
    )
    return membership_reading(members, others)


@torch.no_grad()
def _logits(game: Game, split: Split, rows: Tensor, batch: int) -> Tensor:
    """The mean logit of each of `rows`, [n], in evaluation mode, D asked as in training where that counts."""
    network, found = judge(game).network, []
    stream = Stream(game.seed, f"memorisation/{split.name}", device=game.device)
    with in_mode(game):
        for part in full_batches(len(rows), batch if batch_dependent(network) else 500):
            sample = judged_reals(game, split.batch(rows[part]).to(game.device), stream)
            found.append(network(sample.x, sample.condition).logits.reshape(len(part), -1).mean(1).cpu())
    return torch.cat(found)[: len(rows)]


def _picture(
    sets: Sets, found: Mapping[str, Space], to: str | None, run: Run | None, game: Game | None, log: Log
) -> Path | None:
    """Where the closest samples are drawn beside their neighbours; None for what is no image."""
    if not sets.modality.planar:
        log(f"{sets.modality.name} are not drawn")
        return None
    path = Path(to or PICTURE)
    if not to and run is not None and game is not None:
        path = run.folder / "memorisation" / f"{game.images:09d}.png"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        closest(sets, found).save(path)
    except OSError as error:
        raise unwritable(path, error) from None
    except ValueError as error:
        raise Mistake(f"to={path}: {error}") from None
    log(f"the closest samples beside their neighbours: {path}")
    return path
